"""Who runs what, and where: resources, the size of the pool, calls sent ahead and taken back, whose turn it is."""

from __future__ import annotations

import pytest

from minray.core.scheduler import (
    AHEAD_CALLS,
    AHEAD_SECONDS,
    MANY_LANES,
    ONE_AHEAD_SECONDS,
    STUCK_SECONDS,
    STUCK_TIMES,
)
from minray.core.template import TaskTemplate
from minray.core.value import NONE
from minray.core.workforce import SURPLUS_SECONDS
from tests.core.sim_worker import SimWorker
from tests.core.simulation import Simulation
from tests.core.templates import actor_class, function


def quick(**demand: float) -> TaskTemplate:
    """A function that is known to be short, so that its calls are sent ahead."""
    template = function(1, 0, **demand)
    template.pace = 0.0001
    return template


def begin(sim: Simulation, call: int) -> SimWorker:
    worker = sim.at(call)
    worker.read()
    worker.begin()
    sim.receive(worker)
    return worker


def begun(sim: Simulation) -> int:
    """How many calls run at this moment, once every worker has begun what it was sent."""
    for worker in sim.living():
        worker.read()
        if worker.ready:
            worker.begin()
        sim.receive(worker)
    return sum(worker.running is not None for worker in sim.living())


# -- resources -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("demand", "at_once"),
    [
        ({"CPU": 1}, 2),
        ({"CPU": 2}, 1),
        ({"CPU": 0.5}, 4),
        ({"CPU": 0.7}, 2),
        ({"R": 1}, 3),
        ({"R": 0.3, "CPU": 0.1}, 10),
    ],
    ids=str,
)
def test_as_many_calls_run_at_once_as_there_are_resources_for(demand: dict[str, float], at_once: int) -> None:
    sim = Simulation(CPU=2, R=3)
    f = function(1, 0, **demand)
    ids = [sim.submit(f) for _ in range(20)]
    assert begun(sim) == at_once
    sim.run()
    assert all(sim.value(id) == NONE for id in ids)
    assert sim.free() == 2 and sim.free("R") == 3


def test_fractions_add_up_exactly(sim: Simulation) -> None:
    for _ in range(20):
        sim.submit(function(CPU=0.1))
    assert sim.free() == 0
    sim.run()
    assert sim.free() == 2


def test_what_asks_for_more_than_there_is_waits_and_holds_up_nobody(sim: Simulation) -> None:
    never = [sim.submit(function(CPU=3)), sim.submit(function(GPU=1))]
    x = sim.submit(function())
    sim.run()
    assert sim.value(x) == NONE
    assert [sim.value(id) for id in never] == [None, None]


def test_a_node_that_joins_takes_what_has_been_waiting_for_it(sim: Simulation) -> None:
    x, actor = sim.submit(function(GPU=1)), sim.create(actor_class(GPU=1))
    sim.join(1, GPU=2)
    sim.run()
    assert sim.value(x) == NONE and sim.actors[actor].created


def test_calls_that_ask_for_nothing_all_run_at_once_but_do_not_all_start_at_once(sim: Simulation) -> None:
    nothing = function(none=0)
    ids = [sim.submit(nothing) for _ in range(10)]
    started = len(sim.workers)
    assert started < 10
    while begun(sim) < 10:
        pass
    assert sim.free() == 2
    sim.run()
    assert all(sim.value(id) == NONE for id in ids)


def test_actors_that_ask_for_nothing_are_all_created(sim: Simulation) -> None:
    actors = [sim.create(actor_class()) for _ in range(10)]
    sim.run()
    assert all(sim.actors[actor].created for actor in actors)
    assert len({sim.of(actor).id for actor in actors}) == 10


# -- the pool ------------------------------------------------------------------------------------------------------


def test_the_pool_is_never_larger_than_the_calls_at_work_need() -> None:
    sim = Simulation(CPU=3)
    for _ in range(50):
        sim.submit(function())
    sim.run()
    assert len(sim.workers) == 3


def test_one_call_after_another_needs_one_worker() -> None:
    sim = Simulation(CPU=3)
    for _ in range(5):
        sim.submit(function())
        sim.run()
    assert len(sim.workers) == 1


