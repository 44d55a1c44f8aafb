"""The producer's side of generators: what a call yields goes to the owner while the call still runs.

      user's generator ──item──> Producer: [value, value ...] ──YIELD──> owner
                                     ^ waits here while as many items as allowed are unread ── TAKEN ── owner

Items are sent together where they come fast, and at once where they do not: an item waits for others only while less
than `BATCH_SECONDS` have passed since the last ones left, and then no longer than until a thread that does nothing else
gets its turn. So a generator that falls asleep after an item does not keep it back.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Container, Iterable, Iterator
from contextlib import suppress
from time import perf_counter, sleep
from types import GeneratorType
from typing import TYPE_CHECKING, Any

from minray.core.value import STORED, Value
from minray.generators import DynamicObjectRefGenerator
from minray.interrupts import interruptible
from minray.reading import Waiting
from minray.refs import ObjectRef
from minray.wire import messages as m

if TYPE_CHECKING:
    import asyncio

    from minray.client import Client

#: Items that come closer together than this are sent together. A write costs the producer about 10 us, and the owner's
#: reader twice that.
BATCH_SECONDS = 0.0005
#: As many are sent whatever the time, so that the reader's turn stays short.
BATCH_ITEMS = 512


class Quota:
    """How many items, of one call or of an actor's calls together, may be unread."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.unread = 0
        self.begun = 0  # items that are being computed, of an actor's

    @property
    def full(self) -> bool:
        return self.unread + self.begun >= self.limit


class Producers:
    """All generators that run in one worker."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.shared: Quota | None = None  # the actor's
        self.batch_seconds = BATCH_SECONDS  # below zero: nothing waits for company
        self.turn: Callable[[str], None] | None = None  # lets others go on when something was yielded
        #: Calls that end with their next item: those that were cancelled and cannot be interrupted (actors').
        self.cancelled: Container[int] = ()
        self._lock = client.reader.lock()
        self._open: dict[int, Producer] = {}  # those that may have to wait for their readers
        self._waiting: list[Waiting | _Awaited] = []
        self._late: deque[Producer] = deque()  # with items that nobody has sent yet
        self._nudge: threading.Lock | None = None  # held while the sweeper sleeps
        self._closed = False

    def stream(self, task: int, items: Iterable[Any], how: dict[str, Any], name: str) -> None:
        """Send on what `items` yields, until it ends. Whatever it raises passes, after the items before that."""
        _check_generator(items, name, "streaming")
        producer = self._enter(task, how, name)
        try:
            iterator = iter(items)
            while True:
                if producer.shared is not None:
                    self._wait(producer.cannot_begin, task)
                try:
                    item = _next(iterator)
                except StopIteration:
                    break
                if task in self.cancelled:
                    if isinstance(iterator, GeneratorType):
                        iterator.close()
                    break
                producer.add(item)
                del item
                if producer.must_wait():
                    self._wait(producer.must_wait, task)
        finally:
            self._leave(producer)

    async def stream_async(
        self, task: int, items: Iterable[Any] | AsyncIterator[Any], how: dict[str, Any], name: str
    ) -> None:
        """As `stream`, in an event loop, which is never blocked by what has to wait. `items` may be asynchronous."""
        _check_generator(items, name, "streaming")
        producer = self._enter(task, how, name)
        try:
            iterator = _every(items).__aiter__()
            while True:
                if producer.shared is not None:
                    await self._wait_async(producer.cannot_begin)
                try:
                    item = await iterator.__anext__()
                except StopAsyncIteration:
                    break
                producer.add(item)
                del item
                if producer.must_wait():
                    await self._wait_async(producer.must_wait)
        finally:
            self._leave(producer)

    def close(self) -> None:
        """The worker ends."""
        self._closed = True
        if self._nudge is not None:
            self._wake_sweeper(self._nudge)

    # -- limits ----------------------------------------------------------------------------------------------------

    def _enter(self, task: int, how: dict[str, Any], name: str) -> Producer:
        producer = Producer(self, task, how, name)
        if producer.quotas:
            with self._lock:
                before = self._open.get(task)
                if before is not None:  # the call is run again, and its items are counted anew
                    before.count(-before.unread)
                self._open[task] = producer
        return producer

    def _leave(self, producer: Producer) -> None:
        """Its call is over. What of it is unread keeps counting for its actor, until that is taken."""
        producer.flush()
        if producer.quotas:
            with self._lock:
                producer.over = True
                producer.stop()
                if self.shared is None or not producer.unread:
                    self._open.pop(producer.task, None)
            self.look_again()

    def look_again(self) -> None:
        """Something has changed that somebody may wait for."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.finish()

    def count(self, producer: Producer, number: int) -> None:
        """So many more of its items are there, unread."""
        with self._lock:
            producer.stop()
            producer.count(number)

    def taken(self, task: int, number: int) -> None:
        """The owner says that more items were taken. Called by whichever thread reads."""
        with self._lock:
            producer = self._open.get(task)
            if producer is None:
                return
            if number < 0:
                producer.stop()
                producer.count(-producer.unread)
                producer.quotas = []
            else:
                producer.count(-number)
            if producer.over and not producer.unread:
                del self._open[task]
        self.look_again()

    def _wait(self, must_wait: Callable[[], bool], task: int) -> None:
        """Block the thread that runs `task` while `must_wait()`, which is asked again whenever something was taken."""
        while True:
            waiting = Waiting()
            with self._lock:
                if not must_wait() or task in self.cancelled:
                    return
                self._waiting.append(waiting)
            self.client.reader.wait(waiting)

    async def _wait_async(self, must_wait: Callable[[], bool]) -> None:
        import asyncio

        while True:
            waiting = _Awaited(asyncio.get_running_loop())
            with self._lock:
                if not must_wait():
                    return
                self._waiting.append(waiting)
            await waiting.future

    # -- items that wait for company -------------------------------------------------------------------------------

    def late(self, producer: Producer) -> None:
        """It has an item that is not sent: see to it that it is, soon."""
        self._late.append(producer)
        if self._nudge is None:
            self._nudge = threading.Lock()
            threading.Thread(target=self._sweep, args=(self._nudge,), name="minray-yield", daemon=True).start()
        else:
            self._wake_sweeper(self._nudge)

    @staticmethod
    def _wake_sweeper(nudge: threading.Lock) -> None:
        if nudge.locked():
            try:
                nudge.release()
            except RuntimeError:  # another thread was faster
                return

    def _sweep(self, nudge: threading.Lock) -> None:
        """Send what has been waiting. A thread's whole life."""
        while not self._closed:
            nudge.acquire()
            sleep(BATCH_SECONDS)
            try:
                while self._late:
                    self._late.popleft().flush()
            except SystemExit:
                return  # the owner is gone


