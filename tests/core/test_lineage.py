"""Objects in the store that were lost are made again by their tasks, or become errors that say why not."""

from __future__ import annotations

import pytest

from minray.core import lineage
from minray.core.numbering import NEXT
from minray.core.value import FAULT, STORED, is_bytes
from tests.core.simulation import Simulation
from tests.core.templates import actor_class, function, value


@pytest.fixture
def storing(sim: Simulation) -> Simulation:
    """Every call returns values in the store."""
    sim.stores = True
    return sim


def made(sim: Simulation, *deps: int, retries: int = 3, returns: int = 1, refs: tuple[int, ...] = ()) -> int:
    id = sim.submit(function(returns, retries), *deps, refs=refs)
    sim.run()
    return id


def why(sim: Simulation, id: int) -> str:
    """Why a lost object was not made again."""
    found = sim.value(id)
    assert found is not None and found[0] == FAULT and found[1][0] == "ObjectLost"
    reason: str = found[1][1][1]
    return reason


def left(sim: Simulation) -> set[int]:
    """The objects that there are."""
    return {id for id in sim.objects.entries if not is_bytes(id)}


def test_an_object_is_made_again_and_is_pending_until_then(storing: Simulation) -> None:
    sim = storing
    id = made(sim)
    before = sim.value(id)
    sim.lose(id)
    assert sim.value(id) is None
    user = sim.submit(function(), id)
    sim.run()
    after = sim.value(id)
    assert after is not None and after[0] == STORED and after != before
    assert user in sim.ended and len(sim.begun[id]) == 2


def test_the_memory_of_what_was_lost_is_not_given_back_twice(storing: Simulation) -> None:
    sim = storing
    id = made(sim)
    before = sim.value(id)
    sim.lose(id)
    sim.run()
    sim.release(id)
    assert sim.freed.count(before) == 1  # type: ignore[arg-type]


def test_whoever_is_late_with_the_news_changes_nothing(storing: Simulation) -> None:
    sim = storing
    id = made(sim)
    before = sim.value(id)
    assert before is not None
    sim.lose(id)
    sim.graph.lineage.lost(id, before[1])
    sim.run()
    sim.graph.lineage.lost(id, before[1])
    sim.after()
    assert len(sim.begun[id]) == 2


def test_arguments_that_nobody_needed_any_more_are_made_again_too(storing: Simulation) -> None:
    sim = storing
    first = made(sim)
    second = made(sim, first)
    third = made(sim, second)
    sim.release(first, second)
    assert first not in sim.objects.entries
    sim.lose(third)
    sim.run()
    assert [len(sim.begun[id]) for id in (first, second, third)] == [2, 2, 2]
    assert left(sim) == {third}, "what was made for it is freed again"


def test_small_arguments_are_remembered(sim: Simulation) -> None:
    inner = sim.put(value(stored=True))
    small = sim.put(value(inner))
    sim.release(inner)
    sim.stores = True
    id = made(sim, small)
    sim.release(small)
    assert inner in sim.objects.entries, "the remembered argument holds it"
    sim.lose(id)
    sim.run()
    assert sim.value(id) is not None and not sim.fault(id)
    sim.release(id)
    assert not sim.objects.entries


def test_one_of_several_results_is_made_again_alone(storing: Simulation) -> None:
    sim = storing
    id = made(sim, returns=2)
    kept = sim.value(id + NEXT)
    sim.lose(id)
    sim.run()
    assert sim.value(id + NEXT) is kept and sim.value(id) is not None


def test_each_time_takes_one_of_the_retries(storing: Simulation) -> None:
    sim = storing
    id = made(sim, retries=2)
    for _ in range(2):
        sim.lose(id)
        assert sim.value(id) is None
        sim.run()
    sim.lose(id)
    assert why(sim, id) == lineage.EXHAUSTED


def test_a_worker_that_dies_under_a_task_that_is_run_again_takes_one_too(storing: Simulation) -> None:
    sim = storing
    id = made(sim, retries=2)
    sim.lose(id)
    worker = sim.at(id)
    worker.die()
    sim.receive(worker)
    sim.run()
    sim.lose(id)
    assert why(sim, id) == lineage.EXHAUSTED


def test_what_cannot_be_made_again_says_why(storing: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    sim = storing
    put = sim.put(value(stored=True))
    never = made(sim, retries=0)
    of_put = made(sim, put)
    actor = sim.create(actor_class())
    by_actor = sim.call(actor)
    sim.run()
    sim.release(put)
    put = sim.put(value(stored=True))
    for id, reason in [
        (put, lineage.PUT),
        (never, lineage.DISABLED),
        (of_put, lineage.ARGUMENT),
        (by_actor, lineage.ACTOR),
    ]:
        sim.lose(id)
        assert why(sim, id) == reason
    monkeypatch.setattr(lineage, "MOST_ORIGINS", 2)
    ids = [made(sim) for _ in range(3)]
    sim.lose(ids[0])
    assert why(sim, ids[0]) == lineage.EVICTED
    sim.lose(ids[1])
    assert sim.value(ids[1]) is None


def test_a_long_chain_is_made_again_without_recursion(storing: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    sim = storing
    monkeypatch.setattr("tests.core.owner.check", lambda sim: None)  # which would take minutes
    monkeypatch.setattr(sim.graph, "check", lambda: None)
    chain = [made(sim)]
    for _ in range(1500):
        chain.append(made(sim, chain[-1]))
    sim.release(*chain[:-1])
    assert left(sim) == {chain[-1]}
    sim.lose(chain[-1])
    sim.run()
    assert sim.value(chain[-1]) is not None and not sim.fault(chain[-1])
    sim.release(chain[-1])
    sim.graph.sweep()
    assert not sim.graph.lineage.origins


def test_nothing_is_remembered_for_longer_than_somebody_may_need_it(storing: Simulation) -> None:
    sim = storing
    first = made(sim)
    second = made(sim, first)
    origins = sim.graph.lineage.origins
    sim.release(first)
    assert origins.keys() == {first, second}
    sim.release(second)
    assert not origins and not sim.objects.origins


def test_an_actor_ends_that_only_the_memory_of_an_argument_has_held(storing: Simulation) -> None:
    sim = storing
    actor = sim.create(actor_class())
    with_handle = sim.put(value(actor))
    result = made(sim, with_handle)
    sim.release(actor, with_handle)
    sim.run()
    assert actor in sim.actors
    sim.release(result)
    sim.run()
    assert actor not in sim.actors
