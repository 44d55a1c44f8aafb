"""Values on disk: one file each, written once and mapped by readers, removed by whoever owns the value."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from contextlib import suppress
from itertools import count
from typing import Any

from minray.exceptions import OutOfDiskError

#: Errors that mean: no room.
NO_ROOM = (errno.ENOSPC, errno.ENOMEM, errno.EFBIG, errno.EDQUOT)
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
        self._check(total)
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
                raise OutOfDiskError(self._no_room(total)) from error
            raise
        finally:
            os.close(fd)
        return path

    def _check(self, needed: int) -> None:
        if self._threshold < 1.0:
            disk = os.statvfs(self.directory)
            used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize + needed
            if used > self._threshold * disk.f_blocks * disk.f_frsize:
                raise OutOfDiskError(self._no_room(needed))

    def _no_room(self, needed: int) -> str:
        text = f"A value of {needed} bytes has to go to disk, and there is no room in {self.directory}"
        with suppress(OSError):
            disk = os.statvfs(self.directory)
            text += f": {disk.f_bavail * disk.f_frsize} of {disk.f_blocks * disk.f_frsize} bytes are free"
            if self._threshold < 1.0:
                text += f", and {self._threshold:.0%} may be in use (local_fs_capacity_threshold)"
        return text + "."
