"""Large results of actors, and items of generators, are made again when their file is gone."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from minray.exceptions import (
    ActorDiedError,
    StreamingGeneratorReplayInconsistentError,
)
from minray.util.state import list_actors

pytestmark = pytest.mark.slow

N = 20_000  # numbers in an array that goes to the store


@pytest.fixture
def make_class(ray: Any, flags: Any) -> Any:
    class Maker:
        def __init__(self, *_: Any) -> None:
            flags.up("made")
            self.seen: list[int] = []

        def pid(self) -> int:
            return os.getpid()

        def make(self, name: str) -> Any:
            flags.up(name)
            return np.full(N, len(name))

        def use(self, number: int, array: Any = None) -> list[int]:
            self.seen.append(number)
            return self.seen

        def generate(self, number: int) -> Any:
            for n in range(number):
                flags.up("item")
                yield np.full(N, n)

    return Maker


def restart(ray: Any, actor: Any) -> None:
    """Let an actor's worker die, and wait for the next one, which has mapped none of its files."""
    before = ray.get(actor.pid.remote())
    os.kill(before, signal.SIGKILL)
    assert ray.get(actor.pid.remote()) != before


def firsts(ray: Any, refs: list[Any]) -> list[int]:
    return [int(array[0]) for array in ray.get(refs)]


def test_a_living_actor_is_called_again(ray: Any, make_class: Any, flags: Any, lose: Callable[[], None]) -> None:
    actor = ray.remote(max_task_retries=1)(make_class).remote()
    ref = actor.make.remote("one")
    ray.wait([ref])
    lose()
    assert firsts(ray, [ref]) == [3]
    assert (flags.count("one"), flags.count("made")) == (2, 1)


def test_one_that_was_restarted_too(ray: Any, make_class: Any, flags: Any, lose: Callable[[], None]) -> None:
    actor = ray.remote(max_restarts=-1, max_task_retries=-1)(make_class).remote()
    refs = [actor.make.remote("one"), actor.make.remote("three")]
    ray.wait(refs, num_returns=2)
    restart(ray, actor)
    lose()
    assert firsts(ray, refs) == [3, 5]
    assert flags.count("one") == flags.count("three") == 2


@pytest.mark.parametrize("kind", ["plain", "threaded", "async"])
def test_an_actor_that_needs_what_it_has_to_make_again(
    ray: Any, make_class: Any, flags: Any, lose: Callable[[], None], kind: str
) -> None:
    class Async(make_class):  # type: ignore[misc]
        async def use(self, number: int, array: Any = None) -> list[int]:
            return list(super().use(number, array))

    options = {"max_restarts": -1, "max_task_retries": -1, **({"max_concurrency": 2} if kind == "threaded" else {})}
    actor = ray.remote(**options)(Async if kind == "async" else make_class).remote()
    ref = actor.make.remote("one")
    ray.wait([ref])
    restart(ray, actor)
    lose()
    refs = [actor.use.remote(0), actor.use.remote(1, ref), actor.use.remote(2)]
    seen = ray.get(refs)[-1 if kind == "plain" else 1]
    assert seen == [0, 1, 2] if kind == "plain" else 1 in seen
    assert flags.count("one") == 2


def test_one_without_handles_is_made_anew(
    ray: Any, make_class: Any, flags: Any, lose: Callable[[], None], eventually: Any
) -> None:
    def rows() -> list[Any]:
        return list_actors(detail=True)

    actor = ray.remote(max_restarts=1, max_task_retries=-1)(make_class).remote()
    ref = actor.make.remote("one")
    ray.wait([ref])
    del actor
    eventually(lambda: rows()[0].state == "DEAD")
    lose()
    assert firsts(ray, [ref]) == [3]
    assert flags.count("made") == flags.count("one") == 2
    eventually(lambda: [row.state for row in rows()] == ["DEAD"])
    assert rows()[0].num_restarts_due_to_lineage_reconstruction == 1


def test_what_a_dead_actor_made_is_gone_with_it(ray: Any, make_class: Any, lose: Callable[[], None]) -> None:
    actor = ray.remote(max_restarts=-1, max_task_retries=-1)(make_class).remote()
    ref = actor.make.remote("one")
    ray.wait([ref])
    ray.kill(actor)
    lose()
    with pytest.raises(ActorDiedError, match=r"ray\.kill"):
        ray.get(ref)


@pytest.mark.parametrize("kind", ["task", "method"])
def test_lost_items_come_back_and_none_comes_twice(
    ray: Any, make_class: Any, flags: Any, lose: Callable[[], None], kind: str
) -> None:
    @ray.remote(num_returns="streaming", _generator_backpressure_num_objects=2)
    def generate(number: int) -> Any:
        for n in range(number):
            flags.up("item")
            yield np.full(N, n)

    actor = ray.remote(max_task_retries=-1)(make_class).remote()
    items = generate.remote(4) if kind == "task" else actor.generate.options(num_returns="streaming").remote(4)
    refs = [next(items), next(items)]
    ray.wait(refs, num_returns=2)
    lose()
    refs += items
    assert firsts(ray, refs) == [0, 1, 2, 3]
    del items
    lose()
    assert firsts(ray, refs) == [0, 1, 2, 3]
    assert flags.count("item") == 8


def test_items_that_do_not_come_again(ray: Any, flags: Any, lose: Callable[[], None]) -> None:
    @ray.remote(max_retries=-1)
    def generate() -> Any:
        again = flags.up("run") > 1
        for n in range(4):
            if again and n == 1:
                raise RuntimeError("not again")
            yield np.full(N, n)

    refs = list(generate.remote())
    lose()
    assert firsts(ray, refs[:1]) == [0]
    with pytest.raises(RuntimeError, match="not again"):
        ray.get(refs[1])
    for ref in refs[2:]:
        with pytest.raises(StreamingGeneratorReplayInconsistentError, match="1 items"):
            ray.get(ref)
