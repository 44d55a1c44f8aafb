"""What type checkers know of remote functions. Read by mypy and pyright, never run.

A line that must be an error carries a ``type: ignore``; both checkers report one that is not needed.
"""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing import Any, TypeVar

from typing_extensions import assert_type

import minray as ray
from minray import ObjectRef
from minray.remote_function import RemoteFunction

T = TypeVar("T")


@ray.remote
def f(a: int, b: str = "b", *, c: float = 1.0) -> bool:
    return bool(a)


@ray.remote
def nothing() -> None:
    return None


@ray.remote
def total(*numbers: int) -> int:
    return sum(numbers)


@ray.remote
def keyword(*, k: int) -> int:
    return k


@ray.remote
def identity(x: T) -> T:
    return x


@ray.remote
def nine(a: int, b: int, c: int, d: int, e: int, f: int, g: int, h: int, i: str) -> int:
    return a


@ray.remote(num_cpus=0.5, max_retries=1)
def with_options(a: int) -> str:
    return str(a)


@ray.remote(num_returns=2)
def two(a: int) -> tuple[int, str]:
    return a, "b"


@ray.remote(num_returns=0)
def none(a: int) -> None:
    return None


def plain(a: int) -> str:
    return str(a)


def values() -> None:
    assert_type(f.remote(1), ObjectRef[bool])
    assert_type(f.remote(1, "b"), ObjectRef[bool])
    assert_type(f.remote(1, b="b", c=2.0), ObjectRef[bool])
    assert_type(f.remote(a=1), ObjectRef[bool])
    assert_type(nothing.remote(), ObjectRef[None])
    assert_type(total.remote(), ObjectRef[int])
    assert_type(total.remote(1, 2, 3), ObjectRef[int])
    assert_type(keyword.remote(k=1), ObjectRef[int])
    assert_type(identity.remote(1.5), ObjectRef[float])
    assert_type(ray.remote(plain).remote(1), ObjectRef[str])
    assert_type(ray.remote(lambda: 1).remote(), ObjectRef[int])


def references(number: ObjectRef[int], text: ObjectRef[str], flag: ObjectRef[bool]) -> None:
    assert_type(f.remote(number), ObjectRef[bool])
    assert_type(f.remote(number, "b"), ObjectRef[bool])
    assert_type(f.remote(number, b="b", c=2.0), ObjectRef[bool])
    assert_type(f.remote(1, text), ObjectRef[bool])
    assert_type(f.remote(number, text), ObjectRef[bool])
    assert_type(f.remote(number, text, c=2.0), ObjectRef[bool])
    assert_type(f.remote(flag), ObjectRef[bool])  # a bool is an int
    assert_type(total.remote(number, 2, number), ObjectRef[int])
    assert_type(nine.remote(1, number, 3, number, 5, 6, 7, number, "i"), ObjectRef[int])
    assert_type(f.remote(f.remote(1)), ObjectRef[bool])


def wrong_arguments(number: ObjectRef[int], text: ObjectRef[str]) -> None:
    f.remote()  # type: ignore[call-overload]
    f.remote("a")  # type: ignore[call-overload]
    f.remote(text)  # type: ignore[arg-type]
    f.remote(1, 2)  # type: ignore[call-overload]
    f.remote(1, number)  # type: ignore[arg-type]
    f.remote(number, 2)  # type: ignore[call-overload]
    f.remote(1, d=3)  # type: ignore[call-overload]
    f.remote(1, "b", 3.0)  # type: ignore[call-overload]
    nothing.remote(1)  # type: ignore[call-overload]
    total.remote("a")  # type: ignore[call-overload]
    keyword.remote(1)  # type: ignore[call-overload]
    keyword.remote(k="a")  # type: ignore[call-overload]


def options(number: ObjectRef[int], text: ObjectRef[str]) -> None:
    assert_type(with_options.remote(number), ObjectRef[str])
    assert_type(f.options(num_cpus=2).remote(number), ObjectRef[bool])
    assert_type(f.options(name="x", resources={"gpu": 0.5}).remote(1), ObjectRef[bool])
    assert_type(f.options(num_returns=1).remote(1), ObjectRef[bool])
    assert_type(f.options(num_returns=0).remote(1), None)
    assert_type(f.options(num_returns=2).remote(1), list[ObjectRef[Any]])
    assert_type(two.remote(1), list[ObjectRef[Any]])
    assert_type(two.options(num_cpus=1).remote(number), list[ObjectRef[Any]])
    assert_type(two.options(num_returns=None).remote(1), ObjectRef[tuple[int, str]])
    assert_type(none.remote(1), None)
    f.options(num_cpu=1)  # type: ignore[call-overload]
    f.options(num_cpus="1")  # type: ignore[call-overload]
    f.options(max_restarts=1)  # type: ignore[call-overload]
    f.options(num_cpus=2).remote(text)  # type: ignore[arg-type]
    two.remote("a")  # type: ignore[call-overload]


def as_values(number: ObjectRef[int]) -> None:
    held: RemoteFunction[[int], str] = ray.remote(plain)
    assert_type(held.remote(number), ObjectRef[str])
    assert_type(held.__wrapped__(1), str)
    anything: RemoteFunction[..., Any, Any] = two
    anything.remote(1, 2, three=3)