class _Awaited:
    """A wait of a coroutine."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.future: asyncio.Future[None] = loop.create_future()
        self._loop = loop

    def finish(self) -> None:
        """It is over. Any thread."""
        with suppress(RuntimeError):  # the loop has ended, and its actor with it
            self._loop.call_soon_threadsafe(self._finish)

    def _finish(self) -> None:
        if not self.future.done():
            self.future.set_result(None)


class Producer:
    """The items of one call on their way."""

    def __init__(self, producers: Producers, task: int, how: dict[str, Any], name: str) -> None:
        self.task = task
        self.over = False
        self.unread = 0  # as far as the owner has said, where there are quotas
        self._own = Quota(how["stream"]) if how["stream"] else None
        self.shared = None if "again" in how else producers.shared  # nobody reads what takes the place of lost items
        self._begun = False
        self.quotas = [quota for quota in (self._own, self.shared) if quota is not None]
        self._group = how["per_yield"]
        self._producers = producers
        self._client = producers.client
        self._what = f"an item of {name}"
        self._values: list[Value] = []
        self._sent = 0
        self._left = 0.0  # when the last ones were sent
        self._lock = threading.Lock()

    def add(self, item: Any) -> None:
        """Take what was yielded. TypeError: it cannot be pickled. ValueError: it is no group of the right size."""
        if self._group == 1:
            self._add(item)
        else:
            for one in self._parts(item):
                self._add(one)
        if self._producers.turn is not None:
            self._producers.turn("yield")

    def _parts(self, item: Any) -> Any:
        size = self._group
        if not isinstance(item, (tuple, list)):
            raise ValueError(
                f"Streaming generator tasks with _num_objects_per_yield={size} must yield a tuple or list of length "
                f"{size}."
            )
        if len(item) != size:
            raise ValueError(
                f"Streaming generator task yielded {len(item)} objects, but _num_objects_per_yield={size}."
            )
        return item

    def _add(self, item: Any) -> None:
        value = self._client.codec.value(item, self._what)
        if self.quotas:
            self._producers.count(self, 1)
        with self._lock:
            self._values.append(value)
            number = len(self._values)
        # References in it must reach the owner before the generator goes on, and perhaps lets go of its own.
        if value[2] or perf_counter() - self._left > self._producers.batch_seconds or number >= BATCH_ITEMS:
            self.flush()
        elif number == 1:
            self._producers.late(self)
        if value[0] == STORED:
            self._client.reader.pump()  # the owner may have freed earlier ones: their bytes can be used again

    def count(self, number: int) -> None:
        """So many more items are unread. Under the lock of the producers, as `cannot_begin` and `stop`."""
        self.unread += number
        for quota in self.quotas:
            quota.unread += number

    def flush(self) -> None:
        """Send what is here. Any thread."""
        with self._lock:
            if self._values:
                values, self._values = self._values, []
                self._client.post((m.YIELD, self.task, self._sent, values))
                self._sent += len(values)
        self._client.flush()
        self._left = perf_counter()

    def must_wait(self) -> bool:
        """Whether as many of its items as allowed are unread. They have been sent then. Any time."""
        return self._own is not None and self._is_full(self._own)

    def cannot_begin(self) -> bool:
        """Whether as many of its actor's items as allowed are unread, or about to be. If not, one more now is."""
        shared = self.shared
        if shared is None or self._is_full(shared):
            return shared is not None
        if shared in self.quotas:
            shared.begun += 1
            self._begun = True
        return False

    def stop(self) -> None:
        """What it has begun to compute is there, or will never be."""
        if self._begun and self.shared is not None:
            self._begun = False
            self.shared.begun -= 1

    def _is_full(self, quota: Quota) -> bool:
        full = quota.full and quota in self.quotas
        if full and self._values:
            self.flush()
        return full


