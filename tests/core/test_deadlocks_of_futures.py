"""Calls that await each other in a circle are told so, if their workers say that nothing else can end that."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test

from tests.core.simulation import Simulation
from tests.core.templates import actor_class, function
from tests.core.test_deadlocks import running, told
from tests.core.test_histories import History, few, index, pick


def async_actor(sim: Simulation, limit: int = 1) -> int:
    template = actor_class(concurrent=True)
    template.extra = {"limits": {"": limit}}
    actor = sim.create(template)
    sim.run()
    return actor


def test_a_task_that_waits_for_its_own_future_is_told(sim: Simulation) -> None:
    task = sim.submit(function())
    running(sim, task).future(task, patient=True)
    assert told(sim)[0].splitlines()[1:] == ["    f waits for itself at somewhere"]


def test_two_that_await_each_other_are_both_told(sim: Simulation) -> None:
    a, b = async_actor(sim), async_actor(sim)
    f, g = sim.call(a), sim.call(b)
    at_a, at_b = running(sim, f), running(sim, g)
    at_a.future(g, patient=True)
    at_b.future(sim.call(a), patient=True)
    sim.receive(at_a)
    sim.receive(at_b)
    assert len(told(sim)) == 2


@pytest.mark.parametrize("way_out", ["a place", "another call", "it goes on", "another future", "an answer on its way"])
def test_nobody_is_told_who_can_go_on(sim: Simulation, way_out: str) -> None:
    actor = async_actor(sim, limit=1 + (way_out in ("a place", "another call")))
    call = sim.call(actor)
    worker = running(sim, call)
    if way_out == "another call":
        running(sim, sim.call(actor))
        worker.turn(0)
    other = sim.submit(function())
    worker.future(sim.call(actor), patient=way_out != "it goes on")
    if way_out == "another future":
        worker.future(other, patient=True)
    sim.receive(worker)
    if way_out == "an answer on its way":
        worker.future(other)
        sim.receive(worker)
        number = max(worker.futures)
        worker.patient = {number: call}
        sim.tick(3)
        worker.read()  # says that it waits for the other
        sim.step(sim.at(other))
        sim.step(sim.at(other))
        sim.receive(worker)
        sim.tick(3)
        assert sim.deadlocks == []
        return
    assert told(sim) == []


class Told(History):
    """Any history without kills, cancellations and deaths, in which who is told of a deadlock does not hear of it: none
    of these waits ever ends."""

    # What ends a wait from outside is not for these histories.
    cancel = kill = crash = remove = lose = None  # type: ignore[assignment]
    # What others are about.
    submit_on_terms = submit_in_a_group = create_in_a_group = reserve = move_a_value_to_disk = None  # type: ignore[assignment]

    @rule(limit=index)
    def create_an_async_actor(self, limit: int) -> None:
        template = actor_class(concurrent=True)
        template.extra = {"limits": {"": 1 + limit % 2}}
        self.sim.create(template)

    @precondition(lambda self: self.calling())
    @rule(worker=index, which=few)
    def ask_for_a_future(self, worker: int, which: list[int]) -> None:
        at = pick(self.calling(), worker)
        for id in self.objects(which, at):
            at.future(id)

    @precondition(lambda self: self.calling() and self.handles())
    @rule(worker=index, actor=index, others=few)
    def await_an_actor(self, worker: int, actor: int, others: list[int]) -> None:
        at = pick(self.calling(), worker)
        if not any(map(self.sim.limited, self.handles())):
            for id in self.objects(others, at):
                at.future(id)
            at.future(self.sim.call(pick(self.handles(), actor)), patient=True)

    @precondition(lambda self: self.calling())
    @rule(worker=index, which=index)
    def await_what_came_by_hand(self, worker: int, which: int) -> None:
        """It may be what it makes itself."""
        for id in self.objects([which]):
            self.sim.retain(id)
            pick(self.calling(), worker).future(id, patient=True)
            break

    @precondition(lambda self: self.calling())
    @rule(worker=index)
    def await_its_own_result(self, worker: int) -> None:
        at = pick(self.calling(), worker)
        if at.call in self.sim.objects.entries:
            self.sim.retain(at.call)
            at.future(at.call, patient=True)

    @invariant()
    def whoever_was_told_is_right_to_be(self) -> None:
        self.sim.noting = True
        assert not any(watch.done for watch in self.sim.doomed)

    def teardown(self) -> None:
        self.sim.noting = True
        for _ in range(3):
            self.sim.run()
        self.sim.join(2, CPU=1000, GPU=1000, R=1000)
        self.sim.run()
        assert not any(watch.done for watch in self.sim.doomed)
        seen.append(sum(watch.token[2] == "future" for watch in self.sim.doomed))


seen: list[int] = []  # how many waits for futures were told, in each history


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_nobody_who_is_told_would_ever_have_gone_on() -> None:
    seen.clear()
    run_state_machine_as_test(Told, settings=settings(max_examples=settings().max_examples // 2))
    assert any(seen), "no history had a deadlock of futures"
