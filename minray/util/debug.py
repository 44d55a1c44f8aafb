"""`log_once`: say something the first time only. Ray's `ray.util.debug`."""

from __future__ import annotations

import time

#: After so many seconds without news, `enable_periodic_logging` lets everything be said once more.
_PERIOD = 60.0

_said: set[str] = set()
_last_said = 0.0
_disabled = False
_periodic = False


def log_once(key: str) -> bool:
    """Whether this is the first time that this process asks for `key`: ``if log_once("x"): logger.info(...)``."""
    global _last_said
    if _disabled:
        return False
    if key not in _said:
        _said.add(key)
        _last_said = time.monotonic()
        return True
    if _periodic and time.monotonic() - _last_said > _PERIOD:
        _said.clear()  # as in Ray: from the next time on
        _last_said = time.monotonic()
    return False


def disable_log_once_globally() -> None:
    """Make `log_once` False for all keys, in this process."""
    global _disabled
    _disabled = True


def enable_periodic_logging() -> None:
    """Make `log_once` forget what was said after a minute without news, in this process."""
    global _periodic
    _periodic = True


def reset_log_once(key: str | None = None) -> None:
    """Forget that a key was asked for; None: all of them."""
    if key is None:
        _said.clear()
    else:
        _said.discard(key)
