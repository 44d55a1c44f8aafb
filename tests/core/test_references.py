"""Reference counts: an object lives exactly as long as somebody can name it."""

from __future__ import annotations

import pytest

from minray.core.value import STORED, bytes_of
from tests.core.sim_worker import SimWorker
from tests.core.simulation import Simulation
from tests.core.templates import actor_class, function, value

f = function()


def running(sim: Simulation, call: int) -> SimWorker:
    """The worker of a call, in the middle of it."""
    worker = sim.at(call)
    worker.read()
    worker.begin()
    sim.receive(worker)
    return worker


def test_an_object_is_freed_with_its_last_reference(sim: Simulation) -> None:
    stored = value(stored=True)
    x = sim.put(stored)
    sim.retain(x)
    sim.release(x)
    assert not sim.freed
    sim.release(x)
    assert sim.freed == [stored]


def test_only_values_in_the_store_have_to_be_freed(sim: Simulation) -> None:
    sim.release(sim.put(value()))
    assert not sim.freed


def test_a_result_that_nobody_waits_for_is_freed_when_it_comes(sim: Simulation) -> None:
    x = sim.submit(f)
    sim.release(x)
    assert x in sim.objects.entries, "pending"
    stored = value(stored=True)
    worker = running(sim, x)
    worker.finish(stored)
    sim.receive(worker)
    assert sim.freed == [stored]
    assert not sim.objects.entries


@pytest.mark.parametrize("as_argument", [True, False], ids=["as an argument", "inside an argument"])
def test_a_call_holds_its_arguments_until_it_is_over(sim: Simulation, as_argument: bool) -> None:
    stored = value(stored=True)
    x = sim.put(stored)
    y = sim.submit(f, x) if as_argument else sim.submit(f, refs=[x])
    sim.release(x)
    worker = running(sim, y)
    assert not sim.freed
    worker.finish()
    sim.receive(worker)
    assert sim.freed == [stored]


def test_an_argument_of_a_call_that_is_to_be_run_again_is_kept(sim: Simulation) -> None:
    x = sim.put(value(stored=True))
    y = sim.submit(function(retries=1), x)
    sim.release(x)
    worker = running(sim, y)
    worker.die()
    sim.receive(worker)
    assert not sim.freed
    sim.run()
    assert len(sim.freed) == 1


def test_a_value_holds_the_references_inside_it(sim: Simulation) -> None:
    inner = sim.put(value(stored=True))
    outer = sim.put(value(inner))
    sim.release(inner)
    assert not sim.freed
    sim.release(outer)
    assert len(sim.freed) == 1


def test_a_reference_twice_inside_one_value_counts_twice_on_both_sides(sim: Simulation) -> None:
    inner = sim.put(value(stored=True))
    outer = sim.put(value(inner, inner))
    assert sim.objects.entries[inner].count == 3
    x = sim.submit(f, outer)
    worker = running(sim, x)
    assert sim.scheduler.workers[worker.id].loans == {inner: 2}
    worker.drop(1)
    worker.finish()
    sim.receive(worker)
    assert sim.scheduler.workers[worker.id].loans == {}
    sim.release(inner, outer)
    assert len(sim.freed) == 1


def test_a_stored_argument_is_held_for_the_worker_that_maps_it(sim: Simulation) -> None:
    x = sim.put(value(stored=True))
    actor = sim.create(actor_class())
    sim.call(actor, x)
    sim.release(x)
    sim.run()
    assert not sim.freed, "the actor has kept a view"
    sim.of(actor).drop(1)
    sim.receive(sim.of(actor))
    assert len(sim.freed) == 1


def test_what_a_worker_keeps_outlives_the_driver_s_reference(sim: Simulation) -> None:
    inner = sim.put(value(stored=True))
    actor = sim.create(actor_class())
    sim.call(actor, refs=[inner])
    sim.release(inner)
    sim.run()
    assert inner in sim.of(actor).refs and not sim.freed

    y = running(sim, sim.call(actor)).submit(f, refs=[inner])
    sim.run()
    assert sim.value(y) is not None
    sim.release(actor)
    assert len(sim.freed) == 1


def test_a_reference_in_a_result_passes_from_the_worker_to_the_object(sim: Simulation) -> None:
    x = sim.submit(f)
    worker = running(sim, x)
    inner = worker.put(value(stored=True))
    worker.finish(value(inner))  # after which the worker drops its own
    sim.receive(worker)
    assert not sim.freed
    sim.release(x)
    assert len(sim.freed) == 1


def test_the_loans_of_a_lost_worker_are_taken_back(sim: Simulation) -> None:
    x = sim.submit(f)
    worker = running(sim, x)
    worker.put(value(stored=True))
    sim.receive(worker)
    assert not sim.freed
    worker.die()
    sim.receive(worker)
    assert len(sim.freed) == 1


def test_what_was_counted_for_a_call_that_is_handed_back_is_taken_back(sim: Simulation) -> None:
    quick = function()
    quick.pace = 0.0001
    inner = sim.put(value(stored=True))
    big = sim.put(value(inner, stored=True))
    first, *_ = [sim.submit(quick, big, refs=[inner]) for _ in range(3)]
    worker = sim.at(first)
    running(sim, first)
    loans = sim.scheduler.workers[worker.id].loans
    assert loans == {inner: 4, bytes_of(big, STORED): 2}, (
        "two calls were sent, each with one in its arguments and one in its value"
    )
    worker.get(sim.submit(f))
    sim.receive(worker)
    worker.read()
    sim.receive(worker)
    assert loans == {inner: 2, bytes_of(big, STORED): 1}


def test_a_reply_that_is_on_its_way_keeps_what_is_in_it(sim: Simulation) -> None:
    inner = sim.put(value(stored=True))
    x = sim.put(value(inner))
    worker = running(sim, sim.submit(f, refs=[x]))
    worker.get(x)
    sim.receive(worker)
    sim.release(x, inner)
    assert not sim.freed
    worker.read()
    worker.finish()
    sim.receive(worker)
    assert len(sim.freed) == 1


def test_giving_back_more_than_was_lent_frees_nothing_of_others(sim: Simulation) -> None:
    x = sim.put(value(stored=True))
    worker = sim.scheduler.workers[running(sim, sim.submit(f, refs=[x])).id]
    sim.graph.repaid(worker, x, 5)
    assert x in sim.objects.entries and not sim.freed
    sim.workers[worker.id].die()
    sim.receive(sim.workers[worker.id])


def test_an_actor_that_cannot_be_restarted_lets_its_arguments_go_once_it_is_made(sim: Simulation) -> None:
    x = sim.put(value(stored=True))
    once, again = sim.create(actor_class(), x), sim.create(actor_class(restarts=1), x)
    sim.release(x)
    sim.run()
    sim.of(again).drop(1)
    sim.of(once).drop(1)
    sim.receive(sim.of(again))
    sim.receive(sim.of(once))
    assert not sim.freed, "one may have to be made again"
    sim.kill(again)
    assert len(sim.freed) == 1
