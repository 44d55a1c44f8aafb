"""Tasks: when they run, how they end, what becomes of those that depend on them."""

from __future__ import annotations

import pytest

from minray.core.numbering import NEXT
from minray.core.tasks import Worker
from minray.core.value import NAMED_DEPENDANTS, NONE
from tests.core.sim_worker import BOOM
from tests.core.simulation import Simulation
from tests.core.templates import function, value

f = function()


def test_a_task_runs_and_its_value_is_there(sim: Simulation) -> None:
    x = sim.submit(f)
    assert sim.value(x) is None

    worker = sim.at(x)
    worker.read()
    worker.begin()
    result = value()
    worker.finish(result)
    sim.receive(worker)

    assert sim.value(x) is result


@pytest.mark.parametrize("returns", [0, 1, 3])
def test_a_call_makes_as_many_objects_as_it_declares(sim: Simulation, returns: int) -> None:
    x = sim.submit(function(returns))
    sim.run()
    *made, beyond = range(x, x + (returns + 1) * NEXT, NEXT)
    assert [sim.value(id) for id in made] == [NONE] * returns
    assert sim.fault(beyond) == "ObjectLost"  # nobody made that one


def test_an_error_is_the_value_of_every_object_of_the_call(sim: Simulation) -> None:
    x = sim.submit(function(2))
    worker = sim.at(x)
    worker.read()
    worker.begin()
    worker.fail()
    sim.receive(worker)
    assert [sim.value(x), sim.value(x + NEXT)] == [BOOM, BOOM]


def test_a_task_waits_for_its_pending_arguments(sim: Simulation) -> None:
    x = sim.submit(f)
    y = sim.submit(f)
    z = sim.submit(f, x, y)
    sim.step(sim.at(x))
    sim.step(sim.at(x))
    assert sim.value(x) and z not in sim.begun and not sim.value(y)
    sim.run()
    assert sim.value(z)


def test_the_same_pending_argument_twice_is_waited_for_once(sim: Simulation) -> None:
    x = sim.submit(f)
    y = sim.submit(f, x, x)
    sim.run()
    assert sim.value(y) == NONE


def test_an_argument_that_nobody_knows_fails_the_call(sim: Simulation) -> None:
    x = sim.submit(f, 12345)
    assert sim.fault(x) == "DependencyFailed"
    assert x not in sim.begun


def fail(sim: Simulation, call: int) -> None:
    worker = sim.at(call)
    worker.read()
    worker.begin()
    worker.fail()
    sim.receive(worker)


def test_dependants_of_a_failed_call_fail_without_being_run(sim: Simulation) -> None:
    x = sim.submit(f)
    y = sim.submit(f, x)
    z = sim.submit(f, y)
    fail(sim, x)

    assert sim.value(z) == (9, ("DependencyFailed", (("f", "f"), BOOM)), ())
    assert sim.begun.keys() == {x}


def test_a_call_submitted_after_its_argument_failed_fails_at_once(sim: Simulation) -> None:
    x = sim.submit(f)
    fail(sim, x)
    assert sim.fault(sim.submit(f, x)) == "DependencyFailed"


def test_the_first_failed_argument_is_the_one_that_is_blamed(sim: Simulation) -> None:
    fine, lost, x = sim.put(value()), 12345, sim.submit(f)
    fail(sim, x)
    y = sim.submit(f, fine, x, lost)
    assert sim.value(y) == (9, ("DependencyFailed", (("f",), BOOM)), ())


def test_a_failed_call_does_not_hold_up_those_that_do_not_depend_on_it(sim: Simulation) -> None:
    x, y = sim.submit(f), sim.submit(f)
    fail(sim, x)
    sim.run()
    assert sim.value(y) == NONE


# -- long chains ---------------------------------------------------------------------------------------------------

LONG = 100_000


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> Simulation:
    """A run whose books are audited at its end alone: an audit takes as long as there are tasks."""
    monkeypatch.setattr("tests.core.owner.check", lambda sim: None)
    sim = Simulation()
    monkeypatch.setattr(sim.graph, "check", lambda: None)
    return sim


def finish_all(sim: Simulation) -> None:
    """Every call returns as soon as it is sent, with nothing between it and the graph."""
    while sim.graph.out:
        for op, worker, *rest in sim.graph.take_out():
            if op == "start":
                sim.graph.worker_up(worker)
            elif op == "run":
                sim.graph.finished(worker, rest[0].id, [NONE], 0.1)


def chain(sim: Simulation, first: int) -> list[int]:
    """Calls each of which has the one before as its argument."""
    ids = [first]
    for _ in range(LONG - 1):
        ids.append(sim.submit(f, ids[-1]))
    return ids


