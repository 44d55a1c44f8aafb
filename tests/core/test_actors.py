"""Actors: the order of their calls, their restarts, and when they end."""

from __future__ import annotations

import pytest

from minray.core.value import NONE
from tests.core.sim_worker import BOOM, SimWorker
from tests.core.simulation import Simulation
from tests.core.templates import actor_class, function, method, value


def begin(worker: SimWorker, sim: Simulation) -> None:
    worker.read()
    worker.begin()
    sim.receive(worker)


def fail(sim: Simulation, call: int) -> None:
    worker = sim.at(call)
    begin(worker, sim)
    worker.fail()
    sim.receive(worker)


@pytest.fixture
def actor(sim: Simulation) -> int:
    """An actor that is up, restarts and retries not at all, and has run nothing yet."""
    actor = sim.create(actor_class())
    sim.run()
    return actor


# -- calls ---------------------------------------------------------------------------------------------------------


def test_calls_run_in_the_order_in_which_they_were_made(sim: Simulation) -> None:
    actor = sim.create(actor_class())
    calls = [sim.call(actor) for _ in range(5)]
    sim.run()
    assert list(sim.begun) == calls


def test_a_call_whose_argument_is_pending_holds_back_those_behind_it(sim: Simulation, actor: int) -> None:
    x = sim.submit(function())
    calls = [sim.call(actor), sim.call(actor, x), sim.call(actor)]
    worker = sim.of(actor)
    while sim.step(worker):
        pass
    assert list(sim.begun) == calls[:1]
    sim.run()
    assert [call for call in sim.begun if call in calls] == calls


def test_a_caller_is_not_held_back_by_another_caller_s_pending_arguments(sim: Simulation, actor: int) -> None:
    x = sim.submit(function())
    mine = sim.call(actor, x)
    begin(sim.at(x), sim)
    worker = sim.at(x)
    worker.refs.append(actor)
    worker.counts.retain(actor)
    theirs = worker.call_actor(actor, method())
    sim.receive(worker)
    while sim.step(sim.of(actor)):
        pass
    assert sim.value(theirs) == NONE and sim.value(mine) is None


def test_a_call_with_a_failed_argument_fails_and_those_behind_it_go_on(sim: Simulation, actor: int) -> None:
    x = sim.submit(function())
    y, z = sim.call(actor, x), sim.call(actor)
    fail(sim, x)
    assert sim.fault(y) == "DependencyFailed"
    sim.run()
    assert sim.value(z) == NONE and y not in sim.begun


def test_calls_that_fail_anywhere_in_a_long_queue_are_dropped_without_a_search(sim: Simulation, actor: int) -> None:
    head, x = sim.submit(function()), sim.submit(function())
    first = sim.call(actor, head)
    calls = [sim.call(actor, x) for _ in range(50)]
    last = sim.call(actor)
    fail(sim, x)
    assert {sim.fault(call) for call in calls} == {"DependencyFailed"}
    assert sim.actors[actor].queued == 2
    sim.run()
    assert [call for call in sim.begun if call > x] == [first, last]
    assert not sim.actors[actor].queues


