"""The producer's side of generators: what a call yields goes to the owner while the call still runs.

      user's generator ──item──> Producer: [value, value ...] ──YIELD──> owner
                                     ^ waits here while as many items as allowed are unread ── TAKEN ── owner

Items are sent together where they come fast, and at once where they do not: an item waits for others only while less
than `BATCH_SECONDS` have passed since the last ones left, and then no longer than until a thread that does nothing else
gets its turn. So a generator that falls asleep after an item does not keep it back.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from time import perf_counter, sleep
from typing import TYPE_CHECKING, Any

from minray.core.value import STORED, Value
from minray.generators import DynamicObjectRefGenerator
from minray.reading import Waiting
from minray.refs import ObjectRef
from minray.wire import messages as m

if TYPE_CHECKING:
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


class Producers:
    """All generators that run in one worker."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.shared: Quota | None = None  # the actor's
        self._lock = threading.Lock()
        self._open: dict[int, Producer] = {}  # those that may have to wait for their readers
        self._waiting: list[Waiting] = []
        self._late: list[Producer] = []  # with items that nobody has sent yet
        self._nudge: threading.Lock | None = None  # held while the sweeper sleeps

    def stream(self, task: int, items: Iterable[Any], how: dict[str, Any], name: str) -> None:
        """Send on what `items` yields, until it ends. Whatever it raises passes, after the items before that."""
        producer = Producer(self, task, how["stream"], name)
        self.enter(producer)
        try:
            if how["per_yield"] > 1:
                items = _ungrouped(items, how["per_yield"])
            iterator = iter(items)
            while True:
                producer.wait_for_shared()
                try:
                    item = next(iterator)
                except StopIteration:
                    break
                producer.add(item)
                del item
                producer.wait_for_own()
        finally:
            self.leave(producer)

    # -- limits ----------------------------------------------------------------------------------------------------

    def enter(self, producer: Producer) -> None:
        if producer.quotas:
            with self._lock:
                self._open[producer.task] = producer

    def leave(self, producer: Producer) -> None:
        """Its call is over. What of it is unread keeps counting for its actor, until that is taken."""
        producer.flush()
        if producer.quotas and self.shared is None:
            with self._lock:
                self._open.pop(producer.task, None)

    def taken(self, task: int, number: int) -> None:
        """The owner says that more items were taken. Called by whichever thread reads."""
        with self._lock:
            producer = self._open.get(task)
            if producer is None:
                return
            if number < 0:
                number, quotas = producer.unread, producer.quotas
                producer.quotas = []
            else:
                quotas = producer.quotas
            producer.unread -= number
            for quota in quotas:
                quota.unread -= number
            waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.finish()

    def wait_until(self, has_room: Callable[[], bool]) -> None:
        """Block the calling thread until `has_room()`, which is asked again whenever something was taken."""
        while True:
            waiting = Waiting()
            with self._lock:
                if has_room():
                    return
                self._waiting.append(waiting)
            self.client.reader.wait(waiting)

    # -- items that wait for company -------------------------------------------------------------------------------

    def late(self, producer: Producer) -> None:
        """It has an item that is not sent: see to it that it is, soon."""
        self._late.append(producer)
        if self._nudge is None:
            self._nudge = threading.Lock()
            threading.Thread(target=self._sweep, args=(self._nudge,), name="minray-yield", daemon=True).start()
        elif self._nudge.locked():
            try:
                self._nudge.release()
            except RuntimeError:  # another thread was faster
                return

    def _sweep(self, nudge: threading.Lock) -> None:
        """Send what has been waiting. A thread's whole life."""
        while True:
            nudge.acquire()
            sleep(BATCH_SECONDS)
            late, self._late = self._late, []
            try:
                for producer in late:
                    producer.flush()
            except SystemExit:
                return  # the owner is gone


class Producer:
    """The items of one call on their way."""

    def __init__(self, producers: Producers, task: int, limit: int, name: str) -> None:
        self.task = task
        self.unread = 0  # as far as its owner has said, where there are quotas
        self.own = Quota(limit) if limit else None
        self.shared = producers.shared
        self.quotas = [quota for quota in (self.own, self.shared) if quota is not None]
        self._producers = producers
        self._client = producers.client
        self._what = f"an item of {name}"
        self._values: list[Value] = []
        self._sent = 0
        self._left = 0.0  # when the last ones were sent
        self._lock = threading.Lock()

    def add(self, item: Any) -> None:
        """Take one item. TypeError: it cannot be pickled."""
        value = self._client.codec.value(item, self._what)
        if self.quotas:
            with self._producers._lock:
                self.unread += 1
                for quota in self.quotas:
                    quota.unread += 1
        values = self._values
        values.append(value)
        # References in it must reach the owner before the generator goes on, and perhaps lets go of its own.
        if value[2] or perf_counter() - self._left > BATCH_SECONDS or len(values) >= BATCH_ITEMS:
            self.flush()
        elif len(values) == 1:
            self._producers.late(self)
        if value[0] == STORED:
            self._client.reader.pump()  # the owner may have freed earlier ones: their bytes can be used again

    def flush(self) -> None:
        """Send what is here. Any thread."""
        with self._lock:
            if self._values:
                values, self._values = self._values, []
                self._client.post((m.YIELD, self.task, self._sent, values))
                self._sent += len(values)
        self._client.flush()
        self._left = perf_counter()

    def wait_for_own(self) -> None:
        """Block while as many of its items as allowed are unread."""
        own = self.own
        if own is not None and own.unread >= own.limit:
            self.flush()
            self._producers.wait_until(lambda: own.unread < own.limit or not self.quotas)

    def wait_for_shared(self) -> None:
        """Block while as many of its actor's items as allowed are unread."""
        shared = self.shared
        if shared is not None and shared.unread >= shared.limit:
            self.flush()
            self._producers.wait_until(lambda: shared.unread < shared.limit)


def _ungrouped(items: Iterable[Any], size: int) -> Iterator[Any]:
    """The items of the tuples that `items` yields. ValueError: one is no tuple or list of `size` items."""
    for group in items:
        if not isinstance(group, (tuple, list)):
            raise ValueError(
                f"Streaming generator tasks with _num_objects_per_yield={size} must yield a tuple or list of length "
                f"{size}."
            )
        if len(group) != size:
            raise ValueError(
                f"Streaming generator task yielded {len(group)} objects, but _num_objects_per_yield={size}."
            )
        yield from group


def dynamic(
    client: Client, items: Any, name: str, fail: Callable[[BaseException], Value]
) -> DynamicObjectRefGenerator[Any]:
    """Store what `items` yields, each item as an object of its own. What it raises is the last one, as an error.

    ValueError: it is no generator.
    """
    if not isinstance(items, Iterator):
        raise ValueError(
            f'Functions with @minray.remote(num_returns="dynamic") must return a generator, as {name} does not.'
        )
    refs: list[ObjectRef[Any]] = []
    try:
        refs.extend(ObjectRef(client.put(item), client) for item in items)
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
            drawn.append(next(items))
    except Exception as error:
        if isinstance(error, StopIteration):
            what = f"Task returned {len(drawn)} objects, but num_returns={number}: {name} has to yield as many."
            error = ValueError(what)
        if not drawn or again(error):
            raise error from None
        return drawn + [Missing(error)] * (number - len(drawn))
    if number:
        try:
            next(items)
        except Exception:
            pass
    return drawn[0] if number == 1 else drawn
