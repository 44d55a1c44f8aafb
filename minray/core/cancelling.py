"""Cancelling calls: what becomes of one depends on how far it has come.

    WAITING, READY    it ends here and now, as cancelled
    SENT              its worker is told: a call that it has not begun comes back, and ends here; one that runs is
                      interrupted there, and answers as it likes (an error, or a value: it may have been too late)
    SENT, by force    what is behind the call is recalled; if then the worker still has the call, it is ended with it
    DONE              nothing

A call that somebody wants cancelled is never run again. With `recursive` the calls that it has made, and those that
these have made, are cancelled too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from minray.core.numbering import call_of
from minray.core.tasks import DONE, READY, SENT, Task, Worker
from minray.core.value import Value, fault

if TYPE_CHECKING:
    from minray.core.graph import TaskGraph


def cancel(graph: TaskGraph, id: int, force: bool, recursive: bool) -> None:
    """Somebody wants the call that makes object `id` cancelled. ValueError: by force, an actor's call."""
    task = _maker(graph, id)
    if task is None:
        return
    if force and task.actor is not None:
        raise ValueError("force=True is not supported for actor tasks.")
    for one in [*(_descendants(graph, task) if recursive and task.state == SENT else ()), task]:
        if one.state != DONE:
            _cancel(graph, one, force and one.actor is None)
    graph._free_resources()


def _maker(graph: TaskGraph, id: int) -> Task | None:
    """The call that is to make a pending object, or that any item is of."""
    task = graph.tasks.get(call_of(id))
    if task is not None and task.stream is not None:
        return task
    entry = graph.objects.entries.get(id)
    return None if entry is None or entry.value is not None else task


def _descendants(graph: TaskGraph, task: Task) -> list[Task]:
    """The unfinished calls that a call has made, directly or not; children before their parents' later children."""
    children: dict[int, list[Task]] = {}
    for one in graph.tasks.values():
        if one.parent:
            children.setdefault(one.parent, []).append(one)
    found = [task]
    for one in found:
        found += children.pop(one.id, ())
    return found[1:]


def _cancel(graph: TaskGraph, task: Task, force: bool) -> None:
    worker = task.worker
    if worker is None:
        if task.actor is not None:
            graph.actors.drop(task.actor, task, _fault(task))
            return
        if task.state == READY:
            graph.scheduler.withdraw(task)
        graph.fail(task, _fault(task))
    elif force:
        task.cancelled = True
        worker.condemned = task
        condemn(graph, worker)
    elif not task.cancelled:
        task.cancelled = True
        graph.out.append(("cancel", worker, task))


def condemn(graph: TaskGraph, worker: Worker, deaf: bool = False) -> None:
    """End a worker that runs a call which is cancelled by force (or has another verdict), as soon as it has handed back
    what is behind that.

    `deaf`: it has not for long, so nothing behind the call has begun.
    """
    task = worker.condemned
    if task is None:
        return
    if worker.sent.get(task.id) is not task:  # it has been handed back, or was faster
        worker.condemned = worker.verdict = None
        return
    if len(worker.sent) > 1 and not deaf:
        if not worker.recalling:
            graph.scheduler.recall(worker)
        return
    del worker.sent[task.id]
    behind, worker.sent = list(worker.sent.values()), {}
    graph.scheduler.stop(worker, at_once=True)
    graph.scheduler.lose(worker)
    loans, worker.loans = worker.loans, {}
    for id, count in loans.items():
        graph.objects.release(id, count)
    graph.scheduler.requeue(drop_cancelled(graph, behind))
    if worker.verdict is None or task.cancelled:
        graph.fail(task, _fault(task))
    elif not task.retries:
        graph.fail(task, worker.verdict)
    else:
        if graph.history is not None:
            graph.history.append((task, worker, worker.verdict, 0.0, graph.scheduler.now))
        task.retries -= task.retries > 0
        graph.scheduler.requeue([task])


def drop_cancelled(graph: TaskGraph, tasks: Sequence[Task]) -> list[Task]:
    """Those of some calls, which their worker has not begun or could not finish, that are still to be run."""
    left = []
    for task in tasks:
        if task.cancelled:
            graph.fail(task, _fault(task))
            if task.actor is not None:
                graph.actors.call_finished(task.actor)
        else:
            left.append(task)
    return left


def _fault(task: Task) -> Value:
    return fault("Cancelled", task.id, 0 if task.actor is None else task.actor.id)
