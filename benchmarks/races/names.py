"""Races about who exists, and deadlocks."""

from __future__ import annotations

import asyncio
from typing import Any

from races.catalogue import race, ray
from races.state import Cell


@ray.remote
def ensure(fixed: bool) -> int:
    """Use the one counter, or make it."""
    if fixed:
        counter = Cell.options(name="counter", get_if_exists=True, lifetime="detached").remote()
    else:
        try:
            counter = ray.get_actor("counter")
        except ValueError:
            counter = Cell.options(name="counter", lifetime="detached").remote()
    return int(ray.get(counter.add.remote(1)))


@race(depth=2)
def check_then_create(fixed: bool) -> None:
    """A named actor is looked for and then created: between the two another task creates it."""
    assert sorted(ray.get([ensure.remote(fixed), ensure.remote(fixed)])) == [1, 2]


@ray.remote
def found() -> None:
    ray.get(Cell.options(name="service", lifetime="detached").remote().get.remote())


@ray.remote
def look_up() -> Any:
    return ray.get(ray.get_actor("service").get.remote())


@race(depth=1)
def looked_up_too_early(fixed: bool) -> None:
    """An actor is looked up by name without waiting for the task that creates it."""
    made = found.remote()
    if fixed:
        ray.get(made)
    ray.get([made, look_up.remote()])


@ray.remote
class Peer:
    """Asks its peer, and waits for the answer, inside of a call."""

    def __init__(self) -> None:
        self.peer: Any = None

    def meet(self, peer: Any) -> None:
        self.peer = peer[0]

    def ask(self) -> str:
        return str(ray.get(self.peer.say.remote()))

    def say(self) -> str:
        return "hello"


@race(depth=2)
def circular_get(fixed: bool) -> None:
    """Two actors wait for each other's answer, each in a call that keeps it from answering."""
    a, b = Peer.remote(), Peer.remote()
    ray.get([a.meet.remote([b]), b.meet.remote([a])])
    if fixed:
        ray.get(a.ask.remote())
        ray.get(b.ask.remote())
    else:
        ray.get([a.ask.remote(), b.ask.remote()])


@ray.remote
class Mutex:
    def __init__(self) -> None:
        self.lock = asyncio.Lock()

    async def acquire(self) -> None:
        await self.lock.acquire()

    async def release(self) -> None:
        self.lock.release()


@ray.remote(num_cpus=0)
def hold_both(one: Any, other: Any) -> None:
    ray.get(one.acquire.remote())
    ray.get(other.acquire.remote())
    ray.get(one.release.remote())
    ray.get(other.release.remote())


@race(depth=2)
def locks_in_opposite_order(fixed: bool) -> None:
    """Two tasks take two locks, each the other one first."""
    a, b = Mutex.remote(), Mutex.remote()
    ray.get([hold_both.remote(a, b), hold_both.remote(a, b) if fixed else hold_both.remote(b, a)])


@ray.remote
class Mailbox:
    """Wakes who waits; the mistake is to forget a signal that comes before anybody waits."""

    def __init__(self, fixed: bool) -> None:
        self.fixed = fixed
        self.signalled = False
        self.waiters: list[asyncio.Future[None]] = []

    async def wait(self) -> None:
        if self.fixed and self.signalled:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiters.append(future)
        await future

    async def signal(self) -> None:
        self.signalled = True
        for future in self.waiters:
            future.set_result(None)
        self.waiters.clear()


@ray.remote
def wake_up(mailbox: Any) -> None:
    ray.get(mailbox.signal.remote())


@race(depth=1)
def lost_wake_up(fixed: bool) -> None:
    """A signal that comes before the wait is forgotten, and the wait never ends."""
    mailbox = Mailbox.remote(fixed)
    signal = wake_up.remote(mailbox)
    ray.get([mailbox.wait.remote(), signal])


@ray.remote(num_cpus=1)
def poll(cell: Any) -> None:
    while not ray.get(cell.get.remote()):
        pass


@ray.remote(num_cpus=1)
def press(cell: Any) -> None:
    ray.get(cell.set.remote(True))


@ray.remote
def outer(fixed: bool) -> int:
    """Takes the actor's place while it waits for it."""
    actor = Cell.options(num_cpus=1).remote(1) if not fixed else Cell.remote(1)
    return int(ray.get(actor.get.remote()))


@race(depth=2)
def actors_take_all_cpus(fixed: bool) -> None:
    """Each task waits for an actor of its own, and holds another actor's place: there are not enough for all."""
    first = Cell.options(num_cpus=0 if fixed else 4).remote(1)
    refs = [grab.remote(fixed), grab.remote(fixed)]
    ray.get([first.get.remote(), *refs])


@ray.remote(num_cpus=0)
def grab(fixed: bool) -> int:
    one = Cell.options(num_cpus=0 if fixed else 2).remote(1)
    ray.get(one.get.remote())
    two = Cell.options(num_cpus=0 if fixed else 2).remote(1)
    return int(ray.get(two.get.remote())) + int(ray.get(one.get.remote()))


@ray.remote
def last_call(actor: Any) -> int:
    return int(ray.get(actor.add.remote(1)))


@race(depth=1)
def killed_while_in_use(fixed: bool) -> None:
    """An actor is killed when its own calls are over, while a task still calls it."""
    actor = Cell.remote()
    user = last_call.remote(actor)
    ray.get(user if fixed else actor.add.remote(1))
    ray.kill(actor)
    ray.get(user)
