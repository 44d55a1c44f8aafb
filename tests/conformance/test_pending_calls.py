"""`max_pending_calls`: how many unfinished calls each caller may have at an actor."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def waiter(ray: Any, flags: Any) -> Any:
    @ray.remote(num_cpus=0)
    class Waiter:
        def wait(self) -> str:
            flags.up("waiting")
            flags.wait("go")
            return "done"

        def hello(self, *args: Any) -> str:
            return "hello"

    return Waiter


def test_one_call_too_many_is_refused(ray: Any, waiter: Any, flags: Any) -> None:
    actor = waiter.options(max_pending_calls=2).remote()
    refs = [actor.wait.remote(), actor.wait.remote()]
    for _ in range(2):
        with pytest.raises(ray.exceptions.PendingCallsLimitExceeded, match="more than 2 tasks are queued on the actor"):
            actor.wait.remote()
    flags.up("go")
    assert ray.get(refs) == ["done", "done"]


def test_there_is_room_again_when_calls_are_done(ray: Any, waiter: Any, eventually: Any) -> None:
    actor = waiter.options(max_pending_calls=1).remote()

    def call() -> Any:
        try:
            return actor.hello.remote()
        except ray.exceptions.PendingCallsLimitExceeded:
            return None

    for _ in range(5):
        assert ray.get(eventually(call)) == "hello"


def test_calls_count_that_wait_for_the_actor_or_for_arguments(ray: Any, waiter: Any, flags: Any, held: Any) -> None:
    actor = waiter.options(max_pending_calls=1).remote()
    ref = actor.hello.remote(held())
    with pytest.raises(ray.exceptions.PendingCallsLimitExceeded):
        actor.hello.remote()
    flags.up("go")
    assert ray.get(ref) == "hello"


@pytest.mark.parametrize("limit", [0, -1])
def test_no_limit_is_no_limit(ray: Any, waiter: Any, limit: Any) -> None:
    actor = waiter.options(max_pending_calls=limit).remote()
    assert ray.get([actor.hello.remote() for _ in range(20)]) == ["hello"] * 20


def test_each_caller_has_the_limit_for_itself(ray: Any, waiter: Any, flags: Any) -> None:
    @ray.remote(num_cpus=0)
    def call(actor: Any) -> Any:
        refs = [actor.wait.remote(), actor.wait.remote()]
        try:
            actor.wait.remote()
        except ray.exceptions.PendingCallsLimitExceeded:
            flags.up("go")
            return ray.get(refs)
        return "not refused"

    actor = waiter.options(max_pending_calls=2, max_concurrency=4).remote()
    mine = [actor.wait.remote(), actor.wait.remote()]
    assert ray.get(call.remote(actor), timeout=30) == ["done", "done"]
    assert ray.get(mine) == ["done", "done"]


def test_a_call_that_could_not_be_made_does_not_count(ray: Any, waiter: Any) -> None:
    import threading

    actor = waiter.options(max_pending_calls=1).remote()
    for _ in range(3):
        with pytest.raises(TypeError):
            actor.hello.remote(threading.Lock())
    assert ray.get(actor.hello.remote()) == "hello"


def test_calls_to_a_dead_actor_are_not_refused(ray: Any, waiter: Any, eventually: Any) -> None:
    actor = waiter.options(max_pending_calls=1).remote()
    ray.get(actor.hello.remote())
    ray.kill(actor)

    def call() -> str:
        try:
            return ray.get(actor.hello.remote())
        except ray.exceptions.RayError as error:
            return type(error).__name__

    eventually(lambda: [call() for _ in range(3)] == ["ActorDiedError"] * 3)


@pytest.mark.parametrize(("value", "error"), [(-2, ValueError), ("many", TypeError), (1.5, TypeError)])
def test_the_limit_is_a_count(ray: Any, waiter: Any, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="max_pending_calls"):
        waiter.options(max_pending_calls=value)
