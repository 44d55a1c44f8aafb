"""The reader sleeps through replies only where nobody can go on sooner because of one."""

from __future__ import annotations

from typing import Any

import pytest

from minray.core.scheduler import Scheduler
from minray.core.tasks import Actor, Node, Worker
from minray.napping import CALM_READS, NAP_SECONDS, SHARE, SHORTEST_SECONDS, TICK_SECONDS, Naps
from minray.wire import messages as m

RESULT = [(1, [(m.DONE, 7, (), 0.001)])]


@pytest.fixture
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found: list[float] = []
    monkeypatch.setattr("minray.napping._sleep", found.append)
    return found


@pytest.fixture
def scheduler() -> Scheduler:
    """Of a run with a worker (1) and an actor's (2), in which nothing can be stuck for long."""
    scheduler = Scheduler([])
    scheduler.workers = {number: Worker(number, Node(0, {})) for number in (1, 2)}
    scheduler.workers[2].actor = object.__new__(Actor)
    scheduler.due = 60.0
    scheduler.cushion = 1.0
    scheduler.rate = 4000.0
    return scheduler


@pytest.fixture
def calm(scheduler: Scheduler) -> Naps:
    naps = Naps(scheduler)
    for _ in range(CALM_READS):
        naps.heard(RESULT)
    return naps


def test_a_nap_is_as_long_as_the_work_ahead_allows(calm: Naps, scheduler: Scheduler, slept: list[float]) -> None:
    for cushion, timeout in ((1.0, None), (0.002, 1.0), (1.0, 0.001)):
        scheduler.cushion = cushion
        calm.before(timeout)
    assert slept == pytest.approx([NAP_SECONDS, SHARE * 0.002, 0.001])


def test_nobody_naps_where_little_would_come_meanwhile_or_a_call_was_just_sent(
    calm: Naps, scheduler: Scheduler, slept: list[float]
) -> None:
    calm.before(0.0001)
    scheduler.cushion, scheduler.rate = 0.9 * SHORTEST_SECONDS / SHARE, 1e6
    calm.before(None)
    scheduler.cushion, scheduler.rate = 1.0, 0.9 / NAP_SECONDS
    calm.before(None)
    scheduler.rate, scheduler.due = 4000.0, 0.0  # calls were sent since somebody looked
    calm.before(None)
    assert not slept


def test_at_first_nobody_naps(scheduler: Scheduler, slept: list[float]) -> None:
    naps = Naps(scheduler)
    naps.heard(RESULT)
    naps.before(None)
    assert not slept


@pytest.mark.parametrize(
    "batch",
    [
        (1, [(m.SUBMIT, 9), (m.GET, 1, (9,), None)]),
        (1, [(m.YIELD, 7, 0, ())]),
        (2, [(m.DONE, 7, (), 0.001)]),
        (3, [(m.DONE, 7, (), 0.001)]),
    ],
    ids=["a question", "an item", "an actor's result", "somebody who is gone"],
)
def test_whatever_somebody_may_wait_for_ends_the_calm(calm: Naps, slept: list[float], batch: Any) -> None:
    calm.heard([*RESULT, batch])
    calm.before(None)
    assert not slept


def test_the_reader_comes_back_when_a_call_may_be_stuck(scheduler: Scheduler) -> None:
    naps = Naps(scheduler)
    assert naps.before(None) == 60.0 and naps.before(1.0) == 1.0
    scheduler.now = 59.999
    assert naps.before(None) == TICK_SECONDS
