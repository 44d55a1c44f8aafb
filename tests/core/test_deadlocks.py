"""Calls that wait for each other in a circle are told so; nobody else is, whatever the program."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test

from minray.core.deadlocks import LOOK_SECONDS
from minray.core.objects import Watch
from minray.core.template import MethodTemplate
from tests.core.sim_worker import SimWorker
from tests.core.simulation import Simulation
from tests.core.templates import actor_class, function, generator, method, value
from tests.core.test_histories import History, few, index, pick


def told(sim: Simulation) -> list[str]:
    """Let time pass; what the calls were told that wait for each other, by now."""
    for _ in range(3):
        sim.tick(2 * LOOK_SECONDS)
        for worker in sim.living():
            worker.read()
            sim.receive(worker)
    return sim.deadlocks


def running(sim: Simulation, call: int) -> SimWorker:
    """The worker that runs a call, which has begun by now."""
    worker = sim.at(call)
    while not worker.running or worker.call != call:
        worker.read()
        if worker.running:
            worker.finish()
        else:
            worker.begin()
        sim.receive(worker)
    return worker


def living_actor(sim: Simulation, **options: bool) -> int:
    actor = sim.create(actor_class(**options))
    sim.run()
    return actor


def test_a_task_that_waits_for_itself_is_told(sim: Simulation) -> None:
    task = sim.submit(function())
    running(sim, task).get(task, patient=True)
    assert told(sim) == [
        "None of these calls can ever go on, as they wait for each other:\n    f waits for itself at somewhere"
    ]


def test_actors_that_wait_for_each_other_are_both_told(sim: Simulation) -> None:
    a, b = living_actor(sim), living_actor(sim)
    f = sim.call(a)
    g = sim.call(b, template=MethodTemplate(b"g", "g", "A.g"))
    sim.submit(function())  # others do not come into it
    at_a, at_b = running(sim, f), running(sim, g)
    at_a.get(g, patient=True)
    at_b.get(sim.call(a), patient=True)
    sim.receive(at_a)
    sim.receive(at_b)
    first, second = told(sim)
    assert first == second
    assert first.splitlines()[1:] == [
        "    A.m waits for A.g at somewhere",
        "    A.g waits for A.m at somewhere",
        "    A.m waits for its turn, as its actor is busy with A.m",
    ]
    assert not at_a.requests and not at_b.requests


def test_an_actor_that_waits_for_its_own_next_call_is_told(sim: Simulation) -> None:
    actor = living_actor(sim)
    worker = running(sim, sim.call(actor))
    worker.wait([sim.call(actor), sim.call(actor)], 1, patient=True)
    sim.receive(worker)
    assert "its actor is busy" in told(sim)[0]


def test_a_creation_that_waits_for_a_call_of_its_own_actor_is_told(sim: Simulation) -> None:
    actor = sim.create(actor_class())
    worker = sim.of(actor)
    worker.read()
    worker.begin()
    worker.get(sim.call(actor), patient=True)
    sim.receive(worker)
    assert told(sim)[0].splitlines()[1:] == [
        "    A.__init__ waits for A.m at somewhere",
        "    A.m waits until its actor is there",
    ]


def test_an_argument_may_be_part_of_the_circle(sim: Simulation) -> None:
    """The call that waits needs one that queues behind another, whose argument is what it is to return."""
    actor = living_actor(sim)
    task = sim.submit(function())
    worker = running(sim, task)
    first = sim.call(actor, task)
    worker.get(sim.call(actor), patient=True)
    sim.receive(worker)
    assert told(sim)[0].splitlines()[1:] == [
        "    f waits for A.m at somewhere",
        "    A.m waits for its turn behind A.m",
        "    A.m waits for the result of f, which is an argument",
    ]
    assert first not in sim.ended


def test_an_actor_whose_own_argument_waits_for_it_is_part_of_the_circle(sim: Simulation) -> None:
    task = sim.submit(function())
    worker = running(sim, task)
    actor = sim.create(actor_class(), task)
    worker.get(sim.call(actor), patient=True)
    sim.receive(worker)
    assert told(sim)[0].splitlines()[1:] == [
        "    f waits for A.m at somewhere",
        "    A.m waits until its actor is there",
        "    A.__init__ waits for the result of f, which is an argument",
    ]


def test_a_reader_of_a_generator_that_waits_for_the_reader_is_told(sim: Simulation) -> None:
    reader, source = sim.submit(function()), sim.submit(generator(0))
    reading, producing = running(sim, reader), running(sim, source)
    reading.next(source + 1, patient=True)
    producing.get(reader, patient=True)
    sim.receive(reading)
    sim.receive(producing)
    assert len(told(sim)) == 2


def test_who_waits_for_a_circle_without_being_in_it_gets_its_result(sim: Simulation) -> None:
    task, outer = sim.submit(function()), sim.submit(function())
    outside = running(sim, outer)
    outside.get(task, patient=True)
    inside = running(sim, task)
    inside.get(task, patient=True)
    sim.receive(outside)
    sim.receive(inside)
    assert len(told(sim)) == 1
    assert outside.requests
    sim.run()
    assert task in sim.ended and outer in sim.ended


@pytest.mark.parametrize("way_out", ["time-out", "thread", "another ref", "wait for less", "several calls", "retries"])
def test_nobody_is_told_who_can_go_on(sim: Simulation, way_out: str) -> None:
    actor = living_actor(sim, concurrent=way_out == "several calls")
    other = sim.submit(function(retries=3))
    call = sim.call(actor)
    worker = running(sim, call)
    own = sim.call(actor)
    if way_out == "time-out":
        worker.get(own)
    elif way_out == "thread":  # of the call, which itself goes on
        worker.get(own)
        worker.get(own)
    elif way_out == "another ref":  # which may raise, and so end the wait
        worker.get(own, other, patient=True)
    elif way_out == "wait for less":
        worker.wait([own, other], 1, patient=True)
    else:
        worker.get(other if way_out == "retries" else own, patient=True)
    sim.receive(worker)
    assert told(sim) == []
    sim.run()
    assert {call, own, other} <= sim.ended.keys()


def test_an_alarm_that_may_end_the_wait_is_waited_for(sim: Simulation) -> None:
    task = sim.submit(function())
    worker = running(sim, task)
    number = worker.get(task, patient=True)
    worker.alarmed = True
    sim.receive(worker)
    assert told(sim) == [] and number in worker.requests
    worker.alarmed = False
    assert len(told(sim)) == 1


def test_calls_that_can_never_run_are_no_deadlock(sim: Simulation) -> None:
    """As in Ray they stay pending: a node may join."""
    task = sim.submit(function())
    worker = running(sim, task)
    worker.get(sim.submit(function(GPU=1)), patient=True)
    sim.receive(worker)
    assert told(sim) == []


@pytest.mark.parametrize("group", ["", "io"])
def test_an_actor_that_runs_two_calls_at_once_may_be_busy_with_two_that_wait(sim: Simulation, group: str) -> None:
    template = actor_class(concurrent=True)
    template.extra = {"limits": {"": 2, "io": 1}}
    actor = sim.create(template)
    sim.run()
    in_group = method()
    in_group.extra = {"concurrency_group": group}
    worker = sim.of(actor)
    sim.call(actor)
    sim.call(actor)
    for number in (1, 2):
        worker.read()
        worker.begin()
        worker.get(sim.call(actor, template=in_group), patient=True)
        sim.receive(worker)
        assert bool(told(sim)) == (number == 2 and group == ""), "there is a place in the group"


def test_looking_takes_no_longer_than_there_is_to_look_at(sim: Simulation) -> None:
    """What is already known to wait for something that goes on is looked at once, however many wait for it."""
    deadlocks = sim.graph.deadlocks
    assert deadlocks.due == float("inf")
    task = sim.submit(function())
    worker = running(sim, task)
    chain = sim.submit(function(CPU=2))
    for _ in range(50):
        chain = sim.submit(function(), chain)
    worker.get(chain, patient=True)
    sim.receive(worker)
    assert deadlocks.due == sim.scheduler.now + LOOK_SECONDS
    sim.tick(LOOK_SECONDS)
    assert 0.002 < deadlocks.due - sim.scheduler.now - LOOK_SECONDS < 0.003
    sim.run()
    assert deadlocks.due == float("inf")


class Standstill(History):
    """Any history without kills, cancellations and deaths, in which nobody is told of deadlocks: what was once called
    stuck never moves again."""

    def __init__(self) -> None:
        super().__init__()
        self.stuck: set[Watch] = set()

    # What ends a wait from outside is not for these histories.
    cancel = kill = crash = remove = lose = None  # type: ignore[assignment]

    @precondition(lambda self: self.calling() and self.handles())
    @rule(worker=index, actor=index, patient_too=few)
    def wait_for_an_actor(self, worker: int, actor: int, patient_too: list[int]) -> None:
        """More often than chance would have it, so that there are circles."""
        at = pick(self.calling(), worker)
        call = self.sim.call(pick(self.handles(), actor)) if not any(map(self.sim.limited, self.handles())) else None
        if call is not None:
            at.get(call, *self.objects(patient_too, at), patient=True)

    @invariant()
    def nothing_moves_that_is_stuck(self) -> None:
        self.sim.deaf = True
        self.stuck |= set(self.sim.graph.deadlocks.stuck())
        assert not any(watch.done for watch in self.stuck)

    def teardown(self) -> None:
        self.sim.deaf = True
        for _ in range(3):
            self.sim.run()
            self.sim.put(value())
        self.sim.join(2, CPU=1000, GPU=1000, R=1000)
        self.sim.run()
        assert not any(watch.done for watch in self.stuck)
        seen.append(len(self.stuck))
        # And what stands still for ever was found.
        waiting = {watch for watch in self.sim.requests.values() if watch in self.sim.graph.deadlocks.waits}
        assert waiting == set(self.sim.graph.deadlocks.stuck())


seen: list[int] = []  # how many waits were stuck, in each history


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_is_stuck_never_moves_again_and_what_stands_still_is_stuck() -> None:
    seen.clear()
    run_state_machine_as_test(Standstill, settings=settings(max_examples=settings().max_examples // 3))
    assert any(seen), "no history had a deadlock"
