"""Futures that are pending when the run ends."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

import minray

ray: Any = minray


@pytest.fixture(params=["threads", "loky"])
def pending(request: pytest.FixtureRequest) -> Any:
    """A run, and a ref that is never ready."""
    ray.init(backend=request.param, num_cpus=1)

    @ray.remote(num_cpus=2)
    def never() -> None: ...

    yield never.remote()
    ray.shutdown()


def test_who_waits_for_one_is_told_that_the_run_has_ended(pending: Any) -> None:
    future, found = pending.future(), []

    def wait() -> None:
        found.append(future.exception(timeout=30))

    thread = threading.Thread(target=wait)
    thread.start()
    ray.shutdown()
    thread.join()

    assert isinstance(found[0], ray.exceptions.RaySystemError)


def test_so_is_a_coroutine(pending: Any) -> None:
    async def wait() -> None:
        waiting = asyncio.ensure_future(asyncio.wait_for(asyncio.shield(pending.as_future()), 30))
        await asyncio.sleep(0)
        await asyncio.get_running_loop().run_in_executor(None, ray.shutdown)
        await waiting

    with pytest.raises(ray.exceptions.RaySystemError, match="shutdown"):
        asyncio.run(wait())


def test_there_is_no_other_one_then(pending: Any) -> None:
    other, errors = pending.future(), []

    def again(_: Any) -> None:
        try:
            pending.future()
        except Exception as error:
            errors.append(error)

    other.add_done_callback(again)
    ray.shutdown()
    assert isinstance(other.exception(timeout=30), ray.exceptions.RaySystemError)
    assert [type(error) for error in errors] == [ray.exceptions.RaySystemError]
