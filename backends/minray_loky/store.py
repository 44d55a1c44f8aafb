"""Large values in shared memory: files in the run's own directory, mapped by every process that reads them.

    writer: alloc in one of its own arenas (a file) -> memcpy -> location (path, offset, sizes, pickle)
    reader: mmap the arena once, read-only -> views -> numpy arrays built on them, no copy
    owner:  nobody needs the object, nobody has a view of it -> free, by the writer: the bytes are used again

Only its writer allocates in an arena, so that nothing is shared but bytes. Bytes that were used before are already
mapped and touched, and written at the speed of memcpy; fresh pages cost ten times that, which is why freed ones are
kept for a while. A thread that the garbage collector leads here while it is allocating (see `minray.reentry`) leaves
the arenas alone, and makes one for itself.
"""

from __future__ import annotations

import errno
import mmap
import os
import sys
import weakref
from bisect import bisect_left
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, cast

from minray.backend import ReentrantLock, owner_of

#: (path, offset, sizes of the parts in it, the first part if it is small)
Location = tuple[str, int, tuple[int, ...], Any]

_ALIGN = 64
#: An arena's size, unless one value needs more. It is a sparse file: only what is used takes memory.
_ARENA_BYTES = 64 << 20
#: Memory is reserved in such steps, so that a full file system is an error and not a SIGBUS in the middle of a copy.
_RESERVE_BYTES = 4 << 20
#: Unused arenas are kept up to this many bytes.
_KEEP_BYTES = 512 << 20
#: A pickle up to this size travels with the location: reading it needs no mapping.
_INLINE_PART = 16 << 10
#: Mapped arenas kept open for reading.
_MAPPINGS = 64
#: Copies from this size on are made by numpy, which lets other threads run meanwhile.
_LONG_COPY = 1 << 20