@pytest.mark.slow
def test_a_long_chain_of_calls_is_run_without_recursion(unchecked: Simulation) -> None:
    first = unchecked.submit(f)
    worker = next(iter(unchecked.scheduler.workers.values()))
    ids = chain(unchecked, first)
    unchecked.graph.finished(worker, first, [NONE], 0.1)
    finish_all(unchecked)
    assert len(unchecked.ended) == LONG
    assert unchecked.value(ids[-1]) == NONE


@pytest.mark.slow
def test_a_long_chain_fails_without_recursion_and_its_last_error_is_small(unchecked: Simulation) -> None:
    ids = chain(unchecked, unchecked.submit(f))
    fail(unchecked, ids[0])
    assert len(unchecked.ended) == LONG
    last = unchecked.value(ids[-1])
    assert last is not None
    names, error = last[1][1]
    assert error is BOOM and len(names) == NAMED_DEPENDANTS


@pytest.mark.slow
def test_a_long_chain_of_values_inside_values_is_freed_without_recursion(unchecked: Simulation) -> None:
    last = unchecked.put(value())
    for _ in range(LONG):
        outer = unchecked.put(value(last))
        unchecked.release(last)
        last = outer
    assert len(unchecked.objects.entries) == LONG + 1
    unchecked.release(last)
    assert not unchecked.objects.entries


# -- crashes and retries -------------------------------------------------------------------------------------------


def begin(sim: Simulation, call: int) -> None:
    worker = sim.at(call)
    worker.read()
    worker.begin()
    sim.receive(worker)


def crash(sim: Simulation, call: int) -> None:
    worker = sim.at(call)
    worker.die()
    sim.receive(worker)


def test_a_call_whose_worker_died_is_run_again_as_often_as_it_allows(sim: Simulation) -> None:
    x = sim.submit(function(retries=2))
    for _ in range(2):
        begin(sim, x)
        crash(sim, x)
        assert sim.value(x) is None
    begin(sim, x)
    crash(sim, x)
    assert sim.fault(x) == "WorkerCrashed"
    assert len(sim.begun[x]) == 3


def test_a_call_may_ask_to_be_run_again_for_ever(sim: Simulation) -> None:
    x = sim.submit(function(retries=-1))
    for _ in range(20):
        begin(sim, x)
        crash(sim, x)
    sim.run()
    assert sim.value(x) == NONE


def test_calls_behind_the_one_that_ran_are_not_charged_for_the_crash(sim: Simulation) -> None:
    f.pace = 0.0001
    x, y, z = (sim.submit(f) for _ in range(3))
    assert sim.at(z) is sim.at(x), "sent ahead"
    begin(sim, x)
    crash(sim, x)
    assert sim.fault(x) == "WorkerCrashed"
    sim.run()
    assert sim.value(y) == sim.value(z) == NONE


def test_an_exception_is_retried_only_if_the_options_ask_for_it(sim: Simulation) -> None:
    x = sim.submit(function(retries=1))
    for _ in range(2):
        begin(sim, x)
        worker = sim.at(x)
        worker.fail(retry=True)
        sim.receive(worker)
    assert sim.value(x) == BOOM
    assert len(sim.begun[x]) == 2


def test_a_worker_that_never_came_up_says_nothing_about_its_call(sim: Simulation) -> None:
    x = sim.submit(function(R=0.5, CPU=3))  # fits nowhere yet
    sim.join(1, CPU=3, R=1)
    for _ in range(3):
        crash(sim, x)
        assert sim.value(x) is None
    sim.run()
    assert sim.value(x) == NONE


def test_a_call_ends_even_if_no_worker_ever_comes_up(sim: Simulation) -> None:
    x = sim.submit(function(CPU=3))
    sim.join(1, CPU=3)
    for _ in range(4):
        crash(sim, x)
    assert sim.fault(x) == "WorkerCrashed"


def test_what_a_worker_says_of_calls_that_it_was_not_sent_is_not_believed(sim: Simulation) -> None:
    x = sim.submit(f)
    begin(sim, x)
    other = next(worker for worker in sim.scheduler.workers.values() if x not in worker.sent)
    sim.graph.finished(other, x, [NONE], 0.0)
    sim.graph.failed(other, x, BOOM, False, 0.0)
    sim.graph.returned(other, [x])
    assert sim.value(x) is None
    sim.graph.worker_lost(Worker(1234, other.node), "never heard of it")
    sim.run()
    assert sim.value(x) == NONE


def test_what_is_decided_for_a_worker_that_is_lost_by_then_is_not_carried_out(sim: Simulation) -> None:
    x = sim.submit(f)
    y = sim.submit(function(retries=1), x)
    ran = sim.at(x)
    ran.read()
    ran.begin()
    ran.finish()
    sim.receive(ran, carry_out=False)  # decides where to run y
    chosen = sim.at(y)
    chosen.die()
    sim.receive(chosen, carry_out=False)
    sim.carry_out()
    assert sim.stale == 1
    sim.run()
    assert sim.value(y) == NONE and len(sim.begun[y]) == 1
