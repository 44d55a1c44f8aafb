"""Streams: items come once, in order, and are freed with their readers; producers wait for no longer than they must."""

from __future__ import annotations

from minray.core.tasks import Worker
from minray.core.value import NONE
from tests.core.sim_worker import BOOM, SimWorker
from tests.core.simulation import Simulation
from tests.core.templates import actor_class, generator, method, value


def start(sim: Simulation, call: int) -> SimWorker:
    """The worker that runs a call, which it has begun."""
    worker = sim.at(call)
    worker.read()
    worker.begin()
    sim.receive(worker)
    return worker


def produce(sim: Simulation, worker: SimWorker, number: int) -> None:
    """Yield so many items, or as many as may be unread."""
    worker.yields(*[value() for _ in range(number)])
    sim.receive(worker)
    worker.read()


def test_items_are_taken_in_the_order_in_which_they_were_yielded(sim: Simulation) -> None:
    g = sim.submit(generator(0))
    worker = start(sim, g)
    assert sim.take(g + 1) == []
    produce(sim, worker, 3)
    ids = sim.take(g + 1)
    assert ids is not None and [sim.value(id) for id in ids] == sim.yielded[g]
    worker.finish()
    sim.receive(worker)
    assert sim.take(g + 1) is None and sim.value(g) == NONE


def test_who_waits_for_the_next_item_is_told_when_it_comes(sim: Simulation) -> None:
    g = sim.submit(generator(0))
    worker = start(sim, g)
    expected = sim.graph.streams.peek(g + 1)
    assert sim.graph.streams.peek(g + 1) == expected
    watch = sim.watch([expected], 1)
    assert sim.watches
    produce(sim, worker, 2)
    assert watch.done
    ids = sim.take(g + 1)
    assert ids is not None and ids[0] == expected and len(ids) == 2


def test_who_waits_for_an_item_that_never_comes_is_told_at_the_end(sim: Simulation) -> None:
    g = sim.submit(generator(0))
    worker = start(sim, g)
    watch = sim.watch([sim.graph.streams.peek(g + 1)], 1)
    worker.finish()
    sim.receive(worker)
    assert watch.done and sim.graph.streams.peek(g + 1) == g
    sim.release(g, g + 1)
    assert not sim.objects.entries


def test_what_a_generator_raises_is_its_last_item(sim: Simulation) -> None:
    g = sim.submit(generator(0))
    worker = start(sim, g)
    produce(sim, worker, 1)
    worker.fail()
    sim.receive(worker)
    ids = sim.take(g + 1)
    assert ids is not None and sim.value(ids[-1]) == BOOM and sim.value(g) == NONE


def test_a_lost_worker_is_the_value_of_the_call(sim: Simulation) -> None:
    g = sim.submit(generator(0))
    worker = start(sim, g)
    produce(sim, worker, 1)
    worker.die()
    sim.receive(worker)
    assert len(sim.take(g + 1) or ()) == 1 and sim.take(g + 1) is None
    assert sim.fault(g) == "WorkerCrashed"


def test_what_a_second_run_yields_again_is_dropped(sim: Simulation) -> None:
    g = sim.submit(generator(0, 1))
    worker = start(sim, g)
    worker.yields(value(stored=True), value(stored=True))
    sim.receive(worker)
    worker.die()
    sim.receive(worker)
    worker = start(sim, g)
    again = [value(stored=True) for _ in range(3)]
    worker.yields(again[0])
    worker.yields(*again[1:])
    sim.receive(worker)
    assert sim.freed == again[:2]
    ids = sim.take(g + 1)
    assert ids is not None and [sim.value(id) for id in ids] == [*sim.stored[:2], again[2]]


def test_a_stream_that_nobody_reads_frees_what_it_has_and_what_comes(sim: Simulation) -> None:
    g = sim.submit(generator(0))
    worker = start(sim, g)
    first, second = value(stored=True), value(stored=True)
    worker.yields(first)
    sim.receive(worker)
    sim.release(g, g + 1)
    assert sim.freed == [first]
    worker.yields(second)
    sim.receive(worker)
    assert sim.freed == [first, second]
    worker.finish()
    sim.receive(worker)
    assert not sim.objects.entries and not sim.graph.streams.streams


def test_an_item_outlives_its_stream(sim: Simulation) -> None:
    g = sim.submit(generator(0))
    worker = start(sim, g)
    produce(sim, worker, 1)
    item = (sim.take(g + 1) or [])[0]
    sim.release(g + 1)
    assert sim.value(item) is not None


def test_what_is_yielded_for_a_call_that_is_over_is_freed(sim: Simulation) -> None:
    late = value(stored=True)
    known = next(iter(sim.scheduler.workers.values()))
    sim.stored.append(late)
    sim.graph.streams.yielded(known, 12345, 0, [late])
    sim.graph.streams.yielded(Worker(99, known.node), 12345, 0, [])
    sim.after()
    assert sim.freed == [late]


# -- limits --------------------------------------------------------------------------------------------------------


