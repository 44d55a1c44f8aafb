"""References that one process holds, for its owner."""

from __future__ import annotations

from collections import deque


class Counts:
    """References held in this process, and those to give back to the owner.

    For each id: how many are held here, and how many the owner has counted for this worker. When nothing is held any
    more all of these go back at once. Everything but `settle` only notes, and takes no lock: the garbage collector may
    call it anywhere.
    """

    def __init__(self) -> None:
        self._held: dict[int, list[int]] = {}
        #: What has happened since `settle`, in order: ``(id, 1)`` received, ``(id, 0)`` retained, ``id`` dropped.
        self.noted: deque[tuple[int, int] | int] = deque()

    def receive(self, id: int) -> None:
        """The owner has counted one for us, and it is held until dropped."""
        self.noted.append((id, 1))

    def retain(self, id: int) -> None:
        """One more is held here."""
        self.noted.append((id, 0))

    def drop(self, id: int) -> None:
        """One less is."""
        self.noted.append(id)

    def settle(self) -> tuple[tuple[int, int], ...]:
        """What goes back to the owner by now. One thread at a time."""
        noted = self.noted
        held = self._held
        back: list[tuple[int, int]] = []
        while noted:
            note = noted.popleft()
            if isinstance(note, tuple):
                id, counted = note
                entry = held.get(id)
                if entry is None:
                    held[id] = [1, counted]
                else:
                    entry[0] += 1
                    entry[1] += counted
            else:
                entry = held[note]
                entry[0] -= 1
                if not entry[0]:
                    del held[note]
                    if entry[1]:
                        back.append((note, entry[1]))
        return tuple(back)
