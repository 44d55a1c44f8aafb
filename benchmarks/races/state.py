"""Races on the state of actors: what is read is old by the time it is used."""

from __future__ import annotations

import asyncio
from typing import Any

from races.catalogue import race, ray


@ray.remote
class Cell:
    """A value that is read and written in calls of their own; `add` and `swap` do both at once."""

    def __init__(self, value: Any = 0) -> None:
        self.value = value

    def get(self) -> Any:
        return self.value

    def set(self, value: Any) -> None:
        self.value = value

    def add(self, amount: int) -> int:
        self.value += amount
        return int(self.value)

    def swap(self, old: Any, new: Any) -> bool:
        if self.value != old:
            return False
        self.value = new
        return True

    def take(self, amount: int) -> bool:
        if self.value < amount:
            return False
        self.value -= amount
        return True


@ray.remote
def bump(cell: Any, fixed: bool) -> None:
    if fixed:
        ray.get(cell.add.remote(1))
    else:
        ray.get(cell.set.remote(ray.get(cell.get.remote()) + 1))


@race(depth=2)
def lost_update(fixed: bool) -> None:
    """Two tasks read a counter and write it back one higher: one update is lost."""
    cell = Cell.remote()
    first = bump.remote(cell, fixed)
    ray.get(first)
    ray.get([bump.remote(cell, fixed), bump.remote(cell, fixed)])
    assert ray.get(cell.get.remote()) == 3


@ray.remote
def withdraw(account: Any, amount: int, fixed: bool) -> int:
    if fixed:
        return amount if ray.get(account.take.remote(amount)) else 0
    if ray.get(account.get.remote()) < amount:
        return 0
    account.add.remote(-amount)
    return amount


@race(depth=2)
def double_spend(fixed: bool) -> None:
    """The balance is checked before it is drawn on: two withdrawals pass the same check."""
    account = Cell.remote(100)
    paid = sum(ray.get([withdraw.remote(account, 60, fixed), withdraw.remote(account, 70, fixed)]))
    assert paid <= 100


@ray.remote
class Seats:
    def __init__(self) -> None:
        self.taken: dict[int, str] = {}

    def is_free(self, seat: int) -> bool:
        return seat not in self.taken

    def book(self, seat: int, who: str) -> None:
        self.taken[seat] = who

    def book_if_free(self, seat: int, who: str) -> bool:
        return self.taken.setdefault(seat, who) == who

    def owner(self, seat: int) -> str:
        return self.taken[seat]


@ray.remote
def book(seats: Any, who: str, fixed: bool) -> bool:
    if fixed:
        return bool(ray.get(seats.book_if_free.remote(1, who)))
    if ray.get(seats.is_free.remote(1)):
        ray.get(seats.book.remote(1, who))
        return True
    return False


@race(depth=2)
def double_booking(fixed: bool) -> None:
    """A seat is looked up and then booked: two customers are told that it is theirs."""
    seats = Seats.remote()
    assert sum(ray.get([book.remote(seats, who, fixed) for who in ("ann", "bob")])) == 1


@ray.remote
class Awaiting:
    """An async actor that awaits between reading and writing."""

    def __init__(self, fixed: bool) -> None:
        self.total = 0
        self.built = 0
        self.cache: Any = None
        self.seen: list[int] = []
        self.done = 0
        self.lock = asyncio.Lock() if fixed else None

    async def add(self, source: Any) -> None:
        if self.lock is not None:
            async with self.lock:
                await self._add(source)
        else:
            await self._add(source)

    async def _add(self, source: Any) -> None:
        total = self.total
        self.total = total + await source[0]

    async def get_total(self) -> int:
        return self.total

    async def build(self, source: Any) -> int:
        if self.lock is not None:
            async with self.lock:
                return await self._build(source)
        return await self._build(source)

    async def _build(self, source: Any) -> int:
        if self.cache is None:
            value = await source[0]
            self.built += 1
            self.cache = value
        return self.built

    async def once(self, source: Any, number: int) -> int:
        if self.lock is not None:
            self.lock = None
            self.seen = [-1]
        if self.seen[:1] == [-1]:  # fixed: noted before anything is awaited
            if number not in self.seen:
                self.seen.append(number)
                await source[0]
                self.done += 1
        elif number not in self.seen:
            await source[0]
            self.seen.append(number)
            self.done += 1
        return self.done


@ray.remote
def one() -> int:
    return 1


@race(depth=2)
def lost_update_across_await(fixed: bool) -> None:
    """A coroutine reads, awaits and writes: another one of the same actor comes in between."""
    actor = Awaiting.remote(fixed)
    ray.get([actor.add.remote([one.remote()]), actor.add.remote([one.remote()])])
    assert ray.get(actor.get_total.remote()) == 2


@race(depth=2)
def built_twice(fixed: bool) -> None:
    """A cache is filled at the first need, which two coroutines have at once."""
    actor = Awaiting.remote(fixed)
    assert ray.get([actor.build.remote([one.remote()]), actor.build.remote([one.remote()])]) == [1, 1]


@race(depth=2)
def handled_twice(fixed: bool) -> None:
    """A message is noted as handled after it is: its copy, which comes meanwhile, is handled too."""
    actor = Awaiting.remote(fixed)
    assert max(ray.get([actor.once.remote([one.remote()], 7), actor.once.remote([one.remote()], 7)])) == 1


