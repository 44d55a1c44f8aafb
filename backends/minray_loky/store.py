"""Large values in shared memory: files in the run's own directory, mapped by every process that reads them.

    writer: alloc in one of its own arenas (a file) -> memcpy -> location (path, offset, sizes, pickle)
    reader: mmap the arena once, read-only -> views -> numpy arrays built on them, no copy
    owner:  nobody needs the object, nobody has a view of it -> free, by the writer: the bytes are used again

Only its writer allocates in an arena, so that nothing is shared but bytes. Bytes that were used before are already
mapped and touched, and written at the speed of memcpy; fresh pages cost ten times that, which is why freed ones are
kept for a while. More pages are taken only as far as the owner has granted memory (`grant`); where that is not enough
`make_room` is asked, with no lock held, and if there is none the value becomes a file on disk (disk.py).

A thread that the garbage collector leads here while it is allocating (see `minray.reentry`) leaves the arenas alone,
and writes a file on disk.
"""

from __future__ import annotations

import errno
import mmap
import os
import sys
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from typing import Any, NamedTuple

from minray.backend import ReentrantLock, owner_of
from minray.disk_space import NO_ROOM
from minray.leases import Leases
from minray_loky.arena import PAGE, Arena, cut, punch
from minray_loky.disk import Disk

#: (path, offset, sizes of the parts in it, the first part if it is small)
Location = tuple[str, int, tuple[int, ...], Any]

_ALIGN = 64
#: An arena's size, unless one value needs more. It is a sparse file: only what is used takes memory.
_ARENA_BYTES = 64 << 20
#: Memory that holds nothing is kept up to this many bytes: the owner collects it when others need it (`trim`).
_KEEP_BYTES = 2 << 30
#: A pickle up to this size travels with the location: reading it needs no mapping.
_INLINE_PART = 16 << 10
#: Mapped arenas kept open for reading.
_MAPPINGS = 64
#: Copies from this size on are made by numpy, which lets other threads run meanwhile.
_LONG_COPY = 1 << 20
#: Files on disk up to this size are read, larger ones mapped: a mapping takes a descriptor while it lasts.
_READ_BYTES = 1 << 20
#: How often room is made for one value before it goes to disk. Others may take what was meant for it.
_ATTEMPTS = 8
#: The tag of the files that the driver writes; those of worker 3 have w3.
DRIVER = "driver"


class Short(NamedTuple):
    """How many bytes of memory are missing, and how many hold nothing but cannot be used where they are."""

    missing: int
    spare: int


