"""Programs that use nearly all of the API, each some part of it at length: for the sweep over seeds, strategies, faults
and processes, in which their events must be the same.

What a program itself leaves to chance (the order of a set of strings, say) it must not look at. Errors that faults and
schedules bring about are results like others.
"""

from __future__ import annotations

import asyncio
import gc
import random
import sys
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import minray
from minray.util import ActorPool
from minray.util.placement_group import placement_group, remove_placement_group
from minray.util.queue import Empty, Queue
from minray.util.scheduling_strategies import NodeAffinitySchedulingStrategy, PlacementGroupSchedulingStrategy

ray: Any = minray


def outcome(get: Callable[[], Any]) -> Any:
    """What `get` returns, or the name of what it raises."""
    try:
        return get()
    except Exception as error:
        return type(error).__name__


def got(ref: Any, timeout: float | None = None) -> Any:
    return outcome(lambda: ray.get(ref, timeout=timeout))


class Value:
    def __init__(self, value: Any = 0) -> None:
        self.value = value

    def get(self) -> Any:
        return self.value

    def set(self, value: Any) -> None:
        self.value = value

    def add(self, number: int) -> int:
        self.value += number
        return int(self.value)


Cell = ray.remote(Value)
Lasting = ray.remote(max_restarts=2, max_task_retries=2)(Value)


@ray.remote(max_retries=2)
def square(x: int) -> int:
    time.sleep(random.random() / 10)
    return x * x


@ray.remote
def total(*numbers: Any) -> Any:
    return sum(numbers)


def trees() -> Any:
    """Tasks in tasks, with refs in what they return and are given, dropped refs and circles for the collector."""

    @ray.remote(max_retries=1)
    def tree(depth: int, path: str) -> Any:
        if not depth:
            return [ray.put(path), random.randrange(1000)]
        below = [tree.remote(depth - 1, path + side) for side in "lr"]
        square.remote(depth)  # dropped at once
        circle: list[Any] = [square.remote(depth)]
        circle.append(circle)
        if path.endswith("r"):
            return below
        return {"here": path, "below": ray.get(below)}

    @ray.remote
    def walk(nested: dict[str, Any]) -> Any:
        return sorted(str(ray.get(one[0])) for one in nested["below"] if isinstance(one, list))

    left, right = tree.remote(2, "l"), tree.remote(2, "r")
    gc.collect()
    return outcome(lambda: ray.get(walk.remote(left))), outcome(lambda: len(ray.get(right)))


def chains() -> Any:
    """Calls that depend on calls, several results each, some of which fail."""

    @ray.remote(num_returns=3, max_retries=1)
    def split(n: int) -> Any:
        return n // 3, n % 3, n + random.random()

    @ray.remote(retry_exceptions=[KeyError], max_retries=2)
    def fragile(n: int, cell: Any) -> int:
        tries = ray.get(cell.add.remote(1))
        if n == 2:
            raise ValueError(n)
        if n == 1 and tries < 3:
            raise KeyError(n)
        return n

    cell = Lasting.remote(0)
    parts = [split.remote(n) for n in range(4, 7)]
    sums = [total.remote(first, second) for first, second, _ in parts]
    bad = [fragile.remote(n, cell) for n in range(4)]
    ready, rest = ray.wait([*sums, *bad], num_returns=4, timeout=5)
    return [got(ref) for ref in [*ready, *rest, total.remote(*bad[:2]), total.remote(*bad)]], got(cell.get.remote())


def generators() -> Any:
    """Streams: of tasks and of actors, read slowly, given up, failing in the middle, held back."""

    @ray.remote(max_retries=1)
    def numbers(n: int, stop: int = -1) -> Iterator[int]:
        for i in range(n):
            if i == stop:
                raise ValueError(i)
            time.sleep(0.01)
            yield i

    @ray.remote(_generator_backpressure_num_objects=1)
    def held(n: int) -> Iterator[Any]:
        for i in range(n):
            yield [i, uuid.uuid4().hex]

    @ray.remote
    class Source:
        async def items(self, n: int) -> AsyncIterator[int]:
            for i in range(n):
                await asyncio.sleep(0.02)
                yield i

    def read(stream: Any) -> list[Any]:
        items: list[Any] = []
        while len(items) < 20:
            try:
                items.append(ray.get(next(stream)))
            except StopIteration:
                return items
            except Exception as error:
                items.append(type(error).__name__)
        return items

    @ray.remote
    def reader(n: int) -> Any:
        return [ray.get(ref) for ref in numbers.remote(n)]

    source = Source.remote()
    given_up = numbers.remote(5)
    next(given_up)
    del given_up
    streams = [numbers.remote(3), numbers.remote(4, 2), held.remote(3), source.items.remote(3)]
    nested = got(reader.remote(2))
    return [read(stream) for stream in streams], nested


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


