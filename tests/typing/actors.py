"""What type checkers know of actors. Read by mypy and pyright, never run; see functions.py."""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from typing import Any

from typing_extensions import assert_type

import minray as ray
from minray import ObjectRef
from minray.actor_class import ActorClass
from minray.actor_handle import ActorHandle, ActorProxy


class Counter:
    def __init__(self, start: int, name: str = "counter") -> None:
        self.count = start

    @ray.method
    def add(self, by: int, *, twice: bool = False) -> float:
        assert_type(self.add(1), float)  # inside, a method is a method
        self.count += by
        return float(self.count)

    @ray.method
    def reset(self) -> None:
        self.count = 0

    @ray.method
    async def later(self, what: str) -> bytes:
        return what.encode()

    @ray.method(num_returns=2)
    def pair(self) -> tuple[int, int]:
        return self.count, self.count

    @ray.method(num_returns=0)
    def forget(self, what: int) -> None:
        self.count = 0

    @ray.method(enable_task_events=False)
    def chosen(self, what: int) -> str:
        return str(what)

    def unmarked(self) -> int:
        return 1


class Empty:
    @ray.method
    def hello(self) -> str:
        return "hello"


RemoteCounter = ray.remote(Counter)
LimitedCounter = ray.remote(num_cpus=1, max_restarts=2)(Counter)


def creation(number: ObjectRef[int], text: ObjectRef[str]) -> None:
    assert_type(RemoteCounter.remote(1), "ActorProxy[Counter]")
    assert_type(RemoteCounter.remote(number, text), "ActorProxy[Counter]")
    assert_type(RemoteCounter.remote(1, name="n"), "ActorProxy[Counter]")
    assert_type(RemoteCounter.options(name="n", lifetime="detached").remote(number), "ActorProxy[Counter]")
    assert_type(LimitedCounter.remote(1), "ActorProxy[Counter]")
    assert_type(ray.remote(Empty).remote().hello.remote(), ObjectRef[str])
    RemoteCounter.remote()  # type: ignore[call-overload]
    RemoteCounter.remote("a")  # type: ignore[call-overload]
    RemoteCounter.remote(text)  # type: ignore[arg-type]
    RemoteCounter.remote(1, nam="n")  # type: ignore[call-overload]
    RemoteCounter.options(num_returns=2)  # type: ignore[call-arg]
    RemoteCounter.options(max_restarts="2")  # type: ignore[arg-type]


def calls(counter: ActorProxy[Counter], number: ObjectRef[int], text: ObjectRef[str]) -> None:
    assert_type(counter.add.remote(1), ObjectRef[float])
    assert_type(counter.add.remote(number), ObjectRef[float])
    assert_type(counter.add.remote(number, twice=True), ObjectRef[float])
    assert_type(ray.get(counter.add.remote(by=1)), float)
    assert_type(counter.reset.remote(), ObjectRef[None])
    assert_type(counter.later.remote(text), ObjectRef[bytes])
    assert_type(counter.pair.remote(), list[ObjectRef[Any]])
    assert_type(counter.forget.remote(number), None)
    assert_type(counter.chosen.remote(1), ObjectRef[str])
    assert_type(counter.chosen.options(name="x").remote(number), ObjectRef[str])
    assert_type(counter.chosen.options(num_returns=2).remote(number), Any)
    counter.chosen.options(num_cpus=1)  # type: ignore[call-overload]
    counter.add.remote()  # type: ignore[call-overload]
    counter.add.remote("a")  # type: ignore[call-overload]
    counter.add.remote(text)  # type: ignore[arg-type]
    counter.add.remote(1, thrice=True)  # type: ignore[call-overload]
    counter.chosen.remote("a")  # type: ignore[call-overload]
    counter.unknown.remote(1)  # type: ignore[union-attr]
    counter.unmarked.remote()  # type: ignore[attr-defined]


def handles(counter: ActorProxy[Counter]) -> None:
    ray.kill(counter)
    ray.kill(1)  # type: ignore[arg-type]
    found = ray.get_actor("name")
    assert_type(found, ActorHandle[Any])
    found.whatever.remote(1)


def any_class_of_counters(actor_class: ActorClass[Counter]) -> None:
    assert_type(actor_class.remote("anything"), "ActorProxy[Counter]")
    any_class_of_counters(RemoteCounter)
    any_class_of_counters(LimitedCounter.options(num_cpus=2))
    any_class_of_counters(ray.remote(Empty))  # type: ignore[arg-type]


@ray.remote
def use(counter: ActorProxy[Counter]) -> float:
    return ray.get(counter.add.remote(1))


def handles_travel() -> None:
    assert_type(use.remote(RemoteCounter.remote(1)), ObjectRef[float])
