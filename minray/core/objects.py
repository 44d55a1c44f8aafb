"""Ownership: which objects exist, what they hold, who still needs them, and who waits for them.

The rules:

1. An object lives while its count is above zero or its value is still to come. Counts are held by references in the
   driver, loans to workers, calls that have it as an argument, and objects whose values contain it.
2. A loan is made when a worker is sent a reference (or a mapped value), and given back in one message with the
   number of times it was received, so that a reference on its way is never lost.
3. An object becomes ready once. What waits for it (calls, watches) is told once.
4. The bytes of a stored value are an object of their own, which the value contains (`minray.core.value.bytes_of`). Who
   maps them holds them, and not the value: so a value can be moved to disk under its readers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from minray.core.value import SPILLED, STORED, Value, bytes_of, fault, is_bytes

if TYPE_CHECKING:
    from minray.core.lineage import Origin
    from minray.core.tasks import Task


class Residence:
    """Keeps an eye on where bytes are; this one does not care, `minray.core.memory` does."""

    def added(self, bytes: int, value: Value) -> None:
        """There are these now."""

    def used(self, bytes: int) -> None:
        """Somebody is about to read them."""

    def gone(self, bytes: int) -> None:
        """Nobody needs them."""


NOWHERE = Residence()


class Watch:
    """Somebody who waits until `missing` more objects are ready, or (`eager`) the first one failed.

    `token` is whose it is; the core never looks at it.
    """

    __slots__ = ("done", "eager", "missing", "token")

    def __init__(self, missing: int, token: Any, eager: bool = False) -> None:
        self.missing = missing
        self.token = token
        self.eager = eager
        self.done = False

    def __repr__(self) -> str:
        return f"<Watch missing={self.missing} done={self.done}>"


class Object:
    """One object: pending while `value` is None."""

    __slots__ = ("count", "value", "waiting")

    def __init__(self, count: int, value: Value | None = None) -> None:
        self.count = count
        self.value = value
        self.waiting: list[Task | Watch] | None = None

    def __repr__(self) -> str:
        state = "pending" if self.value is None else "ready"
        return f"<Object {state} count={self.count} waiting={len(self.waiting or ())}>"


class ObjectTable:
    """All objects of a run. What it decides is read from `freed` (stored values without a user) and `scopeless`
    (ids nobody can name any more)."""

    def __init__(self, memory: Residence = NOWHERE) -> None:
        """`memory` is told of bytes that come, are used and go."""
        self.entries: dict[int, Object] = {}
        self.memory = memory
        self.freed: list[Value] = []
        self.scopeless: deque[int] = deque()
        #: Where stored objects come from (`minray.core.lineage`), and those of them that nobody needs any more.
        self.origins: dict[int, Origin | str] = {}
        self.dropped: list[int] = []

    def value_of(self, id: int) -> Value | None:
        """The value, None while pending; of an object that is gone, the fault that says so."""
        entry = self.entries.get(id)
        return fault("ObjectLost", id) if entry is None else entry.value

    def is_pending(self, id: int) -> bool:
        entry = self.entries.get(id)
        return entry is not None and entry.value is None

    def retain(self, id: int, count: int = 1) -> None:
        entry = self.entries.get(id)
        if entry is not None:
            entry.count += count

    def release(self, id: int, count: int = 1) -> None:
        """Drop `count` references; free what nobody needs, and what only that held, without recursion."""
        entry = self.entries.get(id)
        if entry is None:
            return
        entry.count -= count
        if entry.count <= 0 and entry.value is not None:
            self._free(id, entry)

    def lend(self, loans: dict[int, int], id: int) -> None:
        """Count one reference for the worker that keeps `loans`."""
        entry = self.entries.get(id)
        if entry is not None:
            entry.count += 1
            loans[id] = loans.get(id, 0) + 1

    def repay(self, loans: dict[int, int], id: int, count: int) -> None:
        """A worker gives `count` references back."""
        held = loans.get(id, 0)
        count = min(count, held)
        if count == held:
            loans.pop(id, None)
        else:
            loans[id] = held - count
        if count:
            self.release(id, count)

    def lend_value(self, loans: dict[int, int], id: int, value: Value) -> None:
        """Count what a worker holds once it has been sent `value`: the mapped bytes, and the references inside."""
        if value[0] == STORED or value[0] == SPILLED:
            bytes = bytes_of(id, value[0])
            self.lend(loans, bytes)
            self.memory.used(bytes)
        for inner in value[2]:
            self.lend(loans, inner)

    def resolve(self, id: int, value: Value) -> list[Task | Watch]:
        """Give a pending object its value; return what waited for it."""
        entry = self.entries[id]
        assert entry.value is None, f"object {id} became ready twice"
        entry.value = value
        if value[0] == STORED:
            self._add_bytes(id, value)
        for inner in value[2]:
            self.retain(inner)
        waiting, entry.waiting = entry.waiting, None
        if entry.count <= 0:
            self._free(id, entry)
        return waiting or []

    def add(self, id: int, value: Value, count: int = 1) -> None:
        """A new object that is ready."""
        self.entries[id] = Object(count, value)
        if value[0] == STORED:
            self._add_bytes(id, value)
        for inner in value[2]:
            self.retain(inner)

    def _add_bytes(self, id: int, value: Value) -> None:
        """The bytes of a value that is stored now, as an object that the value contains."""
        bytes = bytes_of(id, value[0])
        known = self.entries.get(bytes)
        if known is None:
            self.entries[bytes] = Object(1, (value[0], value[1], ()))
        else:  # the object is made anew, and somebody still maps what it was before
            assert known.value is not None
            self.freed.append(known.value)
            self.memory.gone(bytes)
            known.count += 1
            known.value = (value[0], value[1], ())
        self.memory.added(bytes, value)

    def moved(self, id: int, location: Any) -> bool:
        """The bytes of a stored value have been copied to `location`, from where they are read from now on. False: the
        value is gone, or was moved before, and nobody needs the copy."""
        entry = self.entries.get(id)
        if entry is None or entry.value is None or entry.value[0] != STORED:
            return False
        value: Value = (SPILLED, location, entry.value[2])
        entry.value = value
        self._add_bytes(id, value)
        self.release(bytes_of(id, STORED))
        return True

    def discard(self, values: Sequence[Value]) -> None:
        """Nobody will ever have these values: free what is stored of them."""
        self.freed.extend([value for value in values if value[0] == STORED])

    def _free(self, id: int, entry: Object) -> None:
        stack = [(id, entry)]
        while stack:
            id, entry = stack.pop()
            del self.entries[id]
            value = entry.value
            assert value is not None
            contents = value[2]
            if value[0] == STORED or value[0] == SPILLED:
                if is_bytes(id):
                    self.freed.append(value)
                    self.memory.gone(id)
                else:
                    contents = (bytes_of(id, value[0]), *contents)
                    if id in self.origins:
                        self.dropped.append(id)
            elif value is HANDLE:
                self.scopeless.append(id)
            for inner in contents:
                below = self.entries.get(inner)
                if below is not None:
                    below.count -= 1
                    if below.count <= 0 and below.value is not None:
                        stack.append((inner, below))

    def check(self, holders: Iterable[dict[int, int]]) -> None:
        """Invariants: counts never negative, loans never more than counts, no dead object kept."""
        lent: dict[int, int] = {}
        for loans in holders:
            for id, n in loans.items():
                assert n > 0
                lent[id] = lent.get(id, 0) + n
        for id, entry in self.entries.items():
            assert entry.count >= lent.pop(id, 0), (id, entry)
            assert entry.count > 0 or entry.value is None, (id, entry)
            assert entry.value is None or not entry.waiting, (id, entry)
            if entry.value is not None and entry.value[0] in (STORED, SPILLED) and not is_bytes(id):
                assert self.entries[bytes_of(id, entry.value[0])].value[:2] == entry.value[:2], (id, entry)  # type: ignore[index]
        assert not lent, f"loans of objects that are gone: {lent}"


#: The value behind the id of an actor or a stream: an object whose references are the handles to that.
HANDLE: Value = (0, "handle", ())
