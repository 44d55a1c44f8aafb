"""Calls of actors whose arguments are gone when they are to begin.

A task waits in its worker until its argument was made again. An actor's call must not: it may be this very actor that
is to make it. So the call comes back, and with it those behind it, so that their order stays:

    worker: c1 cannot begin ──(STALLED, c1)──> graph: c1, c2, c3 queue again, c1 waits for its argument
            c2, c3, and what else comes, are not begun <──("resume", worker)── what comes after that is
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from minray.core.cancelling import drop_cancelled

if TYPE_CHECKING:
    from minray.core.graph import TaskGraph
    from minray.core.tasks import Worker


def stalled(graph: TaskGraph, worker: Worker, id: int) -> None:
    """An actor's worker could not begin a call. It has let go what had come with that."""
    actor = worker.actor
    assert actor is not None
    if actor.template.concurrent:
        back = [worker.sent.pop(id)] if id in worker.sent else []
    else:
        back, worker.sent = list(worker.sent.values()), {}
        graph.out.append(("resume", worker))
    for task in back:
        if task.id != id:
            graph.unlend(worker, task)
    graph.actors.came_back(actor, drop_cancelled(graph, back))
