"""Cancelling: what waits ends, what is at a worker comes back or is interrupted, and nobody else is hit."""

from __future__ import annotations

import pytest

from minray.core.numbering import NEXT, results_of
from minray.core.scheduler import DEAF_SECONDS
from minray.core.tasks import DONE
from minray.core.value import NONE
from tests.core.sim_worker import SimWorker
from tests.core.simulation import Simulation
from tests.core.templates import actor_class, function, method, value


def begin(worker: SimWorker, sim: Simulation) -> None:
    worker.read()
    worker.begin()
    sim.receive(worker)


@pytest.fixture
def quick(sim: Simulation) -> object:
    """A function that is known to be quick, so that calls of it are sent ahead; both workers are busy with others."""
    template = function(1, 0)
    sim.submit(template)
    sim.run()
    return template


def test_a_task_that_waits_for_its_arguments_is_dropped(sim: Simulation) -> None:
    x = sim.submit(function(GPU=1))
    y = sim.submit(function(), x)
    sim.cancel(y)
    assert sim.fault(y) == "Cancelled"
    sim.join(7, GPU=1)
    sim.run()
    assert sim.value(x) == NONE and y not in sim.begun


def test_a_task_that_waits_for_a_worker_is_dropped_and_what_needs_it_fails(sim: Simulation) -> None:
    x = sim.submit(function(GPU=1))
    y = sim.submit(function(), x)
    sim.cancel(x)
    assert (sim.fault(x), sim.fault(y)) == ("Cancelled", "DependencyFailed")


def test_a_lane_without_tasks_does_not_wait(sim: Simulation) -> None:
    x = sim.submit(function(CPU=3))
    assert sim.scheduler.hungry
    sim.cancel(x)
    assert not sim.scheduler.hungry


def test_a_call_that_was_sent_and_not_begun_comes_back_and_ends(sim: Simulation) -> None:
    x = sim.submit(function(), refs=[sim.put(value(stored=True))])
    worker = sim.at(x)
    sim.cancel(x)
    assert sim.value(x) is None
    worker.read()
    sim.receive(worker)
    assert sim.fault(x) == "Cancelled"
    assert not sim.scheduler.workers[worker.id].loans


def test_a_call_that_runs_answers_for_itself(sim: Simulation) -> None:
    x, y = sim.submit(function()), sim.submit(function())
    for call in (x, y):
        begin(sim.at(call), sim)
    sim.cancel(x)
    worker = sim.at(x)
    worker.read()
    worker.fail(retry=True)
    sim.receive(worker)
    assert sim.value(x) is not None and sim.fault(x) is None
    sim.run()
    assert sim.value(y) == NONE


def test_a_cancelled_call_is_not_retried(sim: Simulation) -> None:
    x = sim.submit(function(retries=-1))
    begin(sim.at(x), sim)
    sim.cancel(x)
    worker = sim.at(x)
    worker.fail(retry=True)
    sim.receive(worker)
    assert sim.value(x) is not None


def test_a_cancelled_call_whose_worker_dies_is_cancelled(sim: Simulation) -> None:
    x = sim.submit(function(retries=-1))
    begin(sim.at(x), sim)
    worker = sim.at(x)
    sim.cancel(x)
    worker.die()
    sim.receive(worker)
    assert sim.fault(x) == "Cancelled"


def test_a_call_is_told_of_its_cancellation_once(sim: Simulation) -> None:
    x = sim.submit(function())
    begin(sim.at(x), sim)
    sim.cancel(x)
    sim.cancel(x)
    assert [message for message in sim.at(x).inbox if message[0] == "cancel"] == [("cancel", x)]


def test_any_of_a_call_s_objects_names_it(sim: Simulation) -> None:
    x = sim.submit(function(3, GPU=1))
    sim.cancel(x + 2 * NEXT)
    assert [sim.fault(id) for id in results_of(x, 3)] == ["Cancelled"] * 3


def test_what_is_done_or_stored_stays(sim: Simulation) -> None:
    x, stored = sim.submit(function()), sim.put(value())
    sim.run()
    for id in (x, stored):
        before = sim.value(id)
        sim.cancel(id)
        assert sim.value(id) == before


# -- by force ------------------------------------------------------------------------------------------------------


def test_by_force_the_worker_ends_with_the_call(sim: Simulation) -> None:
    x = sim.submit(function(retries=3))
    worker = sim.at(x)
    begin(worker, sim)
    sim.cancel(x, force=True)
    assert sim.fault(x) == "Cancelled" and not worker.alive
    assert sim.free() == 2


def test_those_behind_it_are_taken_back_first_and_run_elsewhere(sim: Simulation, quick: object) -> None:
    calls = [sim.submit(quick) for _ in range(8)]  # type: ignore[arg-type]
    x = calls[0]
    worker = sim.at(x)
    assert len(sim.scheduler.workers[worker.id].sent) > 1
    begin(worker, sim)
    sim.cancel(x, force=True)
    assert worker.alive
    worker.read()
    sim.receive(worker)
    assert sim.fault(x) == "Cancelled"
    assert [worker.alive] == [False]
    sim.run()
    assert [sim.value(call) for call in calls[1:]] == [NONE] * 7
    assert all(len(sim.begun[call]) == 1 for call in calls)


