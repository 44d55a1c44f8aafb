"""Races with failures, time-outs and cancellations: what was done is done twice, or is lost."""

from __future__ import annotations

from typing import Any

from races.catalogue import race, ray
from races.state import Cell


@ray.remote
class Ledger:
    """Counts what it is told, or (fixed) each thing once."""

    def __init__(self) -> None:
        self.total = 0
        self.seen: set[str] = set()

    def add(self, amount: int, key: str = "") -> int:
        if not key or key not in self.seen:
            self.seen.add(key)
            self.total += amount
        return self.total

    def read(self) -> int:
        return self.total


@ray.remote(max_retries=3)
def pay(ledger: Any, key: str) -> None:
    ray.get(ledger.add.remote(10, key))


@race(depth=1, faults="death")
def retry_pays_twice(fixed: bool) -> None:
    """A task that is run again after its worker died repeats what it has done."""
    ledger = Ledger.remote()
    try:
        ray.get(pay.remote(ledger, "invoice 1" if fixed else ""))
        total = ray.get(ledger.read.remote())
    except ray.exceptions.RayActorError:
        return  # the ledger itself died
    assert total == 10


@race(depth=1, faults="reply")
def reply_lost_pays_twice(fixed: bool) -> None:
    """A method that is retried when its reply is lost is run twice."""
    ledger = Ledger.options(max_task_retries=1, max_restarts=1).remote()
    ray.get(ledger.add.remote(10, "invoice 1" if fixed else ""))
    assert ray.get(ledger.read.remote()) == 10


@ray.remote(max_restarts=1, max_task_retries=2)
class Forgetful:
    """Keeps its state in itself, or (fixed) with another actor."""

    def __init__(self, store: Any = None) -> None:
        self.store = store
        self.items: list[int] = [] if store is None else list(ray.get(store[0].get.remote()))

    def add(self, item: int) -> int:
        if item not in self.items:
            self.items.append(item)
            if self.store is not None:
                ray.get(self.store[0].set.remote(list(self.items)))
        return len(self.items)


@race(depth=1, faults="death")
def state_lost_at_restart(fixed: bool) -> None:
    """An actor that is restarted begins with what its constructor makes."""
    store = Cell.remote([])
    actor = Forgetful.remote([store] if fixed else None)
    try:
        counts = [ray.get(actor.add.remote(i)) for i in range(2)]
    except ray.exceptions.RayError:
        return  # the store itself died, or the actor twice
    assert counts == [1, 2]


@ray.remote
def load() -> list[int]:
    return [1, 2, 3]


@race(depth=1, faults="object")
def object_lost(fixed: bool) -> None:
    """A value is expected to stay, although its node may be lost."""
    ref = load.remote()
    ray.wait([ref])
    try:
        assert sum(ray.get(ref)) == 6
    except ray.exceptions.ObjectLostError:
        if not fixed:
            raise
        assert sum(ray.get(load.remote())) == 6


@race(depth=1, faults="timeout")
def timed_out_and_sent_again(fixed: bool) -> None:
    """A call that has timed out is made again, although it may only be late."""
    ledger = Ledger.remote()
    key = "order 1" if fixed else ""
    for _ in range(2):
        try:
            ray.get(ledger.add.remote(10, key), timeout=5)
            break
        except ray.exceptions.GetTimeoutError:
            continue
    assert ray.get(ledger.read.remote()) == 10


@ray.remote
def charge(ledger: Any) -> str:
    ray.get(ledger.add.remote(10))
    return "charged"


@race(depth=2)
def cancel_too_late(fixed: bool) -> None:
    """A task is cancelled, and expected not to have done anything."""
    ledger = Ledger.remote()
    ref = charge.remote(ledger)
    ray.cancel(ref)
    try:
        ray.get(ref)
        charged = True
    except ray.exceptions.TaskCancelledError:
        charged = False
    total = ray.get(ledger.read.remote())
    assert fixed or (total == 10) == charged  # fixed: the ledger alone counts


@race(depth=2, faults="cancel")
def cancelled_but_done(fixed: bool) -> None:
    """A call counts as cancelled although it has run to its end."""
    ledger = Ledger.remote()
    ref = ledger.add.remote(10)
    ray.cancel(ref)
    try:
        total = ray.get(ref)
    except ray.exceptions.TaskCancelledError:
        total = ray.get(ledger.read.remote()) if fixed else 0
    assert total == ray.get(ledger.read.remote())


@ray.remote(max_restarts=1)
class Sequence:
    """Gives out numbers."""

    def __init__(self, store: Any = None) -> None:
        self.store = store
        self.next = 0 if store is None else ray.get(store[0].get.remote())

    def take(self) -> int:
        self.next += 1
        if self.store is not None:
            ray.get(self.store[0].set.remote(self.next))
        return int(self.next)


@race(depth=1, faults="death")
def number_given_twice(fixed: bool) -> None:
    """Numbers are unique as long as the actor that gives them out lives."""
    store = Cell.remote(0)
    sequence = Sequence.remote([store] if fixed else None)
    given = []
    for _ in range(3):
        try:
            given.append(ray.get(sequence.take.remote()))
        except ray.exceptions.RayError:  # also where the store died
            if fixed:
                return
    assert len(set(given)) == len(given)
