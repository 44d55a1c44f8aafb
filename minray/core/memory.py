"""How the memory for values is shared out on each node, and what goes to disk when it is full.

The rules:

1. Who writes values (the driver, every worker) fills no more memory than it was granted, be it with values or with room
   that is kept for the next ones. The grants of a node never exceed its limit.
2. Who needs more asks, and is granted what is free. If that is not enough, room that is not used is collected: its own,
   else that of others. If that is not enough either, it is told to move values to disk, those that nobody maps and that
   were not used for longest, and asks again. If there are too few of these its value goes to disk itself.
3. Asking waits for nothing but answers of other writers about unused room: for no task and for no reader. So it always
   ends, and so does moving. While values are moved few tasks are begun (`Scheduler.tight`): who fills the memory
   faster than the disk takes it is slowed.

Decisions, beside those of the graph: ``("grant", writer, bytes)``, ``("trim", writer, bytes)`` (ask for unused room),
``("room", token, answer)``, ``("bury", locations by writer that is gone)``. The driver is writer 0.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from minray.core.objects import Residence
from minray.core.value import IN_STORE, SPILLED, STORED, Value, is_bytes

if TYPE_CHECKING:
    from minray.core.objects import ObjectTable
    from minray.core.tasks import Worker

#: What is granted at least, as long as more than half of the limit is free and this is a small part of it.
STEP_BYTES = 16 << 20

# Answers. `SPILL` comes with ((object id, location), ...).
GRANTED = "granted"  #: try again
OWN = "own"  #: give up room of your own that you do not use, and try again
SPILL = "spill"  #: move these to disk, say so, and ask again
FULL = "full"  #: write to disk


class Ask:
    """Somebody needs room, and waits for others to give back theirs."""

    __slots__ = ("needed", "spare", "token", "tried", "worker")

    def __init__(self, worker: Worker | None, needed: int, spare: int, token: Any) -> None:
        self.worker = worker
        self.needed = needed
        self.spare = spare
        self.token = token
        self.tried: set[int] = set()  # writers that were asked for their unused room on its behalf

    @property
    def writer(self) -> int:
        return 0 if self.worker is None else self.worker.id


class Room:
    """One node's memory for values."""

    __slots__ = ("granted", "limit", "live", "resident", "trimming", "waiting")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.granted: dict[int, int] = {}  # by writer
        self.live: dict[int, int] = {}  # by writer: how much of that is values
        self.resident: dict[int, tuple[int, int]] = {}  # bytes -> writer, size; the least recently used first
        self.trimming: set[int] = set()
        self.waiting: deque[Ask] = deque()

    @property
    def free(self) -> int:
        return self.limit - sum(self.granted.values())

    @property
    def used(self) -> int:
        """Bytes of values."""
        return sum(self.live.values())

    def idle(self, writer: int) -> int:
        """How much of what it was granted a writer does not use, as far as known here."""
        return max(0, self.granted[writer] - self.live.get(writer, 0))

    def __repr__(self) -> str:
        return f"<Room {self.used} of {self.limit} granted={self.granted} waiting={len(self.waiting)}>"


