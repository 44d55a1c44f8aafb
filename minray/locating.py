"""Where a thread is, in words: the line of the user's code that it is in, for messages."""

from __future__ import annotations

import linecache
import os
import signal
import sys
from types import FrameType

_PACKAGE = os.path.dirname(__file__) + os.sep


def line_of(thread: int, signals: bool) -> str | None:
    """Which line of the user's code a thread is in, which waits in minray's: ``"app.py:12, in f: get(ref)"``.

    None: a signal handler may be about to take it somewhere else, as an alarm is set. (`signals`: its process is its
    own, so that an alarm would be meant for it.)
    """
    if signals and is_alarm_set():
        return None
    frame = sys._current_frames().get(thread)
    inside = False
    while frame is not None and (is_ours(frame) or not inside):
        inside = is_ours(frame)  # below that may be frames of a backend
        frame = frame.f_back
    return "an unknown line" if frame is None else describe(frame)


def is_alarm_set() -> bool:
    """Whether a signal will come to this process."""
    return hasattr(signal, "getitimer") and signal.getitimer(signal.ITIMER_REAL)[0] > 0


def is_ours(frame: FrameType) -> bool:
    """Whether it runs code of minray's."""
    return frame.f_code.co_filename.startswith(_PACKAGE)


def describe(frame: FrameType) -> str:
    """The line that a frame is in."""
    file, line = frame.f_code.co_filename, frame.f_lineno
    text = linecache.getline(file, line).strip()
    return f"{file}:{line}, in {frame.f_code.co_name}" + (f": {text}" if text else "")
