"""What a run, or a test with a run of its own, has left behind: it should be nothing."""

from __future__ import annotations

import gc
import glob
import os
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

#: How long to wait for what ends by itself (s): a dropped reference is given back with the next message, a thread or a
#: process ends in its own time. It takes milliseconds.
PATIENCE = 5.0


def unsettled(seconds: float = 4 * PATIENCE) -> str:
    """What is in the run of this process beyond an idle run, when all that was to end has had its time; "" for nothing.

    Objects and actors that somebody still has a reference to, calls that have not ended, amounts in use. To be called
    where the program holds no references any more. An actor that nobody refers to ends when it has been made, which may
    take a process some time: up to `seconds` are waited.
    """
    import minray
    from minray.util.state import list_actors, list_objects, list_tasks

    def look() -> str:
        gc.collect()
        actors = [f"actor {row.class_name}" for row in list_actors(filters=[("state", "!=", "DEAD")])]
        going_on: Any = [("state", "!=", "FINISHED"), ("state", "!=", "FAILED")]
        tasks = [f"call {row.name}" for row in list_tasks(filters=going_on)]
        objects = [f"object {row.object_id} ({row.reference_type})" for row in list_objects()]
        total, free = minray.cluster_resources(), minray.available_resources()
        amounts = [
            f"{total[name] - free.get(name, 0)} {name} in use" for name in total if free.get(name) != total[name]
        ]
        return ", ".join([*actors, *tasks, *objects, *amounts])

    return _patiently(look, seconds)


@dataclass
class Footprint:
    """What this process has around it: remembered when made, compared by `left`."""

    threads: set[threading.Thread] = field(default_factory=lambda: set(threading.enumerate()))
    processes: set[int] = field(default_factory=lambda: set(_children()))
    files: set[str] = field(default_factory=lambda: _files())

    def left(self) -> str:
        """What is there now and was not then, when all that was to end has had its time; "" for nothing."""

        def look() -> str:
            threads = [f"thread {thread.name}" for thread in set(threading.enumerate()) - self.threads]
            children = _children()
            processes = [f"process {pid} ({children[pid]})" for pid in children.keys() - self.processes]
            return ", ".join([*threads, *processes, *sorted(_files() - self.files)])

        return _patiently(look, PATIENCE)


def _patiently(look: Callable[[], str], seconds: float) -> str:
    deadline = time.monotonic() + seconds
    while (found := look()) and time.monotonic() < deadline:
        time.sleep(0.005)
    return found


def _children() -> dict[int, str]:
    """The processes below this one, by id: what each is running."""
    import psutil

    found: dict[int, Any] = {}
    for child in psutil.Process().children(recursive=True):
        try:
            found[child.pid] = " ".join(child.cmdline()) or child.name()
        except psutil.Error:  # it has just ended
            continue
    return found


def _files() -> set[str]:
    """The directories of runs of this process: files, sockets, shared memory."""
    return {path for at in ("/dev/shm", tempfile.gettempdir()) for path in glob.glob(f"{at}/minray-{os.getpid()}-*")}
