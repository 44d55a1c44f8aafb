"""Where in a program something was asked for: the line of the user's code that called minray."""

from __future__ import annotations

import sys

_MINRAY = __name__.partition(".")[0]


def caller() -> str:
    """The innermost line of the running thread that is not minray's, as ``path:line in function``."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == _MINRAY:
        frame = frame.f_back
    code = frame.f_code
    return f"{code.co_filename}:{frame.f_lineno} in {code.co_name}"
