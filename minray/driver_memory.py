"""Memory for values on the driver's side: it carries out what `minray.core.memory` decides, and is a writer itself.

graph: ("grant" / "trim", writer, n) ──> ROOM to a worker, or the driver's own store
       ("room", token, answer)       ──> the answer to NEED of a worker, or to the driver's own `_ask`
       ("bury", writer, locations)   ──> the store
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from minray.backend import Store
from minray.calling import Codec, Gone
from minray.core.graph import TaskGraph
from minray.core.value import bytes_of
from minray.reading import Reader, Waiting
from minray.reentry import would_wait
from minray.room import PATIENCE_SECONDS, RoomMaker, move_nothing
from minray.serving import Serving
from minray.wire import messages as m

Event = Callable[[], object]

#: The decisions that are carried out here, under the lock.
DECISIONS = frozenset({"grant", "trim", "room", "bury", "lost"})


class DriverMemory:
    """Of one run whose pool has a store."""

    def __init__(
        self,
        store: Store,
        graph: TaskGraph,
        lock: Any,
        outbox: deque[tuple[Any, ...]],
        reader: Reader,
        serving: Serving,
        codec: Codec,
        decide: Callable[[Event], None],
        note: Callable[[Event], None],
        must_not_wait: Callable[[], bool],
    ) -> None:
        """`lock` is the runtime's. `decide(event)` has an event for the graph happen now, `note(event)` soon and
        without any lock. `must_not_wait()`: the calling thread is in the middle of minray's own work."""
        self._store = store
        self._graph = graph
        self._lock = lock
        self._codec = codec
        self._outbox = outbox
        self._reader = reader
        self._serving = serving
        self._decide = decide
        self._note = note
        self._must_not_wait = must_not_wait
        graph.memory.share = store.share
        store.bind(RoomMaker(store, self._ask, self._moved, self._lost), self._give_back)

    # -- deciding and doing ---------------------------------------------------------------------------------------

    def carry_out(self, op: str, what: Any, more: Any) -> None:
        """One of `DECISIONS`. Under the lock."""
        if op == "room":
            if type(what) is Waiting:
                what.reply = more
                what.finish()
            else:
                self._serving.give_room(what, more)
        elif op == "lost":
            self._outbox.append((0, "do", partial(self._store.lost, what[1])))
        elif op == "bury":
            self._outbox.append((0, "do", partial(self._store.bury, what, more)))
        elif what:  # a worker
            self._outbox.append((what, (m.ROOM, more if op == "grant" else -more)))
            if op == "trim":
                self._outbox.append((what, "interrupt"))
        elif op == "grant":
            self._store.grant(more)
        else:
            self._outbox.append((0, "do", partial(self._trim, more)))

    def _trim(self, amount: int) -> None:
        """The driver is asked for room that it does not use. Under no lock."""
        self._note(partial(self._graph.room_given_back, None, self._store.trim(amount), True))

    # -- the driver as a reader and a writer ----------------------------------------------------------------------

    def read(self, id: int) -> Any:
        """Read the stored value of an object, which somebody may move to disk meanwhile.

        Gone: it was lost, and is pending by now, or an error that says why. RuntimeError: nobody must wait here.
        """
        objects = self._graph.objects
        with self._lock:
            value = objects.value_of(id)
            assert value is not None
            bytes = bytes_of(id, value[0])
            objects.retain(bytes)  # at once, even if this thread is in the middle of an event
            objects.memory.used(bytes)
        try:
            return self._codec.decode(value, id)
        except Gone as gone:
            if self._must_not_wait():
                raise would_wait() from gone
            self._lost(gone.id, gone.location)
            raise
        finally:
            self._codec.release(bytes)

    def _ask(self, missing: int, spare: int, first: bool) -> Any:
        """Ask for memory; None: not here, where nobody must wait."""
        if self._must_not_wait():
            return None
        waiting = Waiting()
        self._decide(partial(self._graph.asked_room, None, missing, spare, first, waiting))
        try:
            if not waiting.done:
                self._reader.wait(waiting, PATIENCE_SECONDS)
        except KeyboardInterrupt:
            self._decide(partial(self._graph.room_forgotten, waiting))
            move_nothing(waiting.reply, self._moved)
            raise
        if not waiting.done:
            self._decide(partial(self._graph.room_forgotten, waiting))
        return waiting.reply

    def _lost(self, id: int, location: Any) -> None:
        self._decide(partial(self._graph.lineage.lost, id, location))

    def _moved(self, id: int, location: Any) -> None:
        self._decide(partial(self._graph.moved, None, id, location))

    def _give_back(self, amount: int) -> None:
        self._note(partial(self._graph.room_given_back, None, amount, False))
