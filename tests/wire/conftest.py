"""What tests of the wire format start from: a store in memory, and a session that counts references."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count
from pickle import PickleBuffer
from typing import Any

import pytest

import minray.calling  # noqa: F401  (says how references are pickled)
from minray.session import set_driver
from tests.core import profiles

profiles.load()


class MemoryStore:
    """Keeps copies of what is written to it: `write` and `read` are what `encode` and `decode` take."""

    def __init__(self) -> None:
        self.written: dict[int, tuple[bytes, list[bytes]]] = {}
        self._locations = count(1)

    def write(self, body: bytes, buffers: Sequence[PickleBuffer], total: int) -> int:
        copies = [bytes(buffer.raw()) for buffer in buffers]
        assert total == len(body) + sum(map(len, copies))
        location = next(self._locations)
        self.written[location] = (body, copies)
        return location

    def read(self, id: int, location: int) -> tuple[bytes, list[Any]]:
        body, copies = self.written[location]
        return body, [memoryview(copy) for copy in copies]


class CountingSession:
    """As much of a session as references need."""

    closed = False

    def __init__(self) -> None:
        self.counts: Counter[int] = Counter()
        self.pinned: list[int] = []

    def retain(self, id: int) -> None:
        self.counts[id] += 1

    def release(self, id: int) -> None:
        self.counts[id] -= 1

    def pin(self, id: int) -> None:
        self.pinned.append(id)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def session() -> Iterator[CountingSession]:
    """The session of this thread, in which references are made and unpickled."""
    session: Any = CountingSession()
    set_driver(session)
    yield session
    set_driver(None)
