"""Streams: what generators yield, on its way from the worker that runs one to whoever takes the items.

      producer ──yielded(index, values)──> unread: [id, id ...] ──take()──> a reader's references
          ^                                    |
          └──────────("taken", count)──────────┘   where there is a limit to what may be unread

The rules:

1. Items become objects in the order in which they are yielded, each once: what a call that is run again yields for the
   second time takes the place of what was lost (`minray.core.lineage`), or is dropped.
2. An unread item is counted for its stream, and whoever takes it takes over that count. A stream that nobody can read
   any more frees what it has and whatever still comes; its call goes on all the same (as in Ray).
3. A producer waits while a quota of it is full. It is told what was taken when that may let it go on, and not before.
   While it waits its worker counts as blocked, so that those who are to make room find a place to run.
4. A stream ends when its call does. What a call raised is its last item; what ended it from outside (a lost worker,
   a cancellation) is instead the value of the call itself.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from minray.core.numbering import NEXT, call_of
from minray.core.objects import HANDLE, Object
from minray.core.value import NONE, STORED, Value

if TYPE_CHECKING:
    from collections.abc import Sequence

    from minray.core.graph import TaskGraph
    from minray.core.tasks import Actor, Task, Worker

#: Items handed over at a time.
TAKE_AT_ONCE = 1024


class Quota:
    """How many items of some streams may be unread. `unread` is what the producer's own count says by now."""

    __slots__ = ("limit", "streams", "unread")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.unread = 0
        self.streams: set[Stream] = set()

    @property
    def full(self) -> bool:
        return self.unread >= self.limit


class Stream:
    """The items of one call. Its handle's id is the one after the call's."""

    __slots__ = ("actor", "again", "blocked", "dropped", "ended", "expected", "id", "limit", "made", "quotas", "seen",
                 "taken", "told", "unread", "worker")  # fmt: skip

    def __init__(self, task: Task, limit: int | None) -> None:
        self.id = task.id
        self.limit = limit
        self.actor: Actor | None = task.actor
        self.unread: deque[int] = deque()
        self.expected: int | None = None  # the next item's id, where somebody waits for it
        self.seen = 0  # items that have become objects
        self.taken = 0
        self.made = 0  # items that the present run has yielded
        self.told = 0  # items of the present run whose taking its producer knows of
        self.quotas: list[Quota] | None = None  # of the present run, once it has yielded
        self.worker: Worker | None = None  # where it has yielded
        self.blocked = False
        self.ended = False
        self.dropped = False
        self.again = False  # all of it was there before, and some was lost

    @classmethod
    def lost(cls, task: Task) -> Stream:
        """Of a call that has ended and is run again, because some of its items were lost. Nobody reads it."""
        stream = cls(task, None)
        stream.actor = None
        stream.again = stream.dropped = True
        return stream

    @property
    def next_item(self) -> int:
        """The id of the next item that becomes an object."""
        return self.id + (self.seen + 1) * NEXT

    @property
    def bounded(self) -> bool:
        """Whether its producer may have to wait for its readers."""
        return self.limit is not None or (self.actor is not None and self.actor.template.max_unread is not None)

    def rewind(self) -> None:
        """The call will be run again, from its beginning."""
        for quota in self.quotas or ():
            quota.unread -= self.made - self.told
            quota.streams.discard(self)
        self.made = self.told = 0
        self.quotas = self.worker = None
        self.blocked = False

    def __repr__(self) -> str:
        state = "dropped" if self.dropped else "ended" if self.ended else "open"
        return f"<Stream {self.id} {state} seen={self.seen} unread={len(self.unread)}>"


