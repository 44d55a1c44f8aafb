"""`util.iter`: iterators whose items come from actors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest


@pytest.fixture
def it(module: Callable[[str], Any]) -> Any:
    return module("util.iter")


def test_items_are_dealt_out_to_the_shards_in_turn(it: Any) -> None:
    items = it.from_items(["a", "b", "c", "d", "e"], num_shards=2)
    assert [list(shard) for shard in items.shards()] == [["a", "c", "e"], ["b", "d"]]
    assert list(items.gather_sync()) == ["a", "b", "c", "d", "e"]


def test_a_range_is_cut_into_parts(it: Any) -> None:
    numbers = it.from_range(7, num_shards=3)
    assert numbers.num_shards() == 3
    assert [list(numbers.get_shard(shard)) for shard in range(3)] == [[0, 1], [2, 3], [4, 5, 6]]
    assert list(numbers.gather_sync()) == [0, 2, 4, 1, 3, 5, 6]


def test_every_iterable_has_an_actor(it: Any) -> None:
    numbers = it.from_iterators([range(2), [7, 8, 9], lambda: (n * n for n in range(2))])
    assert list(numbers.batch_across_shards()) == [[0, 7, 0], [1, 8, 1], [9]]


def test_a_generator_cannot_be_sent_to_an_actor(it: Any) -> None:
    with pytest.raises(TypeError):
        it.from_iterators([(n for n in range(3))])


def test_iterators_over_actors_of_ones_own(ray: Any, it: Any) -> None:
    @ray.remote
    class Source(it.ParallelIteratorWorker):  # type: ignore[misc]
        def __init__(self, items: list[int]) -> None:
            it.ParallelIteratorWorker.__init__(self, items, False)

        def hello(self) -> str:
            return "hello"

    sources = [Source.remote([1, 2]), Source.remote([3, 4])]
    numbers = it.from_actors(sources).for_each(lambda x: x * 10)
    assert list(numbers.gather_sync()) == [10, 30, 20, 40]
    assert ray.get(sources[0].hello.remote()) == "hello"


def test_what_repeats_begins_anew(it: Any) -> None:
    assert it.from_range(2, num_shards=1, repeat=True).take(5) == [0, 1, 0, 1, 0]
    assert it.from_items([1, 2], num_shards=2, repeat=True).take(5) == [1, 2, 1, 2, 1]


def test_steps_run_in_the_actors_in_their_order(it: Any) -> None:
    numbers = it.from_range(10, num_shards=1)
    assert numbers.for_each(lambda x: x + 1).filter(lambda x: x % 2).take(3) == [1, 3, 5]
    assert numbers.batch(4).take(9) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert numbers.batch(4).flatten().take(9) == list(range(9))
    assert numbers.combine(lambda x: [x] * x).take(6) == [1, 2, 2, 3, 3, 3]


def test_a_step_may_change_the_whole_stream(it: Any) -> None:
    def sums(numbers: Iterable[int]) -> Iterator[int]:
        total = 0
        for number in numbers:
            total += number
            yield total

    numbers = it.from_range(5, num_shards=1)
    assert numbers.transform(sums).take(9) == [0, 1, 3, 6, 10]
    assert numbers.gather_sync().transform(sums).take(9) == [0, 1, 3, 6, 10]


def test_several_calls_of_a_step_run_at_once(it: Any) -> None:
    numbers = it.from_range(6, num_shards=1)
    for at_once in (2, 0):
        squares = numbers.for_each(lambda x: x * x, max_concurrency=at_once, resources={"num_cpus": 0.1})
        assert sorted(squares.gather_sync()) == [0, 1, 4, 9, 16, 25]
    with pytest.raises(AssertionError, match="max_concurrency must be non-negative"):
        numbers.for_each(lambda x: x, max_concurrency=-1)


def test_items_come_as_they_become_ready(it: Any) -> None:
    numbers = it.from_range(20, num_shards=2)
    assert sorted(numbers.gather_async()) == list(range(20))
    assert sorted(numbers.gather_async(batch_ms=5, num_async=3)) == list(range(20))
    assert list(it.from_range(20, num_shards=1).gather_async()) == list(range(20))


def test_a_shard_that_is_slow_does_not_hold_up_the_others(it: Any, flags: Any) -> None:
    def wait_for_go() -> Iterator[str]:
        flags.wait("go")
        yield "late"

    items = it.from_iterators([wait_for_go, ["a", "b", "c"]]).gather_async()
    assert items.take(3) == ["a", "b", "c"]
    flags.up("go")
    assert list(items) == ["late"]


@pytest.mark.parametrize("wrong", [{"num_async": 0}, {"batch_ms": -1}])
def test_numbers_that_are_too_small_are_refused(it: Any, wrong: dict[str, int]) -> None:
    numbers = it.from_range(2)
    with pytest.raises(ValueError, match="must be positive"):
        numbers.gather_async(**wrong)
    with pytest.raises(ValueError, match="must be positive"):
        numbers.get_shard(0, **wrong)
    with pytest.raises(ValueError, match="Shard index out of range"):
        numbers.get_shard(2)


def test_the_actor_behind_an_item_is_known(ray: Any, it: Any) -> None:
    pairs = list(it.from_range(4, num_shards=2).gather_async().zip_with_source_actor())
    assert sorted(item for _, item in pairs) == [0, 1, 2, 3]
    assert len({actor._actor_id for actor, _ in pairs}) == 2
    with pytest.raises(ValueError, match="Could not identify source actor"):
        it.from_range(4).gather_sync().zip_with_source_actor().take(1)


def test_an_iterator_must_be_gathered_to_be_read(it: Any) -> None:
    with pytest.raises(TypeError, match=r"gather_sync\(\) or it.gather_async\(\)"):
        iter(it.from_range(2))


def test_an_iterator_says_how_it_was_made(it: Any) -> None:
    numbers = it.from_range(4, num_shards=2)
    assert repr(numbers) == str(numbers) == "ParallelIterator[from_range[4, shards=2]]"
    assert repr(numbers.for_each(abs).batch(2)) == "ParallelIterator[from_range[4, shards=2].for_each().batch(2)]"
    assert repr(it.from_items([1], repeat=True)) == "ParallelIterator[from_items[int, 1, shards=2, repeat=True]]"
    assert repr(it.from_iterators([[1]])) == "ParallelIterator[from_iterators[shards=1]]"
    assert repr(numbers.gather_sync()) == f"LocalIterator[{numbers}.gather_sync()]"
    assert repr(numbers.union(numbers)) == f"ParallelIterator[ParallelUnion[{numbers}, {numbers}]]"
    assert repr(numbers.get_shard(1).filter(bool)) == "LocalIterator[from_range[4, shards=2].shard[1].filter()]"


def test_items_are_dealt_out_anew(it: Any) -> None:
    parts = it.from_range(8, num_shards=2).repartition(3)
    assert parts.num_shards() == 3
    assert [sorted(part) for part in parts.shards()] == [[0, 3, 4, 7], [1, 5], [2, 6]]
    assert sorted(it.from_range(8, num_shards=2).repartition(2, batch_ms=2).gather_async()) == list(range(8))


def test_shards_of_two_iterators_are_united(it: Any) -> None:
    both = it.from_items([1, 2], num_shards=1).for_each(lambda x: -x).union(it.from_items([5], num_shards=1))
    assert both.num_shards() == 2
    assert list(both.gather_sync()) == [-1, 5, -2]
    with pytest.raises(TypeError, match="other must be of type ParallelIterator"):
        both.union([1])
    with pytest.raises(ValueError, match="not allowed after union"):
        both.select_shards([0])


def test_some_of_the_shards_are_selected(it: Any) -> None:
    numbers = it.from_range(6, num_shards=3)
    assert list(numbers.select_shards([0, 2]).gather_sync()) == [0, 4, 1, 5]
    with pytest.raises(ValueError, match="at least one shard"):
        numbers.select_shards([])
    with pytest.raises(AssertionError, match="Invalid actor index"):
        numbers.select_shards([3])


def test_shuffles_with_one_seed_are_the_same(it: Any) -> None:
    numbers = it.from_range(20, num_shards=1)
    shuffled = list(numbers.local_shuffle(5, seed=7).gather_sync())
    assert sorted(shuffled) == list(range(20))
    assert shuffled == list(numbers.gather_sync().shuffle(5, seed=7))
    assert shuffled[:6] == [2, 1, 5, 0, 3, 9]  # Ray's order


def test_show_prints_items(it: Any, capsys: pytest.CaptureFixture[str]) -> None:
    it.from_items(["a", "b", "c"]).show(2)
    assert capsys.readouterr().out.splitlines()[-2:] == ["a", "b"]


def test_local_steps_are_those_of_parallel_iterators(it: Any) -> None:
    numbers = it.from_range(6, num_shards=1)
    assert numbers.gather_sync().for_each(lambda x: x + 1).filter(lambda x: x % 2).take(9) == [1, 3, 5]
    assert numbers.gather_sync().batch(4).take(9) == [[0, 1, 2, 3], [4, 5]]
    assert numbers.gather_sync().combine(lambda x: [x, x]).take(3) == [0, 0, 1]
    assert sorted(numbers.gather_sync().for_each(lambda x: -x, max_concurrency=2)) == [-5, -4, -3, -2, -1, 0]


def test_a_local_iterator_is_read_on_from_where_it_was_left(it: Any) -> None:
    numbers = it.from_range(5, num_shards=1).gather_sync()
    assert numbers.take(2) == [0, 1]
    assert next(numbers) == 2
    assert list(numbers) == [3, 4]


def test_local_iterators_are_united(it: Any) -> None:
    def source(*items: int) -> Any:
        return it.from_items(list(items), num_shards=1).gather_sync()

    assert sorted(source(1, 2).union(source(3), source(4))) == [1, 2, 3, 4]
    assert list(source(1, 2).union(source(3, 4), deterministic=True)) == [1, 3, 2, 4]
    weighted = source(1, 2, 3).union(source(7, 8), round_robin_weights=[2, 1])
    assert list(weighted) == [1, 2, 7, 3, 8]
    assert sorted(source(1, 2).union(source(3, 4), round_robin_weights=[1, "*"])) == [1, 2, 3, 4]
    with pytest.raises(ValueError, match="Length of round robin weights"):
        source(1).union(source(2), round_robin_weights=[1])
    with pytest.raises(ValueError, match="must be of type LocalIterator"):
        source(1).union([2])


def test_copies_of_an_iterator_have_all_items(it: Any) -> None:
    numbers = it.from_range(4, num_shards=1).gather_sync()
    one, two = numbers.duplicate(2)
    both = one.for_each(lambda x: x).union(two.for_each(lambda x: -x - 1))
    assert sorted(both) == [-4, -3, -2, -1, 0, 1, 2, 3]
    with pytest.raises(ValueError, match="copies must be >= 2"):
        numbers.duplicate(1)


def test_the_steps_of_an_iterator_share_a_context(it: Any) -> None:
    def count(item: int) -> int:
        it.LocalIterator.get_metrics().counters["items"] += 1
        return item

    def look(item: int) -> int:
        return it.LocalIterator.get_metrics().counters["items"]

    assert list(it.from_range(3, num_shards=1).gather_sync().for_each(count).for_each(look)) == [1, 2, 3]


def test_a_step_may_hear_when_an_item_is_asked_for(it: Any) -> None:
    class Step:
        def __init__(self) -> None:
            self.heard: list[str] = []

        def __call__(self, item: int) -> int:
            self.heard.append(f"item {item}")
            return item

        def _on_fetch_start(self) -> None:
            self.heard.append("asked")

    step = Step()
    assert it.from_range(3, num_shards=1).gather_sync().for_each(step).take(2) == [0, 1]
    assert step.heard == ["asked", "item 0", "asked", "item 1"]


def test_iterators_are_passed_to_tasks(ray: Any, it: Any) -> None:
    numbers = it.from_range(4, num_shards=2).for_each(lambda x: x * 2)

    @ray.remote
    def total(items: Any) -> int:
        return sum(items if hasattr(items, "__next__") else items.gather_sync())

    assert ray.get([total.remote(shard) for shard in numbers.shards()]) == [2, 10]
    assert ray.get(total.remote(numbers)) == 12


def test_an_error_in_a_step_is_raised_where_items_are_read(it: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        list(it.from_range(3).for_each(lambda x: 1 // (x - 1)).gather_sync())
