"""Whether a call can do nothing but wait for futures that only the owner can finish (see `minray.core.deadlocks`).

Of whatever else there may be it is assumed that it can end the wait: another thread of the program's, a timer, a
socket, an alarm, a coroutine that waits for anything else.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from types import FrameType
from typing import Any

from minray.locating import describe, is_alarm_set, is_ours

#: Where a call waits, and for which requests.
Found = tuple[str, tuple[int, ...]]

_RESULT = {concurrent.futures.Future.result.__code__, concurrent.futures.Future.exception.__code__}
_OUR_THREADS = ("minray-", "AsyncIO Thread: ")


def _is_alone(signals: bool) -> bool:
    """Whether no thread of the program's own, and no alarm, can interfere."""
    main = threading.main_thread()
    ours = (thread is main or thread.name.startswith(_OUR_THREADS) for thread in threading.enumerate())
    return all(ours) and not (signals and is_alarm_set())


def in_result(thread: int, futures: Mapping[int, Any], signals: bool) -> Found | None:
    """A thread that waits in ``future.result()``, without a time-out, for one of `futures` (by request)."""
    frame = sys._current_frames().get(thread)
    if frame is None or frame.f_code is not threading.Condition.wait.__code__ or not _is_alone(signals):
        return None
    frame = frame.f_back
    if frame is None or frame.f_code not in _RESULT or frame.f_locals.get("timeout") is not None:
        return None
    awaited = frame.f_locals.get("self")
    found = tuple([number for number, future in futures.items() if future is awaited])
    return (describe(frame.f_back), found) if found and frame.f_back is not None else None


def in_loop(
    loop: asyncio.AbstractEventLoop,
    task: asyncio.Task[Any],
    futures: Mapping[int, Any],
    signals: bool,
    read: Callable[[], None],
) -> Found | None:
    """Where `task` waits, if all that runs in `loop` does nothing but wait for `futures`. The loop's thread.

    `read` is what the loop may call to read the worker's channel.
    """
    if not isinstance(loop, asyncio.SelectorEventLoop) or not _is_alone(signals):
        return None
    inside: Any = loop
    timers = any(not timer.cancelled() for timer in inside._scheduled)
    if inside._ready or timers or not _reads_only(inside, read):
        return None
    numbers = {id(future): number for number, future in futures.items()}
    for number, future in futures.items():
        numbers.update({id(wrapped): number for wrapped in _wrapped(future)})
    found: set[int] = set()
    for one in asyncio.all_tasks(loop):
        if not _waits(one, numbers, found):
            return None
    frame = _frame_of(task)
    return None if frame is None or not found else (describe(frame), tuple(found))


def _reads_only(loop: Any, read: Callable[[], None]) -> bool:
    """Whether it waits for no socket but for that which wakes it, and the worker's channel."""
    for key in loop._selector.get_map().values():
        reader, writer = key.data
        if writer is not None or reader is None or reader._callback not in (loop._read_from_self, read):
            return False
    return True


def _wrapped(future: Any) -> Iterator[asyncio.Future[Any]]:
    """What `asyncio.wrap_future` has made of a `concurrent.futures.Future`."""
    for callback in getattr(future, "_done_callbacks", ()):
        for cell in getattr(callback, "__closure__", None) or ():
            with suppress(ValueError):  # it is empty
                if isinstance(cell.cell_contents, asyncio.Future):
                    yield cell.cell_contents


def _waits(task: asyncio.Task[Any], numbers: Mapping[int, int], found: set[int]) -> bool:
    """Whether a task waits for futures alone, by way of others perhaps; adds their numbers to `found`."""
    todo: list[Any] = [task]
    seen: set[int] = set()
    while todo:
        one = todo.pop()
        if id(one) in seen or (one is not task and one.done()):
            continue
        seen.add(id(one))
        if id(one) in numbers:
            found.add(numbers[id(one)])
        elif isinstance(one, asyncio.Task):
            waiter = getattr(one, "_fut_waiter", None)
            if waiter is None or waiter.done() or getattr(one, "_must_cancel", True):
                return False
            todo.append(waiter)
        elif type(one).__name__ == "_GatheringFuture":
            todo += one._children
        else:
            return False
    return True


def _frame_of(task: asyncio.Task[Any]) -> FrameType | None:
    """The innermost step of the program's own in which a task waits."""
    frame = None
    one: Any = task.get_coro()
    while one is not None:
        inner = getattr(one, "cr_frame", None)
        if inner is not None and not is_ours(inner):
            frame = inner
        one = getattr(one, "cr_await", None)
    return frame