async def _every(items: Any) -> AsyncIterator[Any]:
    """What `items` yields, asynchronously or not."""
    if isinstance(items, AsyncIterator):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


def _check_generator(items: Any, name: str, num_returns: str) -> None:
    is_async = num_returns == "streaming" and isinstance(items, AsyncIterator)
    if not (is_async or isinstance(items, Iterator)):
        raise ValueError(
            f'Functions with @minray.remote(num_returns="{num_returns}") must return a generator, as {name} does not.'
        )


def dynamic(
    client: Client, items: Any, name: str, fail: Callable[[BaseException], Value]
) -> DynamicObjectRefGenerator[Any]:
    """Store what `items` yields, each item as an object of its own. What it raises is the last one, as an error.

    ValueError: it is no generator.
    """
    _check_generator(items, name, "dynamic")
    refs: list[ObjectRef[Any]] = []
    try:
        refs.extend(ObjectRef(client.put(item), client) for item in _each(items))
    except Exception as error:
        refs.append(ObjectRef(client.put_value(fail(error)), client))
    return DynamicObjectRefGenerator(refs)


class Missing:
    """Stands for an item that was not yielded, because of `error`."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def draw(items: Iterator[Any], number: int, name: str, again: Callable[[Exception], bool]) -> Any:
    """The first `number` items, or the item itself if that is one: what a generator returns for num_returns=n.

    As in Ray one more is computed to see whether there is one, and what is raised in its place is nobody's. What is
    raised before that stands in for the items that are left out, and passes where there is none or where the call is
    to be run `again`.
    """
    drawn: list[Any] = []
    try:
        while len(drawn) < number:
            drawn.append(_next(items))
    except Exception as error:
        if isinstance(error, StopIteration):
            what = f"Task returned {len(drawn)} objects, but num_returns={number}: {name} has to yield as many."
            error = ValueError(what)
        if not drawn or again(error):
            raise error from None
        return drawn + [Missing(error)] * (number - len(drawn))
    if number:
        try:
            _next(items)
        except Exception:
            pass
    return drawn[0] if number == 1 else drawn


# Where the user's code runs that yields: there a call can be interrupted.


@interruptible
def _next(items: Iterator[Any]) -> Any:
    return next(items)


@interruptible
def _each(items: Iterable[Any]) -> Iterator[Any]:
    yield from items
