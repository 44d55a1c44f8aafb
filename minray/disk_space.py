"""Room on disks: whether there is enough, and the error that says how much was needed and how much there is."""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from minray.exceptions import OutOfDiskError

#: Errors that mean: no room.
NO_ROOM = (errno.ENOSPC, errno.ENOMEM, errno.EFBIG, errno.EDQUOT)


def check_room(directory: str, needed: int, threshold: float) -> None:
    """OutOfDiskError: with `needed` bytes more, a larger share of the file system than `threshold` would be in use."""
    if threshold < 1.0:
        disk = os.statvfs(directory)
        used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize + needed
        if used > threshold * disk.f_blocks * disk.f_frsize:
            raise no_room(directory, needed, threshold)


def no_room(directory: str, needed: int, threshold: float) -> OutOfDiskError:
    """The error of who needs `needed` bytes."""
    text = f"A value of {needed} bytes has to go to disk, and there is no room in {directory}"
    with suppress(OSError):
        disk = os.statvfs(directory)
        text += f": {disk.f_bavail * disk.f_frsize} of {disk.f_blocks * disk.f_frsize} bytes are free"
        if threshold < 1.0:
            text += f", and {threshold:.0%} may be in use (local_fs_capacity_threshold)"
    return OutOfDiskError(text + ".")
