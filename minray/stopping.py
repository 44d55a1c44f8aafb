"""Interrupting the task that a worker's main thread runs: KeyboardInterrupt in the user's code, and nowhere else.

        main thread:  Calls.run ──> Interruptible.run(id, function) ──> the user's code ──> minray.get, put ...
                         no                    yes                           yes              where it waits

Only exactly the call that is meant may be hit, and minray's own steps never: a message that was half sent, or a result
that was posted already, could not be taken back. So whoever interrupts looks at the stack first
(`interrupts.half_way`), and tries again in a millisecond if minray is at work. Python may also raise it in a `__del__`
or a weak reference's callback, where it is lost: `sys.unraisablehook` hears of that, and it is tried again.
"""

from __future__ import annotations

import _thread
import signal
import sys
import threading
from collections.abc import Callable, Container
from time import monotonic, sleep
from types import FrameType
from typing import Any, Protocol

from minray.interrupts import half_way, interruptible, raise_in

#: How soon to look again (s).
AGAIN_SECONDS = 0.001
#: How long an exception is looked after that was set for a thread (s).
WATCH_SECONDS = 1.0


class Interruptible(Protocol):
    """Runs tasks on the main thread, and interrupts them."""

    def run(self, id: int, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """Call `function`. The main thread. KeyboardInterrupt: it was interrupted."""
        ...

    def interrupt(self, id: int) -> None:
        """Interrupt the call `id`, if it runs, as soon as it is in the user's code. Any thread; does not wait."""
        ...


class BySignal:
    """For a process of the worker's own: a signal ends a sleep and a wait for a lock, too.

    SIGURG, because nobody else sends it, and a process that has no handler for it ignores it.
    """

    def __init__(self, cancelled: Container[int]) -> None:
        """The main thread. `cancelled`: calls that are not to begin."""
        self._cancelled = cancelled
        self._thread = threading.get_ident()
        self._running = 0
        self._wanted = 0
        self._raised = 0
        signal.signal(signal.SIGURG, self._on_signal)
        self._unraisable = sys.unraisablehook
        sys.unraisablehook = self._on_unraisable

    @interruptible
    def run(self, id: int, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        self._running = id
        try:
            if id in self._cancelled:  # since it left the queue
                raise KeyboardInterrupt
            return function(*args, **kwargs)
        finally:
            self._running = self._raised = 0

    def interrupt(self, id: int) -> None:
        self._wanted = id
        signal.pthread_kill(self._thread, signal.SIGURG)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if not self._wanted or self._wanted != self._running:
            return
        if half_way(frame):
            _thread.start_new_thread(self._again, (self._wanted,))
            return
        self._raised, self._wanted = self._wanted, 0  # once: the call may go on to catch it
        raise KeyboardInterrupt

    def _on_unraisable(self, lost: Any) -> None:
        if lost.exc_type is KeyboardInterrupt and self._raised and threading.get_ident() == self._thread:
            self.interrupt(self._raised)
        else:
            self._unraisable(lost)

    def _again(self, id: int) -> None:
        sleep(AGAIN_SECONDS)
        if self._wanted == id == self._running:
            signal.pthread_kill(self._thread, signal.SIGURG)


class ByException:
    """For a thread: its next Python instruction raises. What waits in C code (a sleep, a lock) is left until then."""

    def __init__(self, cancelled: Container[int], break_wait: Callable[[int], bool]) -> None:
        """`break_wait`: ends a wait of minray's own in the given thread, if that is where it is."""
        self._cancelled = cancelled
        self._thread = 0
        self._running = 0
        self._lock = threading.Lock()
        self._break_wait = break_wait

    @interruptible
    def run(self, id: int, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        self._thread = threading.get_ident()
        self._running = id
        try:
            if id in self._cancelled:  # since it left the queue
                raise KeyboardInterrupt
            return function(*args, **kwargs)
        finally:
            with self._lock:
                self._running = 0
            _raise_now()

    def interrupt(self, id: int) -> None:
        _thread.start_new_thread(self._interrupt, (id,))

    def _interrupt(self, id: int) -> None:
        if sys.version_info[:2] == (3, 11) and sys.gettrace() is not None:
            return  # under a tracer CPython 3.11 would spin in every other thread until that one wakes
        while True:
            with self._lock:  # so that the call cannot end between the look and the exception
                if self._running != id:
                    return
                lost = None if half_way(sys._current_frames().get(self._thread)) else _Lost(self._thread)
                if lost is not None:
                    raise_in(self._thread, KeyboardInterrupt)
            if lost is not None:
                if not lost.within(WATCH_SECONDS, lambda: self._running == id):
                    return
            elif self._break_wait(self._thread):
                return
            sleep(AGAIN_SECONDS)


def _raise_now() -> None:
    """An exception that was set for this thread is raised here at the latest: when a function begins."""


class _Lost:
    """Hears whether a KeyboardInterrupt that is set for a thread gets lost."""

    def __init__(self, thread: int) -> None:
        self._thread = thread
        self._lost = False
        self._before = sys.unraisablehook
        sys.unraisablehook = self._hear

    def _hear(self, lost: Any) -> None:
        if lost.exc_type is KeyboardInterrupt and threading.get_ident() == self._thread:
            self._lost = True
        else:
            self._before(lost)

    def within(self, seconds: float, running: Callable[[], bool]) -> bool:
        """Whether it does so within some time, or for as long as the call is `running`."""
        until = monotonic() + seconds
        while not self._lost and running() and monotonic() < until:
            sleep(AGAIN_SECONDS)
        if sys.unraisablehook == self._hear:
            sys.unraisablehook = self._before
        return self._lost
