"""While memory is tight few tasks begin, but some always does; and in the end the newest one is ended."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minray.core.pressure import PATIENCE, Pressure
from minray.core.scheduler import HOLD_SECONDS
from tests.core.simulation import Simulation
from tests.core.templates import function


@pytest.fixture
def sim() -> Simulation:
    return Simulation(CPU=4)


def begun(sim: Simulation, *calls: int) -> list[bool]:
    """Which of some calls were sent to a worker."""
    sent = {id for worker in sim.scheduler.workers.values() for id in worker.sent}
    return [call in sent or call in sim.ended for call in calls]


def press(sim: Simulation, tight: bool = True) -> None:
    sim.graph.pressed("test", tight)
    sim.after()


def start(sim: Simulation, *calls: int) -> None:
    """Have the workers of some calls begin them."""
    for call in calls:
        worker = sim.at(call)
        worker.read()
        worker.begin()
        sim.receive(worker)


def test_while_memory_is_tight_one_task_runs_at_a_time(sim: Simulation) -> None:
    press(sim)
    calls = [sim.submit(function()) for _ in range(3)]
    assert begun(sim, *calls) == [True, False, False]
    sim.run_one()
    assert begun(sim, *calls) == [True, True, False]
    press(sim, False)
    assert begun(sim, *calls) == [True, True, True]


def test_those_that_run_already_go_on(sim: Simulation) -> None:
    calls = [sim.submit(function()) for _ in range(2)]
    press(sim)
    sim.run()
    assert all(call in sim.ended for call in calls)


def test_who_waits_for_a_task_that_has_not_begun_lets_it_begin(sim: Simulation) -> None:
    parent = sim.submit(function())
    start(sim, parent)
    press(sim)
    worker = sim.at(parent)
    child = worker.submit(function())
    sim.receive(worker)
    assert begun(sim, child) == [False]
    worker.get(child)
    sim.receive(worker)
    assert begun(sim, child) == [True]


def test_a_task_that_never_ends_does_not_hold_up_the_others_for_ever(sim: Simulation) -> None:
    press(sim)
    first, second = sim.submit(function()), sim.submit(function())
    assert begun(sim, first, second) == [True, False]
    sim.tick(HOLD_SECONDS / 2)
    assert begun(sim, second) == [False]
    sim.tick(HOLD_SECONDS / 2)
    assert begun(sim, second) == [True]


@given(
    events=st.lists(st.sampled_from(["submit", "nested", "finish", "block", "press", "release", "tick"]), max_size=40)
)
def test_whenever_nobody_runs_a_task_that_can_begin_has_begun(events: list[str]) -> None:
    sim = Simulation(CPU=3)
    calls = []
    for event in events:
        running = [worker for worker in sim.living() if worker.running and not worker.requests]
        if event == "submit":
            calls.append(sim.submit(function()))
        elif event == "nested" and running:
            calls.append(running[0].submit(function()))
        elif event == "block" and running and calls:
            running[0].get(calls[-1])
        elif event == "finish" and running:
            running[0].finish()
        elif event in ("press", "release"):
            press(sim, event == "press")
        elif event == "tick":
            sim.tick(0.3)
        for worker in sim.living():
            sim.receive(worker)
            worker.read()
            if worker.ready:
                worker.begin()
            sim.receive(worker)
        active = [w for w in sim.scheduler.workers.values() if w.sent and not w.blocked]
        waiting = [lane for lane in sim.scheduler.hungry.values() if sim.scheduler.has_room(lane.demand)]
        assert active or not waiting
    sim.run()
    assert all(call in sim.ended for call in calls)


# -- out of memory ------------------------------------------------------------------------------------------------


def read(sim: Simulation, pressure: Pressure, times: int, used: int = 96) -> None:
    for _ in range(times):
        pressure.read(used, 100, lambda pid: 7)
        sim.after()


def test_the_newest_task_is_ended_and_run_again_when_there_is_memory(sim: Simulation) -> None:
    pressure = Pressure(sim.graph, 0.95)
    calls = []
    for _ in range(3):
        calls.append(sim.submit(function(retries=1)))
        sim.tick(1)
        start(sim, calls[-1])
    newest = sim.at(calls[-1])
    read(sim, pressure, PATIENCE - 1)
    assert newest in sim.living() and sim.scheduler.tight
    read(sim, pressure, 1)
    assert newest not in sim.living() and calls[-1] not in sim.ended
    read(sim, pressure, 1, used=90)
    assert not sim.scheduler.tight
    sim.run()
    assert [sim.fault(call) for call in calls] == [None] * 3


def test_what_cannot_be_run_again_comes_last_and_fails(sim: Simulation) -> None:
    pressure = Pressure(sim.graph, 0.95)
    old = sim.submit(function(retries=1))
    sim.tick(1)
    start(sim, old)
    final = sim.submit(function())
    sim.tick(1)
    start(sim, final)
    read(sim, pressure, PATIENCE)
    assert begun(sim, final) == [True] and final not in sim.ended
    read(sim, pressure, PATIENCE)
    assert sim.fault(final) == "OutOfMemory"
    value = sim.value(final)
    assert value is not None and value[1][1] == ("f", 96, 100, 0.95, 0, 7)


def test_below_the_threshold_it_counts_anew(sim: Simulation) -> None:
    pressure = Pressure(sim.graph, 0.95)
    call = sim.submit(function())
    start(sim, call)
    for _ in range(3):
        read(sim, pressure, PATIENCE - 1)
        read(sim, pressure, 1, used=95)
    assert call not in sim.ended


def test_where_nothing_runs_nobody_is_ended(sim: Simulation) -> None:
    read(sim, Pressure(sim.graph, 0.95), 3 * PATIENCE)
    assert sim.scheduler.tight == {"memory"}
