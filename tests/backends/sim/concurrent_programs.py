"""More such programs (see `rich_programs`): those in which several things happen in one process, and libraries."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import minray
from minray.dag import InputNode
from minray.util import ActorPool
from minray.util.iter import from_items
from minray.util.multiprocessing import Pool
from minray.util.queue import Empty, Queue
from tests.backends.sim.rich_programs import Cell, got, outcome, square, total

ray: Any = minray


def loops() -> Any:
    """Async actors: tasks of asyncio's, timers, time-outs, locks, and calls of each other."""

    @ray.remote
    class Node:
        def __init__(self, name: str) -> None:
            self.name = name
            self.seen: list[Any] = []
            self.lock = asyncio.Lock()
            self.open = asyncio.Event()

        async def note(self, what: Any) -> int:
            async with self.lock:
                await asyncio.sleep(random.random() / 50)
                self.seen.append(what)
            return len(self.seen)

        async def ask(self, other: Any, times: int) -> list[int]:
            return list(await asyncio.gather(*[other.note.remote((self.name, i)) for i in range(times)]))

        async def race(self, other: Any) -> Any:
            tasks = [asyncio.ensure_future(self.later(seconds)) for seconds in (0.03, 0.01)]
            done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in pending:
                task.cancel()
            try:
                await asyncio.wait_for(self.open.wait(), 0.02)
            except asyncio.TimeoutError:
                return [task.result() for task in done], "closed", await other.note.remote("late")
            return [task.result() for task in done], "open"

        async def later(self, seconds: float) -> float:
            await asyncio.sleep(seconds)
            return seconds

        async def unlock(self) -> None:
            self.open.set()

        async def what(self) -> list[Any]:
            return self.seen

    a, b = Node.remote("a"), Node.options(max_concurrency=2).remote("b")
    refs = [a.ask.remote(b, 3), b.ask.remote(a, 2), a.race.remote(b), b.race.remote(a), b.unlock.remote()]
    endless = a.later.remote(1e9)
    ray.cancel(endless)
    return [got(ref) for ref in refs], got(endless), got(a.what.remote()), got(b.what.remote())


def queues() -> Any:
    """Queues between producers and consumers, and a pool of actors."""
    queue: Any = Queue(maxsize=2)

    @ray.remote
    def produce(i: int) -> None:
        for n in range(3):
            queue.put((i, n), timeout=60)
            time.sleep(random.random() / 100)

    @ray.remote
    def consume() -> list[Any]:
        items: list[Any] = []
        while True:
            try:
                items.append(queue.get(timeout=1.0))
            except Empty:
                return items

    producers = [produce.remote(i) for i in range(2)]
    consumers = [consume.remote() for _ in range(2)]
    ends = [got(ref) for ref in producers]
    items = [got(ref) for ref in consumers]
    pool: Any = ActorPool([Cell.remote(i) for i in range(2)])
    ordered = outcome(lambda: list(pool.map(lambda cell, n: cell.add.remote(n), range(4))))
    free = outcome(lambda: list(pool.map_unordered(lambda cell, n: cell.add.remote(n), range(4))))
    return ends, items, ordered, free


def threads() -> Any:
    """Threaded actors, concurrency groups, executors, locks and conditions."""

    @ray.remote(concurrency_groups={"io": 2, "work": 1})
    class Grouped:
        def __init__(self) -> None:
            self.condition = threading.Condition()
            self.tokens = 0
            self.local = threading.local()

        @ray.method(concurrency_group="io")
        def wait(self, number: int) -> int:
            with self.condition:
                self.condition.wait_for(lambda: self.tokens >= number, timeout=10)
                self.local.number = number
                return self.tokens

        @ray.method(concurrency_group="work")
        def give(self) -> int:
            with self.condition:
                self.tokens += 1
                self.condition.notify_all()
                return self.tokens

    @ray.remote
    def executor() -> list[int]:
        lock, seen = threading.Lock(), list[int]()

        def one(n: int) -> int:
            time.sleep(random.random() / 100)
            with lock:
                seen.append(n)
            return ray.get(square.remote(n))

        with ThreadPoolExecutor(3) as pool:
            return [*pool.map(one, range(4)), *seen]

    grouped = Grouped.remote()
    refs = [grouped.wait.remote(n) for n in (2, 1, 3)] + [grouped.give.remote() for _ in range(3)]
    return [got(ref) for ref in [*refs, executor.remote()]]


def primitives() -> Any:
    """What asyncio has to wait with, and what it returns in sets and in any order."""

    @ray.remote
    class Hall:
        def __init__(self) -> None:
            self.seats = asyncio.Semaphore(2)
            self.queue: asyncio.Queue[int] = asyncio.Queue(1)
            self.condition = asyncio.Condition()
            self.inside = self.most = 0

        async def visit(self, seconds: float) -> int:
            async with self.seats:
                self.inside += 1
                self.most = max(self.most, self.inside)
                await asyncio.sleep(seconds)
                self.inside -= 1
            async with self.condition:
                self.condition.notify_all()
            return self.most

        async def empty(self) -> int:
            async with self.condition:
                await asyncio.wait_for(self.condition.wait_for(lambda: self.inside == 0), 5)
            return self.inside

        async def pipe(self, n: int) -> list[int]:
            async def feed() -> None:
                for i in range(n):
                    await self.queue.put(i)

            feeding = asyncio.create_task(feed())
            items = [await self.queue.get() for _ in range(n)]
            await feeding
            return items

        async def first(self, cells: list[Any]) -> Any:
            refs = [cell.add.remote(i) for i, cell in enumerate(cells)]
            order = [await one for one in asyncio.as_completed([asyncio.wrap_future(ref.future()) for ref in refs])]
            tasks = {asyncio.ensure_future(self.visit(i / 100)) for i in range(3)}
            done, pending = await asyncio.wait(tasks, timeout=0.015)
            await asyncio.shield(asyncio.gather(*pending))
            return order, len(done), [task.result() for task in done], [task.result() for task in pending]

    hall, cells = Hall.remote(), [Cell.remote(i) for i in range(3)]
    refs = [hall.visit.remote(i / 50) for i in range(3)] + [hall.empty.remote(), hall.pipe.remote(3)]
    return [got(ref) for ref in [*refs, hall.first.remote(cells)]]


def libraries() -> Any:
    """A pool of processes, parallel iterators, graphs of calls, mapping over actors."""

    def halve(n: int) -> float:
        time.sleep(random.random() / 100)
        return n / 2

    with Pool(2) as pool:
        mapped = pool.map(halve, range(5))
        free = list(pool.imap_unordered(halve, range(4)))
        later = outcome(lambda: pool.apply_async(halve, (7,)).get(timeout=30))
    several = from_items(list(range(6)), num_shards=2).for_each(lambda n: n * 10)
    doubled = sorted(several.gather_async())
    with InputNode() as number:
        graph = total.bind(square.bind(number), square.bind(3))
    return mapped, sorted(free), later, doubled, got(graph.execute(2))


PROGRAMS = [loops, queues, threads, primitives, libraries]
