"""What becomes of calls when a machine runs out of memory.

    a reading above the threshold   -> few tasks are begun (`Scheduler.tight`), until one is not
    PATIENCE of them in a row       -> the newest task that can be run again is ended with its worker, and is run again;
                                       if there is none, the newest one, which fails. Then it counts anew.

Actors are not ended, nor is the driver.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from minray.core.cancelling import condemn
from minray.core.value import fault

if TYPE_CHECKING:
    from minray.core.graph import TaskGraph
    from minray.core.tasks import Task, Worker

#: So many readings above the threshold in a row before a task is ended: what holds back new ones may be enough.
PATIENCE = 4


class Pressure:
    """Follows the readings of the driver's machine."""

    def __init__(self, graph: TaskGraph, threshold: float) -> None:
        """`threshold`: the share of memory that may be in use."""
        self._graph = graph
        self._threshold = threshold
        self._above = 0  # readings in a row

    def read(self, used: int, total: int, usage: Callable[[int], int]) -> None:
        """`used` of `total` bytes are in use; `usage(pid)` is how many of them by a process."""
        graph = self._graph
        above = used > self._threshold * total
        graph.pressed("memory", above)
        if not above:
            self._above = 0
            return
        self._above += 1
        if self._above >= PATIENCE:
            found = newest(graph)
            if found is not None:
                task, worker = found
                self._above = 0
                machine = (used, total, self._threshold)
                worker.verdict = fault("OutOfMemory", task.name, *machine, worker.pid, usage(worker.pid))
                worker.condemned = task
                condemn(graph, worker)
        graph.scheduler.dispatch_all()


def newest(graph: TaskGraph) -> tuple[Task, Worker] | None:
    """The task that began last, of those that can be run again if there are any."""
    found = None
    best = (False, 0.0)
    for worker in graph.scheduler.workers.values():
        if worker.actor is None and worker.up and worker.sent and worker.condemned is None:
            task = next(iter(worker.sent.values()))
            rank = (task.retries != 0, worker.running_since)
            if not task.cancelled and (found is None or rank > best):
                found, best = (task, worker), rank
    return found