def test_a_worker_that_does_not_answer_is_ended_after_a_while(sim: Simulation, quick: object) -> None:
    calls = [sim.submit(quick) for _ in range(8)]  # type: ignore[arg-type]
    worker = sim.at(calls[0])
    begin(worker, sim)
    sim.cancel(calls[0], force=True)
    sim.tick(DEAF_SECONDS / 2)
    assert worker.alive
    sim.tick(DEAF_SECONDS)
    assert sim.fault(calls[0]) == "Cancelled"
    assert [worker.alive] == [False]
    sim.run()
    assert [sim.value(call) for call in calls[1:]] == [NONE] * 7


def test_who_was_faster_than_the_force_lives_on(sim: Simulation, quick: object) -> None:
    calls = [sim.submit(quick) for _ in range(8)]  # type: ignore[arg-type]
    worker = sim.at(calls[0])
    begin(worker, sim)
    sim.cancel(calls[0], force=True)
    worker.finish()
    worker.read()
    sim.receive(worker)
    assert sim.value(calls[0]) == NONE and worker.alive


# -- with what it has made -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("recursive", [True, False])
def test_the_calls_of_a_call_are_cancelled_with_it_if_that_is_wanted(sim: Simulation, recursive: bool) -> None:
    x = sim.submit(function(none=0))
    parent = sim.at(x)
    begin(parent, sim)
    y = parent.submit(function(none=0))
    sim.receive(parent)
    child = sim.at(y)
    begin(child, sim)
    z = child.submit(function(GPU=1))
    sim.receive(child)
    other = sim.submit(function(GPU=1))
    sim.cancel(x, recursive=recursive)
    assert sim.fault(z) == ("Cancelled" if recursive else None)
    assert (("cancel", y) in child.inbox) is recursive
    assert ("cancel", x) in parent.inbox
    assert sim.value(other) is None


# -- actors --------------------------------------------------------------------------------------------------------


def test_a_call_that_queues_for_an_actor_is_dropped_and_those_behind_it_go_on(sim: Simulation) -> None:
    actor = sim.create(actor_class())
    sim.run()
    x = sim.submit(function(GPU=1))
    held, behind = sim.call(actor, x), sim.call(actor)
    sim.cancel(held)
    assert sim.fault(held) == "Cancelled"
    sim.run()
    assert sim.value(behind) == NONE


def test_a_call_at_an_actor_that_has_not_begun_comes_back(sim: Simulation) -> None:
    actor = sim.create(actor_class())
    sim.run()
    first, second = sim.call(actor), sim.call(actor, template=method(retries=-1))
    worker = sim.of(actor)
    begin(worker, sim)
    sim.cancel(second)
    worker.read()
    sim.receive(worker)
    assert sim.fault(second) == "Cancelled"
    sim.run()
    assert sim.value(first) == NONE and second not in sim.begun


def test_the_last_call_of_an_actor_without_handles_can_be_cancelled(sim: Simulation) -> None:
    actor = sim.create(actor_class())
    sim.run()
    x = sim.submit(function(GPU=1))
    call = sim.call(actor, x)
    sim.release(actor)
    assert actor in sim.actors
    sim.cancel(call)
    assert actor not in sim.actors


def test_by_force_the_calls_of_actors_cannot_be_cancelled(sim: Simulation) -> None:
    actor = sim.create(actor_class())
    call = sim.call(actor)
    with pytest.raises(ValueError, match="force=True is not supported for actor tasks"):
        sim.cancel(call, force=True)
    assert sim.graph.tasks[call].state != DONE


# -- several calls at once -----------------------------------------------------------------------------------------


def test_an_actor_without_an_order_gets_each_call_when_its_arguments_are_there(sim: Simulation) -> None:
    actor = sim.create(actor_class(concurrent=True))
    sim.run()
    held, free = sim.call(actor, sim.submit(function(GPU=1))), sim.call(actor)
    sim.run()
    assert sim.value(free) == NONE and sim.value(held) is None


def test_its_calls_end_in_any_order_and_only_one_is_cancelled(sim: Simulation) -> None:
    actor = sim.create(actor_class(concurrent=True))
    sim.run()
    calls = [sim.call(actor) for _ in range(3)]
    worker = sim.of(actor)
    worker.read()
    for _ in calls:
        worker.begin()
    worker.finish()
    sim.cancel(calls[0])
    worker.turn(0)
    worker.finish()
    sim.receive(worker)
    assert sum(sim.value(call) == NONE for call in calls) == 2


def test_an_actor_that_runs_several_calls_keeps_its_resources_while_one_waits(sim: Simulation) -> None:
    for concurrent, free in ((False, 2), (True, 1)):
        actor = sim.create(actor_class(concurrent=concurrent, CPU=1))
        sim.run()
        x = sim.submit(function(GPU=1))
        sim.call(actor, refs=[x])
        worker = sim.of(actor)
        begin(worker, sim)
        worker.get(x)
        sim.receive(worker)
        assert sim.free() == free
        sim.kill(actor)


def test_the_calls_of_each_caller_can_be_limited(sim: Simulation) -> None:
    actor = sim.create(actor_class(pending=2))
    x, y = sim.call(actor), sim.call(actor)
    assert not sim.graph.actors.reserved(actor, 0)
    assert sim.graph.actors.reserved(actor, 5)
    sim.cancel(x)
    sim.of(actor).read()
    sim.receive(sim.of(actor))
    assert sim.fault(x) == "Cancelled"
    z = sim.call(actor)
    sim.run()
    assert sim.value(y) == sim.value(z) == NONE
    assert sim.actors[actor].pending == {5: 1}
