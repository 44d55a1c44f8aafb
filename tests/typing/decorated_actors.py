"""The same for classes with `@remote` on top.

Read by pyright alone: to mypy a decorated class is still the class (python/mypy#3135), whatever the decorator returns,
and so has no `.remote`. There, write ``RemoteCounter = ray.remote(Counter)``, as in actors.py.
"""
# mypy: ignore-errors
# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing_extensions import assert_type

import minray as ray
from minray import ObjectRef


@ray.remote
class Counter:
    def __init__(self, start: int) -> None:
        self.count = start

    @ray.method
    def add(self, by: int) -> float:
        assert_type(self.add(1), float)
        return float(by)


@ray.remote(num_cpus=1, max_restarts=1)
class Limited:
    @ray.method
    def hello(self, to: str = "you") -> str:
        return to


def decorated(number: ObjectRef[int]) -> None:
    counter = Counter.remote(1)
    assert_type(counter.add.remote(number), ObjectRef[float])
    assert_type(ray.get(counter.add.remote(2)), float)
    assert_type(Counter.options(name="n").remote(number).add.remote(1), ObjectRef[float])
    Counter.remote("a")  # pyright: ignore[reportCallIssue, reportArgumentType]
    Counter.remote()  # pyright: ignore[reportCallIssue]
    counter.add.remote("a")  # pyright: ignore[reportCallIssue, reportArgumentType]
    counter.unknown.remote()  # pyright: ignore[reportAttributeAccessIssue]


def decorated_with_options() -> None:
    assert_type(Limited.remote().hello.remote(), ObjectRef[str])
    assert_type(Limited.options(max_restarts=0).remote().hello.remote("me"), ObjectRef[str])
    Limited.remote(1)  # pyright: ignore[reportArgumentType]
    Limited.remote().hello.remote(1)  # pyright: ignore[reportCallIssue, reportArgumentType]
