"""What the tasks of hygiene.py do. A module of its own, because workers import it."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

#: Of the tasks 0 to 7, the one that takes its process along.
FATAL = 3
#: How long a task runs that is still running when its program ends (s): longer than anybody waits for it.
LONG_SECONDS = 60.0


def square(x: int) -> int:
    return x * x


def square_or_die(x: int) -> int:
    if x == FATAL:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.02)
    return x * x


def run_long(flag: str) -> None:
    """Say so in the file `flag`, and go on for long."""
    Path(flag).touch()
    time.sleep(LONG_SECONDS)


def unpicklable(x: int) -> Any:
    return threading.Lock()


def add_one(array: Any) -> Any:
    return array + 1


def sum_of_squares(system: str) -> int:
    """A task that has four tasks of its own, on the same system."""
    from scenarios.pools import find

    return sum(find(system).inside(square, list(range(4))))