def test_no_more_than_a_limit_of_calls_is_at_the_worker_and_the_others_follow_in_turn(
    sim: Simulation, actor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minray.core.actors.CALLS_AHEAD", 8)
    calls = [sim.call(actor) for _ in range(13)]
    sent = sim.scheduler.workers[sim.of(actor).id].sent
    assert len(sent) == 8
    sim.run_one()
    assert len(sent) == 8 and sim.actors[actor].queued == 4
    sim.kill(actor)
    assert {sim.fault(call) for call in calls[1:]} == {"ActorDied"}


def test_callers_take_turns_where_the_limit_holds_them_back(
    sim: Simulation, actor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minray.core.actors.CALLS_AHEAD", 2)
    other = sim.at(sim.submit(function()))
    begin(other, sim)
    other.counts.retain(actor)
    other.refs.append(actor)
    mine = [sim.call(actor) for _ in range(6)]
    theirs = [other.call_actor(actor, method()) for _ in range(6)]
    sim.receive(other)
    while len(sim.arrived.get((actor, other.id), ())) < 3:
        sim.step(sim.of(actor))
    assert len(sim.arrived[actor, 0]) < len(mine) and theirs[:3] == sim.arrived[actor, other.id]


def test_callers_that_are_gone_leave_no_queue_behind(sim: Simulation, actor: int) -> None:
    for _ in range(3):
        x = sim.submit(function(), refs=[actor])
        worker = sim.at(x)
        begin(worker, sim)
        worker.call_actor(actor, method())
        sim.receive(worker)
        worker.die()
        sim.run()
    assert not sim.actors[actor].queues


def test_an_exception_is_retried_if_the_options_ask_for_it(sim: Simulation, actor: int) -> None:
    x = sim.call(actor, template=method(retries=1))
    y = sim.call(actor)
    worker = sim.of(actor)
    begin(worker, sim)
    worker.fail(retry=True)
    sim.run()
    assert sim.value(x) == sim.value(y) == NONE
    assert len(sim.begun[x]) == 2


# -- creation ------------------------------------------------------------------------------------------------------


def test_an_actor_whose_argument_failed_is_dead_from_the_start(sim: Simulation) -> None:
    x = sim.submit(function())
    actor = sim.create(actor_class(), x)
    y = sim.call(actor)
    fail(sim, x)
    assert sim.fault(y) == sim.fault(sim.call(actor)) == "ActorDied"


def test_calls_of_an_actor_whose_init_raised_get_its_error(sim: Simulation) -> None:
    actor = sim.create(actor_class(restarts=3))
    x = sim.call(actor)
    worker = sim.of(actor)
    begin(worker, sim)
    worker.fail()
    sim.receive(worker)
    assert sim.value(x) == sim.value(sim.call(actor))
    assert sim.value(x)[1][1][-1] == BOOM  # type: ignore[index]
    sim.run()
    assert not worker.alive


def test_an_actor_made_of_a_failed_argument_lets_go_of_the_actors_in_its_other_arguments(sim: Simulation) -> None:
    x = sim.submit(function())
    fail(sim, x)
    inner = sim.create(actor_class())
    box = sim.put(value(inner))
    sim.release(inner)
    outer = sim.create(actor_class(), x, box)
    sim.release(box)
    sim.run()
    assert list(sim.actors) == [outer]


# -- names ---------------------------------------------------------------------------------------------------------


def test_a_name_belongs_to_one_living_actor(sim: Simulation) -> None:
    actor = sim.create(actor_class(), name="a")
    found = sim.graph.actors.find(("", "a"))
    assert found is not None and found.id == actor
    with pytest.raises(ValueError, match=r"name a .* is already taken"):
        sim.create(actor_class(), name="a")
    sim.kill(actor)
    assert sim.graph.actors.find(("", "a")) is None
    other = sim.create(actor_class(), name="a")
    assert sim.actors[other].death is None


def test_an_actor_that_is_refused_its_name_leaves_nothing_behind(sim: Simulation) -> None:
    sim.create(actor_class(), name="a")
    x = sim.put(value(stored=True))
    with pytest.raises(ValueError, match="taken"):
        sim.create(actor_class(), x, name="a")
    sim.release(x)
    assert len(sim.freed) == 1 and len(sim.actors) == 1


def test_the_name_of_an_actor_that_finishes_its_last_calls_is_still_taken(sim: Simulation) -> None:
    actor = sim.create(actor_class(), name="a")
    sim.call(actor)
    sim.release(actor)
    with pytest.raises(ValueError, match="taken"):
        sim.create(actor_class(), name="a")
    sim.run()
    assert sim.create(actor_class(), name="a")


# -- the end -------------------------------------------------------------------------------------------------------


def test_an_actor_ends_when_nobody_has_a_handle_and_its_calls_are_done(sim: Simulation, actor: int) -> None:
    worker = sim.of(actor)
    x, y = sim.call(actor), sim.call(actor)
    sim.release(actor)
    assert actor in sim.actors
    sim.run()
    assert sim.value(x) == sim.value(y) == NONE
    assert not sim.actors and not worker.alive


def test_an_actor_without_a_handle_waits_for_calls_whose_arguments_are_pending(sim: Simulation, actor: int) -> None:
    x = sim.call(actor, sim.submit(function()))
    sim.release(actor)
    sim.run()
    assert sim.value(x) == NONE and not sim.actors


def test_an_actor_without_a_handle_ends_when_its_last_call_is_dropped(sim: Simulation, actor: int) -> None:
    x = sim.submit(function())
    sim.call(actor, x)
    sim.release(actor)
    fail(sim, x)
    assert not sim.actors


def test_a_handle_inside_a_value_keeps_an_actor_alive(sim: Simulation, actor: int) -> None:
    box = sim.put(value(actor))
    sim.release(actor)
    sim.run()
    assert actor in sim.actors
    sim.release(box)
    assert not sim.actors


def test_an_actor_ends_with_the_call_that_had_its_last_handle(sim: Simulation, actor: int) -> None:
    box = sim.put(value(actor))
    sim.submit(function(), box)
    sim.submit(function(), refs=[actor])
    sim.release(actor, box)
    sim.run_one()
    assert actor in sim.actors
    sim.run_one()
    assert actor not in sim.actors


def test_a_dead_actor_is_forgotten_with_its_last_handle(sim: Simulation, actor: int) -> None:
    sim.kill(actor)
    assert sim.fault(sim.call(actor)) == "ActorDied"
    sim.release(actor)
    assert not sim.actors


def test_a_detached_actor_outlives_its_handles_and_ends_when_killed(sim: Simulation) -> None:
    actor = sim.create(actor_class(detached=True), name="a")
    sim.release(actor)
    sim.run()
    assert sim.of(actor).alive
    sim.kill(actor)
    assert not sim.actors


def test_an_actor_that_nobody_wants_any_more_never_takes_up_room(sim: Simulation) -> None:
    waiting = [sim.create(actor_class(GPU=1)) for _ in range(3)]
    sim.release(waiting[1], waiting[0])
    assert list(sim.actors) == [waiting[2]]
    assert [list(queue) for queue in sim.graph.actors.unplaced.values()] == [[sim.actors[waiting[2]]]]


def test_an_actor_can_end_itself(sim: Simulation) -> None:
    actor = sim.create(actor_class(restarts=5))
    sim.run()
    x, y = sim.call(actor), sim.call(actor)
    worker = sim.of(actor)
    begin(worker, sim)
    worker.exit()
    sim.run()
    assert sim.value(x) == NONE and sim.fault(y) == "ActorDied"
    assert not worker.alive and sim.actors[actor].worker is None


def test_a_call_to_an_actor_that_is_long_gone_says_so_in_full(sim: Simulation, actor: int) -> None:
    sim.release(actor)
    gone, known = sim.value(sim.call(actor)), sim.value(sim.call(actor))
    sim.kill(other := sim.create(actor_class()))
    dead = sim.value(sim.call(other))
    assert gone and known and dead
    assert gone[1][0] == dead[1][0] == "ActorDied"
    assert len(gone[1][1]) == len(dead[1][1]), "one fault has one form"


# -- death and restarts --------------------------------------------------------------------------------------------


def test_all_calls_of_an_actor_whose_worker_died_fail(sim: Simulation, actor: int) -> None:
    worker = sim.of(actor)
    running, behind, pending = sim.call(actor), sim.call(actor), sim.call(actor, sim.submit(function(GPU=1)))
    begin(worker, sim)
    worker.die()
    sim.receive(worker)
    assert [sim.fault(call) for call in (running, behind, pending)] == ["ActorDied"] * 3


def test_a_restarted_actor_is_created_anew_and_takes_its_queued_calls(sim: Simulation) -> None:
    actor = sim.create(actor_class(restarts=1), sim.put(value()))
    sim.run()
    x = sim.submit(function())
    first = sim.of(actor)
    unsafe, safe = sim.call(actor), sim.call(actor, template=method(retries=1))
    queued = sim.call(actor, x)
    begin(first, sim)
    first.die()
    sim.receive(first)
    assert sim.fault(unsafe) == "ActorUnavailable", "it may have run"
    second = sim.of(actor)
    assert second is not first and second.inbox[0][0] == "create"
    sim.run()
    assert sim.value(safe) == sim.value(queued) == NONE
    second.die()
    sim.receive(second)
    assert sim.fault(sim.call(actor)) == "ActorDied"


def test_a_call_of_a_restarted_actor_is_run_again_only_as_often_as_it_allows(sim: Simulation) -> None:
    actor = sim.create(actor_class(restarts=-1))
    sim.run()
    x = sim.call(actor, template=method(retries=2))
    for _ in range(3):
        assert sim.value(x) is None
        worker = sim.of(actor)
        worker.read()
        while x != (worker.running or (0, 0))[1]:
            worker.begin()
            if worker.call == actor:
                worker.finish()
            sim.receive(worker)
        worker.die()
        sim.receive(worker)
    assert sim.fault(x) == "ActorUnavailable" and len(sim.begun[x]) == 3


def test_a_kill_that_allows_a_restart_uses_one(sim: Simulation) -> None:
    actor = sim.create(actor_class(restarts=1))
    sim.run()
    first = sim.of(actor)
    x = sim.call(actor)
    sim.kill(actor, no_restart=False)
    assert not first.alive and sim.fault(x) == "ActorUnavailable"
    sim.run()
    y = sim.call(actor)
    sim.run()
    assert sim.value(y) == NONE
    sim.kill(actor, no_restart=False)
    assert sim.actors[actor].death is not None


def test_an_actor_s_worker_that_never_came_up_uses_no_restart(sim: Simulation) -> None:
    for _ in range(2):
        sim.create(actor_class())  # the workers that are up
    actor = sim.create(actor_class())
    x = sim.call(actor)
    assert not sim.of(actor).up
    sim.of(actor).die()
    sim.run()
    assert sim.value(x) == NONE


def test_an_actor_that_nobody_has_a_handle_to_is_not_restarted_for_nothing(sim: Simulation) -> None:
    actor = sim.create(actor_class(restarts=5))
    sim.run()
    worker = sim.of(actor)
    sim.call(actor)
    sim.release(actor)
    begin(worker, sim)
    worker.die()
    sim.receive(worker)
    assert not sim.actors


def test_a_dropped_call_ends_an_actor_in_the_middle_of_its_restart(sim: Simulation) -> None:
    actor = sim.create(actor_class(restarts=5))
    sim.run()
    worker = sim.of(actor)
    x = sim.call(actor)
    y = sim.call(actor, x)  # fails with x
    sim.release(actor)
    begin(worker, sim)
    worker.die()
    sim.receive(worker)
    assert sim.fault(x) == "ActorUnavailable" and sim.fault(y) == "DependencyFailed"
    assert not sim.actors and not any(worker.actor for worker in sim.scheduler.workers.values())


def test_what_a_dead_actor_s_calls_waited_for_may_still_fail(sim: Simulation, actor: int) -> None:
    x = sim.submit(function())
    y = sim.call(actor, x)
    sim.kill(actor)
    z = sim.call(actor, x)
    assert sim.fault(y) == sim.fault(z) == "ActorDied"
    fail(sim, x)
    assert sim.fault(y) == sim.fault(z) == "ActorDied"


def test_a_call_whose_actor_is_killed_before_it_is_sent_is_not_sent(sim: Simulation, actor: int) -> None:
    x = sim.submit(function())
    arguments = sim.put(value(stored=True))
    y = sim.call(actor, x, refs=[arguments])
    worker = sim.at(x)
    begin(worker, sim)
    worker.finish()
    sim.receive(worker, carry_out=False)  # decides to send y
    sim.kill(actor)
    assert sim.stale == 1 and sim.fault(y) == "ActorDied"
    sim.release(arguments)
    assert len(sim.freed) == 1


def test_killing_twice_or_nobody_is_no_error(sim: Simulation, actor: int) -> None:
    sim.kill(actor)
    sim.kill(actor)
    sim.kill(12345)
    assert sim.actors[actor].worker is None


def test_a_call_whose_answer_was_not_heard_before_its_actor_was_killed_runs_again(sim: Simulation) -> None:
    actor = sim.create(actor_class(restarts=1))
    sim.run()
    call = sim.call(actor, template=method(retries=1))
    worker = sim.of(actor)
    worker.read()
    worker.begin()
    worker.finish()
    sim.kill(actor, no_restart=False)
    sim.run()
    assert len(sim.begun[call]) == 2 and call in sim.ended
