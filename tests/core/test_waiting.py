"""Watches: who waits for objects is told once, and leaves nothing behind."""

from __future__ import annotations

from minray.core.tasks import Task
from tests.core.simulation import Simulation
from tests.core.templates import function, value

f = function()


def test_a_watch_on_what_is_there_is_done_at_once(sim: Simulation) -> None:
    assert sim.watch([sim.put(value())], 1).done
    assert sim.watch([sim.submit(f)], 0).done
    assert sim.watch([12345], 1).done, "what is gone will never be more ready"


def test_a_watch_is_done_when_enough_objects_are_ready(sim: Simulation) -> None:
    x, y = sim.submit(f), sim.submit(f)
    both, either = sim.watch([x, y], 2), sim.watch([x, y], 1)
    sim.step(sim.at(x))
    sim.step(sim.at(x))
    assert either.done and not both.done
    sim.run()
    assert both.done


def test_what_is_ready_is_listed_in_the_order_asked_for(sim: Simulation) -> None:
    x, y, z = sim.submit(f), sim.put(value()), sim.put(value())
    assert sim.graph.ready([z, x, y, 12345]) == [z, y, 12345], "what is gone counts, as it will never come"


def test_an_object_named_twice_counts_twice(sim: Simulation) -> None:
    x = sim.submit(f)
    watch = sim.watch([x, x], 2)
    sim.run()
    assert watch.done


def test_an_eager_watch_is_done_with_the_first_failure(sim: Simulation) -> None:
    x, y = sim.submit(f), sim.submit(f)
    eager, patient = sim.watch([y, x], 2, eager=True), sim.watch([y, x], 2)
    worker = sim.at(x)
    worker.read()
    worker.begin()
    worker.fail()
    sim.receive(worker)
    assert eager.done and not patient.done
    assert sim.watch([y, x], 2, eager=True).done


def test_nobody_is_told_after_giving_up(sim: Simulation) -> None:
    x = sim.submit(f)
    watch = sim.watch([x], 1)
    sim.unwatch(watch)
    sim.run()
    assert watch.done and not sim.watches


def test_waiting_in_a_loop_for_many_objects_leaves_no_pile_of_old_waits(sim: Simulation) -> None:
    pending = [sim.submit(f) for _ in range(60)]
    while len(pending) > 20:
        watch = sim.watch(pending, 1)
        while not watch.done:
            sim.step(next(worker for worker in sim.living() if worker.inbox or worker.todo or worker.running))
        pending = [id for id in pending if sim.value(id) is None]
    assert max(len(sim.objects.entries[id].waiting or ()) for id in pending) <= 8


def test_asking_again_and_again_with_a_time_out_leaves_no_pile_of_old_waits(sim: Simulation) -> None:
    x = sim.submit(f)
    sim.watch([x], 1)
    for _ in range(100):
        older, newer = sim.watch([x], 1), sim.watch([x, x], 2)
        sim.unwatch(older)
        sim.unwatch(newer)
    assert len(sim.objects.entries[x].waiting or ()) <= 8


def test_calls_that_wait_are_never_swept_away(sim: Simulation) -> None:
    x = sim.submit(f)
    calls = [sim.submit(f, x) for _ in range(20)]
    for _ in range(100):
        sim.unwatch(sim.watch([x], 1))
        sim.graph.watched([x], 1, None).done = True  # as if the other one of two were ready
    waiting = sim.objects.entries[x].waiting or []
    assert sum(isinstance(one, Task) for one in waiting) == len(calls) and len(waiting) < 40
    sim.run()
    assert all(sim.value(call) for call in calls)


def test_a_worker_that_waits_is_answered_when_what_it_waits_for_is_there(sim: Simulation) -> None:
    x = sim.submit(f)
    worker = sim.at(x)
    worker.read()
    worker.begin()
    y = worker.submit(f)
    worker.get(y)
    sim.receive(worker)
    assert sim.scheduler.workers[worker.id].blocked
    sim.run()
    assert not worker.requests and sim.value(x) is not None


def test_a_worker_that_dies_while_it_waits_is_forgotten(sim: Simulation) -> None:
    x, y = sim.submit(f), sim.submit(function(CPU=1, R=1))
    worker = sim.at(x)
    worker.read()
    worker.begin()
    worker.get(*worker.refs, y)
    sim.receive(worker)
    worker.die()
    sim.receive(worker)
    assert not sim.requests and sim.free() == 2
