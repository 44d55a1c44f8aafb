"""Generator tasks: refs to what they yield, as it comes."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

# -- iteration -----------------------------------------------------------------------------------------------------


def test_a_generator_gives_a_ref_for_each_item(ray: Any, numbers: Any) -> None:
    generator = numbers.remote(3)
    assert type(generator) is ray.ObjectRefGenerator
    refs = list(generator)
    assert all(isinstance(ref, ray.ObjectRef) for ref in refs)
    assert ray.get(refs) == [0, 1, 2]


def test_streaming_can_be_asked_for_by_name(ray: Any) -> None:
    @ray.remote(num_returns="streaming")
    def numbers() -> Iterator[int]:
        yield 1

    assert [ray.get(ref) for ref in numbers.remote()] == [1]
    assert [ray.get(ref) for ref in numbers.options(num_returns="streaming").remote()] == [1]
    assert [ray.get(ref) for ref in numbers.options(num_returns=None).remote()] == [1]


def test_an_item_can_be_taken_while_the_generator_still_runs(ray: Any, stepwise: Any, flags: Any) -> None:
    generator = stepwise.remote(3)
    for i in range(3):
        flags.up("step")
        assert ray.get(next(generator)) == i
    with pytest.raises(StopIteration):
        next(generator)


def test_an_empty_generator_ends_at_once(ray: Any, numbers: Any) -> None:
    assert list(numbers.remote(0)) == []


def test_an_exhausted_generator_stays_exhausted(ray: Any, numbers: Any) -> None:
    generator = numbers.remote(2)
    assert len(list(generator)) == 2
    assert list(generator) == []
    with pytest.raises(StopIteration):
        next(generator)


def test_a_generator_is_its_own_iterator_and_goes_on_where_it_was_left(ray: Any, numbers: Any) -> None:
    generator = numbers.remote(4)
    assert iter(generator) is generator
    assert [ray.get(next(generator)) for _ in range(2)] == [0, 1]
    assert [ray.get(ref) for ref in generator] == [2, 3]


def test_what_a_generator_returns_is_nobodys(ray: Any) -> None:
    @ray.remote
    def returning() -> Any:
        yield 1
        return 2

    generator = returning.remote()
    assert [ray.get(ref) for ref in generator] == [1]
    with pytest.raises(StopIteration) as stop:
        next(generator)
    assert stop.value.value is None


def test_items_keep_their_order_however_many_there_are(ray: Any, numbers: Any) -> None:
    assert ray.get(list(numbers.remote(500))) == list(range(500))


def test_items_of_several_generators_do_not_mix(ray: Any, numbers: Any) -> None:
    generators = [numbers.remote(n) for n in range(5)]
    assert [ray.get(list(generator)) for generator in reversed(generators)] == [
        list(range(n)) for n in range(4, -1, -1)
    ]


def test_items_may_be_of_any_kind(ray: Any) -> None:
    values = [None, "text", b"bytes", {"a": [1]}, (1, 2), 2.5]

    @ray.remote
    def mixed() -> Iterator[Any]:
        for value in values:
            yield value

    assert ray.get(list(mixed.remote())) == values


def test_large_items_are_read_only_arrays(ray: Any) -> None:
    @ray.remote
    def arrays(n: int) -> Iterator[Any]:
        for i in range(n):
            yield np.full(200_000, i)

    for i, ref in enumerate(arrays.remote(5)):
        array = ray.get(ref)
        assert array[0] == array[-1] == i
        assert not array.flags.writeable


def test_an_item_is_as_it_was_when_it_was_yielded(ray: Any) -> None:
    @ray.remote
    def growing() -> Iterator[list[int]]:
        items: list[int] = []
        for i in range(3):
            items.append(i)
            yield items

    assert ray.get(list(growing.remote())) == [[0], [0, 1], [0, 1, 2]]


def test_items_may_hold_refs(ray: Any, numbers: Any) -> None:
    @ray.remote
    def refs() -> Iterator[Any]:
        for i in range(3):
            yield ray.put(np.full(50_000, i))
            yield [ray.put(i)]

    refs_back = [ray.get(ref) for ref in refs.remote()]
    gc.collect()
    assert [int(ray.get(ref)[0]) for ref in refs_back[::2]] == [0, 1, 2]
    assert [ray.get(ref[0]) for ref in refs_back[1::2]] == [0, 1, 2]


def test_items_can_be_arguments(ray: Any, numbers: Any) -> None:
    @ray.remote
    def double(x: int) -> int:
        return 2 * x

    assert ray.get([double.remote(ref) for ref in numbers.remote(4)]) == [0, 2, 4, 6]


def test_a_generator_takes_arguments_as_any_task(ray: Any) -> None:
    @ray.remote
    def repeat(x: Any, *, times: int = 2) -> Iterator[Any]:
        for _ in range(times):
            yield x

    assert ray.get(list(repeat.remote(ray.put("x"), times=3))) == ["x"] * 3
    with pytest.raises(TypeError):
        repeat.remote()


def test_a_task_can_read_a_generator(ray: Any, numbers: Any) -> None:
    @ray.remote
    def total(n: int) -> int:
        return sum(ray.get(ref) for ref in numbers.remote(n))

    assert ray.get([total.remote(n) for n in (0, 3, 50)]) == [0, 3, 1225]


def test_a_generator_can_read_a_generator(ray: Any, numbers: Any) -> None:
    @ray.remote
    def squares(n: int) -> Iterator[int]:
        for ref in numbers.remote(n):
            yield ray.get(ref) ** 2

    assert ray.get(list(squares.remote(4))) == [0, 1, 4, 9]


def test_a_task_can_read_a_generator_that_still_runs(ray: Any, stepwise: Any, flags: Any) -> None:
    @ray.remote
    def read() -> list[int]:
        generator = stepwise.remote(3)
        got = []
        for _ in range(3):
            flags.up("step")
            got.append(ray.get(next(generator)))
        return got

    assert ray.get(read.remote()) == [0, 1, 2]


# -- waiting -------------------------------------------------------------------------------------------------------


def test_next_with_a_time_out_gives_a_nil_ref(ray: Any, stepwise: Any, flags: Any) -> None:
    generator = stepwise.remote(1)
    for timeout in (0, 0.01):
        nil = generator._next_sync(timeout)
        assert nil.is_nil() and nil == ray.ObjectRef.nil()
        assert repr(nil) == f"ObjectRef({'f' * 56})"
    flags.up("step")
    ref = generator._next_sync()
    assert not ref.is_nil() and ray.get(ref) == 0
    with pytest.raises(StopIteration):
        generator._next_sync(10)


def test_a_nil_ref_cannot_be_got(ray: Any) -> None:
    with pytest.raises(ValueError):
        ray.get(ray.ObjectRef.nil())


def test_wait_takes_generators_and_refs(ray: Any, stepwise: Any, numbers: Any, flags: Any) -> None:
    slow, quick, ref = stepwise.remote(1), numbers.remote(1), ray.put(1)
    ready, others = ray.wait([slow, quick, ref], num_returns=2)
    assert ready == [quick, ref] and others == [slow]
    assert ray.wait([slow], timeout=0.01) == ([], [slow])
    flags.up("step")
    assert ray.wait([slow]) == ([slow], [])
    assert ray.get(next(slow)) == 0
    assert ray.wait([slow], timeout=20) == ([slow], []), "at its end it is ready too"
    assert list(slow) == []
    assert ray.wait([slow], timeout=20) == ([slow], [])


def test_wait_in_a_task_takes_generators(ray: Any, numbers: Any) -> None:
    @ray.remote
    def read() -> list[int]:
        got = []
        generators = [numbers.remote(2), numbers.remote(3)]
        while generators:
            (ready,), _ = ray.wait(generators)
            try:
                got.append(ray.get(next(ready)))
            except StopIteration:
                generators.remove(ready)
        return sorted(got)

    assert ray.get(read.remote()) == [0, 0, 1, 1, 2]


def test_wait_refuses_one_generator_and_one_twice(ray: Any, numbers: Any) -> None:
    generator = numbers.remote(1)
    with pytest.raises(TypeError, match="ObjectRefGenerator"):
        ray.wait(generator)
    with pytest.raises(ValueError, match="unique"):
        ray.wait([generator, generator])


def test_completed_is_ready_at_the_end(ray: Any, stepwise: Any, flags: Any) -> None:
    generator = stepwise.remote(2)
    done = generator.completed()
    assert isinstance(done, ray.ObjectRef)
    flags.up("step")
    assert ray.wait([done], timeout=0.01)[0] == []
    flags.up("step")
    assert ray.get(done) is None
    assert ray.get(list(generator)) == [0, 1], "and takes nothing"


def test_next_ready_and_is_finished_say_what_next_would_do(
    ray: Any, stepwise: Any, flags: Any, eventually: Any
) -> None:
    generator = stepwise.remote(1)
    assert not generator.next_ready() and not generator.is_finished()
    flags.up("step")
    eventually(generator.next_ready)
    assert not generator.is_finished()
    ray.get(next(generator))
    ray.get(generator.completed())
    eventually(generator.is_finished)
    assert not generator.next_ready()


def test_get_of_a_generator_gives_it_back_and_in_a_list_refuses_it(ray: Any, numbers: Any) -> None:
    generator = numbers.remote(1)
    assert ray.get(generator) is generator
    with pytest.raises(TypeError):
        ray.get([generator])


# -- asyncio -------------------------------------------------------------------------------------------------------


def test_a_generator_can_be_read_in_asyncio(ray: Any, numbers: Any) -> None:
    async def read() -> list[int]:
        return [await ref async for ref in numbers.remote(3)]

    assert asyncio.run(read()) == [0, 1, 2]


def test_anext_ends_with_stop_async_iteration(ray: Any, numbers: Any) -> None:
    async def read() -> None:
        generator = numbers.remote(1)
        assert await (await generator.__anext__()) == 0
        for _ in range(2):
            with pytest.raises(StopAsyncIteration):
                await generator.__anext__()

    asyncio.run(read())


def test_reading_in_asyncio_leaves_the_loop_free(ray: Any, stepwise: Any, flags: Any) -> None:
    async def read() -> list[int]:
        generator = stepwise.remote(2)
        got = []

        async def consume() -> None:
            async for ref in generator:
                got.append(await ref)  # noqa: PERF401 (one by one, to be seen from outside)

        task = asyncio.create_task(consume())
        for i in range(2):
            await asyncio.sleep(0)
            assert len(got) <= i
            flags.up("step")
            while len(got) <= i:  # noqa: ASYNC110 (nobody would set an event)
                await asyncio.sleep(0.001)
        await task
        return got

    assert asyncio.run(read()) == [0, 1]


def test_next_in_asyncio_with_a_time_out_gives_a_nil_ref(ray: Any, stepwise: Any, flags: Any) -> None:
    async def read() -> Any:
        generator = stepwise.remote(1)
        nil = await generator._next_async(0.01)
        flags.up("step")
        return nil.is_nil(), await (await generator._next_async())

    assert asyncio.run(read()) == (True, 0)


def test_errors_reach_who_reads_in_asyncio(ray: Any, failing: Any) -> None:
    async def read() -> list[Any]:
        got: list[Any] = []
        async for ref in failing.remote(1):
            try:
                got.append(await ref)
            except ValueError:
                got.append("boom")
        return got

    assert asyncio.run(read()) == [0, "boom"]
