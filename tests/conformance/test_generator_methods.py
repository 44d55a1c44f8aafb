"""Generators of actors, and generators whose refs come all at once (``num_returns="dynamic"``)."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import numpy as np
import pytest


def outcome(ray: Any, ref: Any) -> Any:
    """The value behind a ref, or the name of its error's type."""
    try:
        return ray.get(ref)
    except Exception as error:
        return type(getattr(error, "cause", None) or error).__name__


# -- methods -------------------------------------------------------------------------------------------------------


@pytest.fixture
def counter(ray: Any) -> Any:
    """A plain actor class."""

    class Counter:
        def __init__(self) -> None:
            self.calls = 0

        def numbers(self, n: int) -> Iterator[int]:
            for i in range(n):
                self.calls += 1
                yield i

        @ray.method(num_returns="streaming")
        def streaming(self, n: int) -> Iterator[int]:
            for i in range(n):
                yield i

        @ray.method(num_returns=2)
        def two(self, n: int) -> Iterator[int]:
            for i in range(n):
                yield i

        def failing(self) -> Iterator[int]:
            yield 1
            raise ValueError("boom")

        def returning(self) -> Any:
            return (i for i in range(3))

        def count(self) -> int:
            return self.calls

    return Counter


@pytest.fixture
def async_counter(ray: Any) -> Any:
    """An async actor class."""

    class AsyncCounter:
        async def numbers(self, n: int) -> AsyncIterator[int]:
            for i in range(n):
                await asyncio.sleep(0)
                yield i

        def sync(self, n: int) -> Iterator[int]:
            for i in range(n):
                yield i

        async def failing(self) -> AsyncIterator[int]:
            yield 1
            raise ValueError("boom")

    return AsyncCounter


def test_a_method_can_be_a_generator(ray: Any, counter: Any) -> None:
    actor = ray.remote(counter).remote()
    generator = actor.numbers.remote(3)
    assert type(generator) is ray.ObjectRefGenerator
    assert ray.get(list(generator)) == [0, 1, 2]
    assert ray.get(list(actor.streaming.remote(2))) == [0, 1]
    assert ray.get(list(actor.numbers.options(num_returns="streaming", name="n").remote(2))) == [0, 1]


def test_calls_behind_a_generator_wait_for_its_end(ray: Any, counter: Any) -> None:
    actor = ray.remote(counter).remote()
    generator, count = actor.numbers.remote(50), actor.count.remote()
    assert ray.get(count) == 50
    assert len(list(generator)) == 50


def test_a_method_may_yield_a_fixed_number_of_items(ray: Any, counter: Any) -> None:
    actor = ray.remote(counter).remote()
    assert ray.get(actor.two.remote(3)) == [0, 1]
    assert ray.get(actor.numbers.options(num_returns=1).remote(1)) == 0
    assert ray.get(actor.numbers.options(num_returns=2).remote(2)) == [0, 1]
    assert [outcome(ray, ref) for ref in actor.two.remote(1)] == [0, "ValueError"]
    assert ray.get(actor.returning.remote()) == 0


def test_an_exception_in_a_generator_method_names_its_actor(ray: Any, counter: Any) -> None:
    generator = ray.remote(counter).remote().failing.remote()
    assert ray.get(next(generator)) == 1
    with pytest.raises(ValueError, match=r"(?s)Counter\.failing.*actor_id=.*boom"):
        ray.get(next(generator))
    assert list(generator) == []


@pytest.mark.parametrize("num_returns", ["streaming", "dynamic"])
@pytest.mark.filterwarnings("ignore:num_returns='dynamic'")
def test_only_generator_methods_can_be_streamed(ray: Any, counter: Any, num_returns: str) -> None:
    actor = ray.remote(counter).remote()
    for method in (actor.count, actor.returning):
        with pytest.raises(ValueError, match="can only be used with generator functions"):
            method.options(num_returns=num_returns).remote()


def test_a_generator_outlives_the_handle_of_its_actor(ray: Any, counter: Any) -> None:
    assert ray.get(list(ray.remote(counter).remote().numbers.remote(3))) == [0, 1, 2]


def test_a_threaded_actor_runs_generators_side_by_side(ray: Any, flags: Any) -> None:
    @ray.remote(max_concurrency=2)
    class Actor:
        def give(self, mine: str, other: str) -> Iterator[str]:
            for i in range(3):
                flags.up(mine)
                flags.wait(other, i + 1)
                yield f"{mine}{i}"

    actor = Actor.remote()
    first, second = actor.give.remote("a", "b"), actor.give.remote("b", "a")
    assert ray.get(list(first) + list(second)) == ["a0", "a1", "a2", "b0", "b1", "b2"]


