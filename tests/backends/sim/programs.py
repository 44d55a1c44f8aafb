"""Programs that use much of the API, for tests of what must be the same each time."""

from __future__ import annotations

import asyncio
import random
import threading
import time
import uuid
from collections.abc import Iterator
from queue import Queue
from typing import Any

import minray

ray: Any = minray


def counting() -> Any:
    """Tasks that read and write an actor."""

    @ray.remote
    class Counter:
        def __init__(self) -> None:
            self.n = 0

        def get(self) -> int:
            return self.n

        def set(self, n: int) -> None:
            self.n = n

    @ray.remote
    def bump(counter: Any) -> None:
        ray.get(counter.set.remote(ray.get(counter.get.remote()) + 1))

    counter = Counter.remote()
    ray.get([bump.remote(counter) for _ in range(3)])
    return ray.get(counter.get.remote())


def nesting() -> Any:
    """Tasks in tasks, errors, retries, a named actor, a generator and chance."""

    @ray.remote
    def leaf(x: int) -> float:
        time.sleep(random.random())
        return x + random.random()

    @ray.remote(max_retries=2, retry_exceptions=True)
    def flaky(cell: Any) -> str:
        if ray.get(cell.up.remote()) < 2:
            raise ValueError("again")
        return str(uuid.uuid4())

    @ray.remote
    def tree(depth: int) -> Any:
        return [tree.remote(depth - 1), leaf.remote(depth)] if depth else 0

    @ray.remote
    def numbers(n: int) -> Iterator[int]:
        for i in range(n):
            yield i

    @ray.remote
    class Cell:
        def __init__(self) -> None:
            self.n = 0

        def up(self) -> int:
            self.n += 1
            return self.n

    cell = Cell.options(name="cell").remote()
    top = tree.remote(2)
    ready, rest = ray.wait([leaf.remote(i) for i in range(4)], num_returns=2)
    parts = [ray.get(ref) for ref in numbers.remote(3)]
    ray.get(ray.get_actor("cell").up.remote())
    ray.cancel(rest[0])
    return (
        ray.get(ready),
        ray.get(ray.get(ray.get(top)[0])[1]),
        ray.get(flaky.remote(cell)),
        parts,
        round(time.time(), 3),
    )


def concurrent() -> Any:
    """Async and threaded actors, threads and queues of the program's own."""

    @ray.remote
    class Loop:
        async def work(self, other: Any, delay: float) -> str:
            await asyncio.sleep(delay)
            return str(await other.say.remote(delay))

    @ray.remote(max_concurrency=2)
    class Pool:
        def __init__(self) -> None:
            self.lock = threading.Lock()
            self.said: list[Any] = []

        def say(self, what: Any) -> str:
            with self.lock:
                time.sleep(0.1)
                self.said.append(what)
            return f"{what} after {len(self.said)}"

    @ray.remote
    def threads() -> list[int]:
        queue: Queue[int] = Queue()
        workers = [threading.Thread(target=queue.put, args=(i,)) for i in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return [queue.get() for _ in workers]

    pool, loop = Pool.remote(), Loop.remote()
    refs = [loop.work.remote(pool, delay) for delay in (0.3, 0.1, 0.2)]
    return ray.get([*refs, threads.remote()])


PROGRAMS = [counting, nesting, concurrent]
