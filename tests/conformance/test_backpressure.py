"""Generators with a limit to what they yield ahead of their readers."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest


@pytest.fixture
def counting(flags: Any) -> Callable[..., Iterator[int]]:
    """A generator that raises a flag for each item that it begins to compute."""

    def counting(n: int, flag: str = "made") -> Iterator[int]:
        for i in range(n):
            flags.up(flag)
            yield i
        flags.up(f"{flag} all")

    return counting


@pytest.fixture
def settled(flags: Any) -> Callable[[str, int], bool]:
    """Whether a flag is raised so often, and stays so for a while."""

    def settled(flag: str, times: int) -> bool:
        flags.wait(flag, times)
        time.sleep(0.1)  # nothing says that nothing more will come
        return bool(flags.count(flag) == times)

    return settled


@pytest.mark.slow
@pytest.mark.parametrize("limit", [1, 2, 5])
def test_a_generator_waits_while_as_many_items_as_allowed_are_unread(
    ray: Any, counting: Any, settled: Any, limit: int
) -> None:
    generator = ray.remote(_generator_backpressure_num_objects=limit)(counting).remote(20)
    assert settled("made", limit)
    assert ray.get(next(generator)) == 0
    assert settled("made", limit + 1)
    next(generator)
    next(generator)
    assert settled("made", limit + 3)
    assert ray.get(list(generator)) == list(range(3, 20))


@pytest.mark.slow
def test_getting_an_item_without_taking_the_next_makes_no_room(ray: Any, counting: Any, settled: Any) -> None:
    generator = ray.remote(counting).options(_generator_backpressure_num_objects=1).remote(5)
    first = next(generator)
    assert settled("made", 2)
    ray.get(first)
    assert settled("made", 2)


@pytest.mark.slow
def test_looking_at_a_generator_makes_no_room(ray: Any, counting: Any, settled: Any, eventually: Any) -> None:
    generator = ray.remote(_generator_backpressure_num_objects=1)(counting).remote(5)
    eventually(generator.next_ready)
    assert ray.wait([generator]) == ([generator], [])
    assert not generator.is_finished()
    assert settled("made", 1)


def test_a_generator_whose_reader_is_gone_runs_to_its_end(ray: Any, counting: Any, flags: Any) -> None:
    generator = ray.remote(_generator_backpressure_num_objects=1)(counting).remote(20)
    next(generator)
    del generator
    gc.collect()
    flags.wait("made all")


def test_a_generator_that_nobody_ever_reads_runs_to_its_end(ray: Any, counting: Any, flags: Any) -> None:
    ray.remote(_generator_backpressure_num_objects=1)(counting).remote(20)
    gc.collect()
    flags.wait("made all")


@pytest.mark.parametrize("limit", [-1, -2, None])
def test_without_a_limit_a_generator_runs_ahead(ray: Any, counting: Any, flags: Any, limit: Any) -> None:
    generator = ray.remote(_generator_backpressure_num_objects=limit)(counting).remote(20)
    flags.wait("made all")
    assert len(list(generator)) == 20


def test_a_limit_of_zero_is_refused(ray: Any, counting: Any) -> None:
    with pytest.raises(ValueError, match="_generator_backpressure_num_objects=0 is not allowed"):
        ray.remote(_generator_backpressure_num_objects=0)(counting)
    with pytest.raises(ValueError, match="_generator_backpressure_num_objects=0 is not allowed"):
        ray.remote(counting).options(_generator_backpressure_num_objects=0)


@pytest.mark.parametrize("limit", [1.5, "2"])
def test_a_limit_is_a_whole_number(ray: Any, counting: Any, limit: Any) -> None:
    with pytest.raises(TypeError, match="_generator_backpressure_num_objects"):
        ray.remote(_generator_backpressure_num_objects=limit)(counting)


def test_a_limit_is_of_no_concern_to_other_tasks(ray: Any, counting: Any) -> None:
    one = ray.remote(lambda: 1).options(_generator_backpressure_num_objects=1, num_returns=1)
    assert ray.get(one.remote()) == 1
    assert ray.get(ray.remote(_generator_backpressure_num_objects=1, num_returns=2)(counting).remote(2)) == [0, 1]


def test_a_task_can_read_a_generator_with_a_limit(ray: Any, counting: Any, flags: Any) -> None:
    numbers = ray.remote(_generator_backpressure_num_objects=1)(counting)

    @ray.remote
    def read(n: int) -> tuple[list[int], int]:
        generator = numbers.remote(n)
        got = [ray.get(next(generator)) for _ in range(3)]
        return got, len(list(generator))

    assert ray.get(read.remote(6)) == ([0, 1, 2], 3)


@pytest.mark.slow
def test_a_chain_of_generators_with_limits_computes_no_more_than_is_read(
    ray: Any, counting: Any, flags: Any, settled: Any
) -> None:
    numbers = ray.remote(_generator_backpressure_num_objects=1, num_cpus=0.5)(counting)

    @ray.remote(_generator_backpressure_num_objects=1, num_cpus=0.5)
    def squares(n: int) -> Iterator[int]:
        for ref in numbers.remote(n):
            yield ray.get(ref) ** 2

    generator = squares.remote(10)
    assert settled("made", 2)
    assert [ray.get(next(generator)) for _ in range(3)] == [0, 1, 4]
    assert settled("made", 5)
    assert ray.get(list(generator)) == [i * i for i in range(3, 10)]


def test_retries_keep_the_limit(ray: Any, flags: Any) -> None:
    @ray.remote(max_retries=1, retry_exceptions=True, _generator_backpressure_num_objects=1)
    def flaky() -> Iterator[Any]:
        run = flags.up("run")
        for i in range(6):
            yield run, i
            if run == 1 and i == 2:
                raise ValueError

    assert ray.get(list(flaky.remote())) == [(1, 0), (1, 1), (1, 2), (2, 3), (2, 4), (2, 5)]


# -- groups --------------------------------------------------------------------------------------------------------


@pytest.fixture
def pairs(ray: Any, flags: Any) -> Any:
    def pairs(n: int) -> Iterator[Any]:
        for i in range(n):
            flags.up("made")
            yield i, 10 * i

    return pairs


def test_items_can_be_yielded_in_groups(ray: Any, pairs: Any) -> None:
    generator = ray.remote(_num_objects_per_yield=2)(pairs)
    assert ray.get(list(generator.remote(3))) == [0, 0, 1, 10, 2, 20]


@pytest.mark.slow
def test_a_group_is_yielded_as_soon_as_there_is_any_room(ray: Any, pairs: Any, settled: Any) -> None:
    generator = ray.remote(_num_objects_per_yield=2, _generator_backpressure_num_objects=3)(pairs).remote(10)
    assert settled("made", 2)
    next(generator)
    assert settled("made", 2)
    next(generator)
    assert settled("made", 3)


@pytest.mark.parametrize(
    ("group", "message"),
    [(3, "must yield a tuple or list of length 2"), ((3, 4, 5), "yielded 3 objects, but _num_objects_per_yield=2")],
)
def test_a_group_of_another_size_is_an_error(ray: Any, group: Any, message: str) -> None:
    @ray.remote(_num_objects_per_yield=2)
    def odd() -> Iterator[Any]:
        yield 1, 2
        yield group
        yield 6, 7

    generator = odd.remote()
    assert ray.get([next(generator), next(generator)]) == [1, 2]
    with pytest.raises(ValueError, match=message):
        ray.get(next(generator))
    assert list(generator) == []


def test_the_size_of_groups_belongs_to_the_function(ray: Any, pairs: Any) -> None:
    generator = ray.remote(_num_objects_per_yield=2)(pairs)
    generator.options(_num_objects_per_yield=2)
    for other in (1, 3, None):
        with pytest.raises(ValueError, match="_num_objects_per_yield cannot be overridden"):
            generator.options(_num_objects_per_yield=other)
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="_num_objects_per_yield"):
            ray.remote(_num_objects_per_yield=wrong)(pairs)
    with pytest.raises(TypeError, match="_num_objects_per_yield"):
        ray.remote(_num_objects_per_yield="2")(pairs)


# -- actors --------------------------------------------------------------------------------------------------------


@pytest.fixture
def counter(ray: Any, counting: Any) -> Any:
    """An actor class with a generator method, and one that has a limit."""

    class Counter:
        def numbers(self, n: int, flag: str = "made") -> Iterator[int]:
            for i in counting(n, flag):
                yield i

        @ray.method(_generator_backpressure_num_objects=2)
        def limited(self, n: int, flag: str = "made") -> Iterator[int]:
            for i in counting(n, flag):
                yield i

        def plain(self) -> int:
            return 1

    return Counter


@pytest.mark.slow
def test_a_method_can_have_a_limit(ray: Any, counter: Any, settled: Any) -> None:
    actor = ray.remote(counter).remote()
    generator = actor.limited.remote(10)
    assert settled("made", 2)
    assert len(list(generator)) == 10
    generator = actor.numbers.options(_generator_backpressure_num_objects=3).remote(10, "more")
    assert settled("more", 3)
    assert len(list(generator)) == 10


@pytest.mark.slow
def test_a_generator_that_waits_keeps_its_actor_busy(ray: Any, counter: Any, settled: Any, flags: Any) -> None:
    actor = ray.remote(counter).remote()
    first = actor.limited.remote(4, "first")
    second = actor.numbers.remote(1, "second")
    assert settled("first", 2) and flags.count("second") == 0
    assert len(list(first)) == 4
    assert ray.get(list(second)) == [0]


@pytest.mark.slow
def test_an_actor_can_have_a_limit_for_all_its_generators(
    ray: Any, counter: Any, settled: Any, flags: Any, eventually: Any
) -> None:
    actor = ray.remote(max_concurrency=4, _actor_generator_backpressure_num_objects=4)(counter).remote()
    first = actor.numbers.remote(10, "first")
    assert settled("first", 4)
    second = actor.numbers.remote(10, "second")
    assert settled("first", 4) and flags.count("second") == 0
    assert ray.get(actor.plain.remote()) == 1
    for _ in range(3):
        next(first)
    eventually(lambda: flags.count("first") + flags.count("second") == 7)
    del first
    gc.collect()
    flags.wait("first all")
    assert len(list(second)) == 10


@pytest.mark.slow
def test_the_smaller_of_both_limits_counts(ray: Any, counter: Any, settled: Any) -> None:
    actor = ray.remote(_actor_generator_backpressure_num_objects=4)(counter).remote()
    generator = actor.limited.remote(10)
    assert settled("made", 2)
    assert len(list(generator)) == 10
    generator = actor.numbers.remote(10, "more")
    assert settled("more", 4)
    assert len(list(generator)) == 10


def test_a_limit_for_all_generators_of_an_actor_is_checked(ray: Any, counter: Any) -> None:
    ray.remote(counter).options(_actor_generator_backpressure_num_objects=-1)
    for wrong in (0, -5):
        with pytest.raises(ValueError, match="_actor_generator_backpressure_num_objects"):
            ray.remote(counter).options(_actor_generator_backpressure_num_objects=wrong).remote()
    with pytest.raises(TypeError, match="_actor_generator_backpressure_num_objects"):
        ray.remote(counter).options(_actor_generator_backpressure_num_objects="x").remote()
