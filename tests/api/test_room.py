"""What a writer does that finds no memory, whatever the owner answers."""

from __future__ import annotations

from typing import Any

import pytest

from minray.core.memory import FULL, GRANTED, OWN, SPILL
from minray.exceptions import OutOfDiskError
from minray.room import RoomMaker, move_nothing


class Store:
    """Moves values until its disk is full."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.shrunk: list[int] = []

    def shrink(self, amount: int) -> None:
        self.shrunk.append(amount)

    def spill(self, location: Any) -> Any:
        if location is None:
            return None
        if not self.room:
            raise OutOfDiskError("full")
        self.room -= 1
        return ("disk", location)


def make_room(
    answer: Any, disk: int = 10, gone: list[tuple[int, Any]] | None = None
) -> tuple[RoomMaker, Store, list[tuple[int, Any]]]:
    store = Store(disk)
    moved: list[tuple[int, Any]] = []
    asked: Any = lambda missing, spare, first: answer  # noqa: E731
    tell = [
        lambda id, location, told=told: told.append((id, location)) for told in (moved, [] if gone is None else gone)
    ]
    return RoomMaker(store, asked, *tell), store, moved  # type: ignore[arg-type]


@pytest.mark.parametrize(("answer", "again"), [((GRANTED,), True), ((OWN,), True), ((FULL,), False), (None, False)])
def test_it_looks_again_unless_there_is_no_room(answer: Any, again: bool) -> None:
    make, store, moved = make_room(answer)
    assert make(100, 50, 0) is again
    assert store.shrunk == ([100] if answer == (OWN,) else []) and not moved


def test_it_moves_what_it_is_told_to_in_that_order() -> None:
    make, _, moved = make_room((SPILL, ((1, "a"), (2, "b"))))
    assert make(100, 0, 0)
    assert moved == [(1, ("disk", "a")), (2, ("disk", "b"))]


def test_where_the_disk_is_full_the_owner_hears_what_was_not_moved() -> None:
    make, _, moved = make_room((SPILL, ((1, "a"), (2, "b"), (3, "c"))), disk=1)
    with pytest.raises(OutOfDiskError):
        make(100, 0, 0)
    assert sorted(moved, key=lambda each: each[0]) == [(1, ("disk", "a")), (2, None), (3, None)]


def test_what_is_gone_is_not_moved_but_told() -> None:
    gone: list[tuple[int, Any]] = []
    make, _, moved = make_room((SPILL, ((1, None), (2, "b"))), gone=gone)
    assert make(100, 0, 0)
    assert gone == [(1, None)] and moved == [(1, None), (2, ("disk", "b"))]


def test_who_is_interrupted_moves_nothing() -> None:
    moved: list[tuple[int, Any]] = []
    for answer in (None, (GRANTED,), (SPILL, ((1, "a"), (2, "b")))):
        move_nothing(answer, lambda id, location: moved.append((id, location)))
    assert moved == [(1, None), (2, None)]
