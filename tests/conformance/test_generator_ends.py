"""How generator tasks end: with errors, after crashes, unread; and those that return a fixed number of items."""

from __future__ import annotations

import asyncio
import copy
import gc
import os
import pickle
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest


def outcome(ray: Any, ref: Any) -> Any:
    """The value behind a ref, or the name of its error's type."""
    try:
        return ray.get(ref)
    except Exception as error:
        return type(getattr(error, "cause", None) or error).__name__


# -- errors --------------------------------------------------------------------------------------------------------


def test_an_exception_is_the_last_item(ray: Any, failing: Any) -> None:
    generator = failing.remote(2)
    assert [ray.get(next(generator)) for _ in range(2)] == [0, 1]
    last = next(generator)
    with pytest.raises(ValueError, match="boom"):
        ray.get(last)
    with pytest.raises(StopIteration):
        next(generator)
    assert ray.get(generator.completed()) is None


def test_a_generator_that_fails_at_once_still_gives_a_ref(ray: Any, failing: Any) -> None:
    assert [outcome(ray, ref) for ref in failing.remote(0)] == ["ValueError"]


def test_an_error_is_an_item_that_is_ready(ray: Any, failing: Any) -> None:
    generator = failing.remote(0)
    assert ray.wait([generator], timeout=20) == ([generator], [])
    assert not generator.is_finished() and generator.next_ready()


def test_an_item_that_cannot_be_pickled_ends_the_generator_with_that_error(ray: Any) -> None:
    @ray.remote
    def unpicklable() -> Iterator[Any]:
        import threading

        yield 1
        yield threading.Lock()
        yield 3

    assert [outcome(ray, ref) for ref in unpicklable.remote()] == [1, "TypeError"]


def test_a_failed_argument_is_the_only_item(ray: Any) -> None:
    @ray.remote
    def fail() -> None:
        raise KeyError("argument")

    @ray.remote
    def echo(x: Any) -> Iterator[Any]:
        yield x

    generator = echo.remote(fail.remote())
    assert [outcome(ray, ref) for ref in generator] == ["KeyError"]
    assert list(generator) == []
    with pytest.raises(KeyError):
        ray.get(generator.completed())


def test_an_asynchronous_generator_is_no_task(ray: Any) -> None:
    @ray.remote
    async def asynchronous() -> AsyncIterator[int]:
        yield 1

    assert [outcome(ray, ref) for ref in asynchronous.remote()] == ["TypeError"]


def test_a_retry_after_an_exception_repeats_no_item(ray: Any, flags: Any) -> None:
    @ray.remote(max_retries=2, retry_exceptions=[ValueError])
    def flaky() -> Iterator[Any]:
        run = flags.up("run")
        for i in range(run):
            yield i, run
        if run < 3:
            flags.wait("seen", run)  # Ray may lose an item that is followed by the error at once
            raise ValueError(run)

    items = []
    for ref in flaky.remote():
        items.append(ray.get(ref))
        flags.up("seen")
    assert items == [(0, 1), (1, 2), (2, 3)]


def test_without_a_retry_left_the_exception_is_the_last_item(ray: Any, flags: Any) -> None:
    @ray.remote(max_retries=1, retry_exceptions=True)
    def flaky() -> Iterator[Any]:
        yield flags.up("run")
        raise ValueError

    assert [outcome(ray, ref) for ref in flaky.remote()] == [1, "ValueError"]
    assert flags.count("run") == 2


def test_items_that_a_retry_does_not_yield_again_stay(ray: Any, flags: Any) -> None:
    @ray.remote(max_retries=1, retry_exceptions=True)
    def flaky() -> Iterator[Any]:
        run = flags.up("run")
        yield run, 0
        if run == 1:
            yield run, 1
            yield run, 2
            flags.wait("seen")  # Ray may lose an item that is followed by the error at once
            raise ValueError

    generator = flaky.remote()
    assert ray.get([next(generator) for _ in range(3)]) == [(1, 0), (1, 1), (1, 2)]
    flags.up("seen")
    assert list(generator) == []
    assert flags.count("run") == 2


@pytest.mark.needs("processes")
@pytest.mark.slow
def test_a_retry_after_a_crash_repeats_no_item(ray: Any, flags: Any) -> None:
    @ray.remote(max_retries=2)
    def crashing() -> Iterator[Any]:
        run = flags.up("run")
        for i in range(4):
            yield run, i
            if run == 1 and i == 1:
                flags.wait("seen")
                os._exit(1)

    generator = crashing.remote()
    assert ray.get([next(generator), next(generator)]) == [(1, 0), (1, 1)]
    flags.up("seen")
    assert ray.get(list(generator)) == [(2, 2), (2, 3)]


@pytest.mark.needs("processes")
@pytest.mark.slow
def test_a_crash_without_a_retry_is_the_last_item_and_completes_nothing(ray: Any, flags: Any) -> None:
    @ray.remote(max_retries=0)
    def crashing() -> Iterator[Any]:
        yield 1
        flags.wait("seen")
        os._exit(1)

    generator = crashing.remote()
    assert ray.get(next(generator)) == 1
    flags.up("seen")
    assert [outcome(ray, ref) for ref in generator] == ["WorkerCrashedError"]
    assert list(generator) == [] and generator.is_finished()
    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(generator.completed())


