"""Copies at every boundary, unless the user says otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import minray


def test_a_task_cannot_change_the_callers_objects(ray: Any) -> None:
    @ray.remote
    def change(items: list[int], by_name: dict[str, list[int]]) -> int:
        items.append(4)
        by_name["a"].append(4)
        return len(items)

    items, by_name = [1, 2, 3], {"a": [1]}
    assert ray.get(change.remote(items, by_name=by_name)) == 4
    assert (items, by_name) == ([1, 2, 3], {"a": [1]})


def test_the_caller_cannot_change_an_actors_objects(ray: Any) -> None:
    @ray.remote
    class Keeper:
        def __init__(self, items: list[int]) -> None:
            self.items = items

        def read(self) -> list[int]:
            return self.items

    items = [1]
    keeper = Keeper.remote(items)
    items.append(2)
    read = ray.get(keeper.read.remote())
    read.append(3)
    assert ray.get(keeper.read.remote()) == [1]


def test_arrays_are_copies_too(ray: Any) -> None:
    @ray.remote
    def total(array: Any) -> float:
        assert not array.flags.writeable
        return float(array.sum())

    array = np.ones(100_000)
    ref = total.remote(array)
    array[:] = 7
    assert ray.get(ref) == 100_000
    stored = ray.put(array)
    array[:] = 0
    assert ray.get(stored).sum() == 700_000


@pytest.fixture
def shared() -> Iterator[Any]:
    """A run in which nothing is copied."""
    minray.init(backend="threads", num_cpus=2, isolate=False)
    yield minray
    minray.shutdown()


class Unpicklable:
    def __reduce__(self) -> Any:
        raise TypeError("never pickled")


def test_without_isolation_a_task_gets_the_very_object(shared: Any) -> None:
    @shared.remote
    def same(given: Any) -> Any:
        return given

    thing = Unpicklable()
    assert shared.get(same.remote(thing)) is thing
    assert shared.get(same.remote(given=thing)) is thing
    assert shared.get(shared.put(thing)) is thing
    assert shared.get(same.remote(same.remote(thing))) is thing


def test_without_isolation_changes_are_seen_both_ways(shared: Any) -> None:
    @shared.remote
    class Keeper:
        def __init__(self, items: list[int]) -> None:
            self.items = items

        def add(self, item: int) -> list[int]:
            self.items.append(item)
            return self.items

    items = [1]
    keeper = Keeper.remote(items)
    assert shared.get(keeper.add.remote(2)) is items
    assert items == [1, 2]


def test_without_isolation_an_array_stays_writeable(shared: Any) -> None:
    @shared.remote
    def fill(array: Any) -> None:
        array[:] = 5

    array = np.zeros(3)
    shared.get(fill.remote(array))
    assert array.tolist() == [5, 5, 5]


def test_without_isolation_refs_inside_objects_still_keep_them_alive(shared: Any) -> None:
    @shared.remote
    def first(refs: list[Any]) -> Any:
        return minray.get(refs[0])

    assert shared.get(first.remote([shared.put("value")])) == "value"


def test_without_isolation_errors_are_still_errors_of_the_task(shared: Any) -> None:
    @shared.remote
    def fail() -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as caught:
        shared.get(fail.remote())
    assert isinstance(caught.value, minray.exceptions.RayTaskError)


def test_processes_cannot_share_objects() -> None:
    with pytest.raises(ValueError, match="isolate=False works in one process only"):
        minray.init(backend="loky", isolate=False)
    assert not minray.is_initialized()