@pytest.mark.slow
def test_killing_the_actor_ends_its_generator(ray: Any, flags: Any) -> None:
    @ray.remote
    class Actor:
        def slow(self) -> Iterator[int]:
            yield 1
            flags.wait("go")
            yield 2

    actor = Actor.remote()
    generator = actor.slow.remote()
    assert ray.get(next(generator)) == 1
    ray.kill(actor)
    assert [outcome(ray, ref) for ref in generator] == ["ActorDiedError"]
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(generator.completed())
    assert [outcome(ray, ref) for ref in actor.slow.remote()] == ["ActorDiedError"]
    flags.up("go")


@pytest.mark.needs("processes")
@pytest.mark.slow
def test_a_restarted_actor_repeats_no_item(ray: Any, flags: Any) -> None:
    @ray.remote(max_restarts=1, max_task_retries=1)
    class Actor:
        def crashing(self) -> Iterator[Any]:
            run = flags.up("run")
            for i in range(3):
                yield run, i
                if run == 1 and i == 0:
                    flags.wait("seen")
                    os._exit(1)

    actor = Actor.remote()
    generator = actor.crashing.remote()
    assert ray.get(next(generator)) == (1, 0)
    flags.up("seen")
    assert ray.get(list(generator)) == [(2, 1), (2, 2)]


# -- async methods -------------------------------------------------------------------------------------------------


def test_an_async_method_can_be_a_generator(ray: Any, async_counter: Any) -> None:
    actor = ray.remote(async_counter).remote()
    assert ray.get(list(actor.numbers.remote(3))) == [0, 1, 2]
    assert ray.get(list(actor.sync.remote(3))) == [0, 1, 2]
    assert ray.get(list(actor.numbers.options(num_returns="streaming").remote(2))) == [0, 1]
    assert [outcome(ray, ref) for ref in actor.failing.remote()] == [1, "ValueError"]


def test_async_generators_of_an_actor_run_side_by_side(ray: Any) -> None:
    @ray.remote
    class Actor:
        def __init__(self) -> None:
            self.events = [asyncio.Event() for _ in range(4)]

        async def even(self) -> AsyncIterator[int]:
            yield 0
            self.events[0].set()
            await self.events[1].wait()
            yield 2

        async def odd(self) -> AsyncIterator[int]:
            await self.events[0].wait()
            yield 1
            self.events[1].set()

    actor = Actor.remote()
    even, odd = actor.even.remote(), actor.odd.remote()
    assert ray.get(list(even)) == [0, 2]
    assert ray.get(list(odd)) == [1]


def test_an_async_generator_that_waits_for_its_reader_leaves_the_loop_free(ray: Any, flags: Any) -> None:
    @ray.remote
    class Actor:
        @ray.method(_generator_backpressure_num_objects=1)
        async def numbers(self, n: int) -> AsyncIterator[int]:
            for i in range(n):
                flags.up("made")
                yield i

        async def ping(self) -> str:
            return "pong"

    actor = Actor.remote()
    generator = actor.numbers.remote(5)
    flags.wait("made")
    assert ray.get(actor.ping.remote()) == "pong"
    assert flags.count("made") == 1
    assert ray.get(list(generator)) == [0, 1, 2, 3, 4]


def test_an_async_actor_can_read_generators(ray: Any, async_counter: Any, numbers: Any) -> None:
    @ray.remote
    class Reader:
        async def read(self, other: Any) -> list[int]:
            got = [await ref async for ref in numbers.remote(3)]
            return got + [await ref async for ref in other.numbers.remote(3)]

    assert ray.get(Reader.remote().read.remote(ray.remote(async_counter).remote())) == [0, 1, 2] * 2


def test_an_async_generator_cannot_return_a_fixed_number_of_items(ray: Any, async_counter: Any) -> None:
    actor = ray.remote(async_counter).remote()
    with pytest.raises(TypeError, match="'async_generator' object is not iterable"):
        ray.get(actor.numbers.options(num_returns=1).remote(1))
    with pytest.raises(TypeError, match="'async_generator' object is not iterable"):
        ray.get(actor.numbers.options(num_returns=2).remote(2))


# -- dynamic -------------------------------------------------------------------------------------------------------


