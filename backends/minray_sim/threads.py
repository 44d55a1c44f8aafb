"""Locks and threads of the standard library, for simulated code: who waits for a lock lets others run.

A lock that simulated code makes is one of these, and so is what `threading`, `queue` and `concurrent.futures` build on
locks. A thread that simulated code starts is a fiber.
"""

from __future__ import annotations

import _thread
import queue
import re
import sys
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from minray_sim import active
from minray_sim.outside import SECONDS

if TYPE_CHECKING:
    from minray_sim.events import Event
    from minray_sim.fibers import Fiber

#: The number in the default name of a thread, or of an executor.
_NUMBER = re.compile(r"-\d+")
_Lock = threading.Lock
_RLock = threading.RLock
_allocate_lock = _thread.allocate_lock
_SimpleQueue = queue.SimpleQueue
_start = threading.Thread.start
_join = threading.Thread.join
_is_alive = threading.Thread.is_alive


class SimLock:
    """`threading.Lock`. A real one inside, since threads that are not simulated may use it, too."""

    def __init__(self) -> None:
        self._lock = _allocate_lock()
        self._waiting: list[Fiber] = []

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        if self._lock.acquire(False):
            return True
        if not blocking:
            return False
        simulation = active.caller()
        if simulation is None:
            return self._acquire_outside(timeout)
        limit = None if timeout < 0 else simulation.now + timeout
        while True:
            me = simulation.me()
            if me is None:  # the run is over
                return False
            self._waiting.append(me)
            me.in_lock = True
            try:
                # Once more: a thread of the outside that has released it just now has not seen who waits.
                if self._lock.acquire(False):
                    return True
                in_time = simulation.pause(None if limit is None else max(0.0, limit - simulation.now))
            finally:
                me.in_lock = False
                if me in self._waiting:
                    self._waiting.remove(me)
            if self._lock.acquire(False):
                return True
            if not in_time:
                return False

    def _acquire_outside(self, timeout: float) -> bool:
        """By a thread that is not simulated: in real time."""
        if active.simulation is not None:
            return self._lock.acquire(True, timeout)
        if not self._lock.acquire(True, SECONDS if timeout < 0 else timeout):
            if timeout < 0:
                raise RuntimeError("A lock of a simulated run is waited for after its end, which has left it locked.")
            return False
        return True

    def release(self) -> None:
        self._lock.release()
        if self._waiting:
            if active.caller() is None and active.simulation is not None:
                active.simulation.outside.ring(self)
            else:
                self.hand_on()

    def hand_on(self) -> None:
        """Those who wait may try again."""
        waiting, self._waiting = self._waiting, []
        for fiber in waiting:
            fiber.release()

    def locked(self) -> bool:
        return self._lock.locked()

    def _at_fork_reinit(self) -> None:
        self._lock = _allocate_lock()
        self._waiting = []

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()

    def __reduce__(self) -> Any:
        raise TypeError("cannot pickle '_thread.lock' object")

    def __repr__(self) -> str:
        return f"<SimLock {'locked' if self.locked() else 'unlocked'}>"


def _lock() -> Any:
    return _Lock() if active.caller() is None else SimLock()


def _rlock() -> Any:
    return _RLock() if active.caller() is None else threading._PyRLock()  # type: ignore[attr-defined]


def _allocate() -> Any:
    return _allocate_lock() if active.caller() is None else SimLock()


class SimpleQueue:
    """`queue.SimpleQueue`."""

    def __new__(cls) -> Any:
        return _SimpleQueue() if active.caller() is None else queue._PySimpleQueue()  # type: ignore[attr-defined]

    def __class_getitem__(cls, item: Any) -> Any:
        return cls


# -- threads ------------------------------------------------------------------------------------------------------
# What becomes of a simulated one is in its attribute `_minray_fiber`: the fiber, or None until that has begun.


def start(self: threading.Thread) -> None:
    """`Thread.start`."""
    simulation = active.caller()
    if simulation is None:
        _start(self)
        return
    if not getattr(self, "_initialized", False):
        raise RuntimeError("thread.__init__() not called")
    if "_minray_fiber" in self.__dict__ or self._started.is_set():  # type: ignore[attr-defined]
        raise RuntimeError("threads can only be started once")
    me = simulation.me()
    self.__dict__["_minray_fiber"] = None
    self.__dict__["_minray_joiners"] = []
    self._started.set()  # type: ignore[attr-defined]
    _started.append(self)
    place = None if me is None else me.place
    where = "main" if place is None else place.label
    # Default names have a number that counts up from run to run.
    label = f"{where}/{_NUMBER.sub('', self.name)}"
    simulation.spawn(f"{label}.{simulation.count(label)}", place, partial(_run, self))


def _run(thread: threading.Thread, _: Event) -> None:
    fiber = active.fiber()
    assert fiber is not None
    thread.__dict__["_minray_fiber"] = fiber
    ident = _thread.get_ident()
    thread._ident = ident  # type: ignore[attr-defined]
    before = threading._active.get(ident)  # type: ignore[attr-defined]
    threading._active[ident] = thread  # type: ignore[attr-defined]
    try:
        thread.run()
    except SystemExit:
        pass
    except BaseException as error:
        threading.excepthook(threading.ExceptHookArgs((type(error), error, error.__traceback__, thread)))
    finally:
        thread.__dict__["_minray_over"] = True
        threading._active[ident] = before  # type: ignore[attr-defined]
        for joiner in thread.__dict__["_minray_joiners"]:
            joiner.release()


def join(self: threading.Thread, timeout: float | None = None) -> None:
    """`Thread.join`."""
    if "_minray_fiber" not in self.__dict__:
        _join(self, timeout)
        return
    simulation = active.caller()
    while simulation is not None and is_alive(self):
        me = simulation.me()
        if me is None:
            return
        self.__dict__["_minray_joiners"].append(me)
        if not simulation.pause(timeout):
            return


def is_alive(self: threading.Thread) -> bool:
    """`Thread.is_alive`."""
    if "_minray_fiber" not in self.__dict__:
        return _is_alive(self)
    return "_minray_over" not in self.__dict__ and active.simulation is not None


_PATCHES: list[tuple[Any, str, Any]] = [
    (threading, "Lock", _lock),
    (threading, "RLock", _rlock),
    (threading, "_allocate_lock", _allocate),
    (queue, "SimpleQueue", SimpleQueue),
    (threading.Thread, "start", start),
    (threading.Thread, "join", join),
    (threading.Thread, "is_alive", is_alive),
]


#: Threads of the present run.
_started: list[Any] = []


def forget() -> None:
    """The run is over, and so are its threads, for whoever asks."""
    for thread in _started:
        thread.__dict__["_minray_over"] = True
        if hasattr(thread, "_is_stopped"):  # up to Python 3.12
            thread._is_stopped = True
        elif hasattr(thread, "_handle"):  # its own says that it has not begun, which cannot end
            thread._handle = threading._make_thread_handle(thread.ident or 0)  # type: ignore[attr-defined]
            thread._handle._set_done()
    _started.clear()
    pools = sys.modules.get("concurrent.futures.thread")
    queues = {} if pools is None else pools._threads_queues
    for thread in [thread for thread in queues if "_minray_fiber" in thread.__dict__]:
        del queues[thread]


def patches() -> list[tuple[Any, str, Any]]:
    return _PATCHES
