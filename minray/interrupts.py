"""Ctrl-C in the driver, raised where it breaks nothing.

Python raises KeyboardInterrupt between any two bytecodes of the main thread: also between reading a worker's message
and telling the graph of it, and then the message is lost and a `get` that comes later waits for ever. So while a run
lives, SIGINT has a handler that looks at the stack first, from the innermost frame outwards:

    a function marked `interruptible`       -> raise: it waits, or runs code of the user's, and its callers are prepared
    any other function of minray's          -> not now: at the next call of minray's, or look again in a millisecond
    neither                                 -> raise: this is the user's own code

It costs nothing until somebody presses Ctrl-C. Whoever has a handler of their own keeps it. (In Jupyter every cell runs
under IPython's handler; there, and under asyncio's, Python's own behaviour remains.)
"""

from __future__ import annotations

import _thread
import signal
import threading
from collections.abc import Callable
from time import monotonic, sleep
from types import CodeType, FrameType
from typing import Any, TypeVar

__all__ = ["deliver", "guard", "half_way", "interruptible", "protect", "raise_in", "unguard"]

F = TypeVar("F", bound=Callable[..., Any])

#: How soon to look again (s), and how long an interrupt is put off at most, should something hang (s).
AGAIN_SECONDS = 0.001
_LONGEST_PAUSE = 0.05
LIMIT_SECONDS = 1.0

_interruptible: set[CodeType] = set()
#: The packages whose functions must not be left half-way.
_guarded = {"minray"}
#: Whether one is put off, and since when. Public calls ask before they begin. To look again is not enough: it takes the
#: interpreter's lock, which a main thread that does nothing but call minray gives up inside minray's functions alone.
put_off = False
_since = 0.0
#: The next SIGINT is not a new one.
_repeated = False
#: Somebody does one run after another, and has taken SIGINT over for all of them.
kept = False


def interruptible(function: F) -> F:
    """Mark a function that Ctrl-C may leave at any point: it has consumed nothing, and all of its callers clean up."""
    _interruptible.add(function.__code__)
    return function


def raise_in(thread: int, error: type[BaseException]) -> None:
    """Make the next Python instruction of a thread of this process raise `error`. What it waits for in C goes on."""
    import ctypes

    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))


def guard(module: str) -> None:
    """Take over SIGINT if nobody else has, for minray and the package of a backend's `module`. In the main thread."""
    _guarded.intersection_update({"minray"})  # the backend of an earlier run may have been some of the user's own code
    protect(module)
    global _repeated
    if not kept and threading.current_thread() is threading.main_thread():
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            _repeated = False
            signal.signal(signal.SIGINT, _on_interrupt)


def protect(module: str) -> None:
    """Functions of the package of a backend's `module` must not be left half-way."""
    package = module.partition(".")[0]
    if package not in ("", "__main__"):
        _guarded.add(package)


def unguard() -> None:
    """Give SIGINT back. KeyboardInterrupt: one was put off until now."""
    if kept:
        deliver()
    elif threading.current_thread() is threading.main_thread():
        if signal.getsignal(signal.SIGINT) is _on_interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            deliver()


def deliver() -> None:
    """Raise KeyboardInterrupt if one was `put_off`. At the start of a public call: nothing has been done yet."""
    global put_off
    if put_off and threading.current_thread() is threading.main_thread():
        put_off = False
        raise KeyboardInterrupt


def _on_interrupt(number: int, frame: FrameType | None) -> None:
    global put_off, _since, _repeated
    repeated, _repeated = _repeated, False
    if repeated and not put_off:
        return  # it has been delivered
    now = monotonic()
    if half_way(frame) and (not put_off or now < _since + LIMIT_SECONDS):
        if not put_off:
            put_off, _since = True, now  # before the thread starts, which looks
        try:
            # Not a threading.Timer: its locks may be those that this thread holds right now.
            _thread.start_new_thread(_repeat, ())
            return
        except RuntimeError:  # the interpreter is exiting
            pass
    put_off = False
    raise KeyboardInterrupt


def half_way(frame: FrameType | None) -> bool:
    """Whether a thread with this innermost frame is in the middle of something of minray's."""
    while frame is not None:
        if frame.f_code in _interruptible:
            return False
        if frame.f_globals.get("__name__", "").partition(".")[0] in _guarded:
            return True
        frame = frame.f_back
    return False


def _repeat() -> None:
    """Interrupt the main thread once more, in a moment: it may be in a wait by then."""
    global put_off, _repeated
    sleep(AGAIN_SECONDS)
    if not put_off:
        return
    if signal.getsignal(signal.SIGINT) is not _on_interrupt:
        put_off = False  # it is for whoever handles it now
        _send()
        return
    _repeated = True
    pause = AGAIN_SECONDS
    while _repeated and signal.getsignal(signal.SIGINT) is _on_interrupt:
        _send()
        # One that comes when the main thread is about to sleep in C, and has looked for the last time, wakes nobody.
        sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def _send() -> None:
    if hasattr(signal, "pthread_kill"):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)  # wakes it, too
    else:
        _thread.interrupt_main()