@pytest.fixture
def dynamic(ray: Any) -> Any:
    def dynamic(n: int, error: bool = False) -> Iterator[Any]:
        for i in range(n):
            yield np.full(3, i)
        if error:
            raise ValueError("boom")

    with pytest.warns(DeprecationWarning, match="num_returns='dynamic' is deprecated"):
        return ray.remote(num_returns="dynamic")(dynamic)


def test_a_dynamic_generator_gives_one_ref_to_refs(ray: Any, dynamic: Any) -> None:
    ref = dynamic.remote(3)
    assert isinstance(ref, ray.ObjectRef)
    generator = ray.get(ref)
    assert type(generator).__name__ == "DynamicObjectRefGenerator"
    assert len(generator) == 3
    refs = list(generator)
    assert [int(array[0]) for array in ray.get(refs)] == [0, 1, 2]
    assert len(generator) == 0 and list(generator) == [], "iterating takes the refs out"
    assert list(ray.get(ref)) == refs
    with pytest.raises(TypeError):
        next(generator)


def test_refs_of_a_dynamic_generator_stay_while_anybody_holds_them(ray: Any, dynamic: Any) -> None:
    last = list(ray.get(dynamic.remote(3)))[-1]
    assert ray.get(last)[0] == 2


def test_a_dynamic_generators_value_can_be_passed_on(ray: Any, dynamic: Any) -> None:
    @ray.remote
    def total(generator: Any) -> int:
        return sum(int(ray.get(ref)[0]) for ref in generator)

    assert ray.get(total.remote(dynamic.remote(4))) == 6
    assert ray.get(total.remote(ray.get(dynamic.remote(4)))) == 6
    assert ray.get(total.remote(ray.put(ray.get(dynamic.remote(4))))) == 6


@pytest.mark.parametrize("n", [0, 2])
def test_an_exception_in_a_dynamic_generator_is_its_last_ref(ray: Any, dynamic: Any, n: int) -> None:
    *refs, last = ray.get(dynamic.remote(n, error=True))
    assert [int(array[0]) for array in ray.get(refs)] == list(range(n))
    with pytest.raises(ValueError, match="boom"):
        ray.get(last)


def test_a_failed_argument_is_the_error_of_a_dynamic_generator(ray: Any, dynamic: Any) -> None:
    @ray.remote
    def fail() -> None:
        raise KeyError("argument")

    with pytest.raises(KeyError):
        ray.get(dynamic.remote(fail.remote()))


@pytest.mark.filterwarnings("ignore:num_returns='dynamic'")
def test_a_method_can_be_dynamic(ray: Any, counter: Any, async_counter: Any) -> None:
    actor = ray.remote(counter).remote()
    assert ray.get(list(ray.get(actor.numbers.options(num_returns="dynamic").remote(3)))) == [0, 1, 2]
    with pytest.raises(ValueError, match="must return a generator"):
        ray.get(ray.remote(async_counter).remote().numbers.options(num_returns="dynamic").remote(2))


def test_a_task_can_call_a_dynamic_generator(ray: Any, dynamic: Any) -> None:
    @ray.remote
    def total(n: int) -> int:
        return sum(int(ray.get(ref)[0]) for ref in ray.get(dynamic.remote(n)))

    assert ray.get(total.remote(4)) == 6


def test_a_decorated_generator_is_one_all_the_same(ray: Any) -> None:
    def passing(method: Any) -> Any:
        @functools.wraps(method)
        def call(*args: Any) -> Any:
            return method(*args)

        return call

    @ray.remote
    class Decorated:
        @passing
        def numbers(self, n: int) -> Iterator[int]:
            for i in range(n):
                yield i

    @ray.remote
    class Async:
        @passing
        async def numbers(self, n: int) -> AsyncIterator[int]:
            for i in range(n):
                yield i

        async def coroutine(self) -> None: ...

    for actor in (Decorated.remote(), Async.remote()):
        assert [ray.get(ref) for ref in actor.numbers.remote(3)] == [0, 1, 2]


def test_a_decorated_generator_that_returns_no_generator_fails(ray: Any) -> None:
    def collecting(method: Any) -> Any:
        @functools.wraps(method)
        def call(*args: Any) -> Any:
            return list(method(*args))

        return call

    @ray.remote
    class Decorated:
        @collecting
        def numbers(self, n: int) -> Iterator[int]:
            for i in range(n):
                yield i

    decorated = Decorated.remote()
    with pytest.raises(ValueError, match="generator"):
        ray.get(next(decorated.numbers.remote(3)))
    assert ray.get(decorated.numbers.options(num_returns=1).remote(3)) == [0, 1, 2]