def test_a_blocked_call_gives_its_cpus_to_others_and_the_pool_grows_to_use_them(sim: Simulation) -> None:
    x, y = sim.submit(function()), sim.submit(function())
    for call in (x, y):
        worker = begin(sim, call)
        worker.get(worker.submit(function()))
        sim.receive(worker)
    assert len(sim.living()) == 4
    sim.run()
    assert sim.value(x) == sim.value(y) == NONE


def test_nesting_of_any_depth_does_not_deadlock() -> None:
    sim = Simulation(CPU=1)
    call = sim.submit(function())
    for _ in range(20):
        worker = begin(sim, call)
        call = worker.submit(function())
        worker.get(call)
        sim.receive(worker)
    sim.run()
    assert len(sim.ended) == 21


def test_what_a_blocked_call_waits_for_comes_first() -> None:
    sim = Simulation(CPU=1)
    parent, *others = [sim.submit(function()) for _ in range(3)]
    worker = begin(sim, parent)
    unheeded = worker.submit(function())
    first, second = worker.submit(function()), worker.submit(function())
    last = worker.submit(function(), second)  # waits itself, for `second`
    worker.get(first, last)
    sim.receive(worker)
    sim.run()
    order = list(sim.ended)
    assert order[:2] == [first, second]
    assert sum(order.index(call) < order.index(last) for call in (*others, unheeded)) <= 1, "the CPU's next, by then"


def test_a_tree_of_calls_needs_workers_for_its_depth_and_not_for_its_breadth() -> None:
    sim = Simulation(CPU=2)
    depth = 6
    below = {sim.submit(function()): depth}
    blocked: set[int] = set()
    while begun(sim) > len(blocked - sim.ended.keys()):
        for worker in sim.living():
            if worker.running is None or worker.call in blocked:
                continue
            if below[worker.call]:
                children = [worker.submit(function()) for _ in range(2)]
                below.update(dict.fromkeys(children, below[worker.call] - 1))
                blocked.add(worker.call)
                worker.get(*children)
            else:
                worker.finish()
            sim.receive(worker)
        for worker in sim.living():
            worker.read()
            if worker.running is not None and worker.call in blocked and not worker.requests:
                worker.finish()
                sim.receive(worker)
    sim.run()
    assert len(sim.ended) == 2 ** (depth + 1) - 1
    assert len(sim.workers) <= 4 * depth, "in breadth there would be 63 calls blocked at once"


def test_a_blocked_call_keeps_what_is_no_cpu(sim: Simulation) -> None:
    sim.join(1, GPU=1, CPU=1)
    x, y = sim.submit(function(GPU=1, CPU=1)), sim.submit(function(GPU=1))
    worker = begin(sim, x)
    worker.get(worker.submit(function()))
    sim.receive(worker)
    assert sim.free("GPU", 1) == 0 and sim.free("CPU", 1) == 1
    sim.run()
    assert sim.value(y) == NONE


def test_nothing_new_starts_while_those_that_go_on_use_more_than_there_is(sim: Simulation) -> None:
    x, y = sim.submit(function()), sim.submit(function())
    parents = [begin(sim, x), begin(sim, y)]
    for worker in parents:
        worker.get(worker.submit(function()))
        sim.receive(worker)
    assert begun(sim) == 4
    for worker in parents:
        worker.give_up_waiting()
        sim.receive(worker)
    assert sim.free() == -2
    z = sim.submit(function())
    assert begun(sim) == 4 and z not in sim.begun
    sim.run()
    assert sim.free() == 2


def test_a_call_that_ends_while_a_thread_of_it_still_waits_gives_its_cpu_back_once(sim: Simulation) -> None:
    x, y = sim.submit(function()), sim.submit(function(GPU=1))
    worker = begin(sim, x)
    worker.refs.append(y)
    worker.counts.retain(y)
    worker.get(y)
    sim.receive(worker)
    worker.finish()
    sim.receive(worker)
    assert sim.free() == 2

    z = [sim.submit(function()) for _ in range(2)]  # its worker is as good as any other
    for call in z:
        at = begin(sim, call)
        at.get(at.submit(function()))
        sim.receive(at)
    assert sim.free() == 0 and begun(sim) == 4, "and may block again"
    sim.run()
    assert sim.free() == 2


