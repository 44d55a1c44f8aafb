"""Calls that wait for each other through futures (`await`, `future().result()`) are told, if nothing else can help."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from minray.exceptions import DeadlockError

pytestmark = pytest.mark.slow  # somebody looks only now and then


@pytest.fixture(params=["threads", "loky"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minray.core.deadlocks.LOOK_SECONDS", 0.1)
    monkeypatch.setattr("minray.owner.SLOW_TICK_SECONDS", 0.1)


@pytest.mark.parametrize("way", ["plainly", "wrapped", "gathered", "in a task"])
def test_two_async_actors_that_await_each_other(ray: Any, way: str) -> None:
    async def plainly(ref: Any) -> Any:
        return await ref

    async def how(ref: Any) -> Any:
        if way == "wrapped":
            return await asyncio.wrap_future(ref.future())
        if way == "gathered":
            return (await asyncio.gather(ref))[0]
        return await (plainly(ref) if way == "plainly" else asyncio.create_task(plainly(ref)))

    @ray.remote(max_concurrency=1)
    class Actor:
        def meet(self, other: Any) -> None:
            self.other = other

        async def outer(self) -> int:
            found: int = await how(self.other.inner.remote())
            return found

        async def inner(self) -> int:
            try:
                return int(await how(self.other.leaf.remote()))
            except DeadlockError as error:
                raise RuntimeError("told as well") from error

        async def leaf(self) -> int:
            return 1

    a, b = Actor.remote(), Actor.remote()
    ray.get([a.meet.remote(b), b.meet.remote(a)])
    with pytest.raises(DeadlockError) as caught:
        ray.get(a.outer.remote())
    text = str(caught.value)
    assert "Actor.outer waits for Actor.inner at " in text and "Actor.inner waits for Actor.leaf at " in text
    assert "test_deadlocks_of_futures.py" in text
    assert "Actor.leaf waits for its turn, as its actor is busy with Actor.outer" in text
    assert ray.get([a.leaf.remote(), b.leaf.remote()]) == [1, 1], "both are free again"


def test_all_places_may_be_taken(ray: Any) -> None:
    @ray.remote(max_concurrency=3)
    class Actor:
        def __init__(self) -> None:
            self.begun = 0
            self.all = asyncio.Event()

        async def outer(self, me: Any) -> str:
            self.begun += 1
            if self.begun == 3:
                self.all.set()
            await self.all.wait()
            try:
                return str(await me.leaf.remote())
            except DeadlockError:
                return "told"

        async def leaf(self) -> str:
            return "not told"

    actor = Actor.remote()
    assert "told" in ray.get([actor.outer.remote(actor) for _ in range(3)])


def test_an_async_actor_and_one_that_blocks(ray: Any) -> None:
    @ray.remote(max_concurrency=1)
    class Async:
        async def outer(self, me: Any, other: Any) -> int:
            return int(await other.inner.remote(me))

        async def leaf(self) -> int:
            return 1

    @ray.remote
    class Plain:
        def inner(self, actor: Any) -> int:
            return int(ray.get(actor.leaf.remote()))

    actor = Async.remote()
    with pytest.raises(DeadlockError):
        ray.get(actor.outer.remote(actor, Plain.remote()))


def test_a_task_that_waits_for_itself_through_a_future(ray: Any) -> None:
    @ray.remote(num_cpus=0)
    class Box:
        def put(self, refs: list[Any]) -> None:
            self.refs = refs

        def take(self) -> list[Any] | None:
            return getattr(self, "refs", None)

    @ray.remote
    def selfish(box: Any) -> None:
        while (refs := ray.get(box.take.remote())) is None:
            pass
        refs[0].future().result()

    box = Box.remote()
    ref = selfish.remote(box)
    box.put.remote([ref])
    with pytest.raises(DeadlockError, match=r"selfish waits for itself at .*refs\[0\]\.future\(\)\.result"):
        ray.get(ref)


WAYS_OUT = [
    "a place",
    "a coroutine",
    "a timer",
    "a thread",
    "a callback",
    "wait_for",
    "an event",
    "a time-out of result",
]


@pytest.mark.parametrize("way_out", WAYS_OUT)
def test_nobody_is_told_who_can_go_on(ray: Any, way_out: str) -> None:
    @ray.remote
    def later() -> None:
        time.sleep(0.6)

    @ray.remote(max_concurrency=2 if way_out == "a place" else 1)
    class Actor:
        async def prepare(self) -> None:
            if way_out == "a callback":
                loop = asyncio.get_running_loop()
                late = later.remote().future()
                late.add_done_callback(lambda _: loop.call_soon_threadsafe(self.task.cancel))

        async def outer(self, me: Any) -> str:
            loop = asyncio.get_running_loop()
            task = asyncio.current_task()
            assert task is not None
            self.task = task
            ref = me.leaf.remote()
            if way_out == "a coroutine":

                async def cancel() -> None:
                    for _ in range(60):
                        await asyncio.sleep(0.01)
                    task.cancel()

                helper = asyncio.create_task(cancel())
                assert not helper.done()
            elif way_out == "a timer":
                loop.call_later(0.6, task.cancel)
            elif way_out == "a thread":
                threading.Timer(0.6, lambda: loop.call_soon_threadsafe(task.cancel)).start()
            try:
                if way_out == "wait_for":
                    await asyncio.wait_for(ref, 0.6)
                elif way_out == "an event":
                    event = asyncio.Event()
                    threading.Timer(0.6, lambda: loop.call_soon_threadsafe(event.set)).start()
                    future = ref.as_future()
                    await event.wait()
                    return f"{future.done()}"
                elif way_out == "a time-out of result":
                    ref.future().result(0.6)
                else:
                    return str(await ref)
            except asyncio.CancelledError:
                return "cancelled"
            except Exception as error:
                return type(error).__name__
            return "not reached"

        async def leaf(self) -> str:
            return "leaf"

    actor = Actor.remote()
    ray.get(actor.prepare.remote())
    timed_out = {"wait_for": "TimeoutError", "a time-out of result": "TimeoutError"}
    expected = {"a place": "leaf", "an event": "False", **timed_out}.get(way_out, "cancelled")
    assert ray.get(actor.outer.remote(actor)) == expected


def test_what_is_computed_while_a_future_is_pending_is_no_wait(ray: Any) -> None:
    """The call may have asked for a future, and do something else."""

    @ray.remote
    class Actor:
        def outer(self, me: Any) -> str:
            future = me.leaf.remote().future()
            threading.Event().wait(0.6)
            return "told" if future.done() else "not told"

        def leaf(self) -> int:
            return 1

    actor = Actor.remote()
    assert ray.get(actor.outer.remote(actor)) == "not told"