def cancelling() -> Any:
    """Tasks that are cancelled before, while and after they run, with what they call, and actors that are killed."""

    @ray.remote
    def sleeper(seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    @ray.remote
    def parent(cell: Any) -> Any:
        children = [sleeper.remote(5 + i) for i in range(2)]
        ray.get(cell.add.remote(1))
        return ray.get(children)

    @ray.remote
    def looks(cell: Any) -> Any:
        while ray.get(cell.get.remote()) < 1:
            time.sleep(0.01)
        return "seen"

    cell = Cell.remote()
    refs = [parent.remote(cell), sleeper.remote(0.1), looks.remote(cell), parent.remote(cell)]
    ray.wait(refs, timeout=0.05)
    ray.cancel(refs[0])
    ray.cancel(refs[1], force=True)
    ray.cancel(refs[3], recursive=False)
    victim = Lasting.remote(1)
    calls = [victim.add.remote(i) for i in range(3)]
    ray.kill(victim, no_restart=False)
    calls += [victim.add.remote(10)]
    other = Cell.remote(5)
    last = other.get.remote()
    ray.kill(other)
    return [got(ref) for ref in [*refs, *calls, last, other.get.remote()]]


def timers() -> Any:
    """Time-outs that may come first, sleeps, clocks, timers of threads."""

    @ray.remote
    def slow(seconds: float) -> float:
        begun = time.monotonic()
        time.sleep(seconds)
        return round(time.monotonic() - begun, 3)

    @ray.remote
    def waits() -> Any:
        event = threading.Event()
        timer = threading.Timer(0.2, event.set)
        timer.start()
        first = event.wait(0.1)
        refs = [slow.remote(0.05), slow.remote(0.3)]
        ready, rest = ray.wait(refs, num_returns=2, timeout=0.1)
        timer.join()
        return first, event.is_set(), len(ready), len(rest), got(refs[1], 0.01)

    refs = [slow.remote(seconds) for seconds in (3.0, 0.2, 1.0)]
    early = got(refs[0], 0.5)
    return early, got(waits.remote()), [got(ref) for ref in refs], round(time.time(), 2)


def groups() -> Any:
    """Placement groups: what waits for room, what is in them, what their removal ends."""

    @ray.remote
    def here(x: int) -> int:
        time.sleep(0.01)
        return x

    first = placement_group([{"CPU": 3}, {"CPU": 2}], strategy="PACK")
    second = placement_group([{"CPU": 4}, {"CPU": 1}], strategy="SPREAD")
    third = placement_group([{"CPU": 64}])
    inside = PlacementGroupSchedulingStrategy
    asked = [here.options(num_cpus=1, scheduling_strategy=inside(first, i % 2)).remote(i) for i in range(4)]
    cell = Cell.options(num_cpus=1, scheduling_strategy=inside(second, 1)).remote(7)
    held = cell.get.remote()
    ready = first.wait(5), third.wait(0.1)
    values = [got(ref) for ref in asked]
    queued = here.options(num_cpus=1, scheduling_strategy=inside(first, 0)).remote(9)
    remove_placement_group(first)
    waits = got(held)
    remove_placement_group(second)
    remove_placement_group(third)
    node = ray.get_runtime_context().get_node_id()
    near = got(here.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(1))
    return ready, values, got(queued), waits, got(cell.get.remote()), near, ray.cluster_resources()["CPU"]


def names() -> Any:
    """Named actors that are looked for, made at once by several, killed and made again."""

    @ray.remote
    def find(i: int) -> Any:
        cell = Cell.options(name="shared", get_if_exists=True, lifetime="detached").remote(100)
        return ray.get(cell.add.remote(i))

    @ray.remote
    def make(i: int) -> Any:
        return outcome(lambda: ray.get(Cell.options(name="only").remote(i).get.remote()))

    found = [find.remote(i) for i in range(3)]
    made = [make.remote(i) for i in range(3)]
    early = outcome(lambda: ray.get(ray.get_actor("shared").get.remote()))
    results = [got(ref) for ref in [*found, *made]]
    ray.kill(ray.get_actor("shared"))
    again = got(find.remote(5))
    return results, early, again, outcome(lambda: ray.get_actor("nobody"))


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


def lasting() -> Any:
    """Actors that are restarted, tasks that are retried, state that others hold."""

    @ray.remote(max_retries=3)
    def worker(cell: Any, other: Any, n: int) -> Any:
        before = ray.get(cell.get.remote())
        ray.get(other.add.remote(n))
        ray.get(cell.set.remote(before + n))
        return before

    @ray.remote(max_restarts=1)
    class Leaving:
        def go(self) -> None:
            ray.actor.exit_actor()

        def fail(self) -> None:
            sys.exit(3)

        def stay(self) -> int:
            return 1

    cell, other, leaving = Lasting.remote(0), Lasting.options(max_task_retries=-1).remote(0), Leaving.remote()
    refs = [worker.remote(cell, other, n) for n in range(1, 4)]
    ends = [leaving.stay.remote(), leaving.go.remote(), leaving.stay.remote()]
    return [got(ref) for ref in [*refs, cell.get.remote(), other.get.remote(), *ends]]


def sets() -> Any:
    """Refs, handles and ids in sets and as keys, which come in the order of their hashes."""

    @ray.remote
    def ids() -> Any:
        context = ray.get_runtime_context()
        return context.get_task_id(), context.get_worker_id(), context.get_node_id()

    cells = {Cell.remote(i) for i in range(5)}
    pending = {cell.add.remote(i) for i, cell in enumerate(cells)} | {square.remote(i) for i in range(4)}
    done: dict[Any, Any] = {}
    while pending:
        ready, rest = ray.wait(list(pending), num_returns=min(2, len(pending)))
        pending = set(rest)
        done.update((ref, got(ref)) for ref in ready)
    return list(done.values()), sorted(ref.hex() for ref in done), got(ids.remote()), repr(sorted(map(repr, cells)))


PROGRAMS = [trees, chains, generators, loops, cancelling, timers, groups, names, queues, threads, lasting, sets]
