"""What streams promise beside their items: prompt delivery, few messages, nothing left behind."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from minray import session


@pytest.fixture(params=["threads", "loky"])
def backend(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture
def owner(ray: Any) -> Any:
    """The driver's own session, to look inside."""
    return session.current()


@pytest.fixture
def emptied(ray: Any, owner: Any, eventually: Any) -> Callable[[], None]:
    """Waits until no object and no stream is left."""

    def empty() -> bool:
        gc.collect()
        ray.get(ray.put(None))  # what was dropped is settled with the next event
        return len(owner._graph.objects.entries) <= 1 and not owner._graph.streams.streams

    return lambda: eventually(empty, 20, lambda: owner._graph.objects.entries)


def test_an_item_is_not_kept_back_by_a_generator_that_falls_asleep(ray: Any, flags: Any) -> None:
    @ray.remote
    def bursts() -> Iterator[int]:
        for _ in range(5):
            for i in range(3):
                yield i
            flags.wait("go", flags.up("asleep"))

    generator = bursts.remote()
    for _ in range(5):
        assert [ray.get(next(generator)) for _ in range(3)] == [0, 1, 2]
        flags.up("go")
    assert list(generator) == []


def test_items_that_come_fast_are_sent_together(ray: Any, owner: Any) -> None:
    batches: list[int] = []
    yielded = owner._graph.streams.yielded

    def count(*args: Any) -> None:
        batches.append(len(args[3]))
        yielded(*args)

    owner._graph.streams.yielded = count

    @ray.remote
    def numbers() -> Iterator[int]:
        yield from range(5000)

    assert ray.get(list(numbers.remote())) == list(range(5000))
    assert sum(batches) == 5000 and len(batches) < 500


def test_items_that_were_not_taken_are_freed_with_their_generator(ray: Any, emptied: Any) -> None:
    @ray.remote
    def arrays(n: int) -> Iterator[Any]:
        for i in range(n):
            yield np.full(20_000, i)

    generator = arrays.remote(20)
    taken = [next(generator) for _ in range(3)]
    ray.get(generator.completed())
    del generator
    gc.collect()
    assert [int(ray.get(ref)[0]) for ref in taken] == [0, 1, 2]
    del taken
    emptied()


def test_items_that_come_after_their_generator_was_dropped_are_freed(ray: Any, emptied: Any, flags: Any) -> None:
    @ray.remote
    def arrays(n: int) -> Iterator[Any]:
        for i in range(n):
            flags.wait("go")
            yield [np.full(20_000, i), ray.put(i)]
        flags.up("end")

    arrays.remote(20)
    gc.collect()
    flags.up("go")
    flags.wait("end")
    emptied()


def test_a_task_that_ends_leaves_nothing_of_the_generators_it_has_read(ray: Any, emptied: Any) -> None:
    @ray.remote
    def numbers(n: int) -> Iterator[Any]:
        for i in range(n):
            yield np.full(20_000, i)

    @ray.remote
    def read() -> int:
        generator = numbers.remote(10)
        total = int(ray.get(next(generator))[0])
        return total + int(ray.get(next(generator))[0])

    assert ray.get([read.remote() for _ in range(5)]) == [1] * 5
    emptied()


def test_refs_in_items_stay_although_the_generator_drops_them_at_once(ray: Any) -> None:
    @ray.remote
    def refs(n: int) -> Iterator[Any]:
        for i in range(n):
            yield [ray.put(i)]
            ray.put(None)  # sends what was dropped so far

    inner = [ray.get(ref)[0] for ref in refs.remote(50)]
    assert ray.get(inner) == list(range(50))


def test_many_threads_may_each_read_a_generator(ray: Any) -> None:
    @ray.remote(num_cpus=0.25)
    def numbers(n: int) -> Iterator[int]:
        yield from range(n)

    got: list[list[int]] = [[] for _ in range(8)]

    def read(into: list[int]) -> None:
        into += [ray.get(ref) for ref in numbers.remote(200)]

    threads = [threading.Thread(target=read, args=(into,)) for into in got]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [list(range(200))] * 8


@pytest.mark.parametrize("limit", [1, 3])
def test_limits_deadlock_nobody_where_generators_take_all_cpus(ray: Any, limit: int) -> None:
    @ray.remote(_generator_backpressure_num_objects=limit)
    def numbers(n: int) -> Iterator[int]:
        yield from range(n)

    @ray.remote
    def double(x: int) -> int:
        return 2 * x

    generators = [numbers.remote(10) for _ in range(4)]  # on two CPUs
    for generator in generators:
        assert ray.get([double.remote(ref) for ref in generator]) == [2 * i for i in range(10)]
