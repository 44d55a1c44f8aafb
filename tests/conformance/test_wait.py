"""wait: which refs are ready, in which order, and which calls are refused."""

from __future__ import annotations

import time
from typing import Any

import pytest


def test_wait_splits_refs_into_ready_and_others(ray: Any, held: Any) -> None:
    late, done = held(), ray.put(1)
    assert ray.wait([late, done]) == ([done], [late])


def test_wait_returns_the_very_refs_it_was_given(ray: Any) -> None:
    ref = ray.put(1)
    ready, others = ray.wait([ref])
    assert ready[0] is ref
    assert others == []


def test_wait_returns_at_most_as_many_as_asked_for(ray: Any) -> None:
    refs = [ray.put(i) for i in range(5)]
    ready, others = ray.wait(refs, num_returns=2)
    assert len(ready) == 2
    assert len(others) == 3
    assert set(ready) | set(others) == set(refs)


def test_both_lists_keep_the_order_they_were_given_in(ray: Any) -> None:
    refs = [ray.put(i) for i in range(6)]
    ready, others = ray.wait(refs, num_returns=3)
    assert ready == sorted(ready, key=refs.index)
    assert others == sorted(others, key=refs.index)


def test_ready_refs_keep_the_order_they_were_given_in_not_that_of_completion(ray: Any, flags: Any, held: Any) -> None:
    last, first = held("ends last"), ray.remote(lambda: "ends first").remote()
    assert ray.wait([last, first])[0] == [first]
    flags.up("go")
    assert ray.wait([last, first], num_returns=2) == ([last, first], [])


def test_wait_returns_as_soon_as_enough_are_ready(ray: Any, flags: Any) -> None:
    @ray.remote
    def wait_for(name: str) -> str:
        flags.wait(name)
        return name

    a, b = wait_for.remote("a"), wait_for.remote("b")
    flags.up("b")
    assert ray.wait([a, b]) == ([b], [a])
    flags.up("a")
    assert ray.wait([a, b], num_returns=2) == ([a, b], [])


def test_a_timeout_of_zero_only_looks(ray: Any, held: Any) -> None:
    late, done = held(), ray.put(1)
    assert ray.wait([late], timeout=0) == ([], [late])
    assert ray.wait([late, done], num_returns=2, timeout=0) == ([done], [late])


def test_after_its_timeout_wait_returns_what_there_is(ray: Any, held: Any) -> None:
    late, done = held(), ray.put(1)
    start = time.monotonic()
    assert ray.wait([late, done], num_returns=2, timeout=0.1) == ([done], [late])
    assert time.monotonic() - start >= 0.09


def test_a_failed_task_is_ready(ray: Any) -> None:
    @ray.remote
    def fail() -> None:
        raise ValueError("failed")

    ref = fail.remote()
    assert ray.wait([ref]) == ([ref], [])
    with pytest.raises(ValueError, match="failed"):
        ray.get(ref)


def test_wait_for_nothing_returns_at_once(ray: Any) -> None:
    assert ray.wait([]) == ([], [])


def test_duplicates_are_refused(ray: Any) -> None:
    ref = ray.put(1)
    with pytest.raises(ValueError, match="unique"):
        ray.wait([ref, ref])


@pytest.mark.parametrize("number", [0, -1])
def test_a_number_below_one_is_refused(ray: Any, number: int) -> None:
    with pytest.raises(ValueError, match=f"Invalid number of objects to return {number}"):
        ray.wait([ray.put(1)], num_returns=number)


def test_a_number_greater_than_the_list_is_refused(ray: Any) -> None:
    with pytest.raises(ValueError, match=r"greater than the number of ray_waitables provided to ray\.wait\."):
        ray.wait([ray.put(1)], num_returns=2)


@pytest.mark.parametrize("timeout", [-1, -0.5])
def test_a_negative_timeout_is_refused(ray: Any, timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout"):
        ray.wait([ray.put(1)], timeout=timeout)


@pytest.mark.parametrize(
    "collect",
    [lambda refs: refs[0], tuple, set, iter, lambda refs: 1, lambda refs: None],
    ids=["ref", "tuple", "set", "iterator", "int", "None"],
)
def test_anything_but_a_list_is_refused(ray: Any, collect: Any) -> None:
    with pytest.raises(TypeError, match=r"wait\(\) expected a list of ray.ObjectRef or ray.ObjectRefGenerator, got "):
        ray.wait(collect([ray.put(1)]))


@pytest.mark.parametrize("wrong", [1, None, [], "ref"], ids=repr)
def test_a_list_with_something_that_is_no_ref_is_refused(ray: Any, wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"or ray.ObjectRefGenerator, got list containing "):
        ray.wait([ray.put(1), wrong])


def test_a_window_of_tasks_in_flight(ray: Any) -> None:
    @ray.remote
    def square(x: int) -> int:
        return x * x

    numbers = list(range(40))
    results: list[int] = []
    in_flight: list[Any] = []
    while numbers or in_flight:
        while numbers and len(in_flight) < 4:
            in_flight.append(square.remote(numbers.pop()))
        (done,), in_flight = ray.wait(in_flight)
        results.append(ray.get(done))
    assert sorted(results) == [x * x for x in range(40)]


def test_a_task_can_wait(ray: Any, held: Any) -> None:
    @ray.remote
    def count(refs: list[Any]) -> tuple[int, int]:
        ready, others = ray.wait(refs, num_returns=1)
        return refs.index(ready[0]), len(others)

    assert ray.get(count.remote([held(), ray.put(1)])) == (1, 1)


@pytest.mark.slow
def test_a_task_that_only_looks_lends_its_cpus(ray: Any) -> None:
    @ray.remote
    def one() -> int:
        return 1

    @ray.remote(num_cpus=2)
    def poll() -> Any:
        refs = [one.remote()]
        while not ray.wait(refs, timeout=0)[0]:
            pass
        return ray.get(refs)

    assert ray.get(poll.remote(), timeout=30) == [1]


def test_wait_takes_the_results_of_actors_too(ray: Any, flags: Any) -> None:
    @ray.remote
    class Waiter:
        def wait_for(self, name: str) -> str:
            flags.wait(name)
            return name

    waiter = Waiter.remote()
    a, b = waiter.wait_for.remote("a"), waiter.wait_for.remote("b")
    flags.up("a")
    assert ray.wait([b, a]) == ([a], [b])
    flags.up("b")
    assert ray.get(b) == "b"
