"""Large values of the threads backend: bytes in this process's memory up to a limit, and on disk beyond it.

    worker or driver: write -> one block of bytes -> location (writer, number, sizes)
    spill, or no memory -> an extent of a file that has no name, so that nothing is left of it however the process ends

All stores of a pool share their blocks. Each counts what its own writer fills, as it would in a process of its own.

Other threads wait for who has the lock of the blocks, so that one must not wait for a task. A thread that the garbage
collector leads here while it has the lock (see `minray.reentry`) finds the books half-way: what it writes stays in
memory without being counted, what it frees is noted, and freed by the outer call.
"""

from __future__ import annotations

import mmap
import os
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import count
from typing import Any

from minray.backend import ReentrantLock, never_waiting, owner_of
from minray.disk_space import NO_ROOM, check_room, no_room
from minray.leases import Leases

#: (writer, number of the block or where it is on disk, whether it is on disk, sizes of the parts)
Location = tuple[int, int, bool, tuple[int, ...]]

_ALIGN = 64
#: Blocks on disk up to this size are read, larger ones are mapped.
_READ_BYTES = 1 << 20
#: Blocks from this size on ask for huge pages: to touch fresh memory takes 0.13 ns a byte then, else 0.5 to 0.7.
_LARGE = 4 << 20
#: How often room is made for one value before it goes to disk. Others may take what was meant for it.
_ATTEMPTS = 8