# -- cancellation --------------------------------------------------------------------------------------------------


@pytest.fixture
def sleeper(ray: Any) -> Any:
    """A generator that sleeps after each item."""

    @ray.remote
    def sleeper(n: int) -> Iterator[int]:
        for i in range(n):
            yield i
            time.sleep(0.02)

    return sleeper


@pytest.mark.parametrize("by", ["generator", "completed", "item"])
def test_a_running_generator_can_be_cancelled(ray: Any, sleeper: Any, by: str) -> None:
    generator = sleeper.remote(1000)
    item = next(generator)
    assert ray.get(item) == 0
    ray.cancel({"generator": generator, "completed": generator.completed(), "item": item}[by])
    assert ray.get(item) == 0
    assert outcome(ray, list(generator)[-1]) == "TaskCancelledError"
    assert list(generator) == []
    with pytest.raises(ray.exceptions.TaskCancelledError):
        ray.get(generator.completed())


def test_a_generator_that_waits_for_its_reader_can_be_cancelled(ray: Any, sleeper: Any) -> None:
    generator = sleeper.options(_generator_backpressure_num_objects=1).remote(1000)
    assert ray.get(next(generator)) == 0
    ray.cancel(generator)
    assert outcome(ray, list(generator)[-1]) == "TaskCancelledError"


def test_a_generator_that_has_not_begun_can_be_cancelled(ray: Any, held: Any, flags: Any, numbers: Any) -> None:
    busy = [held() for _ in range(2)]
    flags.wait("held", 2)
    generator = numbers.remote(3)
    ray.cancel(generator)
    assert [outcome(ray, ref) for ref in generator] == ["TaskCancelledError"]
    flags.up("go")
    ray.get(busy)


@pytest.mark.needs("processes")
@pytest.mark.slow
def test_a_generator_can_be_cancelled_by_force(ray: Any, sleeper: Any) -> None:
    generator = sleeper.remote(1000)
    next(generator)
    ray.cancel(generator, force=True)
    ends = [outcome(ray, generator.completed()), *[outcome(ray, item) for item in generator][-1:]]
    if ray.__name__ == "ray":  # it loses one of the two, now and then
        assert "TaskCancelledError" in ends
    else:
        assert ends == ["TaskCancelledError", "TaskCancelledError"]


def test_an_async_generator_can_be_cancelled(ray: Any) -> None:
    @ray.remote
    class Actor:
        async def numbers(self) -> AsyncIterator[int]:
            for i in range(1000):
                yield i
                await asyncio.sleep(0.02)

        async def ping(self) -> str:
            return "pong"

    actor = Actor.remote()
    generator = actor.numbers.remote()
    next(generator)
    ray.cancel(generator)
    assert outcome(ray, list(generator)[-1]) == "TaskCancelledError"
    assert ray.get(actor.ping.remote()) == "pong"


@pytest.mark.parametrize("by", ["generator", "completed", "item"])
@pytest.mark.parametrize("concurrency", [1, 2])
def test_a_method_that_yields_ends_where_it_yields_next(ray: Any, flags: Any, by: str, concurrency: int) -> None:
    @ray.remote(max_concurrency=concurrency)
    class Actor:
        def numbers(self) -> Iterator[int]:
            try:
                for i in range(1000):
                    yield i
                    time.sleep(0.02)
            finally:
                flags.up("over")

        def ping(self) -> str:
            return "pong"

    actor = Actor.remote()
    generator = actor.numbers.remote()
    items = [next(generator) for _ in range(3)]
    ray.cancel({"generator": generator, "completed": generator.completed(), "item": items[1]}[by])
    rest = list(generator)
    assert len(rest) < 500 and outcome(ray, rest[-1]) == "TaskCancelledError"
    assert outcome(ray, generator.completed()) == "TaskCancelledError"
    assert ray.get(items) == [0, 1, 2]
    assert ray.get(actor.ping.remote()) == "pong"
    flags.wait("over")


def test_a_method_that_waits_for_its_reader_can_be_cancelled(ray: Any, flags: Any) -> None:
    @ray.remote
    class Actor:
        def numbers(self) -> Iterator[int]:
            for i in range(1000):
                yield i

        def ping(self) -> str:
            return "pong"

    actor = Actor.remote()
    generator = actor.numbers.options(_generator_backpressure_num_objects=1).remote()
    assert ray.get(next(generator)) == 0
    ray.cancel(generator)
    assert ray.get(actor.ping.remote(), timeout=30) == "pong"
    assert outcome(ray, list(generator)[-1]) == "TaskCancelledError"


def test_cancelling_a_finished_generator_changes_nothing(ray: Any, numbers: Any) -> None:
    generator = numbers.remote(2)
    ray.get(generator.completed())
    ray.get(numbers.remote(1).completed())  # while Ray has not heard that the call is over, this may end its driver
    ray.cancel(generator)
    assert ray.get(list(generator)) == [0, 1]


