"""Cancellations that real Ray does not always survive: so these are no conformance tests."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from minray.exceptions import TaskCancelledError

pytestmark = pytest.mark.parametrize("backend", ["threads", "loky"])


@pytest.fixture
def sleeper(ray: Any, flags: Any) -> Any:
    @ray.remote
    def sleep(_: object = None) -> None:
        flags.up("asleep")
        for _ in range(3000):
            time.sleep(0.01)

    return sleep


def cancel_twice(ray: Any, ref: Any) -> None:
    """It is as if once. The driver of real Ray may crash over it."""
    for _ in range(2):
        ray.cancel(ref)
    for _ in range(2):
        with pytest.raises(TaskCancelledError):
            ray.get(ref, timeout=30)
        ray.cancel(ref)


def test_a_call_that_runs(ray: Any, sleeper: Any, flags: Any) -> None:
    ref = sleeper.remote()
    flags.wait("asleep")
    cancel_twice(ray, ref)


def test_a_call_that_waits_for_its_argument(ray: Any, sleeper: Any, flags: Any) -> None:
    argument = sleeper.remote()
    flags.wait("asleep")
    cancel_twice(ray, sleeper.remote(argument))
    cancel_twice(ray, argument)
    assert flags.count("asleep") == 1


def test_calls_of_an_async_actor_that_its_own_code_cancels_before_they_begin(ray: Any) -> None:
    """In Ray their callers wait for ever."""

    @ray.remote(max_concurrency=8)
    class Actor:
        def hold(self) -> None:
            time.sleep(0.1)  # the others come meanwhile, and begin together

        async def cancel_others(self) -> None:
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

        async def echo(self, x: Any) -> Any:
            return x

    actor = Actor.remote()
    actor.hold.remote()
    cancelling = actor.cancel_others.remote()
    refs = [actor.echo.remote([ray.put(x)]) for x in range(12)]
    ray.get(cancelling)
    cancelled = 0
    for x, ref in enumerate(refs):
        try:
            assert ray.get(ray.get(ref, timeout=30)) == [x]
        except TaskCancelledError:
            cancelled += 1
    assert cancelled
    assert ray.get([actor.echo.remote(x) for x in range(20)], timeout=30) == list(range(20))
