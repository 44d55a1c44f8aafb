"""Items of generators that were lost come back by running the generator once more, and those that were not stay."""

from __future__ import annotations

import pytest

from minray.core import lineage
from minray.core.numbering import NEXT
from minray.core.template import TaskTemplate
from minray.core.value import STORED
from tests.core.sim_worker import BOOM, SimWorker
from tests.core.simulation import Simulation
from tests.core.templates import actor_class, function, generator, method, value
from tests.core.test_lineage import why


def running(sim: Simulation, call: int) -> SimWorker:
    """The worker that runs a generator, which has begun by now."""
    worker = sim.at(call)
    while not worker.running or worker.call != call:
        sim.step(worker)
    return worker


def yields(sim: Simulation, worker: SimWorker, number: int, end: bool = True) -> None:
    """Let a generator yield so many large items."""
    for _ in range(number):
        assert worker.room
        worker.yields(value(stored=True))
    if end:
        worker.finish()
    sim.receive(worker)


def made(sim: Simulation, number: int, template: TaskTemplate | None = None) -> tuple[int, list[int]]:
    """The call of a generator that has ended, and its items."""
    call = sim.submit(template or generator(0, 2))
    yields(sim, running(sim, call), number)
    return call, sim.take(call + 1) or []


def test_what_was_lost_comes_back_and_the_rest_stays(sim: Simulation) -> None:
    call, items = made(sim, 4)
    before = [sim.value(id) for id in items]
    sim.lose(items[1])
    sim.lose(items[3])
    assert [sim.value(id) is None for id in items] == [False, True, False, True]
    yields(sim, running(sim, call), 4)
    after = [sim.value(id) for id in items]
    assert [one == other for one, other in zip(before, after)] == [True, False, True, False]
    assert all(one is not None and one[0] == STORED for one in after)
    assert sim.take(call + 1) is None, "nothing is yielded twice"


def test_whoever_waits_goes_on_as_soon_as_the_item_is_there(sim: Simulation) -> None:
    call, items = made(sim, 2)
    sim.lose(items[0])
    user = sim.submit(function(), items[0])
    worker = running(sim, call)
    yields(sim, worker, 1, end=False)
    assert sim.at(user) is not worker and call not in sim.ended


def test_it_is_no_matter_whether_anybody_still_reads(sim: Simulation) -> None:
    call, items = made(sim, 3)
    sim.release(call, call + 1, items[0])
    sim.lose(items[1])
    yields(sim, running(sim, call), 3)
    assert not sim.fault(items[1])
    sim.release(items[1], items[2])
    assert not sim.objects.entries and not sim.graph.lineage.origins


def test_an_item_may_be_lost_before_it_is_taken(sim: Simulation) -> None:
    call = sim.submit(generator(0, 2))
    yields(sim, running(sim, call), 2)
    first = sim.graph.streams.streams[call + 1].unread[0]
    sim.lose(first)
    worker = running(sim, call)
    assert sim.take(call + 1) == [first, first + NEXT]
    yields(sim, worker, 2)
    assert not sim.fault(first)


def test_nobody_holds_up_a_generator_that_is_run_again(sim: Simulation) -> None:
    call = sim.submit(generator(1, 2))
    worker = running(sim, call)
    items = []
    for _ in range(3):
        yields(sim, worker, 1, end=False)
        items += sim.take(call + 1) or []
        worker.read()
    worker.finish()
    sim.receive(worker)
    sim.lose(items[2])
    yields(sim, running(sim, call), 3)
    assert not sim.fault(items[2])


def test_a_generator_that_still_runs_is_run_again_after_that(sim: Simulation) -> None:
    call = sim.submit(generator(0, 1))
    worker = running(sim, call)
    yields(sim, worker, 2, end=False)
    items = sim.take(call + 1) or []
    sim.lose(items[0])
    yields(sim, worker, 1)
    assert sim.value(items[0]) is None
    yields(sim, running(sim, call), 3)
    assert not sim.fault(items[0])
    assert len(sim.take(call + 1) or []) == 1
    sim.lose(items[0])
    assert why(sim, items[0]) == lineage.EXHAUSTED