class Blocks:
    """What the stores of one pool have in common."""

    def __init__(self, directory: str | None, threshold: float) -> None:
        """`directory`: where the disk is, None: the temporary one; `threshold`: which share of that may be in use."""
        self._lock = ReentrantLock()
        self.is_locked = owner_of(self._lock)  # by the calling thread, that is
        self._dropped: deque[Location] = deque()
        self.memory: dict[int, tuple[int, bytes | mmap.mmap]] = {}  # by number: its writer (uncounted: -1), the block
        self.used: dict[int, int] = {}  # bytes in memory, by writer
        self.numbers = count(1)
        self.leases = Leases()
        self._directory = directory
        self._threshold = threshold
        self._file: Any = None
        self._free: list[tuple[int, int]] = []  # extents of it, by offset; no two of them touch
        self._end = 0

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else changes anything."""
        outermost = not self.is_locked()
        with never_waiting():
            with self._lock:
                yield
            while outermost and self._dropped:
                with self._lock, suppress(IndexError):
                    self._free_block(self._dropped.popleft())

    def to_disk(self, block: bytes | mmap.mmap) -> int:
        """Write a block; return where it is. OutOfDiskError: no room."""
        import tempfile  # 3 ms, for what few runs do

        size = _pages(len(block))
        with self.locked():
            if self._directory is None:
                self._directory = tempfile.gettempdir()
            check_room(self._directory, size, self._threshold)
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._directory)
            offset = self._take(size)
            try:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(self._file.fileno(), offset, size)
                written = 0
                while written < len(block):
                    written += os.pwrite(self._file.fileno(), memoryview(block)[written:], offset + written)
            except OSError as error:
                self._give(offset, size)
                if error.errno in NO_ROOM:
                    raise no_room(self._directory, size, self._threshold) from error
                raise
        return offset

    def _take(self, size: int) -> int:
        for index, (offset, length) in enumerate(self._free):
            if length >= size:
                if length > size:
                    self._free[index] = (offset + size, length - size)
                else:
                    del self._free[index]
                return offset
        self._end += size
        return self._end - size

    def _give(self, offset: int, size: int) -> None:
        """An extent is free again."""
        free = self._free
        index = bisect_left(free, (offset, 0))
        if index < len(free) and free[index][0] == offset + size:
            size += free.pop(index)[1]
        if index and sum(free[index - 1]) == offset:
            index -= 1
            offset, before = free.pop(index)
            size += before
        if offset + size == self._end:  # the end of the file
            self._end = offset
            self._file.truncate(offset)
        else:
            free.insert(index, (offset, size))

    def from_disk(self, offset: int, size: int) -> Any:
        """A block: its bytes, or a mapping of them."""
        if size <= _READ_BYTES:
            return os.pread(self._file.fileno(), size, offset)
        return mmap.mmap(self._file.fileno(), size, offset=offset, access=mmap.ACCESS_READ)

    def drop(self, location: Location) -> None:
        """Nobody needs it."""
        self._dropped.append(location)
        if not self.is_locked():
            with self.locked():
                pass

    def _free_block(self, location: Location) -> None:
        _, place, on_disk, sizes = location
        if on_disk:
            self._give(place, _pages(_total(sizes)))
            return
        writer, _ = self.memory.pop(place, (-1, b""))
        if writer >= 0:
            self.used[writer] -= _total(sizes)

    def close(self) -> None:
        with self.locked():
            self.leases.clear()
            self.memory.clear()
            self.used.clear()
            if self._file is not None:
                self._file.close()


class LocalStore:
    """`minray.backend.Store` for the driver (0) or one worker."""

    def __init__(self, blocks: Blocks, writer: int) -> None:
        self._blocks = blocks
        self._writer = writer
        self._granted = 0
        self._make_room: Callable[[int, int, int], bool] = lambda *_: False
        blocks.used.setdefault(writer, 0)

    def bind(self, make_room: Callable[[int, int, int], bool], give_back: Callable[[int], None]) -> None:
        self._make_room = make_room  # nothing is ever given back unasked: unused room costs nothing

    def write(self, parts: Sequence[Any], total: int) -> Location:
        views = [memoryview(part).cast("B") for part in parts]
        sizes = tuple([view.nbytes for view in views])
        counted = not self._blocks.is_locked()
        in_memory = not counted or self._reserve(_total(sizes))
        block = _block(views)
        if not in_memory:
            return (self._writer, self._blocks.to_disk(block), True, sizes)
        number = next(self._blocks.numbers)
        self._blocks.memory[number] = (self._writer if counted else -1, block)
        return (self._writer, number, False, sizes)

    def _reserve(self, size: int) -> bool:
        """Count `size` bytes as used, if there is as much memory."""
        blocks = self._blocks
        for attempt in range(_ATTEMPTS):
            with blocks.locked():
                missing = blocks.used[self._writer] + size - self._granted
                if missing <= 0:
                    blocks.used[self._writer] += size
                    return True
            if not self._make_room(missing, 0, attempt):
                break
        return False

    def grant(self, amount: int) -> None:
        with self._blocks.locked():
            self._granted += amount

    def trim(self, amount: int) -> int:
        with self._blocks.locked():
            given = max(0, min(amount, self._granted - self._blocks.used[self._writer]))
            self._granted -= given
        return given

    def shrink(self, amount: int) -> None:
        """Nothing to do: unused room is of use for any value."""

    def size(self, location: Location) -> int:
        return sum(location[3])

    def share(self, location: Location) -> tuple[int, int]:
        return location[0], 0 if location[2] else _total(location[3])

    def spill(self, location: Location) -> Location:
        _, number, _, sizes = location
        return (self._writer, self._blocks.to_disk(self._blocks.memory[number][1]), True, sizes)

    def read(self, location: Location, released: Callable[[], None]) -> list[memoryview]:
        _, place, on_disk, sizes = location
        total = _total(sizes)
        block = self._blocks.from_disk(place, total) if on_disk else self._blocks.memory[place][1]
        view = self._blocks.leases.view(memoryview(block).toreadonly(), total, 0, released)  # a mapping is not
        parts, at = [], 0
        for size in sizes:
            parts.append(view[at : at + size])
            at += _aligned(size)
        return parts

    def free(self, location: Location) -> None:
        self._blocks.drop(location)

    def lost(self, location: Location) -> None:
        """Nothing else is ever written there: each value has a place of its own."""

    def bury(self, writer: int, kept: Sequence[Location]) -> None:
        blocks = self._blocks
        keep = {location[1] for location in kept if not location[2]}
        with blocks.locked():
            for number in [number for number, (who, _) in blocks.memory.items() if who == writer]:
                if number not in keep:  # its thread was ended before it could tell of it
                    del blocks.memory[number]


def _block(views: Sequence[memoryview]) -> bytes | mmap.mmap:
    """One block of what is in all of them, each with room behind it up to the next multiple of _ALIGN."""
    total = _total([view.nbytes for view in views])
    if total < _LARGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        pieces: list[Any] = []
        for view in views:
            pieces += [view, bytes(_aligned(view.nbytes) - view.nbytes)]
        return b"".join(pieces)
    import numpy  # lets other threads run meanwhile, and readers need it anyway

    block = mmap.mmap(-1, total, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel without them
        block.madvise(mmap.MADV_HUGEPAGE)
    target = numpy.frombuffer(block, numpy.uint8)
    at = 0
    for view in views:
        numpy.copyto(target[at : at + view.nbytes], numpy.frombuffer(view, numpy.uint8))
        at += _aligned(view.nbytes)
    return block


def _aligned(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN


def _total(sizes: Sequence[int]) -> int:
    return sum(map(_aligned, sizes))


def _pages(size: int) -> int:
    return -(-size // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