class Memory(Residence):
    """The rooms of all nodes, and where each value's bytes are."""

    def __init__(self, out: list[tuple[Any, ...]]) -> None:
        self.out = out
        #: Says of a location who wrote it, and how much memory it takes (0: it is on disk).
        self.share: Callable[[Any], tuple[int, int]] = lambda _: (0, 0)
        self.rooms: dict[int, Room] = {}  # by node; the first is the driver's
        self.objects: ObjectTable  # these two are set by the graph
        self.workers: dict[int, Worker]
        self.moving: dict[int, int] = {}  # by writer: how many values it has been told to move
        self._homes: dict[int, Room] = {}  # by writer
        self._on_disk: dict[int, int] = {}  # bytes -> writer

    def joined(self, node: int, limit: int) -> None:
        """A node has memory for `limit` bytes of values."""
        room = self.rooms[node] = Room(limit)
        self._homes.setdefault(0, room)

    # -- what becomes of bytes ------------------------------------------------------------------------------------

    def added(self, bytes: int, value: Value) -> None:
        writer, size = self.share(value[1])
        room = self._homes.get(writer)
        if size and room is not None:
            room.resident[bytes] = (writer, size)
            room.live[writer] = room.live.get(writer, 0) + size
        else:
            self._on_disk[bytes] = writer

    def used(self, bytes: int) -> None:
        """They are the most recently used now."""
        for room in self.rooms.values():
            where = room.resident.pop(bytes, None)
            if where is not None:
                room.resident[bytes] = where

    def gone(self, bytes: int) -> None:
        if self._on_disk.pop(bytes, None) is not None:
            return
        for room in self.rooms.values():
            where = room.resident.pop(bytes, None)
            if where is not None:
                writer, size = where
                room.live[writer] -= size
                if writer not in self._homes:  # it is gone: what its values took is free as they go
                    room.granted[writer] = min(room.granted[writer], room.live[writer])
                    if not room.live[writer]:
                        del room.live[writer], room.granted[writer]
                return

    # -- asking ---------------------------------------------------------------------------------------------------

    def asked(self, worker: Worker | None, needed: int, spare: int, first: bool, token: Any) -> None:
        """A worker (None: the driver) needs `needed` bytes beyond its grant; `spare` of that it does not use itself,
        but cannot use for what it needs. Answered with ``("room", token, answer)``.

        `first`: this time. Then it may not have heard yet of values that it wrote and that nobody needs any more.
        """
        ask = Ask(worker, needed, spare, token)
        room = self._home(worker)
        room.granted.setdefault(ask.writer, 0)
        if first:
            ask.spare = max(spare, room.idle(ask.writer))
        if not self._answer(room, ask):
            room.waiting.append(ask)

    def forgotten(self, token: Any) -> bool:
        """Nobody waits for the answer any more; True if it had not been given."""
        for room in self.rooms.values():
            for ask in room.waiting:
                if ask.token == token:
                    room.waiting.remove(ask)
                    self._go_on(room)
                    return True
        return False

    def _home(self, worker: Worker | None) -> Room:
        writer = 0 if worker is None else worker.id
        room = self._homes.get(writer)
        if room is None:
            assert worker is not None
            room = self._homes[writer] = self.rooms[worker.node.id]
        return room

    def _answer(self, room: Room, ask: Ask) -> bool:
        """Answer it if that is possible now."""
        if ask.worker is not None and ask.worker.id not in self.workers:
            return True  # it was given up, and nobody hears the answer
        ahead = 0
        for other in room.waiting:
            if other is ask:
                break
            ahead += other.needed
        free = max(0, room.free - ahead)
        missing = ask.needed - free
        if missing <= 0:
            step = min(STEP_BYTES, free // 4) if 2 * free > room.limit else 0
            self._grant(room, ask.writer, max(ask.needed, step))
            self.out.append(("room", ask.token, (GRANTED,)))
            return True
        if ask.spare >= missing:
            self._grant(room, ask.writer, free)
            self.out.append(("room", ask.token, (OWN,)))
            return True
        idle = {
            writer: amount
            for writer in room.granted
            if writer != ask.writer and writer in self._homes and writer not in ask.tried
            if (amount := room.idle(writer))
        }
        missing -= sum(idle.values())
        if missing <= 0:
            for writer in idle.keys() - room.trimming:
                self.out.append(("trim", writer, ask.needed))
            room.trimming.update(idle)
            ask.tried.update(idle)
            return False
        if ask.tried & room.trimming:
            return False  # more may come
        coldest = self._coldest(room, missing) if ask.needed <= room.limit else []
        if coldest:
            self.moving[ask.writer] = self.moving.get(ask.writer, 0) + len(coldest)
            for id, _ in coldest:
                self._lend(ask.worker, id | IN_STORE)
        self.out.append(("room", ask.token, (SPILL, tuple(coldest)) if coldest else (FULL,)))
        return True

    def _grant(self, room: Room, writer: int, amount: int) -> None:
        if amount > 0:
            room.granted[writer] += amount
            self.out.append(("grant", writer, amount))

    def _coldest(self, room: Room, needed: int) -> list[tuple[int, Any]]:
        """Objects whose bytes nobody maps, with their locations: the least recently used ones that have `needed` bytes
        together. Empty: all of them have not."""
        entries = self.objects.entries
        found = []
        for bytes, (_, size) in room.resident.items():
            entry = entries[bytes]
            owner = entries.get(bytes ^ IN_STORE)
            # Held by its value alone, that is.
            if entry.count == 1 and owner is not None and owner.value is not None and owner.value[0] == STORED:
                assert entry.value is not None
                found.append((bytes ^ IN_STORE, entry.value[1]))
                needed -= size
                if needed <= 0:
                    return found
        return []

    def given_back(self, worker: Worker | None, amount: int, trimmed: bool) -> None:
        """A writer does without `amount` bytes of its grant; `trimmed`: because it was asked to."""
        room = self._home(worker)
        writer = 0 if worker is None else worker.id
        room.granted[writer] = room.granted.get(writer, 0) - amount
        if trimmed:
            room.trimming.discard(writer)
        self._go_on(room)

    def _go_on(self, room: Room) -> None:
        while room.waiting and self._answer(room, room.waiting[0]):
            room.waiting.popleft()

    # -- moving ---------------------------------------------------------------------------------------------------

    def moved(self, worker: Worker | None, id: int, location: Any) -> None:
        """A writer has moved a value as it was told to; `location` None: it could not."""
        writer = 0 if worker is None else worker.id
        left = self.moving.get(writer, 0) - 1
        if left > 0:
            self.moving[writer] = left
        else:
            self.moving.pop(writer, None)
        objects = self.objects
        if location is not None and not objects.moved(id, location):
            objects.freed.append((SPILLED, location, ()))
        if worker is None:
            objects.release(id | IN_STORE)
        else:
            objects.repay(worker.loans, id | IN_STORE, 1)

    def _lend(self, worker: Worker | None, bytes: int) -> None:
        if worker is None:
            self.objects.retain(bytes)
        else:
            self.objects.lend(worker.loans, bytes)

    # -- the end of a writer --------------------------------------------------------------------------------------

    def writer_gone(self, id: int) -> None:
        """A worker's process is gone. What it wrote and somebody still needs stays; the rest of its memory is free."""
        self.moving.pop(id, None)
        room = self._homes.pop(id, None)
        if room is None:
            return  # it has never written anything large
        room.waiting = deque(ask for ask in room.waiting if ask.writer != id)
        room.trimming.discard(id)
        live = room.live.get(id, 0)
        if live:
            room.granted[id] = min(room.granted[id], live)
        else:
            room.granted.pop(id, None)
            room.live.pop(id, None)
        kept = [bytes for bytes, where in room.resident.items() if where[0] == id]
        kept += [bytes for bytes, writer in self._on_disk.items() if writer == id]
        self.out.append(("bury", id, [self._location(bytes) for bytes in kept]))
        self._go_on(room)

    def _location(self, bytes: int) -> Any:
        value = self.objects.entries[bytes].value
        assert value is not None
        return value[1]

    # -- invariants -----------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Grants stay within limits, books agree with what there is, and nobody waits for nothing."""
        entries = self.objects.entries
        resident = {bytes for room in self.rooms.values() for bytes in room.resident}
        known = resident | self._on_disk.keys()
        assert known == {id for id in entries if is_bytes(id)}, "bytes that nobody has heard of, or that are gone"
        for room in self.rooms.values():
            assert sum(room.granted.values()) <= room.limit, room
            assert all(amount >= 0 for amount in room.granted.values()), room
            live: dict[int, int] = {}
            for writer, size in room.resident.values():
                live[writer] = live.get(writer, 0) + size
            assert live == {writer: size for writer, size in room.live.items() if size}, room
            assert not room.waiting or room.waiting[0].tried & room.trimming, f"{room} waits for nothing"
        assert self.moving.keys() <= self._homes.keys(), self.moving