# -- what it is not ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_generator_cannot_be_pickled_or_copied(ray: Any, numbers: Any, how: Any) -> None:
    with pytest.raises(TypeError, match="not allowed"):
        how(numbers.remote(1))


def test_a_generator_cannot_be_put_or_passed_on(ray: Any, numbers: Any) -> None:
    generator = numbers.remote(1)
    for send in (ray.put, numbers.remote, lambda g: numbers.remote([g])):
        with pytest.raises(TypeError, match="not allowed"):
            send(generator)


def test_a_generator_cannot_be_returned_or_yielded(ray: Any, numbers: Any) -> None:
    @ray.remote
    def returning() -> Any:
        return numbers.remote(1)

    @ray.remote
    def yielding() -> Iterator[Any]:
        yield numbers.remote(1)

    with pytest.raises(TypeError, match="not allowed"):
        ray.get(returning.remote())
    with pytest.raises(TypeError, match="not allowed"):
        ray.get(next(yielding.remote()))


@pytest.mark.parametrize("name", ["send", "throw", "close", "asend", "athrow", "aclose"])
def test_a_generator_cannot_be_talked_back_to(ray: Any, numbers: Any, name: str) -> None:
    call = getattr(numbers.remote(1), name)
    args = () if "close" in name else (1,)
    with pytest.raises(NotImplementedError, match=name):
        asyncio.run(call(*args)) if name.startswith("a") else call(*args)


@pytest.mark.parametrize("num_returns", ["streaming", "dynamic"])
@pytest.mark.filterwarnings("ignore:num_returns='dynamic'")
def test_only_generators_can_be_streamed(ray: Any, num_returns: str) -> None:
    def plain() -> list[int]:
        return [1]

    for decorate in (ray.remote, ray.method):
        with pytest.raises(ValueError, match="can only be used with generator functions"):
            decorate(num_returns=num_returns)(plain)


# -- the end of a generator ----------------------------------------------------------------------------------------


def test_an_item_outlives_its_generator(ray: Any, numbers: Any) -> None:
    generator = numbers.remote(3)
    first, done = next(generator), generator.completed()
    del generator
    gc.collect()
    assert ray.get(first) == 0
    assert ray.get(done) is None


def test_a_generator_runs_to_its_end_when_nobody_reads_it(ray: Any, flags: Any) -> None:
    @ray.remote
    def steps() -> Iterator[int]:
        for i in range(3):
            flags.wait(f"go{min(i, 1)}")
            yield i
        flags.up("end")

    generator = steps.remote()
    flags.up("go0")
    next(generator)
    del generator
    gc.collect()
    flags.up("go1")
    flags.wait("end")


# -- num_returns=n -------------------------------------------------------------------------------------------------


def test_a_generator_may_return_a_fixed_number_of_items(ray: Any, numbers: Any) -> None:
    assert ray.get(numbers.options(num_returns=1).remote(1)) == 0
    assert ray.get(numbers.options(num_returns=2).remote(2)) == [0, 1]
    assert numbers.options(num_returns=0).remote(2) is None


def test_one_more_item_than_declared_is_computed_and_dropped(ray: Any, flags: Any) -> None:
    @ray.remote(num_returns=2)
    def many() -> Iterator[int]:
        for i in range(10):
            flags.up("computed")
            yield i

    assert ray.get(many.remote()) == [0, 1]
    assert flags.count("computed") == 3
    assert ray.get(many.options(num_returns=1).remote()) == 0
    assert flags.count("computed") == 5


def test_fewer_items_than_declared_are_an_error_in_place_of_the_rest(ray: Any, numbers: Any) -> None:
    refs = numbers.options(num_returns=3).remote(2)
    assert [outcome(ray, ref) for ref in refs] == [0, 1, "ValueError"]
    with pytest.raises(ValueError, match="Task returned 2 objects, but num_returns=3"):
        ray.get(refs[2])
    with pytest.raises(ValueError, match="Task returned 0 objects, but num_returns=1"):
        ray.get(numbers.options(num_returns=1).remote(0))


def test_an_exception_stands_in_for_the_items_after_it(ray: Any, failing: Any) -> None:
    refs = failing.options(num_returns=3).remote(1)
    assert [outcome(ray, ref) for ref in refs] == [0, "ValueError", "ValueError"]


def test_an_exception_after_the_last_declared_item_is_nobodys(ray: Any, failing: Any) -> None:
    assert ray.get(failing.options(num_returns=2).remote(2)) == [0, 1]
    assert ray.get(failing.options(num_returns=1).remote(1)) == 0


def test_a_returned_generator_counts_as_what_it_yields(ray: Any) -> None:
    @ray.remote
    def returning() -> Any:
        return (i for i in range(3))

    assert ray.get(returning.remote()) == 0
    assert ray.get(returning.options(num_returns=2).remote()) == [0, 1]
