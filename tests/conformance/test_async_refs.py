"""Refs in coroutines, and refs as futures."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from typing import Any

import pytest


@pytest.fixture
def fail(ray: Any) -> Any:
    @ray.remote
    def fail() -> None:
        raise KeyError("failed")

    return fail


def test_a_ref_can_be_awaited(ray: Any) -> None:
    async def main() -> Any:
        return await ray.put("stored"), await ray.remote(lambda: "computed").remote()

    assert asyncio.run(main()) == ("stored", "computed")


def test_a_ref_can_be_awaited_again(ray: Any) -> None:
    async def main(ref: Any) -> Any:
        return await ref, await ref

    ref = ray.remote(lambda: [1]).remote()
    a, b = asyncio.run(main(ref))
    assert a == b == asyncio.run(main(ref))[0] == [1]
    assert a is not b


def test_refs_can_be_gathered(ray: Any) -> None:
    @ray.remote
    def square(x: int) -> int:
        return x * x

    async def main() -> Any:
        return await asyncio.gather(*[square.remote(i) for i in range(50)])

    assert asyncio.run(main()) == [i * i for i in range(50)]


def test_awaiting_lets_other_coroutines_run(ray: Any, flags: Any, held: Any) -> None:
    async def release() -> None:
        flags.up("go")

    async def main() -> Any:
        value, _ = await asyncio.gather(held("value"), release())
        return value

    assert asyncio.run(main()) == "value"


def test_coroutines_finish_in_the_order_of_their_tasks(ray: Any, flags: Any) -> None:
    @ray.remote
    def wait_for(name: str) -> str:
        flags.wait(name)
        return name

    async def main() -> Any:
        order: list[str] = []

        async def follow(ref: Any, following: str) -> None:
            order.append(await ref)
            flags.up(following)

        refs = {name: wait_for.remote(name) for name in ("a", "b")}
        flags.up("b")
        await asyncio.gather(follow(refs["a"], "end"), follow(refs["b"], "a"))
        return order

    assert asyncio.run(main()) == ["b", "a"]


def test_awaiting_a_failed_task_raises_its_error(ray: Any, fail: Any) -> None:
    async def main() -> Any:
        await fail.remote()

    with pytest.raises(KeyError, match="failed") as caught:
        asyncio.run(main())
    assert isinstance(caught.value, ray.exceptions.RayTaskError)


def test_errors_can_be_gathered(ray: Any, fail: Any) -> None:
    async def main() -> Any:
        return await asyncio.gather(fail.remote(), ray.put(1), return_exceptions=True)

    error, value = asyncio.run(main())
    assert isinstance(error, KeyError)
    assert value == 1


def test_awaiting_can_time_out_and_be_tried_again(ray: Any, flags: Any, held: Any) -> None:
    async def main() -> Any:
        ref = held("value")
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(ref, 0.05)
        flags.up("go")
        return await ref

    assert asyncio.run(main()) == "value"


def test_get_works_inside_a_coroutine(ray: Any) -> None:
    async def main() -> Any:
        return ray.get(ray.remote(lambda: 1).remote())

    assert asyncio.run(main()) == 1


def test_the_methods_of_actors_can_be_awaited(ray: Any) -> None:
    @ray.remote
    class Echo:
        def echo(self, x: Any) -> Any:
            return x

    async def main() -> Any:
        echo = Echo.remote()
        return await asyncio.gather(*[echo.echo.remote(i) for i in range(5)])

    assert asyncio.run(main()) == [0, 1, 2, 3, 4]


def test_a_ref_has_a_future(ray: Any, flags: Any, held: Any) -> None:
    future = held("value").future()
    assert isinstance(future, concurrent.futures.Future)
    assert not future.done()
    with pytest.raises(concurrent.futures.TimeoutError):
        future.result(timeout=0.05)
    flags.up("go")
    assert future.result(timeout=30) == "value"
    assert future.done()
    assert ray.put("stored").future().result(timeout=30) == "stored"


def test_the_future_of_a_failed_task_has_its_error(ray: Any, fail: Any) -> None:
    future = fail.remote().future()
    with pytest.raises(KeyError, match="failed"):
        future.result(timeout=30)
    error = future.exception(timeout=30)
    assert isinstance(error, KeyError)
    assert isinstance(error, ray.exceptions.RayTaskError)


def test_a_future_calls_back(ray: Any, flags: Any, held: Any) -> None:
    seen: list[Any] = []
    called = threading.Event()

    def callback(future: Any) -> None:
        seen.append(future.result())
        called.set()

    held("value").future().add_done_callback(callback)
    assert seen == []
    flags.up("go")
    assert called.wait(30)
    assert seen == ["value"]


def test_futures_can_be_waited_for(ray: Any, held: Any) -> None:
    late, done = held().future(), ray.put(1).future()
    finished, pending = concurrent.futures.wait([late, done], timeout=30, return_when="FIRST_COMPLETED")
    assert finished == {done}
    assert pending == {late}
