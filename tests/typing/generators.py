"""What type checkers know of generators. Read by mypy and pyright, never run."""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

from typing_extensions import assert_type

import minray as ray
from minray import ObjectRef, ObjectRefGenerator
from minray.generators import DynamicObjectRefGenerator


@ray.remote(num_returns="streaming")
def numbers(n: int) -> Iterator[int]:
    yield from range(n)


@ray.remote(num_returns="streaming", num_cpus=0.5)
def words() -> Generator[str, None, None]:
    yield "word"


@ray.remote(num_returns="dynamic")
def dynamic(n: int) -> Iterator[int]:
    yield n


@ray.remote(num_returns=2)
def two() -> Iterator[int]:
    yield from (1, 2)


def use() -> None:
    generator = numbers.remote(3)
    assert_type(generator, ObjectRefGenerator[int])
    assert_type(next(generator), ObjectRef[int])
    assert_type(ray.get(next(generator)), int)
    for ref in generator:
        assert_type(ray.get(ref), int)
    assert_type(ray.get(list(generator)), list[int])
    assert_type(words.remote(), ObjectRefGenerator[str])
    assert_type(ray.get(dynamic.remote(1)), DynamicObjectRefGenerator[int])
    assert_type(two.remote(), list[ObjectRef[Any]])
    assert_type(ray.get(generator.completed()), None)
    ray.wait([generator, numbers.remote(1)])
    ray.cancel(generator)
    numbers.remote("3")  # type: ignore[call-overload]


async def use_in_asyncio() -> None:
    async for ref in numbers.remote(3):
        assert_type(await ref, int)
