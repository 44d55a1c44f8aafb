"""Threads that are none of the simulation's: those of an executor that was there before the run, say.

They run in real time, and may release a lock that simulated code waits for. So where nothing can go on and somebody
waits for a lock, they are waited for before that counts as a deadlock.
"""

from __future__ import annotations

import _thread
import sys
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Protocol
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from minray_sim.fibers import Fiber

#: How long (s, real ones) threads of the outside are waited for, and how often it is looked whether to go on with that.
SECONDS = 1.0
INTERVAL = 0.05
#: The name of the threads that run fibers.
HOST = "minray-sim"
#: Where each stood when it was last waited for in vain: as long as it stands there it is idle, or not awake yet.
_idle: WeakKeyDictionary[threading.Thread, object] = WeakKeyDictionary()


class Released(Protocol):
    """What a thread of the outside has released."""

    def hand_on(self) -> None:
        """Those who wait for it can go on."""


class Outside:
    """What comes from the outside during one run."""

    def __init__(self) -> None:
        self.released: deque[Released] = deque()
        self._bell = _thread.allocate_lock()
        self._bell.acquire()

    def ring(self, released: Released) -> None:
        """A thread of the outside has released this. (Any thread.)"""
        self.released.append(released)
        try:
            self._bell.release()
        except RuntimeError:
            pass  # it has been rung, and nobody has come yet

    def come_in(self) -> None:
        """Tell those who wait. (Whose turn it is.)"""
        while self.released:
            self.released.popleft().hand_on()

    def wait(self, fibers: dict[int, Fiber], over: Callable[[], bool]) -> bool:
        """Wait until something is released, unless nobody can do that, or it is over: False. (Whose turn it is.)"""
        if not any(fiber.in_lock for fiber in fibers.values()):
            return False
        threads = [one for one in threading.enumerate() if _is_outside(one, fibers)]
        since = monotonic()
        while threads and not self.released and not over():
            places = {one: _place(one) for one in threads}
            waited = monotonic() - since
            if waited >= (INTERVAL if all(_idle.get(one) == place for one, place in places.items()) else SECONDS):
                _idle.update(places)
                break
            self._bell.acquire(timeout=INTERVAL)
            threads = [one for one in threads if one.is_alive()]
        return bool(self.released)


def _is_outside(thread: threading.Thread, fibers: dict[int, Fiber]) -> bool:
    return thread.ident not in fibers and thread.name != HOST and "_minray_fiber" not in thread.__dict__


def _place(thread: threading.Thread) -> object:
    """Where in its code it is."""
    frame = sys._current_frames().get(thread.ident or 0)
    return frame and (id(frame), frame.f_lasti)
