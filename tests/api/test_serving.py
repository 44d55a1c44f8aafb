"""What workers ask of their owner is answered with what is there when the answer is sent."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest

from minray.core.graph import TaskGraph
from minray.core.tasks import Call, Worker
from minray.core.template import Code, TaskTemplate
from minray.core.value import NONE, STORED, Value
from minray.serving import Serving
from minray.wire import messages as m

TEMPLATE = TaskTemplate(b"f", Code(b"f", b"", "f"), "f")


@pytest.mark.parametrize("op", [m.GET, m.FETCH, m.WAIT])
def test_what_is_lost_before_the_answer_is_sent_is_waited_for_again(op: int) -> None:
    graph = TaskGraph()
    graph.node_joined(0, {"CPU": 20_000})
    outbox: deque[Any] = deque()
    serving = Serving(graph, outbox, "")
    for task in (1, 2):
        graph.submitted(task, TEMPLATE, Call(NONE))
    workers: list[Worker] = list(graph.scheduler.workers.values())
    for worker in workers:
        graph.worker_up(worker)

    def finish(task: int, value: Value) -> None:
        graph.finished(next(one for one in workers if task in one.sent), task, [value], 0.0)

    finish(1, (STORED, "there", ()))
    asker = workers[0]
    rest = (2, True, None) if op == m.WAIT else (None,)
    serving.handlers[op](asker, (op, 7, (1, 2), *rest))
    finish(2, NONE)
    graph.lineage.lost(1, "there")
    (watch,) = [decision[1] for decision in graph.take_out() if decision[0] == "wake"]
    serving.reply(watch.token)
    assert not outbox
    finish(1, (STORED, "again", ()))
    (watch,) = [decision[1] for decision in graph.take_out() if decision[0] == "wake"]
    serving.reply(watch.token)
    ((_, answer),) = outbox
    assert answer[3] == (1, 2) if op == m.WAIT else answer[2] == (1, 2)
