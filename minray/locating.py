"""Where a thread is, in words: the line of the user's code that it is in, for messages."""

from __future__ import annotations

import linecache
import os
import signal
import sys

_PACKAGE = os.path.dirname(__file__) + os.sep


def line_of(thread: int, signals: bool) -> str | None:
    """Which line of the user's code a thread is in, which waits in minray's: ``"app.py:12, in f: get(ref)"``.

    None: a signal handler may be about to take it somewhere else, as an alarm is set. (`signals`: its process is its
    own, so that an alarm would be meant for it.)
    """
    if signals and hasattr(signal, "getitimer") and signal.getitimer(signal.ITIMER_REAL)[0]:
        return None
    frame = sys._current_frames().get(thread)
    inside = False
    while frame is not None and (frame.f_code.co_filename.startswith(_PACKAGE) or not inside):
        inside = frame.f_code.co_filename.startswith(_PACKAGE)  # below that may be frames of a backend
        frame = frame.f_back
    if frame is None:
        return "an unknown line"
    file, line = frame.f_code.co_filename, frame.f_lineno
    text = linecache.getline(file, line).strip()
    return f"{file}:{line}, in {frame.f_code.co_name}" + (f": {text}" if text else "")