def test_a_producer_waits_for_its_reader_and_lends_its_cpu_out(sim: Simulation) -> None:
    g = sim.submit(generator(2))
    worker = start(sim, g)
    assert sim.free() == 1
    produce(sim, worker, 5)
    assert worker.made == 2 and worker.waits_for_readers and sim.free() == 2
    assert len(sim.take(g + 1) or ()) == 1
    worker.read()
    assert worker.room == 1 and sim.free() == 1
    produce(sim, worker, 5)
    assert worker.made == 3 and sim.free() == 2


def test_a_producer_is_told_of_its_reader_only_when_it_may_be_waiting(sim: Simulation) -> None:
    g = sim.submit(generator(4))
    worker = start(sim, g)
    produce(sim, worker, 3)
    for _ in range(2):
        sim.take(g + 1)
    assert not worker.inbox
    produce(sim, worker, 1)
    assert worker.room == 2, "two were taken, of which it hears now that it would wait"


def test_a_producer_that_nobody_reads_waits_no_more(sim: Simulation) -> None:
    g = sim.submit(generator(1))
    worker = start(sim, g)
    produce(sim, worker, 1)
    assert worker.waits_for_readers
    sim.release(g + 1)
    worker.read()
    assert worker.room == 1000 and sim.free() == 1


def test_a_producer_whose_reader_is_gone_before_it_begins_never_waits(sim: Simulation) -> None:
    g = sim.submit(generator(1))
    sim.release(g + 1)
    worker = start(sim, g)
    produce(sim, worker, 1)
    assert worker.room == 1000


def test_a_waiting_producer_that_dies_gives_back_what_it_has_and_its_second_run_waits_too(sim: Simulation) -> None:
    g = sim.submit(generator(2, 1))
    worker = start(sim, g)
    produce(sim, worker, 2)
    sim.take(g + 1)
    worker.read()
    produce(sim, worker, 1)
    worker.die()
    sim.receive(worker)
    worker = start(sim, g)
    produce(sim, worker, 2)
    assert worker.room == 1, "of these two one was taken in the first run"
    produce(sim, worker, 1)
    assert worker.waits_for_readers and sim.free() == 2


def test_a_waiting_producer_can_be_interrupted(sim: Simulation) -> None:
    g = sim.submit(generator(1))
    worker = start(sim, g)
    produce(sim, worker, 1)
    worker.fail()
    sim.receive(worker)
    assert sim.free() == 2 and len(sim.take(g + 1) or ()) == 1 and len(sim.take(g + 1) or ()) == 1


def test_all_streams_of_an_actor_may_have_a_limit_together(sim: Simulation) -> None:
    template = actor_class()
    template.max_unread = 3
    actor = sim.create(template)
    sim.run()
    first = sim.call(actor, template=method(stream=0))
    worker = start(sim, first)
    produce(sim, worker, 2)
    worker.finish()
    sim.receive(worker)
    second = sim.call(actor, template=method(stream=0))
    start(sim, second)
    produce(sim, worker, 5)
    assert worker.made == 1 and worker.waits_for_readers
    for room in (1, 2):
        assert len(sim.take(first + 1) or ()) == 1
        worker.read()
        assert worker.room == room
    produce(sim, worker, 5)
    assert worker.made == 3 and worker.waits_for_readers
    sim.release(second + 1)
    worker.read()
    assert worker.room == 1000


def test_a_restarted_actor_begins_to_count_anew(sim: Simulation) -> None:
    template = actor_class(restarts=1)
    template.max_unread = 2
    actor = sim.create(template)
    sim.run()
    call = sim.call(actor, template=method(retries=1, stream=0))
    worker = start(sim, call)
    produce(sim, worker, 2)
    worker.die()
    sim.receive(worker)
    worker = sim.of(actor)
    worker.read()
    worker.begin()
    worker.finish()
    sim.receive(worker)
    start(sim, call)
    produce(sim, worker, 5)
    assert worker.made == 2 and worker.waits_for_readers
    assert len(sim.take(call + 1) or ()) == 1
    worker.read()
    assert worker.room == 1


# -- readers in workers --------------------------------------------------------------------------------------------


def test_a_call_can_read_a_stream(sim: Simulation) -> None:
    reader = start(sim, sim.submit(generator(0)))
    g = reader.submit(generator(2))
    reader.next(g + 1)
    sim.receive(reader)
    worker = start(sim, g)
    assert reader.requests
    produce(sim, worker, 2)
    before = len(reader.refs)
    reader.read()
    assert not reader.requests and len(reader.refs) == before + 1, "of a bounded stream one at a time"


def test_a_reader_that_dies_leaves_no_item_behind(sim: Simulation) -> None:
    reader = start(sim, sim.submit(generator(0)))
    g = reader.submit(generator(1))
    sim.receive(reader)
    worker = start(sim, g)
    worker.yields(value(stored=True))
    sim.receive(worker)
    reader.die()
    sim.receive(reader)
    assert len(sim.freed) == 1
    worker.read()
    assert worker.room == 1000
