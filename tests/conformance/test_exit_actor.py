"""Actors that end themselves: `ray.actor.exit_actor` and `__ray_terminate__`."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest


@pytest.fixture
def dies(ray: Any) -> Any:
    def dies(ref: Any) -> str:
        with pytest.raises(ray.exceptions.ActorDiedError) as caught:
            ray.get(ref, timeout=30)
        return str(caught.value)

    return dies


@pytest.fixture
def plain(ray: Any, flags: Any) -> Any:
    @ray.remote
    class Plain:
        def hello(self) -> str:
            return "hello"

        def exit(self) -> None:
            ray.actor.exit_actor()

        def exit_with_a_finally(self) -> None:
            try:
                ray.actor.exit_actor()
            finally:
                flags.up("finally")

        def exit_and_catch(self) -> str:
            try:
                ray.actor.exit_actor()
            except BaseException:
                flags.up("caught")
            return "returned"

        def exit_past_exception(self) -> str:
            try:
                ray.actor.exit_actor()
            except Exception:
                flags.up("caught")
            return "returned"

    return Plain


def test_an_actor_can_end_itself(ray: Any, plain: Any, dies: Any) -> None:
    actor = plain.remote()
    before, exit, behind = actor.hello.remote(), actor.exit.remote(), actor.hello.remote()
    assert ray.get(before) == "hello"
    assert "exit_actor() is called" in dies(exit)
    dies(behind)
    dies(actor.hello.remote())


def test_an_actor_that_ended_itself_does_not_restart(ray: Any, plain: Any, dies: Any) -> None:
    actor = plain.options(max_restarts=-1, max_task_retries=-1).remote()
    dies(actor.exit.remote())
    dies(actor.hello.remote())


def test_blocks_are_left_as_always(ray: Any, plain: Any, dies: Any, flags: Any) -> None:
    dies(plain.remote().exit_with_a_finally.remote())
    assert flags.count("finally") == 1


def test_catching_the_exception_changes_nothing(ray: Any, plain: Any, dies: Any, flags: Any) -> None:
    actor = plain.remote()
    dies(actor.exit_and_catch.remote())
    dies(actor.hello.remote())
    assert flags.count("caught") == 1


def test_except_exception_does_not_catch_it(ray: Any, plain: Any, dies: Any, flags: Any) -> None:
    dies(plain.remote().exit_past_exception.remote())
    assert flags.count("caught") == 0


def test_an_actor_can_end_itself_in_its_init(ray: Any, dies: Any) -> None:
    @ray.remote
    class Never:
        def __init__(self) -> None:
            ray.actor.exit_actor()

        def hello(self) -> None: ...

    dies(Never.remote().hello.remote())


def test_calls_on_other_threads_go_on_to_their_ends(ray: Any, dies: Any, flags: Any) -> None:
    @ray.remote(max_concurrency=3)
    class Threaded:
        def wait(self) -> str:
            flags.up("waiting")
            flags.wait("go")
            return "done"

        def exit(self) -> None:
            flags.wait("waiting", 2)
            flags.up("leaving")
            ray.actor.exit_actor()

    actor = Threaded.remote()
    waiting, exit = [actor.wait.remote(), actor.wait.remote()], actor.exit.remote()
    flags.wait("leaving")
    flags.up("go")
    assert ray.get(waiting) == ["done", "done"]
    dies(exit)
    dies(actor.wait.remote())


@pytest.mark.parametrize("method", ["exit", "exit_on_loop", "exit_and_catch"])
def test_an_async_actor_can_end_itself_after_the_calls_that_run(ray: Any, dies: Any, flags: Any, method: str) -> None:
    @ray.remote
    class Async:
        def __init__(self) -> None:
            self.go = asyncio.Event()

        async def wait(self) -> str:
            flags.up("waiting")
            await self.go.wait()
            await asyncio.sleep(0.01)
            return "done"

        async def exit(self) -> None:
            self.go.set()
            ray.actor.exit_actor()

        def exit_on_loop(self) -> None:
            self.go.set()
            ray.actor.exit_actor()

        async def exit_and_catch(self) -> None:
            self.go.set()
            try:
                ray.actor.exit_actor()
            except ray.exceptions.AsyncioActorExit:
                flags.up("caught")

    actor = Async.remote()
    waiting = [actor.wait.remote(), actor.wait.remote()]
    flags.wait("waiting", 2)
    dies(getattr(actor, method).remote())
    assert ray.get(waiting) == ["done", "done"]
    dies(actor.exit.remote())
    assert flags.count("caught") == (method == "exit_and_catch")


def test_only_actors_can_end_themselves(ray: Any) -> None:
    @ray.remote
    def task() -> None:
        ray.actor.exit_actor()

    with pytest.raises(TypeError, match=r"exit_actor.*non-actor worker"):
        ray.actor.exit_actor()
    with pytest.raises(TypeError, match=r"exit_actor.*non-actor worker"):
        ray.get(task.remote())


def test_an_actor_can_be_asked_to_end_after_the_calls_before(ray: Any, plain: Any, dies: Any) -> None:
    actor = plain.remote()
    before, end = actor.hello.remote(), actor.__ray_terminate__.remote()
    assert ray.get(before) == "hello"
    dies(end)
    dies(actor.hello.remote())


@pytest.mark.parametrize("kind", ["threaded", "async"])
def test_actors_of_all_kinds_can_be_asked_to_end(ray: Any, dies: Any, kind: str) -> None:
    @ray.remote
    class Async:
        async def hello(self) -> None: ...

    @ray.remote(max_concurrency=2)
    class Threaded:
        def hello(self) -> None: ...

    actor = Async.remote() if kind == "async" else Threaded.remote()
    ray.get(actor.hello.remote())
    dies(actor.__ray_terminate__.remote())
    dies(actor.hello.remote())


def test_the_module_has_the_types(ray: Any, plain: Any) -> None:
    actor = plain.remote()
    assert isinstance(actor, ray.actor.ActorHandle)
    assert isinstance(plain, ray.actor.ActorClass)
    assert isinstance(actor.hello, ray.actor.ActorMethod)
    assert ray.actor.method is ray.method


@pytest.mark.parametrize("concurrency", [1, 3])
def test_sys_exit_with_0_ends_an_actor_for_good(ray: Any, dies: Any, concurrency: int) -> None:
    @ray.remote(max_restarts=5, max_concurrency=concurrency)
    class Actor:
        def hello(self) -> str:
            return "hello"

        def exit(self) -> None:
            sys.exit(0)

    actor = Actor.remote()
    assert ray.get(actor.hello.remote()) == "hello"
    dies(actor.exit.remote())
    dies(actor.hello.remote())


@pytest.mark.parametrize("code", [None, 1, "why"])
def test_sys_exit_with_anything_else_is_a_death_after_which_an_actor_restarts(
    ray: Any, flags: Any, eventually: Any, code: Any
) -> None:
    @ray.remote(max_restarts=1)
    class Actor:
        def __init__(self) -> None:
            self.life = flags.up("lives")

        def which(self) -> int:
            return self.life

        def exit(self) -> None:
            sys.exit(code)

    def life() -> int | None:
        try:
            return int(ray.get(actor.which.remote()))
        except ray.exceptions.ActorUnavailableError:
            return None

    actor = Actor.remote()
    assert ray.get(actor.which.remote()) == 1
    with pytest.raises(ray.exceptions.ActorUnavailableError):
        ray.get(actor.exit.remote())
    assert eventually(life) == 2