class Arena:
    """One file of a writer, and which parts of it are free: extents, sorted by offset, never touching each other."""

    def __init__(self, path: str, size: int) -> None:
        self.path = path
        self.size = size
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            os.ftruncate(self._fd, size)
            self.map = mmap.mmap(self._fd, size)
        except OSError:
            os.close(self._fd)
            os.unlink(path)
            raise
        self.view = memoryview(self.map)
        self.free: list[tuple[int, int]] = [(0, size)]
        self.used = 0
        self._reserved = 0

    def take(self, size: int) -> int | None:
        """The offset of `size` free bytes, the lowest there is, so that touched pages are used again; None: no room.

        OSError (ENOSPC): the file system has no room.
        """
        for index, (offset, length) in enumerate(self.free):
            if length >= size:
                if offset + size > self._reserved:
                    upto = min(self.size, -(-(offset + size) // _RESERVE_BYTES) * _RESERVE_BYTES)
                    if hasattr(os, "posix_fallocate"):
                        os.posix_fallocate(self._fd, self._reserved, upto - self._reserved)
                    self._reserved = upto
                if length == size:
                    del self.free[index]
                else:
                    self.free[index] = (offset + size, length - size)
                self.used += size
                return offset
        return None

    def give(self, offset: int, size: int) -> None:
        """These bytes are free again."""
        index = bisect_left(self.free, (offset, 0))
        self.used -= size
        if index < len(self.free) and self.free[index][0] == offset + size:
            size += self.free.pop(index)[1]
        if index and sum(self.free[index - 1]) == offset:
            index -= 1
            offset, before = self.free.pop(index)
            size += before
        self.free.insert(index, (offset, size))

    def close(self) -> None:
        """Forget the file. Views of it keep what they need."""
        self.view.release()
        self.map.close()
        try:
            if not self.used:  # mappings elsewhere give their memory back too; where there is a view, it would crash
                os.ftruncate(self._fd, 0)
            os.unlink(self.path)
        except OSError:  # the run's directory is gone already
            pass
        os.close(self._fd)


class SharedStore:
    """`minray.backend.Store` for one process.

    `tag` is a part of its files' names; `pass_on` gets the locations of other writers that are to be freed.
    """

    def __init__(
        self, directories: Sequence[str], tag: str, pass_on: Callable[[str, Location], None] | None = None
    ) -> None:
        self._directories = list(directories)  # in order of preference
        self._tag = tag
        self._pass_on = pass_on
        self._arenas: dict[str, Arena] = {}
        self._made = count(1)
        self._lock = ReentrantLock()
        self._is_allocating = owner_of(self._lock)  # the calling thread, that is
        #: What came while the thread had the lock already, in order: arenas that were made, locations that are free.
        self._noted: deque[Arena | Location] = deque()
        self._mappings: OrderedDict[str, mmap.mmap] = OrderedDict()
        self._leases: dict[int, weakref.ref[Any]] = {}  # by id: an array's weakref has no hash

    # -- writing --------------------------------------------------------------------------------------------------

    def write(self, parts: Sequence[Any], total: int) -> Location:
        first: Any = None
        if len(parts) > 1 and len(parts[0]) <= _INLINE_PART:
            first, parts = bytes(parts[0]), parts[1:]
        views = [memoryview(part).cast("B") for part in parts]
        sizes = tuple([view.nbytes for view in views])
        needed = sum(map(_aligned, sizes)) or _ALIGN
        if self._is_allocating():
            arena, offset = self._make(needed, needed)
            self._noted.append(arena)
        else:
            with self._lock:
                self._settle()
                arena, offset = self._allocate(needed)
        place = offset
        for view, size in zip(views, sizes):
            _copy(arena.view[place : place + size], view)
            place += _aligned(size)
        return (arena.path, offset, sizes, first)

    def _allocate(self, size: int) -> tuple[Arena, int]:
        for arena in self._arenas.values():
            offset = arena.take(size)
            if offset is not None:
                return arena, offset
        new, offset = self._make(size, _ARENA_BYTES)
        self._arenas[new.path] = new
        return new, offset

    def _make(self, size: int, least: int) -> tuple[Arena, int]:
        """A new arena, of `least` bytes or more, and the offset of `size` bytes taken in it."""
        error: OSError | None = None
        for directory in self._directories:
            path = os.path.join(directory, f"{self._tag}-{next(self._made)}")
            new: Arena | None = None
            try:
                new = Arena(path, max(least, size))
                offset = new.take(size)
                assert offset is not None
            except OSError as problem:
                if new is not None:
                    new.close()
                if problem.errno not in (errno.ENOSPC, errno.ENOMEM, errno.EFBIG, errno.EDQUOT):
                    raise
                error = problem
                continue
            return new, offset
        assert error is not None
        raise OSError(error.errno, f"No room for a value of {size} bytes in {', '.join(self._directories)}") from error

    def size(self, location: Location) -> int:
        return sum(location[2])

    def free(self, location: Location) -> None:
        path = location[0]
        if os.path.basename(path).rpartition("-")[0] != self._tag:
            if self._pass_on is not None:
                self._pass_on(path, location)
        elif self._is_allocating():
            self._noted.append(location)
        else:
            with self._lock:
                self._settle()
                self._give(location)

    def _give(self, location: Location) -> None:
        """These bytes are free again. Under the lock."""
        path, offset, sizes, _ = location
        arena = self._arenas[path]
        arena.give(offset, sum(map(_aligned, sizes)) or _ALIGN)
        if not arena.used:
            self._retire()

    def _settle(self) -> None:
        """Do what was noted. Under the lock, and with the arenas whole."""
        while self._noted:
            note = self._noted.popleft()
            if isinstance(note, Arena):
                self._arenas[note.path] = note
            else:
                self._give(note)

    def _retire(self) -> None:
        """Close unused arenas, the largest first, until those that are kept are few enough."""
        unused = sorted((arena for arena in self._arenas.values() if not arena.used), key=lambda arena: arena.size)
        total = sum(arena.size for arena in unused)
        while unused and total > _KEEP_BYTES:
            arena = unused.pop()
            total -= arena.size
            del self._arenas[arena.path]
            arena.close()

    # -- reading --------------------------------------------------------------------------------------------------

    def read(self, location: Location, released: Callable[[], None]) -> list[Any]:
        import numpy  # an array is the cheapest thing that exports a part of a mapping and can be watched

        path, offset, sizes, first = location
        mapping = self._map(path)
        lease = numpy.frombuffer(mapping, numpy.uint8, sum(map(_aligned, sizes)), offset)

        def gone(ref: weakref.ref[Any]) -> None:
            self._leases.pop(id(ref), None)
            released()

        ref = weakref.ref(lease, gone)
        self._leases[id(ref)] = ref
        view = memoryview(cast(Any, lease))
        parts: list[Any] = [] if first is None else [first]
        place = 0
        for size in sizes:
            parts.append(view[place : place + size])
            place += _aligned(size)
        return parts

    def _map(self, path: str) -> mmap.mmap:
        mappings = self._mappings
        mapping = mappings.get(path)
        if mapping is None:
            with self._lock:
                mapping = mappings.get(path)
                if mapping is None:
                    mapping = mappings[path] = _open_mapping(path)
                    if len(mappings) > _MAPPINGS:
                        mappings.popitem(last=False)  # views keep what they need
        return mapping

    def close(self) -> None:
        """Forget everything. Files go with the run's directory."""
        self._leases.clear()
        self._mappings.clear()
        for arena in [*self._arenas.values(), *(note for note in self._noted if isinstance(note, Arena))]:
            try:
                arena.close()
            except (OSError, BufferError, ValueError):
                continue
        self._arenas.clear()
        self._noted.clear()


def discard(location: Location) -> None:
    """Give the memory of a dead writer's value back: its pages are taken out of the file, which goes with the run."""
    path, offset, sizes, _ = location
    begin = -(-offset // mmap.PAGESIZE) * mmap.PAGESIZE
    end = (offset + sum(map(_aligned, sizes))) // mmap.PAGESIZE * mmap.PAGESIZE
    if end <= begin or not hasattr(mmap, "MADV_REMOVE"):
        return
    try:
        with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
            mapping.madvise(mmap.MADV_REMOVE, begin, end - begin)
    except (OSError, ValueError):  # gone already, or a file system that cannot: then the end of the run frees it
        return


def _aligned(size: int) -> int:
    return -(-size // _ALIGN) * _ALIGN


def _open_mapping(path: str) -> mmap.mmap:
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    try:
        if sys.version_info >= (3, 13):
            return mmap.mmap(fd, 0, access=mmap.ACCESS_READ, trackfd=False)
        return mmap.mmap(fd, 0, access=mmap.ACCESS_READ)
    finally:
        os.close(fd)


def _copy(target: memoryview, source: memoryview) -> None:
    if source.nbytes >= _LONG_COPY:
        import numpy

        numpy.copyto(numpy.frombuffer(target, numpy.uint8), numpy.frombuffer(source, numpy.uint8))
    else:
        target[:] = source