def test_idle_workers_beyond_the_cpus_are_stopped_after_a_while(sim: Simulation) -> None:
    for _ in range(6):
        sim.submit(function(none=0))
    while begun(sim) < 6:
        pass
    sim.run()
    assert sim.scheduler.surplus()
    sim.tick(SURPLUS_SECONDS / 2)
    assert len(sim.living()) == 6
    sim.tick(SURPLUS_SECONDS)
    sim.run()
    assert len(sim.living()) == 2 and not sim.scheduler.surplus()


# -- functions take turns ------------------------------------------------------------------------------------------


def another() -> TaskTemplate:
    """Another function than the one of `function()`, with the same demand."""
    return function(2)


def test_a_call_does_not_wait_for_all_that_another_function_has_queued() -> None:
    sim = Simulation(CPU=1)
    many = [sim.submit(function()) for _ in range(20)]
    few = [sim.submit(another()) for _ in range(2)]
    (lane,) = sim.scheduler.lanes.values()
    assert len(lane.tasks()) == 21 and len(lane.others) == 1
    sim.run()
    began = list(sim.begun)
    assert [began.index(id) for id in few] == [2, 4]
    assert [id for id in began if id in many] == many, "those of one function keep their order"
    assert not lane.others and not lane.ready


def test_what_is_withdrawn_leaves_the_turns_as_they_are() -> None:
    sim = Simulation(CPU=1)
    many = [sim.submit(function()) for _ in range(4)]
    lone = sim.submit(another())
    third = sim.submit(function(3))
    for id in (lone, *many[1:]):
        sim.cancel(id)
    sim.run()
    assert list(sim.begun) == [many[0], third]


def test_what_a_blocked_call_waits_for_comes_before_the_turns_of_others() -> None:
    sim = Simulation(CPU=1)
    parent = begin(sim, sim.submit(function()))
    for _ in range(5):
        sim.submit(function(3))
    child = parent.submit(another())
    sim.receive(parent)
    parent.get(child)
    sim.receive(parent)
    sim.run()
    assert list(sim.begun)[1] == child


# -- sent ahead, taken back ----------------------------------------------------------------------------------------


def test_calls_of_a_function_not_known_to_be_short_are_not_sent_ahead(sim: Simulation) -> None:
    for _ in range(10):
        sim.submit(function())
    assert [len(worker.sent) for worker in sim.scheduler.workers.values()] == [1, 1]


def test_calls_known_to_be_short_are_sent_ahead_up_to_a_limit(sim: Simulation) -> None:
    template = function()
    template.pace = AHEAD_SECONDS / 10.5
    for _ in range(40):
        sim.submit(template)
    assert [len(worker.sent) for worker in sim.scheduler.workers.values()] == [10, 10]


