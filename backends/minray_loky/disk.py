"""Values on disk: one file each, written once and mapped by readers, removed by whoever owns the value."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from typing import Any

from minray.disk_space import NO_ROOM, check_room, no_room

#: Buffers written by one system call, at most.
_WRITE_AT_ONCE = 64


class Disk:
    """A directory in which one process, `tag`, writes files."""

    def __init__(self, directory: str, tag: str, threshold: float = 1.0) -> None:
        """`threshold`: which share of the file system may be in use, by whomever."""
        self.directory = directory
        self._tag = tag
        self._threshold = threshold
        self._made = count(1)

    def write(self, parts: Sequence[Any], total: int) -> str:
        """Write `parts`, buffers of `total` bytes together, to a new file; returns its path.

        OutOfDiskError: there is no room, says with how much was needed and how much is free.
        """
        check_room(self.directory, total, self._threshold)
        path = os.path.join(self.directory, f"{self._tag}-{next(self._made)}")
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            if total and hasattr(os, "posix_fallocate"):
                os.posix_fallocate(fd, 0, total)
            pending = [memoryview(part).cast("B") for part in parts if len(part)]
            while pending:
                wrote = os.writev(fd, pending[:_WRITE_AT_ONCE])
                while pending and wrote >= pending[0].nbytes:
                    wrote -= pending.pop(0).nbytes
                if wrote:
                    pending[0] = pending[0][wrote:]
        except BaseException as error:
            with suppress(OSError):
                os.unlink(path)
            if isinstance(error, OSError) and error.errno in NO_ROOM:
                raise no_room(self.directory, total, self._threshold) from error
            raise
        finally:
            os.close(fd)
        return path
