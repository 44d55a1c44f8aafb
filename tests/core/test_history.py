"""What the graph remembers of calls, actors and workers that are gone."""

from __future__ import annotations

import pytest

from minray.core.graph import TaskGraph
from minray.core.tasks import NO_CALL, Call, Worker
from minray.core.template import Code, TaskTemplate
from minray.core.value import ERROR, NONE, PLAIN, Value

TEMPLATE = TaskTemplate(b"f", Code(b"f", b"", "f"), "f", max_retries=1)
FAILURE: Value = (ERROR, b"boom", ())


def graph(history: int) -> tuple[TaskGraph, Worker]:
    made = TaskGraph(history)
    made.node_joined(0, {"CPU": 10_000}, warm=1)
    (worker,) = made.scheduler.workers.values()
    made.worker_up(worker)
    return made, worker


def submit(made: TaskGraph, id: int) -> None:
    made.submitted(id, TEMPLATE, Call((PLAIN, ("argument",), ())))


def test_a_call_that_has_ended_is_remembered_without_its_arguments() -> None:
    made, worker = graph(history=10)
    submit(made, 1)
    made.scheduler.now = 5.0
    made.finished(worker, 1, [NONE], 0.25)
    assert made.history is not None
    ((task, where, error, seconds, when),) = made.history
    assert (task.id, where, error, seconds, when) == (1, worker, None, 0.25, 5.0)
    assert task.call is NO_CALL
    made.check()


def test_each_try_is_remembered_with_its_error() -> None:
    made, worker = graph(history=10)
    submit(made, 1)
    made.failed(worker, 1, FAILURE, retry=True, seconds=0.1)
    made.check()
    made.failed(made.tasks[1].worker or worker, 1, FAILURE, retry=True, seconds=0.2)
    assert made.history is not None
    assert [(task.id, error, seconds) for task, _, error, seconds, _ in made.history] == [
        (1, FAILURE, 0.1),
        (1, FAILURE, 0.2),
    ]
    made.check()


def test_a_lost_worker_is_remembered_and_so_is_the_try_that_it_took_along() -> None:
    made, worker = graph(history=10)
    submit(made, 1)
    made.scheduler.now = 3.0
    made.worker_lost(worker, "it died")
    assert list(made.scheduler.lost) == [(worker, 3.0)]
    assert made.history is not None
    ((task, where, error, _, when),) = made.history
    assert (task.id, where, when) == (1, worker, 3.0)
    assert error is not None
    made.check()


@pytest.mark.parametrize("history", [0, 3])
def test_no_more_calls_are_remembered_than_was_asked_for(history: int) -> None:
    made, worker = graph(history)
    for id in range(1, 6):
        submit(made, id)
        made.finished(worker, id, [NONE], 0.1)
    assert [task.id for task, *_ in made.history or ()] == [3, 4, 5][3 - history :]
    made.check()
