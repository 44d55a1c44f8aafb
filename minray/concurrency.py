"""Actors that run several calls at once: when each call begins, and on which thread.

    CALL ──add──> its group's queue ──> a thread of that group                      (sync class, max_concurrency > 1)
                                   └──> the event loop of that group, looping.py   (any `async def` method)

A *concurrency group* has a queue and a limit of its own; a call whose method names none is in the default group, whose
limit is `max_concurrency`. In a group calls begin in the order in which they came. The worker's main thread reads the
channel meanwhile, unless an event loop does.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Protocol

from minray.current_call import current_call
from minray.running import Calls, ExitActor
from minray.wire.messages import Message

#: The group of calls that name none.
DEFAULT = ""


class Concurrency(Protocol):
    """How an actor runs its calls at once. Its methods are the main thread's, but for what they say themselves."""

    #: The thread that reads the channel in place of the main thread, whenever it is idle; 0: none.
    reader: int

    def create(self, message: Message) -> bool:
        """Make the actor, and wait for it; see `Calls.create`."""
        ...

    def add(self, message: Message) -> None:
        """Run a call as soon as its group has room. Does not wait. The main thread, or whoever reads."""
        ...

    def cancel(self, id: int) -> bool:
        """Somebody has cancelled a call, which is in `Calls.cancelled`. True: it was waiting, and will not begin. Any
        thread."""
        ...

    def threads(self) -> list[threading.Thread]:
        """Those that run calls."""
        ...

    def close(self) -> None:
        """Let the threads end. Does not wait."""
        ...


def group_of(message: Message) -> str:
    """The group that a CALL is to run in."""
    extra = message[10]
    name: str = extra.get("concurrency_group", DEFAULT) if extra else DEFAULT
    return name


class Turnout:
    """Who is inside: when a call has ended the actor nobody begins any more, and the last to leave tells."""

    def __init__(self, ended: Callable[[BaseException], None]) -> None:
        self._ended = ended
        self._inside = 0
        self._leaving = False
        self._crashed = False
        self._lock = threading.Lock()

    def enter(self) -> bool:
        """Begin a call, unless the actor is ending."""
        with self._lock:
            self._inside += not self._leaving
            return not self._leaving

    def leave(self, ends: bool = False) -> None:
        """A call is over; `ends`: it has ended the actor."""
        with self._lock:
            self._inside -= 1
            self._leaving |= ends
            last = self._leaving and not self._inside and not self._crashed
        if last:
            self._ended(ExitActor())

    def crash(self, error: SystemExit) -> None:
        """A call has ended the worker, or somebody has: those that have not begun never do."""
        with self._lock:
            self._leaving = self._crashed = True
        self._ended(error)


class Threads:
    """One pool of threads for each group. The actor itself is made on the worker's main thread (as in Ray).

    `limits`: how many calls each group runs at once. `enter` is called first of all on every thread that runs calls,
    `ended` on such a thread: with SystemExit when a call has ended the worker, with ExitActor when one has ended the
    actor and those that had begun are over.
    """

    reader = 0

    def __init__(
        self,
        limits: Mapping[str, int],
        calls: Calls,
        enter: Callable[[], None],
        ended: Callable[[BaseException], None],
    ) -> None:
        self._calls = calls
        self._enter = enter
        self._turnout = Turnout(ended)
        self._pools = {name: _Pool(limit, self._serve) for name, limit in limits.items()}

    def create(self, message: Message) -> bool:
        return self._calls.create(message)

    def add(self, message: Message) -> None:
        self._pools[group_of(message)].add(message)

    def cancel(self, id: int) -> bool:
        return any(pool.remove(id) for pool in self._pools.values())

    def threads(self) -> list[threading.Thread]:
        return [thread for pool in self._pools.values() for thread in pool.threads]

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()

    def _serve(self, pool: _Pool) -> None:
        """A thread's whole life."""
        with suppress(SystemExit):  # killed while it waits: no hook for threads' errors is to hear of it
            self._take_calls(pool)

    def _take_calls(self, pool: _Pool) -> None:
        self._enter()
        while (message := pool.take()) is not None and self._turnout.enter():
            ends = False
            try:
                self._calls.run(message)
            except ExitActor:
                ends = True
            except SystemExit as error:
                self._turnout.crash(error)
                return
            del message  # it may hold the arguments until the next call
            current_call.set(None)  # it holds the actor
            self._turnout.leave(ends)


class _Pool:
    """Up to `limit` threads, started when they are needed, and the calls that wait for one."""

    def __init__(self, limit: int, serve: Callable[[_Pool], None]) -> None:
        self._limit = limit
        self._serve = serve
        self._calls: deque[Message | None] = deque()
        self._there = threading.Semaphore(0)  # at least as often as there are calls
        self._idle = threading.Semaphore(0)
        self.threads: list[threading.Thread] = []

    def add(self, message: Message) -> None:
        self._put(message)
        if len(self.threads) < self._limit and not self._idle.acquire(blocking=False):
            name = f"minray-call-{len(self.threads) + 1}"
            thread = threading.Thread(target=self._serve, args=(self,), name=name, daemon=True)
            self.threads.append(thread)
            thread.start()

    def take(self) -> Message | None:
        """The next call, for one of the threads; None: there will be no more."""
        while True:
            if not self._there.acquire(blocking=False):
                self._idle.release()
                self._there.acquire()
            try:
                return self._calls.popleft()
            except IndexError:  # it was cancelled
                continue

    def remove(self, id: int) -> bool:
        """Take a call that waits out of the queue; False if it is not there (any more). Any thread."""
        for message in tuple(self._calls):
            if message is not None and message[1] == id:
                try:
                    self._calls.remove(message)
                except ValueError:  # a thread was faster
                    return False
                return True
        return False

    def close(self) -> None:
        for _ in self.threads:
            self._put(None)

    def _put(self, message: Message | None) -> None:
        self._calls.append(message)
        self._there.release()
