"""asyncio's tasks and futures in the loops of the simulation: numbered, so that sets of them (`asyncio.wait` returns
two) are in the same order each time, and waited for in the same way on every Python.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from itertools import count
from typing import Any

from minray_sim import active


class SimFuture(asyncio.Future):  # type: ignore[type-arg]
    """`asyncio.Future`."""

    def __init__(self, number: int, loop: Any) -> None:
        self._number = number
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._number


class SimTask(asyncio.Task):  # type: ignore[type-arg]
    """`asyncio.Task`. The default names have numbers that count up from run to run: here they begin anew."""

    def __init__(self, number: int, coroutine: Any, loop: Any, **options: Any) -> None:
        self._number = number
        if options.get("name") is None:
            options["name"] = f"Task-{number}"
        super().__init__(coroutine, loop=loop, **options)

    def __hash__(self) -> int:
        return self._number


class Numbered:
    """A part of an event loop: it makes such tasks and futures."""

    def __init__(self) -> None:
        self._numbers = count(1)
        super().__init__()
        self.set_task_factory(self._make_task)  # type: ignore[attr-defined]

    def create_future(self) -> SimFuture:
        return SimFuture(next(self._numbers), self)

    def _make_task(self, loop: Any, coroutine: Any, **options: Any) -> SimTask:
        return SimTask(next(self._numbers), coroutine, loop, **options)


_wait_for = asyncio.wait_for


async def wait_for(fut: Awaitable[Any], timeout: float | None) -> Any:
    """`asyncio.wait_for`. It makes a task of its own up to Python 3.11, and none from 3.12 on: here it never does. With
    a task it takes more rounds of the loop, in which others go on."""
    if timeout is None or timeout <= 0 or active.caller() is None:
        return await _wait_for(fut, timeout)
    task: Any = asyncio.current_task()
    counts = hasattr(task, "uncancel")  # from Python 3.11 on a task counts by how many it was cancelled
    before = task.cancelling() if counts else 0
    after = 0
    expired = False

    def expire() -> None:
        nonlocal expired
        expired = True
        task.cancel()

    timer = asyncio.get_running_loop().call_later(timeout, expire)
    try:
        try:
            return await fut
        finally:
            timer.cancel()
            if expired and counts:
                after = task.uncancel()
    except asyncio.CancelledError as error:
        if expired and after <= before:
            raise asyncio.TimeoutError from error
        raise


_PATCHES: list[tuple[Any, str, Any]] = [(asyncio, "wait_for", wait_for), (asyncio.tasks, "wait_for", wait_for)]


def patches() -> list[tuple[Any, str, Any]]:
    return _PATCHES