class SharedStore:
    """`minray.backend.Store` for one process."""

    def __init__(
        self,
        directories: Sequence[str],
        tag: str,
        pass_on: Callable[[int, Location, bool], None] | None = None,
        threshold: float = 1.0,
    ) -> None:
        """`directories`: where memory is, and where values go that find none; `tag` is a part of its files' names.

        `pass_on` gets (writer, location, False) of other writers' arenas that are to be freed, or (True) are lost.
        `threshold`: see `Disk`.
        """
        self._memory = directories[0]
        self._disk = Disk(directories[-1], f"{tag}-d", threshold)
        self._tag = tag
        self._writer = _writer(tag)
        self._pass_on = pass_on
        self._arenas: dict[str, Arena] = {}
        self._made = count(1)
        self._lock = ReentrantLock()
        self._is_allocating = owner_of(self._lock)  # the calling thread, that is
        self._granted: int | None = None  # bytes of memory that the arenas may take; None: nobody counts
        self._grants: deque[int] = deque()  # what came since
        self._freed: deque[Location] = deque()  # while the thread had the lock already, in order
        self._mappings: OrderedDict[str, mmap.mmap] = OrderedDict()
        self._leases = Leases()
        self._make_room: Callable[[int, int, int], bool] | None = None
        self._give_back: Callable[[int], None] | None = None

    # -- writing --------------------------------------------------------------------------------------------------

    def bind(self, make_room: Callable[[int, int, int], bool], give_back: Callable[[int], None]) -> None:
        self._make_room = make_room
        self._give_back = give_back
        self._granted = 0

    def write(self, parts: Sequence[Any], total: int) -> Location:
        first: Any = None
        if len(parts) > 1 and len(parts[0]) <= _INLINE_PART:
            first, parts = bytes(parts[0]), parts[1:]
        views = [memoryview(part).cast("B") for part in parts]
        sizes = tuple([view.nbytes for view in views])
        needed = sum(map(_aligned, sizes)) or _ALIGN
        place = None if self._is_allocating() else self._place(needed)
        if place is None:
            return (self._to_disk(views), 0, sizes, first)
        arena, offset, fresh = place
        at = offset
        for view, size in zip(views, sizes):
            if fresh:
                arena.write(at, view)
            else:
                _copy(arena.view[at : at + size], view)
            at += _aligned(size)
        return (arena.path, offset, sizes, first)

    def _place(self, needed: int) -> tuple[Arena, int, bool] | None:
        """Room in memory; None if there is none. Without the lock."""
        for attempt in range(_ATTEMPTS):
            with self._lock:
                self._settle()
                found = self._allocate(needed)
            if not isinstance(found, Short):
                return found
            if self._make_room is None or not self._make_room(*found, attempt):
                break
        with self._lock:
            self._retire(0)
        return None

    def _allocate(self, needed: int) -> tuple[Arena, int, bool] | Short | None:
        """Take `needed` bytes where that costs the least memory: the place, and whether most of its pages are fresh.
        None: the file system has no room. Under the lock."""
        best: tuple[int, Arena, int] | None = None
        for arena in self._arenas.values():
            found = arena.best(needed)
            if found is not None and (best is None or found[1] < best[0]):
                best = found[1], arena, found[0]
                if not found[1]:
                    break
        try:
            if best is None:
                path = os.path.join(self._memory, f"{self._tag}-{next(self._made)}")
                arena = self._arenas[path] = Arena(path, max(_ARENA_BYTES, needed))
                best = -(-needed // PAGE) * PAGE, arena, 0
            gap, arena, offset = best
            if gap and self._granted is not None:
                allowed = self._granted - self._backed()
                if gap > allowed:
                    spare = sum(each.spare() for each in self._arenas.values())
                    return Short(gap - allowed, max(0, spare - (needed - gap)))
            arena.take(offset, needed)
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            return None
        return arena, offset, gap > max(needed // 2, _LONG_COPY)

    def _to_disk(self, views: Sequence[memoryview]) -> str:
        """Write a file that is laid out as an extent of an arena."""
        parts: list[Any] = []
        for view in views:
            parts += [view, bytes(_aligned(view.nbytes) - view.nbytes)]
        return self._disk.write(parts, sum(map(len, parts)))

    # -- memory ---------------------------------------------------------------------------------------------------

    def grant(self, amount: int) -> None:
        self._grants.append(amount)

    def trim(self, amount: int) -> int:
        with self._lock:
            self._settle()
            assert self._granted is not None
            unused = self._granted - self._backed()
            if unused < amount:
                unused += self._trim(amount - unused)
            given = min(unused, amount)
            self._granted -= given
        return given

    def shrink(self, amount: int) -> None:
        with self._lock:
            self._settle()
            self._trim(amount)

    def _backed(self) -> int:
        return sum(arena.backed for arena in self._arenas.values())

    def _trim(self, most: int) -> int:
        """Give memory that holds nothing back to the system. Under the lock."""
        freed = 0
        for arena in reversed(list(self._arenas.values())):
            if freed < most:
                freed += arena.trim(most - freed)
            if not arena.used and (not arena.backed or freed < most):
                freed += arena.backed
                self._close(arena)
        return freed

    def _close(self, arena: Arena) -> None:
        del self._arenas[arena.path]
        arena.close()

    def _retire(self, keep: int) -> None:
        """Close unused arenas, the largest first, until those that are kept have few enough bytes (0: all of them).
        Under the lock."""
        unused = sorted((arena for arena in self._arenas.values() if not arena.used), key=lambda arena: arena.backed)
        total = sum(arena.backed for arena in unused)
        while unused and (total > keep or not keep):
            arena = unused.pop()
            total -= arena.backed
            self._close(arena)
            if self._granted is not None and self._give_back is not None:
                self._granted -= arena.backed
                self._give_back(arena.backed)

    # -- freeing --------------------------------------------------------------------------------------------------

    def size(self, location: Location) -> int:
        return sum(location[2])

    def share(self, location: Location) -> tuple[int, int]:
        path, _, sizes, _ = location
        directory, _, name = path.rpartition("/")
        writer = _writer(name.partition("-")[0])
        if directory == self._disk.directory and "-d-" in name:
            return writer, 0
        # It shares its first page and its last one with others, at most.
        return writer, -(-sum(map(_aligned, sizes)) // PAGE) * PAGE + PAGE

    def free(self, location: Location) -> None:
        path = location[0]
        name = os.path.basename(path)
        if "-d-" in name:
            with suppress(OSError):  # the run's directory is gone
                os.unlink(path)
            return
        writer = _writer(name.partition("-")[0])
        if writer != self._writer:
            if self._pass_on is not None:
                self._pass_on(writer, location, False)
        elif self._is_allocating():
            self._freed.append(location)
        else:
            with self._lock:
                self._settle()
                self._give(location)

    def _give(self, location: Location) -> None:
        """These bytes are free again. Under the lock."""
        arena = self._arenas[location[0]]
        arena.give(location[1], _extent(location)[1])
        if not arena.used:
            self._retire(_KEEP_BYTES)

    def lost(self, location: Location) -> None:
        writer = _writer(os.path.basename(location[0]).partition("-")[0])
        if writer != self._writer:
            if self._pass_on is not None:
                self._pass_on(writer, location, True)
        elif not self._is_allocating():
            with self._lock:
                arena = self._arenas.get(location[0])
                if arena is not None:
                    arena.abandon()

    def _settle(self) -> None:
        """Do what was noted. Under the lock, and with the arenas whole."""
        while self._grants:
            amount = self._grants.popleft()
            if self._granted is not None:
                self._granted += amount
        while self._freed:
            self._give(self._freed.popleft())

    def bury(self, writer: int, kept: Sequence[Location]) -> None:
        keep: dict[str, list[tuple[int, int]]] = {}
        for location in kept:
            keep.setdefault(location[0], []).append(_extent(location))
        for directory in {self._memory, self._disk.directory}:
            with suppress(OSError):
                for name in os.listdir(directory):
                    path = os.path.join(directory, name)
                    if name.startswith(f"w{writer}-") and ("-d-" not in name or path not in keep):
                        punch(path, keep.get(path, []))

    # -- reading --------------------------------------------------------------------------------------------------

    def spill(self, location: Location) -> Location | None:
        path, offset, sizes, first = location
        try:
            file = memoryview(self._map(path))
        except (FileNotFoundError, ValueError):
            return None
        extent = file[offset : offset + _extent(location)[1]]
        return (self._disk.write([extent], extent.nbytes), 0, sizes, first)

    def read(self, location: Location, released: Callable[[], None]) -> list[Any]:
        path, offset, sizes, first = location
        extent = sum(map(_aligned, sizes))
        view = self._leases.view(self._buffer(path, extent), extent, offset, released)
        parts: list[Any] = [] if first is None else [first]
        place = 0
        for size in sizes:
            parts.append(view[place : place + size])
            place += _aligned(size)
        return parts

    def _buffer(self, path: str, size: int) -> Any:
        """What a file has in it."""
        if "-d-" not in os.path.basename(path):
            return self._map(path)
        # A mapping of it that was kept would keep its room on the disk, too.
        if size > _READ_BYTES:
            try:
                return _open_mapping(path)
            except OSError as error:
                if error.errno != errno.EMFILE:
                    raise
        with open(path, "rb") as file:
            return file.read()

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
        for arena in self._arenas.values():
            with suppress(OSError, BufferError, ValueError):
                arena.close()
        self._arenas.clear()
        self._freed.clear()


def discard(location: Location) -> None:
    """Give the memory of a dead writer's value back: its pages are taken out of the file, which goes with the run."""
    cut(location[0], *_extent(location))


def _extent(location: Location) -> tuple[int, int]:
    """Offset and size of what a value takes in its file."""
    return location[1], sum(map(_aligned, location[2])) or _ALIGN


def _writer(tag: str) -> int:
    """Which writer's files have this tag: 0 for the driver, else the worker's number."""
    return 0 if tag == DRIVER else int(tag[1:])


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
