"""What random programs have found, each as small as it became."""

from __future__ import annotations

import threading
from typing import Any

from minray.testing import assert_equivalent
from minray.testing.leaks import Footprint, unsettled


def test_a_task_that_only_looks_whether_others_are_ready_does_not_keep_them_from_running(backend: str) -> None:
    def program(ray: Any) -> Any:
        @ray.remote
        def one() -> int:
            return 1

        @ray.remote(num_cpus=2)
        def poll() -> list[int]:
            pending = [one.remote()]
            while not (ready := ray.wait(pending, timeout=0)[0]):
                pass
            return ray.get(ready)

        return ray.get(poll.remote())

    assert_equivalent(program, [backend], timeout=20)


def test_an_error_of_the_system_that_a_task_meets_holds_nothing_of_the_task(backend: str) -> None:
    def program(ray: Any) -> Any:
        @ray.remote
        class Actor:
            def go(self) -> None: ...

        @ray.remote
        def use(actor: Any) -> str:
            try:
                return ray.get(actor.go.remote())
            except ray.exceptions.RayActorError:
                return "it is dead"

        actor = Actor.remote()
        ray.kill(actor)
        return ray.get(use.remote(actor))

    assert_equivalent(program, [backend])
    assert unsettled() == ""


def test_an_error_that_a_coroutine_awaits_holds_nothing_of_the_coroutine(backend: str) -> None:
    def program(ray: Any) -> Any:
        @ray.remote
        class Actor:
            async def fail(self) -> None:
                raise ValueError("boom")

            async def wait(self, me: Any, refs: list[Any]) -> None:
                await refs[0]

        actor = Actor.remote()
        ray.get(actor.wait.remote([actor], [actor.fail.remote()]))

    assert assert_equivalent(program, [backend]).error == "ValueError: boom"
    assert unsettled() == ""


def test_a_value_that_a_coroutine_has_awaited_is_let_go_when_the_call_is_over(backend: str) -> None:
    def program(ray: Any) -> Any:
        @ray.remote
        class Actor:
            async def echo(self, x: Any) -> Any:
                return x

            async def wait(self, refs: list[Any]) -> None:
                await refs[0]

        actor = Actor.remote()
        ray.get(actor.wait.remote([actor.echo.remote([actor])]))

    assert_equivalent(program, [backend])
    assert unsettled() == ""


def test_the_threads_of_an_actor_that_is_killed_end_without_a_word(backend: str, monkeypatch: Any) -> None:
    def program(ray: Any) -> Any:
        @ray.remote(max_concurrency=2)
        class Actor:
            def go(self) -> None: ...

        actor = Actor.remote()
        ray.get(actor.go.remote())
        ray.kill(actor)

    heard: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", heard.append)
    before = Footprint()
    assert_equivalent(program, [backend])
    if backend == "threads":
        assert "minray-call" not in before.left()
    assert heard == []