class StreamTable:
    """The streams that somebody can still read."""

    def __init__(self, graph: TaskGraph) -> None:
        self.graph = graph
        self.streams: dict[int, Stream] = {}

    def opened(self, task: Task, limit: int | None, submitter: Worker | None) -> None:
        """A generator was called. Its stream's handle is counted once for whoever did it."""
        stream = task.stream = Stream(task, limit)
        id = task.id + 1
        self.streams[id] = stream
        self.graph.objects.entries[id] = Object(1, HANDLE)
        if submitter is not None:
            submitter.loans[id] = submitter.loans.get(id, 0) + 1

    # -- the producer ----------------------------------------------------------------------------------------------

    def yielded(self, worker: Worker, task_id: int, index: int, values: Sequence[Value]) -> None:
        """A call has yielded `values`, the first of which is its item number `index`."""
        task = worker.sent.get(task_id)
        stream = None if task is None else task.stream
        if task is None or stream is None:
            self.graph.objects.discard(values)
            return
        known = len(values) if stream.again else stream.seen - index
        fresh = values
        if known > 0:
            self.graph.lineage.yielded_again(task_id, index, values[:known])
            fresh = values[known:]
        stream.made = index + len(values)
        if stream.dropped:
            self.graph.objects.discard(fresh)
            if stream.bounded and stream.worker is None:
                stream.worker = worker
                self.graph.out.append(("taken", worker, task_id, -1))
            return
        for value in fresh:
            id = self._add(stream, value)
            if value[0] == STORED:
                self.graph.lineage.yielded(task, stream.seen - 1, id)
        if stream.bounded:
            self._count(stream, worker, len(values))

    def raised(self, stream: Stream, error: Value) -> list[Value]:
        """Its call ends with an exception of its own; returns the values of the call's objects."""
        if stream.again:
            self.graph.lineage.yielded_again(stream.id, stream.made, [error])
        elif not stream.dropped:
            self._add(stream, error)
        return [NONE]

    def _add(self, stream: Stream, value: Value) -> int:
        objects = self.graph.objects
        id = stream.expected
        if id is None:
            id = stream.next_item
            objects.add(id, value)
        else:
            stream.expected = None
            self.graph._tell(objects.resolve(id, value), value)
        stream.unread.append(id)
        stream.seen += 1
        return id

    def ended(self, stream: Stream) -> None:
        """Its call is over, and what it yielded has come before that."""
        stream.ended = True
        self._stop_waiting(stream)
        self._unblock(stream)
        if not stream.unread:
            self._leave_quotas(stream)

    def interrupted(self, stream: Stream) -> None:
        """Its call has raised, so it waits no more."""
        self._unblock(stream)

    def _stop_waiting(self, stream: Stream) -> None:
        """There will be no next item."""
        id, stream.expected = stream.expected, None
        if id is not None:
            objects = self.graph.objects
            self.graph._tell(objects.resolve(id, NONE), NONE)
            objects.release(id)

    # -- limits ----------------------------------------------------------------------------------------------------

    def _count(self, stream: Stream, worker: Worker, number: int) -> None:
        """Its producer has counted `number` more items as unread."""
        if stream.quotas is None:
            stream.worker = worker
            stream.quotas = [] if stream.limit is None else [Quota(stream.limit)]
            actor = stream.actor
            if actor is not None and actor.template.max_unread is not None:
                if actor.quota is None:
                    actor.quota = Quota(actor.template.max_unread)
                stream.quotas.append(actor.quota)
            for quota in stream.quotas:
                quota.streams.add(stream)
        for quota in stream.quotas:
            quota.unread += number
        self._balance(stream)

    def _balance(self, stream: Stream) -> None:
        """Tell producers what was taken if one may be waiting for that."""
        for quota in stream.quotas or ():
            if quota.full:
                for each in sorted(quota.streams, key=lambda one: one.id):
                    number = min(each.taken, each.made) - each.told
                    if number:
                        self._tell_producer(each, number)
        waits = stream.limit is not None and not stream.ended and stream.made - stream.told >= stream.limit
        if waits and not stream.blocked and stream.worker is not None:
            stream.blocked = True
            self.graph.blocked(stream.worker)
        elif stream.blocked and not waits:
            self._unblock(stream)

    def _tell_producer(self, stream: Stream, number: int) -> None:
        stream.told += number
        for quota in stream.quotas or ():
            quota.unread -= number
        self.graph.out.append(("taken", stream.worker, stream.id, number))

    def _unblock(self, stream: Stream) -> None:
        if stream.blocked and stream.worker is not None:
            stream.blocked = False
            self.graph.unblocked(stream.worker)

    def _leave_quotas(self, stream: Stream) -> None:
        """All of it has been taken: it takes up no room of its actor's any more."""
        number = stream.made - stream.told
        if number and stream.actor is not None and stream.actor.quota is not None:
            self._tell_producer(stream, number)
        for quota in stream.quotas or ():
            quota.streams.discard(stream)
        stream.quotas = None

    # -- the readers -----------------------------------------------------------------------------------------------

    def take(self, id: int, holder: Worker | None = None) -> list[int] | None:
        """The next items, counted for `holder` (None: the driver); of a bounded stream one, else several.

        Empty: there is none yet. None: there will be none any more.
        """
        stream = self.streams.get(id)
        if stream is None:
            return None
        unread = stream.unread
        if not unread:
            return None if stream.ended else []
        bounded = stream.bounded
        number = 1 if bounded else min(len(unread), TAKE_AT_ONCE)
        ids = [unread.popleft() for _ in range(number)]
        stream.taken += number
        if holder is not None:
            loans = holder.loans
            for item in ids:
                loans[item] = loans.get(item, 0) + 1
        if bounded and stream.quotas is not None:
            self._balance(stream)
            if stream.ended and not unread:
                self._leave_quotas(stream)
        return ids

    def peek(self, id: int) -> int:
        """The id of an object that is ready as soon as `take` finds an item, or knows that there will be none."""
        stream = self.streams.get(id)
        if stream is None:
            return id - 1
        if stream.unread:
            return stream.unread[0]
        if stream.ended:
            return id - 1  # the call itself
        if stream.expected is None:
            stream.expected = stream.next_item
            self.graph.objects.entries[stream.expected] = Object(1)
        return stream.expected

    def out_of_scope(self, id: int) -> None:
        """Nobody can read it any more."""
        stream = self.streams.pop(id)
        stream.dropped = True
        self._stop_waiting(stream)
        for item in stream.unread:
            self.graph.objects.release(item)
        stream.unread.clear()
        if stream.quotas is not None:
            self._unblock(stream)
            for quota in stream.quotas:
                quota.unread -= stream.made - stream.told
                quota.streams.discard(stream)
            stream.quotas = None
            self.graph.out.append(("taken", stream.worker, stream.id, -1))  # its producer is never to wait again

    # -- invariants ------------------------------------------------------------------------------------------------

    def check(self) -> None:
        entries = self.graph.objects.entries
        for id, stream in self.streams.items():
            assert entries[id].value is HANDLE, stream
            assert stream.seen == stream.taken + len(stream.unread), stream
            assert all(entries[item].value or call_of(item) in self.graph.tasks for item in stream.unread), stream
            assert stream.expected is None or not (stream.unread or stream.ended), stream
            assert stream.expected is None or entries[stream.expected].value is None, stream
            assert stream.told <= min(stream.made, stream.taken), stream
            for quota in stream.quotas or ():
                assert stream in quota.streams, stream
                # A full one is full of what is really unread: else its producers would wait for nothing.
                assert not quota.full or all(s.told == min(s.made, s.taken) for s in quota.streams), stream
                assert quota.unread == sum(s.made - s.told for s in quota.streams), stream
            assert not stream.blocked or (stream.limit is not None and stream.made - stream.told >= stream.limit), (
                stream
            )
