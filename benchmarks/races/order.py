"""Races by order: something is taken for first, or for over, that need not be."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from races.catalogue import race, ray
from races.state import Cell, Log


@ray.remote
def tell(log: Any, what: str) -> None:
    log.note.remote(what)


@ray.remote
def tell_and_wait(log: Any, what: str) -> None:
    ray.get(log.note.remote(what))


@race(depth=1)
def two_submitters(fixed: bool) -> None:
    """A task was submitted first, so its call of the actor is expected to come before the driver's own."""
    log = Log.remote()
    done = tell_and_wait.remote(log, "first")
    if fixed:
        ray.get(done)
    ray.get(log.note.remote("second"))
    assert ray.get([done, log.read.remote()])[1][0] == ("first",)


@ray.remote
class Relay:
    def __init__(self, log: Any) -> None:
        self.log = log

    def send(self, what: str) -> None:
        self.log.note.remote(what)

    def send_and_wait(self, what: str) -> None:
        ray.get(self.log.note.remote(what))


@race(depth=1)
def overtaken_on_the_way(fixed: bool) -> None:
    """What goes through another actor is over when that has passed it on, but has not arrived."""
    log = Log.remote()
    relay = Relay.remote(log)
    ray.get((relay.send_and_wait if fixed else relay.send).remote("cause"))
    ray.get(log.note.remote("effect"))
    lines = ray.get(log.read.remote())
    assert lines[0] == ("cause",)


@ray.remote
def setup(cell: Any) -> None:
    ray.get(cell.set.remote("ready"))


@ray.remote
def work(cell: Any, log: Any) -> None:
    ray.get(log.note.remote(ray.get(cell.get.remote())))


@race(depth=1)
def used_before_set_up(fixed: bool) -> None:
    """Nobody waits for the task that sets an actor up."""
    cell, log = Cell.remote(None), Log.remote()
    done = setup.remote(cell)
    if fixed:
        ray.get(done)
    ray.get(work.remote(cell, log))
    ray.get(done)
    assert ray.get(log.read.remote()) == [("ready",)]


@ray.remote
def square(x: int) -> int:
    return x * x


@race(depth=1)
def wait_taken_for_ordered(fixed: bool) -> None:
    """`wait` gives what is ready, which need not be what was submitted first."""
    refs = [square.remote(i) for i in range(3)]
    ready, _ = ray.wait(refs, num_returns=1)
    first = refs[0] if fixed else ready[0]
    assert ray.get(first) == 0


@race(depth=1)
def zipped_as_completed(fixed: bool) -> None:
    """Results in the order of their completion are put beside the inputs in theirs."""
    inputs = [3, 4, 5]
    left = [square.remote(x) for x in inputs]
    done = []
    while left and not fixed:
        ready, left = ray.wait(left)
        done += ray.get(ready)
    results = ray.get(left) if fixed else done
    assert results == [x * x for x in inputs]


@race(depth=1)
def reduction_by_order(fixed: bool) -> None:
    """Floats are summed as they come: the sum depends on the order."""
    refs = [scaled.remote(x) for x in (1e16, 1.0, -1e16, 1.0)]
    total, left = 0.0, refs
    if fixed:
        total = sum(ray.get(refs))
    while left and not fixed:
        ready, left = ray.wait(left)
        total += ray.get(ready[0])
    assert total == sum((1e16, 1.0, -1e16, 1.0))


@ray.remote
def scaled(x: float) -> float:
    return x


@ray.remote
def produce(queue: Any, items: list[int], fixed: bool) -> None:
    for item in items:
        ray.get(queue.note.remote(item))
    if not fixed:
        ray.get(queue.note.remote("end"))


@race(depth=2)
def first_end_mark_counts(fixed: bool) -> None:
    """Two producers end with a mark each, and the consumer stops at the first: items of the other are lost."""
    queue = Log.remote()
    done = [produce.remote(queue, [1], fixed), produce.remote(queue, [2], fixed)]
    if fixed:
        ray.get(done)
        ray.get(queue.note.remote("end"))
    seen: list[Any] = []
    while ("end",) not in seen:
        seen = ray.get(queue.read.remote())
    seen = seen[: seen.index(("end",))]
    ray.get(done)
    assert sorted(seen) == [(1,), (2,)]


@ray.remote
def slow(cell: Any) -> None:
    time.sleep(0.1)
    ray.get(cell.set.remote("done"))


@race(depth=1)
def sleep_for_a_result(fixed: bool) -> None:
    """A sleep is expected to be longer than what others need."""
    cell = Cell.remote("")
    done = slow.remote(cell)
    if fixed:
        ray.get(done)
    else:
        time.sleep(0.5)
    assert ray.get(cell.get.remote()) == "done"
    ray.get(done)


@ray.remote
def answer(cell: Any) -> None:
    ray.get(cell.set.remote(42))


@race(depth=1)
def gives_up_polling(fixed: bool) -> None:
    """Three looks are expected to be enough: on a busy machine the task has not even begun."""
    cell = Cell.remote(None)
    done = answer.remote(cell)
    if fixed:
        ray.get(done)
    found = None
    for _ in range(3):
        found = ray.get(cell.get.remote())
        if found is not None:
            break
    ray.get(done)
    assert found == 42


@ray.remote
class Barrier:
    """Lets nobody on before all have arrived; the mistake is to count one arrival for every round."""

    def __init__(self, parties: int) -> None:
        self.parties = parties
        self.arrived = 0

    def arrive(self) -> int:
        self.arrived += 1
        return (self.arrived - 1) // self.parties

    def is_open(self, round: int, fixed: bool) -> bool:
        return self.arrived >= self.parties * (round + 1 if fixed else 1)


@ray.remote
def phases(barrier: Any, log: Any, fixed: bool) -> None:
    for round in range(2):
        ray.get(log.note.remote(round))
        ray.get(barrier.arrive.remote())
        while not ray.get(barrier.is_open.remote(round, fixed)):
            time.sleep(0.01)
    ray.get(log.note.remote(2))


@race(depth=2)
def barrier_used_twice(fixed: bool) -> None:
    """A barrier that is open stays open: the second round waits for nobody."""
    barrier, log = Barrier.remote(2), Log.remote()
    ray.get([phases.remote(barrier, log, fixed), phases.remote(barrier, log, fixed)])
    rounds = [round for (round,) in ray.get(log.read.remote())]
    assert rounds == sorted(rounds)


@ray.remote
def numbers() -> Iterator[int]:
    yield from [1, 2, 3]


@race(depth=1)
def stream_taken_for_over(fixed: bool) -> None:
    """A stream with nothing to read now is taken for one that has ended."""
    stream = numbers.remote()
    seen = [ray.get(next(stream))]
    if fixed:
        seen += [ray.get(ref) for ref in stream]
    else:
        with suppress(StopIteration):
            while stream.next_ready():
                seen.append(ray.get(next(stream)))
    assert seen == [1, 2, 3]


@ray.remote
def fire_and_forget(log: Any) -> None:
    for i in range(2):
        log.note.remote(i)


@race(depth=1)
def task_done_is_not_calls_done(fixed: bool) -> None:
    """A task is over, the calls that it has made and did not wait for are not."""
    log = Log.remote()
    ray.get(fire_and_forget.remote(log))
    if fixed:
        while len(ray.get(log.read.remote())) < 2:
            time.sleep(0.01)
    assert ray.get(log.read.remote()) == [(0,), (1,)]
