"""The memory monitor: reads how much memory of this machine is in use, and tells the graph when that is too much.

A thread of the driver's reads every 250 ms (``RAY_memory_monitor_refresh_ms``, 0: never). What follows is decided by
`minray.core.pressure`. On Linux the system is asked, and in a container its limit counts; elsewhere psutil is asked, if
it is installed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import NamedTuple

from minray.core.graph import TaskGraph
from minray.core.pressure import Pressure


class Reading(NamedTuple):
    """Bytes of memory: in use, and all there are."""

    used: int
    total: int


class Monitor:
    """A thread that reads, from `start` to `close`; none if it is to read every 0 seconds."""

    def __init__(
        self, graph: TaskGraph, threshold: float, seconds: float, decide: Callable[[Callable[[], None]], None]
    ) -> None:
        """`decide(event)` has an event for the graph happen, under the runtime's lock, and what it leads to."""
        self._pressure = Pressure(graph, threshold)
        self._threshold = threshold
        self._seconds = seconds
        self._decide = decide
        self._above = False
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if self._seconds:
            self._over = threading.Event()
            self._thread = threading.Thread(target=self._watch, name="minray-memory", daemon=True)
            self._thread.start()

    def close(self, timeout: float) -> None:
        """End it, wherever it is called."""
        if self._thread is not None:
            self._over.set()
            if threading.current_thread() is not self._thread:
                self._thread.join(timeout)

    def _watch(self) -> None:
        while not self._over.wait(self._seconds):
            reading = read_machine()
            if reading is None:
                return
            above = reading.used > self._threshold * reading.total
            if above or self._above:
                self._above = above
                self._decide(partial(self._pressure.read, *reading, memory_of))


def read_machine() -> Reading | None:
    """How much memory of the machine, or of the container, is in use; None: nobody can tell."""
    found = _meminfo()
    total, available = found.get("MemTotal"), found.get("MemAvailable")
    if total is None or available is None:
        return _ask_psutil()
    reading = Reading(total - available, total)
    container = _container()
    return container if container is not None and container.total < total else reading


def memory_of(pid: int) -> int:
    """How much of it a process has; 0: nobody can tell."""
    with suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/status") as file:
        for line in file:
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    with suppress(Exception):  # no such package, or no such process
        import psutil

        return int(psutil.Process(pid).memory_info().rss)
    return 0


def _meminfo() -> dict[str, int]:
    found = {}
    with suppress(OSError, ValueError, IndexError), open("/proc/meminfo") as file:
        for line in file:
            name, value, *_ = line.split()
            found[name.rstrip(":")] = int(value) * 1024
    return found


def _container() -> Reading | None:
    """What the control group says in which a container runs. Files that are cached can be dropped, and do not count."""
    for limit, current, stat in (
        ("memory.max", "memory.current", "memory.stat"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
    ):
        with suppress(OSError, ValueError):
            total = int(_text(limit))
            used = int(_text(current))
            for line in _text(stat).splitlines():
                name, value = line.split()
                if name in ("inactive_file", "active_file"):
                    used -= int(value)
            return Reading(max(0, used), total)
    return None


def _text(name: str) -> str:
    with open(f"/sys/fs/cgroup/{name}") as file:
        return file.read()


def _ask_psutil() -> Reading | None:
    with suppress(ImportError):
        import psutil

        memory = psutil.virtual_memory()
        return Reading(int(memory.total - memory.available), int(memory.total))
    return None
