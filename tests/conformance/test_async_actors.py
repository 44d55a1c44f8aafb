"""Actors with coroutines for methods: an event loop, and many calls at once."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest


@pytest.fixture
def meeting(ray: Any) -> Any:
    """An actor whose `meet(n)` returns when n calls of it are under way."""

    @ray.remote
    class Meeting:
        def __init__(self) -> None:
            self.there = 0
            self.most = 0
            self.all = asyncio.Event()

        async def meet(self, number: int) -> int:
            self.there += 1
            self.most = max(self.most, self.there)
            if self.there == number:
                self.all.set()
            await self.all.wait()
            return number

        async def visit(self) -> None:
            self.there += 1
            self.most = max(self.most, self.there)
            await asyncio.sleep(0.001)
            self.there -= 1

        async def most_at_once(self) -> int:
            return self.most

    return Meeting


def test_a_coroutine_method_returns_what_it_returns(ray: Any) -> None:
    @ray.remote
    class Adder:
        async def add(self, a: int, b: int = 1) -> int:
            await asyncio.sleep(0)
            return a + b

    adder = Adder.remote()
    assert ray.get([adder.add.remote(1), adder.add.remote(1, b=2)]) == [2, 3]


def test_calls_of_an_async_actor_run_at_once(ray: Any, meeting: Any) -> None:
    actor = meeting.remote()
    assert ray.get([actor.meet.remote(20) for _ in range(20)], timeout=30) == [20] * 20


@pytest.mark.parametrize("limit", [1, 3])
def test_at_most_max_concurrency_calls_run_at_once(ray: Any, meeting: Any, limit: int) -> None:
    actor = meeting.options(max_concurrency=limit).remote()
    ray.get([actor.visit.remote() for _ in range(12)])
    assert ray.get(actor.most_at_once.remote()) == limit


def test_without_a_limit_of_its_own_an_async_actor_runs_a_thousand_calls_at_once(ray: Any, meeting: Any) -> None:
    actor = meeting.remote()
    assert ray.get([actor.meet.remote(1000) for _ in range(1000)], timeout=30)[-1] == 1000


def test_everything_in_an_async_actor_runs_on_its_loop(ray: Any) -> None:
    @ray.remote
    class Actor:
        def __init__(self) -> None:
            self.made = self.sync()

        def sync(self) -> Any:
            return threading.get_ident(), id(asyncio.get_running_loop()), threading.current_thread().name

        async def coroutine(self) -> Any:
            return self.made, self.sync()

    actor = Actor.remote()
    made, there = ray.get(actor.coroutine.remote())
    assert made == there == ray.get(actor.sync.remote())
    assert made[2] == "AsyncIO Thread: default"


def test_a_call_whose_argument_is_pending_does_not_hold_back_those_behind_it(ray: Any, flags: Any, held: Any) -> None:
    @ray.remote
    class Echo:
        async def echo(self, value: Any) -> Any:
            return value

    echo = Echo.remote()
    late = echo.echo.remote(held("late"))
    assert ray.get(echo.echo.remote("early"), timeout=30) == "early"
    flags.up("go")
    assert ray.get(late) == "late"


def test_a_method_can_await_refs(ray: Any) -> None:
    @ray.remote
    def square(x: int) -> int:
        return x * x

    @ray.remote
    class Caller:
        async def total(self, refs: list[Any]) -> Any:
            first = await refs[0]
            return first, await asyncio.gather(*refs), await asyncio.gather(*[square.remote(i) for i in range(20)])

    first, given, made = ray.get(Caller.remote().total.remote([square.remote(3), ray.put("put")]))
    assert (first, given, made) == (9, [9, "put"], [i * i for i in range(20)])


def test_while_a_method_awaits_a_ref_other_calls_go_on(ray: Any, flags: Any, held: Any) -> None:
    @ray.remote
    class Actor:
        async def wait_for(self, refs: list[Any]) -> Any:
            return await refs[0]

        async def hello(self) -> str:
            return "hello"

    actor = Actor.remote()
    waiting = actor.wait_for.remote([held("value")])
    assert ray.get(actor.hello.remote(), timeout=30) == "hello"
    flags.up("go")
    assert ray.get(waiting) == "value"


def test_a_method_can_await_a_call_of_its_own_actor(ray: Any) -> None:
    @ray.remote
    class Actor:
        def meet(self, handle: Any) -> None:
            self.handle = handle

        async def outer(self) -> Any:
            return "outer", await self.handle.inner.remote()

        async def inner(self) -> str:
            return "inner"

    actor = Actor.remote()
    ray.get(actor.meet.remote(actor))
    assert ray.get(actor.outer.remote(), timeout=30) == ("outer", "inner")


def test_a_method_can_get_and_wait(ray: Any) -> None:
    @ray.remote
    def double(x: int) -> int:
        return 2 * x

    @ray.remote
    class Actor:
        async def work(self) -> Any:
            refs = [double.remote(i) for i in range(3)]
            done, left = ray.wait(refs, num_returns=3)
            return ray.get(done), left

    assert ray.get(Actor.remote().work.remote(), timeout=30) == ([0, 2, 4], [])


def test_an_error_in_a_coroutine_is_raised_at_get_and_ends_nothing_else(ray: Any) -> None:
    @ray.remote
    class Actor:
        async def fail(self) -> None:
            await asyncio.sleep(0)
            raise KeyError("mine")

        async def hello(self) -> str:
            return "hello"

    actor = Actor.remote()
    failed, fine = actor.fail.remote(), actor.hello.remote()
    with pytest.raises(KeyError, match="mine") as caught:
        ray.get(failed)
    assert isinstance(caught.value, ray.exceptions.RayTaskError)
    assert "in fail" in str(caught.value)
    assert ray.get(fine) == "hello"


def test_the_error_of_an_awaited_ref_can_be_caught(ray: Any) -> None:
    @ray.remote
    def fail() -> None:
        raise KeyError("theirs")

    @ray.remote
    class Actor:
        async def work(self) -> Any:
            try:
                await fail.remote()
            except KeyError as error:
                return type(error).__name__
            return None

    assert "KeyError" in ray.get(Actor.remote().work.remote())


@pytest.mark.parametrize("how", ["raised", "cancelled itself"])
def test_a_coroutine_that_ends_with_cancelled_error_counts_as_cancelled(ray: Any, how: str) -> None:
    @ray.remote
    class Actor:
        async def work(self) -> None:
            if how == "raised":
                raise asyncio.CancelledError
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(60)

        async def hello(self) -> str:
            return "hello"

    actor = Actor.remote()
    with pytest.raises(ray.exceptions.TaskCancelledError) as caught:
        ray.get(actor.work.remote())
    assert isinstance(caught.value, ray.exceptions.RayTaskError)
    assert ray.get(actor.hello.remote()) == "hello"


def test_stop_iteration_in_a_method_on_the_loop_is_a_runtime_error(ray: Any) -> None:
    @ray.remote
    class Actor:
        def sync(self) -> None:
            raise StopIteration

        async def coroutine(self) -> None:
            raise StopIteration

    actor = Actor.remote()
    for ref in (actor.sync.remote(), actor.coroutine.remote()):
        with pytest.raises(RuntimeError, match="coroutine raised StopIteration"):
            ray.get(ref)


def test_a_coroutine_can_return_several_objects(ray: Any) -> None:
    @ray.remote
    class Actor:
        @ray.method(num_returns=2)
        async def two(self) -> Any:
            return 1, 2

    assert ray.get(Actor.remote().two.remote()) == [1, 2]


def test_one_coroutine_makes_the_whole_class_async_also_from_a_base(ray: Any) -> None:
    class Base:
        async def coroutine(self) -> None: ...

    @ray.remote
    class Derived(Base):
        def on_loop(self) -> bool:
            return asyncio.get_running_loop().is_running()

    assert ray.get(Derived.remote().on_loop.remote())


def test_a_failing_init_of_an_async_actor_is_raised_by_its_calls(ray: Any) -> None:
    @ray.remote
    class Actor:
        def __init__(self) -> None:
            raise KeyError("init")

        async def hello(self) -> None: ...

    with pytest.raises(ray.exceptions.ActorDiedError, match="init"):
        ray.get(Actor.remote().hello.remote())


def test_an_async_actor_cannot_keep_an_order(ray: Any) -> None:
    @ray.remote(allow_out_of_order_execution=False)
    class Actor:
        async def hello(self) -> None: ...

    with pytest.raises(ValueError, match=r"async actors.*in order"):
        Actor.remote()


def test_each_call_has_context_variables_of_its_own(ray: Any) -> None:
    @ray.remote
    class Actor:
        def __init__(self) -> None:
            from contextvars import ContextVar

            self.variable = ContextVar("variable", default="fresh")

        async def change(self, value: str) -> Any:
            before = self.variable.get()
            self.variable.set(value)
            await asyncio.sleep(0.001)
            return before, self.variable.get()

    actor = Actor.remote()
    assert ray.get([actor.change.remote(x) for x in "abc"]) == [("fresh", "a"), ("fresh", "b"), ("fresh", "c")]


def test_an_async_actor_can_be_killed_in_the_middle_of_its_calls(ray: Any, flags: Any) -> None:
    @ray.remote
    class Actor:
        async def wait(self) -> None:
            flags.up("waiting")
            await asyncio.sleep(600)

    actor = Actor.remote()
    refs = [actor.wait.remote() for _ in range(3)]
    flags.wait("waiting", 3)
    ray.kill(actor)
    for ref in refs:
        with pytest.raises(ray.exceptions.ActorDiedError):
            ray.get(ref)


@pytest.mark.slow
def test_an_async_actor_ends_with_its_last_handle_after_its_calls(ray: Any, flags: Any) -> None:
    @ray.remote(resources={"special": 2})
    class Actor:
        async def wait(self) -> str:
            await asyncio.sleep(0.1)
            return "done"

    refs = [Actor.remote().wait.remote() for _ in range(2)]  # the second finds room only when the first has ended
    assert ray.get(refs, timeout=30) == ["done", "done"]


def test_references_in_arguments_and_results_of_coroutines_live(ray: Any) -> None:
    @ray.remote
    class Actor:
        async def keep(self, refs: list[Any]) -> None:
            self.kept = refs

        async def make(self) -> list[Any]:
            return [ray.put("made")]

        async def kept_value(self) -> Any:
            return await self.kept[0]

    actor = Actor.remote()
    ray.get(actor.keep.remote([ray.put("kept")]))
    assert ray.get(actor.kept_value.remote()) == "kept"
    (ref,) = ray.get(actor.make.remote())
    assert ray.get(ref) == "made"


def test_blocking_work_can_go_to_a_thread(ray: Any) -> None:
    @ray.remote
    class Actor:
        async def work(self) -> Any:
            return await asyncio.to_thread(lambda: threading.current_thread().name)

    assert "asyncio" in ray.get(Actor.remote().work.remote())
