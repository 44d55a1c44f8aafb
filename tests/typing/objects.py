"""What type checkers know of references. Read by mypy and pyright, never run; see functions.py."""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

import asyncio
import concurrent.futures
from typing import Any

from typing_extensions import assert_type

import minray as ray
from minray import ObjectRef


class Animal: ...


class Dog(Animal): ...


def get(
    number: ObjectRef[int], text: ObjectRef[str], several: list[ObjectRef[int]], mixed: list[ObjectRef[Any]]
) -> None:
    assert_type(ray.get(number), int)
    assert_type(ray.get(number, timeout=1.5), int)
    assert_type(ray.get(several), list[int])
    assert_type(ray.get([text, text]), list[str])
    assert_type(ray.get([ray.put(i) for i in range(3)]), list[int])
    assert_type(ray.get(mixed), list[Any])
    ray.get(1)  # type: ignore[call-overload]
    ray.get([1])  # type: ignore[arg-type]
    ray.get((number, number))  # type: ignore[call-overload]
    ray.get(number, 1.0)  # type: ignore[call-overload]


def put() -> None:
    assert_type(ray.put("a"), ObjectRef[str])
    assert_type(ray.put([1]), ObjectRef[list[int]])


def wait(several: list[ObjectRef[int]], either: list[ObjectRef[int] | ObjectRef[str]], one: ObjectRef[int]) -> None:
    ready, others = ray.wait(several, num_returns=2, timeout=None)
    assert_type(ready, list[ObjectRef[int]])
    assert_type(others, list[ObjectRef[int]])
    assert_type(ray.wait(either)[0], list[ObjectRef[int] | ObjectRef[str]])
    ray.wait(one)  # type: ignore[arg-type]
    ray.wait([1])  # type: ignore[type-var]
    ray.wait(several, 2)  # type: ignore[call-arg]


async def awaited(number: ObjectRef[int], text: ObjectRef[str]) -> None:
    assert_type(await number, int)
    assert_type(await asyncio.gather(number, text), tuple[int, str])
    assert_type(number.future(), concurrent.futures.Future[int])
    assert_type(number.as_future(), asyncio.Future[int])


def a_reference_to_a_dog_is_one_to_an_animal(dog: ObjectRef[Dog], animal: ObjectRef[Animal]) -> None:
    animals: list[ObjectRef[Animal]] = [dog, animal]
    dogs: list[ObjectRef[Dog]] = [dog, animal]  # type: ignore[list-item]
    assert_type(ray.get(animals), list[Animal])
    assert_type(ray.get(dogs), list[Dog])