def test_one_that_is_to_be_run_again_anyway_fills_it_in_on_the_way(sim: Simulation) -> None:
    call = sim.submit(generator(0, 1))
    worker = running(sim, call)
    yields(sim, worker, 2, end=False)
    items = sim.take(call + 1) or []
    sim.lose(items[0])
    worker.die()
    sim.receive(worker)
    yields(sim, running(sim, call), 3)
    assert not sim.fault(items[0]) and len(sim.begun[call]) == 2
    assert len(sim.take(call + 1) or []) == 1


def test_lost_twice_in_one_run(sim: Simulation) -> None:
    call, items = made(sim, 2)
    sim.lose(items[0])
    worker = running(sim, call)
    yields(sim, worker, 1, end=False)
    sim.lose(items[0])
    yields(sim, worker, 1)
    assert sim.value(items[0]) is None
    yields(sim, running(sim, call), 2)
    assert not sim.fault(items[0]) and len(sim.begun[call]) == 3


def test_items_that_do_not_come_again_are_errors(sim: Simulation) -> None:
    call, items = made(sim, 4)
    for id in items:
        sim.lose(id)
    yields(sim, running(sim, call), 2)
    assert [sim.fault(id) for id in items] == [None, None, "ReplayInconsistent", "ReplayInconsistent"]


def test_an_exception_takes_the_place_of_the_item(sim: Simulation) -> None:
    call, items = made(sim, 3)
    for id in items:
        sim.lose(id)
    worker = running(sim, call)
    yields(sim, worker, 1, end=False)
    worker.fail()
    sim.receive(worker)
    assert sim.value(items[1]) == BOOM
    assert [sim.fault(id) for id in items] == [None, None, "ReplayInconsistent"]


def test_a_death_for_which_no_retry_is_left_is_what_all_come_to(sim: Simulation) -> None:
    call, items = made(sim, 2, generator(0, 1))
    sim.lose(items[1])
    worker = running(sim, call)
    worker.die()
    sim.receive(worker)
    assert sim.fault(items[1]) == "WorkerCrashed" and not sim.fault(items[0])


def test_one_that_was_cancelled_is_not_run_again(sim: Simulation) -> None:
    call = sim.submit(generator(0, 2))
    worker = running(sim, call)
    yields(sim, worker, 1, end=False)
    (item,) = sim.take(call + 1) or []
    sim.cancel(call)
    worker.fail()
    sim.receive(worker)
    sim.lose(item)
    assert why(sim, item) == lineage.CANCELLED


@pytest.mark.parametrize("retries", [0, 1])
def test_a_method_that_yields_is_called_again_if_it_may(sim: Simulation, retries: int) -> None:
    template = actor_class()
    template.max_unread = 1
    actor = sim.create(template)
    call = sim.call(actor, template=method(retries=retries, stream=0))
    worker = running(sim, call)
    yields(sim, worker, 1, end=False)
    (item,) = sim.take(call + 1) or []
    worker.read()
    worker.finish()
    sim.receive(worker)
    sim.lose(item)
    if retries:
        yields(sim, running(sim, call), 1)
        assert not sim.fault(item)
    else:
        assert why(sim, item) == lineage.ACTOR


def test_an_item_that_is_only_an_argument_is_yielded_again(sim: Simulation) -> None:
    call, items = made(sim, 2)
    sim.stores = True
    user = sim.submit(function(retries=1), items[0])
    sim.run()
    sim.release(*items)
    assert not sim.objects.is_pending(items[0]) and items[0] not in sim.objects.entries
    sim.lose(user)
    yields(sim, running(sim, call), 2)
    sim.run()
    assert not sim.fault(user)
    assert not {*items} & sim.objects.entries.keys(), "what was made for it is freed again"


def test_a_stream_without_end_is_not_remembered_item_by_item(sim: Simulation) -> None:
    call = sim.submit(generator(0, 2))
    worker = running(sim, call)
    for _ in range(5):
        yields(sim, worker, 1, end=False)
        sim.release(*(sim.take(call + 1) or []))
    sim.graph.sweep()
    assert not sim.graph.lineage.origins[call].items and not sim.objects.origins
    worker.finish()
    sim.receive(worker)
    assert not sim.graph.lineage.origins
