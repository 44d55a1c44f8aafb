"""Making room for a value that is to be written: what the owner answers who asks, and doing what it says.

    store.write ──no memory──> make_room ──ask──> owner (core/memory.py)
                                   └─ granted: look again / own: give up unused room / spill: move values / full: disk

Who needs room makes it, in the thread that writes, in any process: so the owner is never held up by a disk, and who
writes faster than the disk takes it is slowed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from minray.backend import Store
from minray.core.memory import FULL, OWN, SPILL

#: How long to wait until other writers have given back what they do not use (s). Then the value goes to disk.
PATIENCE_SECONDS = 0.2


class RoomMaker:
    """What a store calls that lacks memory, see `minray.backend.Store.bind`."""

    def __init__(
        self,
        store: Store,
        ask: Callable[[int, int, bool], Any],
        moved: Callable[[int, Any], None],
        gone: Callable[[int, Any], None],
    ) -> None:
        """`ask(missing, spare, first)` returns the owner's answer, None if that cannot be waited for here. `moved(id,
        location)` tells it where a value is now; None: where it was. `gone(id, location)`: it is there no more."""
        self._store = store
        self._ask = ask
        self._moved = moved
        self._gone = gone

    def __call__(self, missing: int, spare: int, attempt: int) -> bool:
        answer = self._ask(missing, spare, attempt == 0)
        if answer is None or answer[0] == FULL:
            return False
        if answer[0] == OWN:
            self._store.shrink(missing)
        elif answer[0] == SPILL:
            self._move(answer[1])
        return True

    def _move(self, values: Sequence[tuple[int, Any]]) -> None:
        left = list(reversed(values))
        try:
            while left:
                id, before = left[-1]
                location = self._store.spill(before)
                if location is None:
                    self._gone(id, before)
                left.pop()
                self._moved(id, location)
        finally:
            for id, _ in left:
                self._moved(id, None)


def move_nothing(answer: Any, moved: Callable[[int, Any], None]) -> None:
    """Whoever asked was interrupted: of what it was to move, say that it has not been."""
    if answer is not None and answer[0] == SPILL:
        for id, _ in answer[1]:
            moved(id, None)
