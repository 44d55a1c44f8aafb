"""Results of actors that were lost are made again by calling the actor once more, which may have to be made anew."""

from __future__ import annotations

import pytest

from minray.core import lineage
from tests.core.simulation import Simulation
from tests.core.templates import actor_class, function, method, value
from tests.core.test_lineage import why


@pytest.fixture
def storing(sim: Simulation) -> Simulation:
    """Every call returns values in the store."""
    sim.stores = True
    return sim


def made(sim: Simulation, actor: int, *deps: int, retries: int = 1) -> int:
    """A large result of an actor."""
    id = sim.call(actor, *deps, template=method(retries=retries))
    sim.run()
    return id


def test_the_actor_is_called_again(storing: Simulation) -> None:
    sim = storing
    actor = sim.create(actor_class())
    id = made(sim, actor)
    before = sim.value(id)
    sim.lose(id)
    assert sim.value(id) is None
    sim.run()
    after = sim.value(id)
    assert after is not None and after != before and not sim.fault(id)
    assert sim.begun[id] == [sim.of(actor).id] * 2


def test_each_time_takes_one_of_the_retries(storing: Simulation) -> None:
    sim = storing
    actor = sim.create(actor_class())
    id = made(sim, actor, retries=1)
    sim.lose(id)
    sim.run()
    sim.lose(id)
    assert why(sim, id) == lineage.EXHAUSTED


def test_an_actor_that_was_restarted_is_called_again_too(storing: Simulation) -> None:
    sim = storing
    actor = sim.create(actor_class(restarts=1))
    first = made(sim, actor)
    second = made(sim, actor, first)
    sim.release(first)
    sim.of(actor).die()
    sim.run()
    sim.lose(second)
    sim.run()
    assert not sim.fault(second)
    assert sim.begun[first][1:] == sim.begun[second][1:] == [sim.of(actor).id]
    assert first not in sim.objects.entries


@pytest.mark.parametrize("how", ["killed", "died"])
def test_what_a_dead_actor_made_is_its_death(storing: Simulation, how: str) -> None:
    sim = storing
    actor = sim.create(actor_class(restarts=-1 if how == "killed" else 0))
    id = made(sim, actor)
    of_that = sim.submit(function(retries=1), id)
    sim.run()
    if how == "killed":
        sim.kill(actor)
    else:
        sim.of(actor).die()
    sim.run()
    sim.release(id)
    sim.lose(of_that)
    sim.run()
    assert sim.fault(of_that) == "DependencyFailed"
    assert not sim.graph.lineage.origins


def test_an_actor_that_dies_while_it_makes_something_again(storing: Simulation) -> None:
    sim = storing
    actor = sim.create(actor_class())
    id = made(sim, actor, retries=3)
    sim.lose(id)
    sim.kill(actor)
    assert sim.fault(id) == "ActorDied"


def test_it_does_not_wait_for_its_turn_behind_who_waits_for_it(storing: Simulation) -> None:
    """A call that is queued waits for the lost object, and its actor keeps the order of calls."""
    sim = storing
    actor = sim.create(actor_class())
    id = made(sim, actor)
    slow = sim.submit(function())
    user = sim.call(actor, slow, id)
    behind = sim.call(actor)
    sim.lose(id)
    sim.run()
    assert user in sim.ended and behind in sim.ended and not sim.fault(user)
    assert sim.begun[user] == sim.begun[behind] == [sim.of(actor).id]


def test_it_is_none_of_its_callers_pending_calls(storing: Simulation) -> None:
    sim = storing
    actor = sim.create(actor_class(pending=1))
    id = made(sim, actor)
    sim.lose(id)
    sim.call(actor)
    sim.run()
    sim.call(actor)
    assert not sim.graph.actors.reserved(actor, 0)


def test_an_actor_without_handles_is_made_anew_and_ends_again(storing: Simulation) -> None:
    sim = storing
    large = sim.submit(function(retries=1))
    actor = sim.create(actor_class(restarts=2), large)
    first, second = made(sim, actor), made(sim, actor)
    sim.release(actor, large)
    sim.run()
    assert actor not in sim.actors and large in sim.objects.entries
    sim.lose(first)
    assert actor in sim.actors
    sim.lose(second)
    sim.run()
    assert not sim.fault(first) and not sim.fault(second)
    assert actor not in sim.actors
    sim.lose(large)
    sim.release(second)
    assert not sim.value(large), "its argument is made again too"
    sim.release(first)
    sim.run()
    assert not sim.objects.entries


