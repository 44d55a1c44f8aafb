"""`ray.cancel`: of what waits, of what runs, of actors' calls, and of all that a call has made."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any

import pytest


@pytest.fixture
def cancelled(ray: Any) -> Any:
    """Asserts that `get` says that a call was cancelled; `in_code`: the call itself was interrupted."""

    def cancelled(ref: Any, in_code: bool | None = None) -> None:
        with pytest.raises(ray.exceptions.TaskCancelledError) as caught:
            ray.get(ref, timeout=30)
        if in_code is not None:
            assert isinstance(caught.value, ray.exceptions.RayTaskError) is in_code
        if in_code:
            assert re.search(r"Task: TaskID\([0-9a-f]{48}\) was cancelled\.", str(caught.value))

    return cancelled


@pytest.fixture
def sleeper(ray: Any, flags: Any) -> Any:
    """A task that raises a flag and sleeps for long, in steps: Ray does not interrupt one long sleep."""

    @ray.remote(num_cpus=0)
    def sleep(name: str = "asleep") -> str:
        try:
            flags.up(name)
            for _ in range(3000):
                time.sleep(0.01)
        finally:
            flags.up(f"{name} over")
        return "slept"

    return sleep


@pytest.fixture
def actor_class(ray: Any, flags: Any) -> Any:
    @ray.remote(num_cpus=0)
    class Actor:
        def wait(self, name: str = "go") -> str:
            flags.up("waiting")
            flags.wait(name)
            return "waited"

        def note(self, *args: Any) -> str:
            flags.up("noted")
            return "noted"

        def look(self) -> str:
            flags.up("looking")
            deadline = time.monotonic() + 30
            while not ray.get_runtime_context().is_canceled():
                assert time.monotonic() < deadline
                time.sleep(0.005)
            flags.up("saw it")
            return "saw it"

    return Actor


@pytest.fixture
def async_class(ray: Any, flags: Any) -> Any:
    @ray.remote(num_cpus=0)
    class Async:
        async def wait(self) -> None:
            try:
                flags.up("waiting")
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                flags.up("cancelled")
                raise

        async def swallow(self) -> str:
            try:
                flags.up("waiting")
                await asyncio.sleep(600)
            except asyncio.CancelledError:
                return "swallowed"
            return "slept"

        async def note(self) -> str:
            flags.up("noted")
            return "noted"

        async def await_(self, refs: list[Any]) -> Any:
            flags.up("waiting")
            return await refs[0]

    return Async


# -- tasks that have not begun -------------------------------------------------------------------------------------


def test_a_queued_task_is_not_run(ray: Any, held: Any, flags: Any, cancelled: Any) -> None:
    @ray.remote(num_cpus=2)
    def never() -> None:
        flags.up("ran")

    blocker = held()
    flags.wait("held")
    ref = never.remote()
    assert ray.cancel(ref) is None
    cancelled(ref, in_code=False)
    flags.up("go")
    ray.get(blocker)
    assert ray.get(ray.remote(lambda: 1).remote()) == 1
    assert flags.count("ran") == 0


def test_by_force_a_queued_task_is_cancelled_as_well(ray: Any, held: Any, flags: Any, cancelled: Any) -> None:
    held()
    flags.wait("held")
    ref = ray.remote(num_cpus=2)(lambda: None).remote()
    ray.cancel(ref, force=True)
    cancelled(ref, in_code=False)


def test_a_task_that_can_never_run_can_be_cancelled(ray: Any, cancelled: Any) -> None:
    ref = ray.remote(num_cpus=1000)(lambda: None).remote()
    ray.cancel(ref)
    cancelled(ref, in_code=False)


def test_what_depends_on_a_cancelled_task_fails_with_it(ray: Any, cancelled: Any) -> None:
    ref = ray.remote(num_cpus=1000)(lambda: None).remote()
    behind = ray.remote(lambda x: x).remote(ref)
    ray.cancel(ref)
    cancelled(behind)


def test_those_behind_a_cancelled_task_run(ray: Any, held: Any, flags: Any, cancelled: Any) -> None:
    held()
    flags.wait("held")
    wide = ray.remote(num_cpus=2)(lambda: "ran")
    first, second, third = wide.remote(), wide.remote(), wide.remote()
    ray.cancel(second)
    cancelled(second)
    flags.up("go")
    assert ray.get([first, third], timeout=30) == ["ran", "ran"]


# -- tasks that run ------------------------------------------------------------------------------------------------


def test_a_running_task_is_interrupted(ray: Any, sleeper: Any, flags: Any, cancelled: Any) -> None:
    ref = sleeper.remote()
    flags.wait("asleep")
    ray.cancel(ref)
    cancelled(ref, in_code=True)
    flags.wait("asleep over")


def test_a_busy_task_is_interrupted(ray: Any, flags: Any, cancelled: Any) -> None:
    @ray.remote
    def busy() -> None:
        flags.up("busy")
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            pass

    ref = busy.remote()
    flags.wait("busy")
    ray.cancel(ref)
    cancelled(ref, in_code=True)


def test_a_task_may_catch_the_interrupt(ray: Any, flags: Any) -> None:
    @ray.remote
    def stubborn() -> Any:
        try:
            flags.up("asleep")
            for _ in range(3000):
                time.sleep(0.01)
        except KeyboardInterrupt:
            return "caught", ray.get_runtime_context().is_canceled()
        return "slept"

    ref = stubborn.remote()
    flags.wait("asleep")
    ray.cancel(ref)
    assert ray.get(ref, timeout=30) == ("caught", True)


def test_a_task_that_waits_in_get_is_interrupted(ray: Any, held: Any, flags: Any, cancelled: Any) -> None:
    @ray.remote
    def fetch(refs: list[Any]) -> Any:
        flags.up("fetching")
        return ray.get(refs[0])

    ref = fetch.remote([held()])
    flags.wait("fetching")
    ray.cancel(ref)
    cancelled(ref, in_code=True)


def test_a_task_that_waits_in_wait_is_interrupted(ray: Any, held: Any, flags: Any, cancelled: Any) -> None:
    @ray.remote
    def wait(refs: list[Any]) -> Any:
        flags.up("in wait")
        return ray.wait(refs)

    ref = wait.remote([held()])
    flags.wait("in wait")
    ray.cancel(ref)
    cancelled(ref, in_code=True)


@pytest.mark.needs("processes")
def test_by_force_a_running_task_ends_with_its_process(ray: Any, flags: Any, cancelled: Any) -> None:
    @ray.remote(num_cpus=0, max_retries=3)
    def sleep() -> None:
        flags.up("asleep")
        try:
            time.sleep(600)
        finally:
            flags.up("over")

    ref = sleep.remote()
    flags.wait("asleep")
    ray.cancel(ref, force=True)
    cancelled(ref, in_code=False)
    assert ray.get(ray.remote(lambda: 1).remote(), timeout=30) == 1
    assert (flags.count("asleep"), flags.count("over")) == (1, 0)


def test_a_cancelled_task_is_not_retried(ray: Any, flags: Any, cancelled: Any) -> None:
    @ray.remote(max_retries=3, retry_exceptions=True)
    def sleep() -> None:
        flags.up("asleep")
        for _ in range(3000):
            time.sleep(0.01)

    ref = sleep.remote()
    flags.wait("asleep")
    ray.cancel(ref)
    cancelled(ref)
    ray.get([ray.remote(lambda: 1).remote() for _ in range(4)])
    assert flags.count("asleep") == 1


def test_any_ref_of_a_task_cancels_it(ray: Any, flags: Any, cancelled: Any) -> None:
    @ray.remote(num_returns=3)
    def three() -> Any:
        flags.up("asleep")
        for _ in range(3000):
            time.sleep(0.01)

    refs = three.remote()
    flags.wait("asleep")
    ray.cancel(refs[2])
    for ref in refs:
        cancelled(ref, in_code=True)


def test_workers_run_other_tasks_after_one_was_cancelled(ray: Any, sleeper: Any, flags: Any, cancelled: Any) -> None:
    square = ray.remote(lambda x: x * x)
    for i in range(5):
        ref = sleeper.remote(f"asleep {i}")
        flags.wait(f"asleep {i}")
        refs = [square.remote(j) for j in range(20)]
        ray.cancel(ref)
        assert ray.get(refs, timeout=30) == [j * j for j in range(20)]
        cancelled(ref, in_code=True)


def test_only_the_one_is_hit_that_was_meant(ray: Any) -> None:
    """Tasks so short that most are over when the cancellation arrives, and others run by then."""

    @ray.remote
    def short(i: int) -> int:
        return i

    for _ in range(10):
        refs = [short.remote(i) for i in range(30)]
        for ref in refs[::3]:
            ray.cancel(ref)
        for i, ref in enumerate(refs):
            try:
                assert ray.get(ref, timeout=30) == i
            except ray.exceptions.TaskCancelledError:
                assert i % 3 == 0


# -- what was made by a task ---------------------------------------------------------------------------------------


@pytest.fixture
def parent(ray: Any, sleeper: Any) -> Any:
    @ray.remote(num_cpus=0)
    def parent(depth: int = 1) -> Any:
        return ray.get(sleeper.remote() if depth == 1 else parent.remote(depth - 1))

    return parent


@pytest.mark.parametrize("depth", [1, 3])
def test_the_calls_of_a_cancelled_task_are_cancelled_too(
    ray: Any, parent: Any, flags: Any, cancelled: Any, depth: int
) -> None:
    ref = parent.remote(depth)
    flags.wait("asleep")
    ray.cancel(ref)
    cancelled(ref, in_code=True)
    flags.wait("asleep over")


def test_unless_that_is_not_wanted(ray: Any, flags: Any, cancelled: Any) -> None:
    @ray.remote(num_cpus=0)
    def child() -> None:
        flags.up("begun")
        flags.wait("go")
        flags.up("done")

    @ray.remote(num_cpus=0)
    def parent() -> None:
        ray.get(child.remote())

    ref = parent.remote()
    flags.wait("begun")
    ray.cancel(ref, recursive=False)
    cancelled(ref)
    flags.up("go")
    flags.wait("done")


def test_a_task_can_cancel_what_it_has_made(ray: Any, sleeper: Any, flags: Any) -> None:
    @ray.remote(num_cpus=0)
    def work() -> str:
        ref = sleeper.remote()
        flags.wait("asleep")
        ray.cancel(ref)
        try:
            ray.get(ref)
        except ray.exceptions.TaskCancelledError:
            return "cancelled"
        return "slept"

    assert ray.get(work.remote(), timeout=30) == "cancelled"


def test_whoever_has_a_ref_can_cancel(ray: Any, sleeper: Any, flags: Any, cancelled: Any) -> None:
    @ray.remote(num_cpus=0)
    def cancel(refs: list[Any]) -> None:
        ray.cancel(refs[0])

    ref = sleeper.remote()
    flags.wait("asleep")
    ray.get(cancel.remote([ref]))
    cancelled(ref)


# -- actors --------------------------------------------------------------------------------------------------------


def test_a_running_coroutine_is_cancelled_as_asyncio_does_it(
    ray: Any, async_class: Any, flags: Any, cancelled: Any
) -> None:
    actor = async_class.remote()
    refs = [actor.wait.remote(), actor.wait.remote()]
    flags.wait("waiting", 2)
    ray.cancel(refs[0])
    cancelled(refs[0], in_code=True)
    flags.wait("cancelled")
    assert ray.get(actor.note.remote()) == "noted"
    assert flags.count("cancelled") == 1
    assert ray.wait(refs[1:], timeout=0)[0] == []
    ray.kill(actor)


def test_a_coroutine_that_swallows_its_cancellation_counts_as_cancelled(
    ray: Any, async_class: Any, flags: Any, cancelled: Any
) -> None:
    ref = async_class.remote().swallow.remote()
    flags.wait("waiting")
    ray.cancel(ref)
    cancelled(ref, in_code=True)


def test_a_coroutine_that_awaits_a_ref_is_cancelled_with_the_task_that_it_awaits(
    ray: Any, sleeper: Any, flags: Any, cancelled: Any
) -> None:
    @ray.remote
    class Actor:
        async def work(self) -> Any:
            return await sleeper.remote()

    ref = Actor.remote().work.remote()
    flags.wait("asleep")
    ray.cancel(ref)
    cancelled(ref, in_code=True)
    flags.wait("asleep over")


def test_a_call_that_waits_for_its_turn_in_an_async_actor_is_not_run(
    ray: Any, async_class: Any, flags: Any, cancelled: Any
) -> None:
    actor = async_class.options(max_concurrency=1).remote()
    first = actor.wait.remote()
    flags.wait("waiting")  # in Ray an async actor may begin with the second of two
    second = actor.note.remote()
    ray.cancel(second)
    ray.wait([second], timeout=1)  # Ray answers when its turn comes, and may hear of the next cancellation first
    ray.cancel(first)
    cancelled(second, in_code=False)
    cancelled(first, in_code=True)
    assert flags.count("noted") == 0


@pytest.mark.parametrize("concurrency", [1, 2])
def test_a_running_method_is_told_and_its_result_is_dropped(
    ray: Any, actor_class: Any, flags: Any, cancelled: Any, concurrency: int
) -> None:
    actor = actor_class.options(max_concurrency=concurrency).remote()
    ref = actor.look.remote()
    flags.wait("looking")
    ray.cancel(ref)
    cancelled(ref, in_code=False)
    flags.wait("saw it")
    assert ray.get(actor.note.remote()) == "noted"


def test_a_method_that_does_not_look_goes_on(ray: Any, actor_class: Any, flags: Any, cancelled: Any) -> None:
    actor = actor_class.remote()
    ref = actor.wait.remote()
    flags.wait("waiting")
    ray.cancel(ref)
    assert ray.wait([ref], timeout=0.05)[0] == []
    flags.up("go")
    cancelled(ref, in_code=False)


def test_a_call_that_waits_for_a_thread_is_cancelled(ray: Any, actor_class: Any, flags: Any, cancelled: Any) -> None:
    actor = actor_class.options(max_concurrency=2).remote()
    refs = [actor.wait.remote(), actor.wait.remote()]
    flags.wait("waiting", 2)
    third = actor.note.remote()
    ray.cancel(third)
    flags.up("go")
    cancelled(third, in_code=False)
    assert ray.get(refs) == ["waited", "waited"]


def test_calls_of_actors_cannot_be_cancelled_by_force(ray: Any, actor_class: Any, flags: Any) -> None:
    ref = actor_class.remote().wait.remote()
    with pytest.raises(ValueError, match="force=True is not supported for actor tasks"):
        ray.cancel(ref, force=True)
    flags.up("go")
    assert ray.get(ref) == "waited"


def test_calls_that_an_actor_s_call_has_made_are_cancelled(ray: Any, sleeper: Any, flags: Any, cancelled: Any) -> None:
    @ray.remote
    class Actor:
        def work(self) -> Any:
            return ray.get(sleeper.remote())

    ref = Actor.remote().work.remote()
    flags.wait("asleep")
    ray.cancel(ref)
    cancelled(ref, in_code=True)
    flags.wait("asleep over")


def test_a_cancelled_call_of_an_actor_is_not_retried(ray: Any, async_class: Any, flags: Any, cancelled: Any) -> None:
    actor = async_class.options(max_task_retries=3, max_restarts=1).remote()
    ref = actor.wait.options(retry_exceptions=True).remote()
    flags.wait("waiting")
    ray.cancel(ref)
    cancelled(ref)
    ray.get(actor.note.remote())
    assert flags.count("waiting") == 1


# -- what is no use, and what is wrong -----------------------------------------------------------------------------


def test_cancelling_what_is_done_changes_nothing(ray: Any, actor_class: Any, async_class: Any) -> None:
    refs = [ray.remote(lambda: "done").remote(), actor_class.remote().note.remote(), async_class.remote().note.remote()]
    assert ray.get(refs) == ["done", "noted", "noted"]
    for ref in refs:
        ray.cancel(ref)
        ray.cancel(ref, recursive=False)
    assert ray.get(refs) == ["done", "noted", "noted"]


def test_a_stored_value_cannot_be_cancelled_and_stays(ray: Any) -> None:
    ref = ray.put("stored")
    ray.cancel(ref)
    assert ray.get(ref) == "stored"


@pytest.mark.parametrize("wrong", [1, None, "ref", []])
def test_only_refs_can_be_cancelled(ray: Any, wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"cancel\(\) only supported for object refs. For actors, try .*kill\(\)"):
        ray.cancel(wrong)


def test_handles_cannot_be_cancelled(ray: Any, actor_class: Any) -> None:
    with pytest.raises(TypeError, match="only supported for object refs"):
        ray.cancel(actor_class.remote())


def test_how_to_cancel_is_said_by_keyword(ray: Any) -> None:
    with pytest.raises(TypeError):
        ray.cancel(ray.put(1), True)
    with pytest.raises(TypeError):
        ray.cancel(ray.put(1), forced=True)


def test_nobody_has_cancelled_what_runs_as_usual(ray: Any) -> None:
    assert ray.get(ray.remote(lambda: ray.get_runtime_context().is_canceled()).remote()) is False


def test_the_driver_and_async_actors_are_not_asked(ray: Any) -> None:
    @ray.remote
    class Async:
        async def ask(self) -> Any:
            return ray.get_runtime_context().is_canceled()

    with pytest.raises(RuntimeError, match="only available when the process is a worker"):
        ray.get_runtime_context().is_canceled()
    with pytest.raises(RuntimeError, match="not supported in an async actor"):
        ray.get(Async.remote().ask.remote())
