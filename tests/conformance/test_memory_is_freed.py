"""The memory for values is free again as soon as nobody needs what is in it, wherever references have been."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

LARGE = 300_000  #: bytes: enough to be stored rather than sent


def array() -> Any:
    return np.ones(LARGE, np.uint8)


@pytest.fixture
def nothing_used(ray: Any, eventually: Callable[..., Any]) -> Iterator[Callable[[], Any]]:
    """Waits until no more memory for values is in use than before the test. Checked at its end, too."""

    def free() -> float:
        found: float = ray.available_resources()["object_store_memory"]
        return found

    gc.collect()
    before = free()

    def nothing_used() -> Any:
        return eventually(lambda: free() >= before)

    yield nothing_used
    nothing_used()


def test_after_put_and_get(ray: Any, nothing_used: Any) -> None:
    ref = ray.put(array())
    view = ray.get(ref)[10:20]
    del ref
    assert view.sum() == 10
    del view
    nothing_used()


def test_after_results_and_arguments_on_their_way(ray: Any, nothing_used: Any) -> None:
    @ray.remote
    def double(values: Any) -> Any:
        return values + values

    ref = ray.put(array())
    for _ in range(3):
        ref = double.remote(ref)
    assert ray.get(ref)[0] == 8
    assert ray.get(double.remote(array()))[0] == 2
    double.remote(ref)
    del ref
    nothing_used()


def test_after_references_inside_objects(ray: Any, nothing_used: Any) -> None:
    @ray.remote
    def wrap(refs: Any) -> Any:
        return {"mine": [ray.put(np.ones(300_000, np.uint8))], "yours": refs}

    outer = wrap.remote([ray.put(array())])
    inner = ray.get(outer)
    del outer
    assert [ray.get(refs[0])[0] for refs in inner.values()] == [1, 1]
    del inner
    nothing_used()


def test_after_the_state_of_an_actor(ray: Any, nothing_used: Any) -> None:
    @ray.remote
    class Keeper:
        def __init__(self) -> None:
            self.kept: list[Any] = []

        def keep(self, value: Any) -> None:
            self.kept.append(value)
            self.kept.append(ray.put(np.ones(300_000, np.uint8)))

        def drop(self) -> None:
            self.kept.clear()

    keeper = Keeper.remote()
    ray.get([keeper.keep.remote(ray.put(array())), keeper.keep.remote([ray.put(array())])])
    ray.get(keeper.drop.remote())
    nothing_used()
    ray.get(keeper.keep.remote(ray.put(array())))
    ray.kill(keeper)


def test_after_a_task_that_fails(ray: Any, nothing_used: Any) -> None:
    @ray.remote
    def fail(values: Any) -> None:
        raise ValueError(int(values[0]))

    with pytest.raises(ValueError, match="1"):
        ray.get(fail.remote(ray.put(array())))
    with pytest.raises(ValueError, match="1"):
        ray.get(fail.remote(fail.remote(array())))


def test_after_a_generator_that_nobody_reads_to_its_end(ray: Any, nothing_used: Any) -> None:
    @ray.remote
    def several() -> Iterator[Any]:
        for _ in range(5):
            yield np.ones(300_000, np.uint8)

    items = several.remote()
    assert ray.get(next(items))[0] == 1
    del items


@pytest.mark.needs("processes")
def test_after_a_worker_that_died(ray: Any, nothing_used: Any) -> None:
    @ray.remote(max_retries=0)
    def crash(values: Any) -> None:
        import os

        kept = ray.put(values + 1)
        ray.get(kept)
        os._exit(1)

    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(crash.remote(ray.put(array())))