def test_that_is_one_of_its_restarts(storing: Simulation) -> None:
    sim = storing
    actor = sim.create(actor_class(restarts=1))
    id = made(sim, actor, retries=5)
    sim.release(actor)
    for _ in range(2):
        sim.run()
        assert not sim.fault(id)
        sim.lose(id)
    sim.run()
    assert sim.fault(id) == "ActorDied"


def test_a_detached_actor_is_called_again(storing: Simulation) -> None:
    sim = storing
    actor = sim.create(actor_class(detached=True))
    id = made(sim, actor)
    sim.release(actor)
    sim.lose(id)
    sim.run()
    assert not sim.fault(id) and actor in sim.actors


def test_small_arguments_are_remembered(sim: Simulation) -> None:
    small = sim.put(value())
    actor = sim.create(actor_class())
    sim.stores = True
    id = made(sim, actor, small)
    sim.release(small)
    sim.lose(id)
    sim.run()
    assert sim.value(id) is not None and not sim.fault(id)
    sim.release(id)
    assert not sim.graph.lineage.origins


def miss(sim: Simulation, actor: int, *calls: int, gone: int) -> None:
    """An actor has been sent some calls, and finds that the argument of the first is gone."""
    worker = sim.of(actor)
    worker.read()
    assert [message[1] for message in worker.todo] == [*calls]
    worker.begin(gone)
    sim.receive(worker)


def test_an_actor_that_misses_what_it_made_makes_it_again_first(storing: Simulation) -> None:
    sim = storing
    actor = sim.create(actor_class())
    id = made(sim, actor)
    user, behind = sim.call(actor, id), sim.call(actor)
    miss(sim, actor, user, behind, gone=id)
    late = sim.call(actor)
    sim.run()
    assert not sim.fault(user)
    assert [len(sim.begun[call]) for call in (id, user, behind, late)] == [2, 1, 1, 1], "and in their order"


def test_what_it_misses_may_be_gone_for_ever(storing: Simulation) -> None:
    sim = storing
    actor = sim.create(actor_class())
    id = made(sim, actor, retries=0)
    user, behind = sim.call(actor, id), sim.call(actor)
    miss(sim, actor, user, behind, gone=id)
    assert sim.fault(user) == "DependencyFailed"
    sim.run()
    assert sim.begun[behind] and user not in sim.begun


def test_nobody_else_may_need_the_actor_then(sim: Simulation) -> None:
    actor, argument = sim.create(actor_class()), sim.put(value(stored=True))
    sim.run()
    user = sim.call(actor, argument)
    sim.release(actor)
    worker = sim.of(actor)
    worker.read()
    worker.begin(argument)
    sim.run()
    assert sim.fault(user) == "DependencyFailed" and not worker.alive


def test_calls_that_run_at_once_do_not_come_back_with_it(storing: Simulation) -> None:
    sim = storing
    actor = sim.create(actor_class(concurrent=True))
    id = made(sim, actor)
    user, other = sim.call(actor, id), sim.call(actor)
    miss(sim, actor, user, other, gone=id)
    assert sim.of(actor).todo[0][1] == other
    sim.run()
    assert not sim.fault(user) and other in sim.ended


def test_what_came_back_can_be_cancelled(storing: Simulation) -> None:
    sim = storing
    actor = sim.create(actor_class())
    id = made(sim, actor)
    user, behind = sim.call(actor, id), sim.call(actor)
    worker = sim.of(actor)
    worker.read()
    worker.begin(id)
    sim.cancel(behind)
    sim.receive(worker)
    sim.cancel(user)
    sim.run()
    assert sim.fault(user) == sim.fault(behind) == "Cancelled"


def test_a_call_behind_is_not_begun_although_it_came_before_the_answer(storing: Simulation) -> None:
    sim = storing
    actor = sim.create(actor_class())
    id = made(sim, actor)
    user = sim.call(actor, id)
    worker = sim.of(actor)
    worker.read()
    worker.begin(id)
    behind = sim.call(actor)
    worker.read()
    worker.begin()
    assert behind not in sim.begun
    sim.run()
    assert {user, behind} <= sim.ended.keys()
