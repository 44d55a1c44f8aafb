"""Blocks of the threads backend: in memory as far as there is some, in a file without a name beyond it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minray_threads.store import Blocks, LocalStore, Location


@given(steps=st.lists(st.tuples(st.booleans(), st.integers(1, 300_000)), max_size=30))
@settings(deadline=None, max_examples=30)
def test_extents_on_disk_keep_what_is_in_them_and_are_used_again(steps: list[tuple[bool, int]]) -> None:
    blocks = Blocks("/tmp", 1.0)
    held: list[tuple[int, int, bytes]] = []
    for add, number in steps:
        if add:
            what = bytes([number % 256]) * number
            held.append((blocks.to_disk(what), number, what))
        elif held:
            offset, size, _ = held.pop(number % len(held))
            blocks.drop((0, offset, True, (size,)))
        for offset, size, what in held:
            assert blocks.from_disk(offset, size) == what
    for offset, size, _ in held:
        blocks.drop((0, offset, True, (size,)))
    if blocks._file is not None:
        assert os.fstat(blocks._file.fileno()).st_size == 0
    blocks.close()


def read(store: LocalStore, location: Location) -> tuple[list[bytes], list[str]]:
    said: list[str] = []
    parts = [bytes(part) for part in store.read(location, lambda: said.append("released"))]
    return parts, said


def test_a_value_is_in_memory_if_that_was_granted_and_can_be_moved(tmp_path: Path) -> None:
    blocks = Blocks(str(tmp_path), 1.0)
    store, other = LocalStore(blocks, 1), LocalStore(blocks, 2)
    asked: list[Any] = []

    def make_room(missing: int, spare: int, attempt: int) -> bool:
        asked.append((missing, spare, attempt))
        store.grant(missing)
        return attempt == 0

    store.bind(make_room, lambda amount: None)
    location = store.write([b"a" * 100, b"b" * 30], 130)
    assert asked == [(192, 0, 0)] and store.share(location) == (1, 192) and store.size(location) == 130
    assert read(other, location) == ([b"a" * 100, b"b" * 30], ["released"])
    moved = other.spill(location)
    store.free(location)
    assert other.share(moved) == (2, 0) and read(store, moved) == ([b"a" * 100, b"b" * 30], ["released"])
    assert store.trim(1000) == 192 and store.trim(1000) == 0
    assert os.listdir(tmp_path) == [], "the file has no name"
    blocks.close()


def test_without_memory_it_goes_to_disk(tmp_path: Path) -> None:
    blocks = Blocks(str(tmp_path), 1.0)
    store = LocalStore(blocks, 0)
    location = store.write([b"x" * 2_000_000], 2_000_000)
    assert store.share(location) == (0, 0)
    assert read(store, location)[0] == [b"x" * 2_000_000]
    blocks.close()


def test_of_a_writer_that_is_gone_what_nobody_knows_of_is_freed(tmp_path: Path) -> None:
    blocks = Blocks(str(tmp_path), 1.0)
    store = LocalStore(blocks, 1)
    store.grant(1000)
    kept, _ = store.write([b"a"], 1), store.write([b"b"], 1)
    LocalStore(blocks, 0).bury(1, [kept])
    assert read(store, kept)[0] == [b"a"] and len(blocks.memory) == 1
    blocks.close()


@pytest.mark.slow
def test_a_run_stays_under_its_limit(tmp_path: Path) -> None:
    import numpy as np

    import minray

    minray.init(backend="threads", num_cpus=2, object_store_memory=80 << 20, object_spilling_directory=str(tmp_path))
    blocks = minray.session.current()._pool._blocks  # type: ignore[union-attr]

    @minray.remote
    def make(number: int) -> Any:
        return np.full(20 << 20, number, np.uint8)

    refs = [make.remote(number) for number in range(8)] + [minray.put(np.full(20 << 20, 9, np.uint8))]
    assert [int(minray.get(ref)[-1]) for ref in refs] == [0, 1, 2, 3, 4, 5, 6, 7, 9]
    assert sum(len(block) for _, block in blocks.memory.values()) <= 80 << 20
    del refs
    minray.get(make.remote(1))
    assert sum(blocks.used.values()) <= 21 << 20