@ray.remote
def lead(cell: Any, who: str, fixed: bool) -> bool:
    if fixed:
        return bool(ray.get(cell.swap.remote("", who)))
    if ray.get(cell.get.remote()) == "":
        ray.get(cell.set.remote(who))
        return bool(ray.get(cell.get.remote()) == who)
    return False


@race(depth=3)
def two_leaders(fixed: bool) -> None:
    """Candidates claim an empty office and check that it is theirs: each may check before the next one claims."""
    cell = Cell.remote("")
    assert sum(ray.get([lead.remote(cell, who, fixed) for who in ("a", "b")])) <= 1


@ray.remote
class Stack:
    """A stack, and how often it was changed."""

    def __init__(self, items: list[str]) -> None:
        self.items = items
        self.version = 0

    def look(self) -> tuple[list[str], list[str], int]:
        """The top, what is under it, the version."""
        return self.items[:1], self.items[1:2], self.version

    def pop(self) -> list[str]:
        self.version += 1
        top, self.items = self.items[:1], self.items[1:]
        return top

    def push(self, top: list[str]) -> None:
        self.version += 1
        self.items = top + self.items

    def pop_if(self, top: list[str], under: list[str], version: int | None) -> bool:
        """Take the top off, leaving `under`, if it is still `top` (and the version is this one)."""
        if self.items[:1] != top or version not in (None, self.version):
            return False
        self.items = under + self.items[2:]
        self.version += 1
        return True

    def read(self) -> list[str]:
        return self.items


@ray.remote
def take_the_second(stack: Any) -> list[str]:
    top = ray.get(stack.pop.remote())
    second = ray.get(stack.pop.remote())
    ray.get(stack.push.remote(top))
    return list(second)


@ray.remote
def take_the_first(stack: Any, fixed: bool) -> list[str]:
    while True:
        top, under, version = ray.get(stack.look.remote())
        if ray.get(stack.pop_if.remote(top, under, version if fixed else None)):
            return list(top)


@race(depth=3)
def aba(fixed: bool) -> None:
    """The top of a stack is the same as before, what is under it is not: who compares tops brings back what is gone."""
    stack = Stack.remote(["a", "b", "c"])
    taken = ray.get([take_the_second.remote(stack), take_the_first.remote(stack, fixed)])
    assert sorted([*taken[0], *taken[1], *ray.get(stack.read.remote())]) == ["a", "b", "c"]


@ray.remote
def reconfigure(cell: Any) -> None:
    ray.get(cell.set.remote("new"))


@ray.remote
def use(cell: Any, log: Any, fixed: bool) -> None:
    mode = ray.get(cell.get.remote())
    if fixed:
        ray.get(log.note.remote(mode, mode))
    else:
        ray.get(log.note.remote(mode, ray.get(cell.get.remote())))


@ray.remote
class Log:
    def __init__(self) -> None:
        self.lines: list[Any] = []

    def note(self, *what: Any) -> None:
        self.lines.append(what)

    def read(self) -> list[Any]:
        return self.lines


@race(depth=2)
def torn_read(fixed: bool) -> None:
    """A setting is looked up twice in one task: it may change in between."""
    cell, log = Cell.remote("old"), Log.remote()
    ray.get([use.remote(cell, log, fixed), reconfigure.remote(cell)])
    assert all(first == second for first, second in ray.get(log.read.remote()))


@ray.remote(max_concurrency=2)
class Threaded:
    """Two calls at a time, each on a thread."""

    def __init__(self, source: Any, fixed: bool) -> None:
        import threading

        self.source = source
        self.n = 0
        self.lock = threading.Lock() if fixed else None

    def add(self) -> int:
        if self.lock is not None:
            with self.lock:
                return self._add()
        return self._add()

    def _add(self) -> int:
        n = self.n
        step = ray.get(self.source.get.remote())
        self.n = n + step
        return self.n


@race(depth=2)
def threads_without_a_lock(fixed: bool) -> None:
    """Two threads of an actor read and write an attribute, and wait for another actor in between."""
    actor = Threaded.remote(Cell.remote(1), fixed)
    assert max(ray.get([actor.add.remote(), actor.add.remote()])) == 2


@ray.remote
class Server:
    """The parameter server of the tutorial."""

    def __init__(self) -> None:
        self.weights = 0.0
        self.version = 0

    def pull(self) -> tuple[float, int]:
        return self.weights, self.version

    def push(self, weights: float, version: int) -> bool:
        self.weights = weights
        self.version += 1
        return True

    def push_if_new(self, weights: float, version: int) -> bool:
        return version == self.version and self.push(weights, version)


@ray.remote
def train(server: Any, fixed: bool) -> None:
    while True:
        weights, version = ray.get(server.pull.remote())
        push = server.push_if_new if fixed else server.push
        if ray.get(push.remote(weights + 1.0, version)):
            return


@race(depth=2)
def stale_gradient(fixed: bool) -> None:
    """Workers pull weights, compute, and push the sum: a push on top of old weights undoes another one."""
    server = Server.remote()
    ray.get([train.remote(server, fixed) for _ in range(3)])
    assert ray.get(server.pull.remote())[0] == 3.0
