"""Arenas: what is taken never overlaps and keeps what is in it, and memory is counted as the system counts it."""

from __future__ import annotations

import os
import tempfile
from itertools import pairwise
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from minray_loky.arena import PAGE, Arena, cut, punch

SHARED = "/dev/shm" if os.path.isdir("/dev/shm") else None


@given(steps=st.lists(st.tuples(st.sampled_from(["take", "give", "trim"]), st.integers(1, 40)), max_size=40))
@settings(deadline=None, max_examples=40)
def test_taking_giving_and_trimming_in_any_order(steps: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory(dir=SHARED) as directory:
        arena = Arena(os.path.join(directory, "a"), 64 * PAGE)
        held: list[tuple[int, int, int]] = []  # offset, size, what is in it
        for step, number in steps:
            if step == "take":
                size = number * 2048
                found = arena.best(size)
                if found is not None:
                    before = arena.backed
                    assert arena.take(found[0], size) == found[1] == arena.backed - before
                    arena.view[found[0] : found[0] + size] = bytes([number]) * size
                    held.append((found[0], size, number))
            elif step == "give" and held:
                offset, size, _ = held.pop(number % len(held))
                arena.give(offset, size)
            elif step == "trim":
                spare = arena.spare()
                assert min(spare, PAGE) <= arena.trim(number * PAGE) <= spare or not spare
            for offset, size, what in held:
                assert arena.view[offset : offset + size] == bytes([what]) * size
            taken = sorted((offset, offset + size) for offset, size, _ in held)
            assert all(first[1] <= second[0] for first, second in pairwise(taken))
            assert arena.used == sum(size for _, size, _ in held)
            assert arena.backed == os.stat(arena.path).st_blocks * 512
        arena.close()
        assert os.listdir(directory) == []


def test_of_anothers_arena_all_but_what_is_kept_is_given_back(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=SHARED) as directory:
        path = os.path.join(directory, "a")
        arena = Arena(path, 64 * PAGE)
        arena.take(0, 64 * PAGE)
        arena.view[:] = b"x" * 64 * PAGE
        punch(path, [(10 * PAGE + 64, 2 * PAGE), (40 * PAGE, PAGE)])
        assert os.stat(path).st_blocks * 512 == 4 * PAGE
        assert arena.view[10 * PAGE + 64 : 12 * PAGE + 64] == b"x" * 2 * PAGE
        cut(path, 40 * PAGE, PAGE)
        assert os.stat(path).st_blocks * 512 == 3 * PAGE
        punch(path, [])
        assert not os.path.exists(path)
        punch(path, [])
        cut(path, 0, PAGE)