def test_however_short_they_are_not_too_many_calls_are_sent_ahead(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minray.core.scheduler.AHEAD_CALLS", 8)
    template = function(CPU=2)
    template.pace = 0.0
    for _ in range(20):
        sim.submit(template)
    assert sorted(len(worker.sent) for worker in sim.scheduler.workers.values()) == [0, 8]


def test_nothing_is_sent_ahead_to_a_worker_that_is_not_up() -> None:
    sim = Simulation(CPU=1)
    template = quick()
    for _ in range(5):
        sim.submit(template)
    (worker,) = sim.scheduler.workers.values()
    assert len(worker.sent) == 1
    sim.step(sim.workers[worker.id])
    assert len(worker.sent) == 5


def test_calls_behind_a_long_one_are_taken_back_and_run_elsewhere(sim: Simulation) -> None:
    template = quick()
    ids = [sim.submit(template) for _ in range(8)]
    slow = begin(sim, ids[0])
    behind = [id for id in ids[1:] if sim.at(id) is slow]
    assert behind
    sim.tick(STUCK_SECONDS * 2)
    while slow.inbox:  # the interrupt makes it read, in the middle of its call
        slow.read()
        sim.receive(slow)
    assert list(sim.scheduler.workers[slow.id].sent) == [ids[0]]
    for worker in sim.living():
        while worker is not slow and sim.step(worker):
            pass
    assert all(sim.value(id) == NONE for id in ids[1:])
    assert sim.value(ids[0]) is None and all(len(began) == 1 for began in sim.begun.values())


def test_calls_behind_one_that_blocks_are_taken_back_at_once(sim: Simulation) -> None:
    template = quick()
    ids = [sim.submit(template) for _ in range(8)]
    parent = begin(sim, ids[0])
    child = next(id for id in ids[1:] if sim.at(id) is parent)
    parent.refs.append(child)
    parent.counts.retain(child)
    parent.get(child)  # it waits for a call that is queued behind itself
    sim.receive(parent)
    while sim.value(child) is None:
        sim.run_one()
    assert sim.value(ids[0]) is None
    sim.run()
    assert all(sim.value(id) == NONE for id in ids)


def test_nothing_is_sent_to_a_worker_that_is_blocked_or_stuck(sim: Simulation) -> None:
    template = quick()
    slow, parent = [begin(sim, sim.submit(template)) for _ in range(2)]
    sim.submit(template)
    sim.submit(template)
    parent.get(parent.submit(function(GPU=1)))
    sim.receive(parent)
    sim.tick(STUCK_SECONDS * 2)
    for worker in (slow, parent):
        worker.read()
        sim.receive(worker)
    for _ in range(20):
        sim.submit(template)
    assert [len(sim.scheduler.workers[worker.id].sent) for worker in (slow, parent)] == [1, 1]


def test_one_call_is_sent_behind_another_that_takes_longer_than_what_is_sent_ahead_otherwise() -> None:
    sim = Simulation(CPU=1)
    template = function()
    template.pace = ONE_AHEAD_SECONDS / 2
    for _ in range(10):
        sim.submit(template)
    (worker,) = sim.scheduler.workers.values()
    while len(sim.ended) < 3:
        sim.run_one()
        assert len(worker.sent) <= 2
    sim.tick(STUCK_SECONDS * 1.1)
    assert len(worker.sent) == 2 and not worker.recalling, "it takes as long as it is known to"
    sim.tick(ONE_AHEAD_SECONDS * STUCK_TIMES)
    assert worker.recalling


def test_a_worker_with_nothing_to_do_takes_over_what_is_queued_at_the_busiest(sim: Simulation) -> None:
    template = quick()
    ids = [sim.submit(template) for _ in range(30)]
    busy = begin(sim, ids[0])
    other = next(worker for worker in sim.living() if worker is not busy)
    while sim.scheduler.workers[other.id].sent:
        sim.step(other)
    assert busy.inbox[-1] == ("recall",)
    busy.read()
    sim.receive(busy)
    assert len(sim.scheduler.workers[other.id].sent) > 1, "it has got part of them"
    sim.run()
    assert len(sim.ended) == 30 and all(len(began) == 1 for began in sim.begun.values())


def test_what_is_soon_done_is_not_taken_over(sim: Simulation) -> None:
    template = function()
    template.pace = 1e-6
    ids = [sim.submit(template) for _ in range(10)]
    busy = begin(sim, ids[0])
    other = next(worker for worker in sim.living() if worker is not busy)
    while sim.scheduler.workers[other.id].sent:
        sim.step(other)
    assert ("recall",) not in busy.inbox


def test_nobody_is_asked_to_hand_back_what_he_has_not(sim: Simulation) -> None:
    x = sim.submit(quick())
    worker = begin(sim, x)
    worker.get(worker.submit(function()))
    sim.receive(worker)
    sim.tick(STUCK_SECONDS * 2)
    assert not worker.inbox


def test_once_nothing_is_sent_ahead_nobody_has_to_look_again(sim: Simulation) -> None:
    template = quick()
    for _ in range(10):
        sim.submit(template)
    assert sim.scheduler.sent_ahead
    sim.run()
    sim.tick(STUCK_SECONDS)
    assert not sim.scheduler.sent_ahead


def test_nobody_has_to_look_before_a_call_can_be_stuck() -> None:
    sim = Simulation(CPU=1)
    template = function()
    template.pace = ONE_AHEAD_SECONDS / 3
    for _ in range(10):
        sim.submit(template)
    (worker,) = sim.scheduler.workers.values()
    sim.run_one()
    assert sim.scheduler.due == 0.0, "a call was sent since somebody looked"
    sim.tick(0)
    assert sim.scheduler.due == pytest.approx(worker.running_since + STUCK_TIMES * ONE_AHEAD_SECONDS / 3)


def test_while_calls_wait_for_a_cpu_the_scheduler_knows_how_much_work_everybody_has(sim: Simulation) -> None:
    template = function()
    template.pace = AHEAD_SECONDS / 8
    ids = [sim.submit(template) for _ in range(30)]
    sim.tick(0)
    assert sim.scheduler.cushion == pytest.approx(AHEAD_SECONDS * 7 / 8)
    assert sim.scheduler.rate == pytest.approx(2 * 8 / AHEAD_SECONDS)
    sim.step(sim.at(ids[0]))
    sim.receive(sim.at(ids[0]))
    sim.tick(0)
    assert sim.scheduler.cushion <= AHEAD_SECONDS * 7 / 8
    sim.run()
    sim.tick(0)
    assert not sim.scheduler.sent_ahead


def test_whoever_has_a_single_call_has_no_cushion(sim: Simulation) -> None:
    template = function()
    template.pace = AHEAD_SECONDS / 8
    for _ in range(14):
        sim.submit(template)
    sim.tick(0)
    assert sim.scheduler.cushion == 0.0, "nothing waits for a CPU"
    slow = function()
    slow.pace = ONE_AHEAD_SECONDS
    lone = Simulation(CPU=1)
    lone.submit(slow)
    lone.submit(slow)
    lone.tick(0)
    assert not lone.scheduler.sent_ahead


def test_a_worker_that_answers_a_recall_when_all_is_done_hands_back_nothing(sim: Simulation) -> None:
    template = quick()
    ids = [sim.submit(template) for _ in range(4)]
    worker = sim.at(ids[0])
    sim.tick(STUCK_SECONDS * 2)
    message = worker.inbox.pop()
    assert message == ("recall",)
    while sim.step(worker):
        pass
    worker.inbox.append(message)
    assert not sim.scheduler.workers[worker.id].sent
    sim.run()
    assert all(sim.value(id) == NONE for id in ids)


# -- whose turn it is ----------------------------------------------------------------------------------------------


def test_calls_that_ask_for_the_same_begin_in_the_order_in_which_they_were_submitted() -> None:
    sim = Simulation(CPU=1)
    ids = [sim.submit(function()) for _ in range(10)]
    sim.run()
    assert list(sim.begun) == ids


def test_two_kinds_of_calls_take_turns_however_long_their_queues_are() -> None:
    sim = Simulation(CPU=1)
    many, few = quick(), quick(CPU=0.9)
    many.pace = few.pace = 0.1
    a = [sim.submit(many) for _ in range(20)]
    b = [sim.submit(few) for _ in range(4)]
    sim.run()
    order = list(sim.begun)
    assert order.index(b[-1]) < order.index(a[8])


def test_an_actor_that_waits_for_a_cpu_gets_the_next_one_before_a_backlog_of_calls() -> None:
    sim = Simulation(CPU=1)
    template = quick()
    ids = [sim.submit(template) for _ in range(300)]
    sim.run_one()
    actor = sim.create(actor_class(CPU=1))
    while sim.actors[actor].worker is None:
        sim.run_one()
    assert len(sim.ended) <= AHEAD_CALLS + 1, "what was sent ahead is run before, and nothing else"
    sim.release(actor)
    sim.run()
    assert all(sim.value(id) == NONE for id in ids)


def test_actors_that_ask_for_the_same_are_placed_in_their_order(sim: Simulation) -> None:
    actors = [sim.create(actor_class(CPU=1)) for _ in range(5)]
    placed: list[int] = []
    while len(placed) < 5:
        sim.run()
        placed += [actor for actor in sim.actors if sim.actors[actor].worker and actor not in placed]
        sim.kill(placed[-1])
    assert placed == actors


def test_an_actor_that_fits_is_not_held_up_by_one_that_does_not(sim: Simulation) -> None:
    sim.create(actor_class(GPU=1))
    actor = sim.create(actor_class(CPU=1))
    sim.run()
    assert sim.actors[actor].created


def test_resources_of_an_actor_that_could_not_be_made_go_to_those_that_wait(sim: Simulation) -> None:
    actor = sim.create(actor_class(CPU=2))
    x = sim.submit(function())
    worker = sim.of(actor)
    worker.read()
    worker.begin()
    worker.fail()
    sim.receive(worker)
    assert sim.at(x).inbox


def test_demands_that_come_and_go_leave_nothing_behind(sim: Simulation) -> None:
    for i in range(1, 150):
        sim.submit(function(CPU=i / 200))
        sim.run()
    assert len(sim.scheduler.lanes) <= MANY_LANES
