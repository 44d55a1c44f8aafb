"""`Queue`: a first-in, first-out queue that tasks, actors and drivers share. Ray's `ray.util.queue.Queue`."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Iterable
from typing import Any

import minray


class Empty(queue.Empty):
    """There is no item to get, or there are not enough, or none came in time."""


class Full(queue.Full):
    """There is no room for an item, or not for all of them, or none became free in time."""


class Queue:
    """A queue whose items live in an actor. It can be passed to tasks and actors: all copies are one queue.

    An `ObjectRef` given as an item is put as its value; one inside a list or dict stays a ref. The order of puts of
    several callers into a full queue, and of gets of several from an empty one, is not promised.

    Args:
        maxsize: How many items it holds at most; 0 (or less) means: any number.
        actor_options: Options of the actor, such as ``{"num_cpus": 1, "name": "mine"}``.
    """

    def __init__(self, maxsize: int = 0, actor_options: dict[str, Any] | None = None) -> None:
        self.maxsize = maxsize
        actor_class: Any = minray.remote(_QueueActor)
        self.actor: Any = actor_class.options(**(actor_options or {})).remote(maxsize)

    def __len__(self) -> int:
        return self.size()

    def size(self) -> int:
        """How many items are in the queue."""
        found: int = minray.get(self.actor.qsize.remote())
        return found

    def qsize(self) -> int:
        """How many items are in the queue."""
        return self.size()

    def empty(self) -> bool:
        """Whether nothing is in the queue."""
        found: bool = minray.get(self.actor.empty.remote())
        return found

    def full(self) -> bool:
        """Whether the queue holds `maxsize` items."""
        found: bool = minray.get(self.actor.full.remote())
        return found

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Append an item; wait for room if the queue is full.

        Args:
            item: Anything that can be pickled.
            block: False: do not wait.
            timeout: How many seconds to wait at most. None means: for ever.

        Raises Full if there was no room (in time), ValueError for a negative time-out.
        """
        if block:
            minray.get(self.actor.put.remote(item, _seconds(timeout)))
            return
        try:
            minray.get(self.actor.put_nowait.remote(item))
        except asyncio.QueueFull:
            raise Full from None

    async def put_async(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """What `put` does, in a coroutine."""
        if block:
            await self.actor.put.remote(item, _seconds(timeout))
            return
        try:
            await self.actor.put_nowait.remote(item)
        except asyncio.QueueFull:
            raise Full from None

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the oldest item; wait for one if the queue is empty.

        Args:
            block: False: do not wait.
            timeout: How many seconds to wait at most. None means: for ever.

        Raises Empty if there was no item (in time), ValueError for a negative time-out.
        """
        if block:
            return minray.get(self.actor.get.remote(_seconds(timeout)))
        try:
            return minray.get(self.actor.get_nowait.remote())
        except asyncio.QueueEmpty:
            raise Empty from None

    async def get_async(self, block: bool = True, timeout: float | None = None) -> Any:
        """What `get` does, in a coroutine."""
        if block:
            return await self.actor.get.remote(_seconds(timeout))
        try:
            return await self.actor.get_nowait.remote()
        except asyncio.QueueEmpty:
            raise Empty from None

    def put_nowait(self, item: Any) -> None:
        """``put(item, block=False)``."""
        self.put(item, block=False)

    def get_nowait(self) -> Any:
        """``get(block=False)``."""
        return self.get(block=False)

    def put_nowait_batch(self, items: Iterable[Any]) -> None:
        """Append all `items`, or none and raise Full if there is not room for all."""
        if not isinstance(items, Iterable):
            raise TypeError("Argument 'items' must be an Iterable")
        minray.get(self.actor.put_nowait_batch.remote(items))

    def get_nowait_batch(self, num_items: int) -> list[Any]:
        """Take the `num_items` oldest items, or none and raise Empty if there are fewer."""
        if not isinstance(num_items, int):
            raise TypeError("Argument 'num_items' must be an int")
        if num_items < 0:
            raise ValueError("'num_items' must be nonnegative")
        items: list[Any] = minray.get(self.actor.get_nowait_batch.remote(num_items))
        return items

    def shutdown(self, force: bool = False, grace_period_s: float = 5) -> None:
        """End the actor, and the queue with it: other copies raise ActorDiedError from then on.

        Args:
            force: At once. Otherwise the calls made so far are answered first.
            grace_period_s: How many seconds that may take before the actor is ended by force.
        """
        if self.actor is None:
            return
        if force or not minray.wait([self.actor.__ray_terminate__.remote()], timeout=grace_period_s)[0]:
            minray.kill(self.actor, no_restart=True)
        self.actor = None


def _seconds(timeout: float | None) -> float | None:
    if timeout is not None and timeout < 0:
        raise ValueError("'timeout' must be a non-negative number")
    return timeout


class _QueueActor:
    """Holds the items. Its methods run in one event loop, so that any number of callers can wait at once."""

    def __init__(self, maxsize: int) -> None:
        self.maxsize = maxsize
        self.queue: asyncio.Queue[Any] = asyncio.Queue(maxsize)

    def qsize(self) -> int:
        return self.queue.qsize()

    def empty(self) -> bool:
        return self.queue.empty()

    def full(self) -> bool:
        return self.queue.full()

    async def put(self, item: Any, timeout: float | None) -> None:
        if not self.queue.full():  # wait_for makes a task of its own, which takes longer than all the rest
            self.queue.put_nowait(item)
            return
        try:
            await asyncio.wait_for(self.queue.put(item), timeout)
        except asyncio.TimeoutError:
            raise Full from None

    async def get(self, timeout: float | None) -> Any:
        if not self.queue.empty():
            return self.queue.get_nowait()
        try:
            return await asyncio.wait_for(self.queue.get(), timeout)
        except asyncio.TimeoutError:
            raise Empty from None

    def put_nowait(self, item: Any) -> None:
        self.queue.put_nowait(item)

    def get_nowait(self) -> Any:
        return self.queue.get_nowait()

    def put_nowait_batch(self, items: Any) -> None:
        if self.maxsize > 0:
            items = list(items)
            if len(items) + self.qsize() > self.maxsize:
                raise Full(f"Cannot add {len(items)} items to queue of size {self.qsize()} and maxsize {self.maxsize}.")
        for item in items:
            self.queue.put_nowait(item)

    def get_nowait_batch(self, num_items: int) -> list[Any]:
        if num_items > self.qsize():
            raise Empty(f"Cannot get {num_items} items from queue of size {self.qsize()}.")
        return [self.queue.get_nowait() for _ in range(num_items)]
