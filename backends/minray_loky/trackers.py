"""Who removes what is left of a run when all its processes have died: loky's tracker and the standard library's.

    driver ──a pipe each──> template ──fork, before all else──> tracker, tracker
       └── driver, template and workers write; a tracker cleans up once nobody is left who could

Both packages would start theirs as programs: 18 MB, and 0.2 s of CPU time just when the template wants it. Forked from
the template they share its memory, and take 1 MB each. They outlive a template that is killed; its successor uses them.
"""

from __future__ import annotations

import gc
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker as standard_tracker
from typing import Any

from minray_loky.spawning import Inherited, loky_tracker

#: How long the trackers, which end by themselves, are waited for (s).
_SECONDS = 1.0

_modules: list[Any] = [loky_tracker, standard_tracker]


class Trackers:
    """The trackers of one run, as its driver sees them.

    Those that the driver's process has already are used; the others are the run's alone. So they end with the run, and
    nothing of the user's is in them: who needs a tracker in this process later gets one of their own.
    """

    def __init__(self) -> None:
        self._writers: list[int | None] = [None, None]  # the pipes to those that are this run's alone
        self._readers: dict[int, int] = {}  # the other ends of those that no template has been given yet
        self._directories: list[str] = []

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside, loky and the standard library use the trackers of this run."""
        trackers = [module._resource_tracker for module in _modules]
        before = [(tracker._fd, tracker._pid) for tracker in trackers]
        try:
            for index, tracker in enumerate(trackers):
                self._put_in_place(index, tracker)
            yield
        finally:
            for tracker, writer, (fd, pid) in zip(trackers, self._writers, before):
                if writer is not None:
                    tracker._fd, tracker._pid = fd, pid

    def _put_in_place(self, index: int, tracker: Any) -> None:
        writer = self._writers[index]
        if writer is None and tracker._fd is not None:
            tracker.ensure_running()
            return
        tracker._fd, tracker._pid = writer, None
        if writer is not None and tracker._check_alive():
            return
        if writer is not None:  # it was killed
            os.close(writer)
        self._readers[index], tracker._fd = os.pipe()
        self._writers[index] = tracker._fd
        if tracker is loky_tracker._resource_tracker:
            for directory in self._directories:
                tracker.register(directory, "folder")

    def watch(self, directories: Sequence[str]) -> None:
        """Have `directories` removed should driver and template both be killed."""
        with self.in_place():
            for directory in directories:
                loky_tracker.register(directory, "folder")
        self._directories += directories

    def unwatch(self, directory: str) -> None:
        with self.in_place():
            loky_tracker.unregister(directory, "folder")
        self._directories.remove(directory)

    def new(self) -> list[tuple[int, Inherited]]:
        """What a template needs to start those that are not running (`fork_trackers`)."""
        return [(index, Inherited(reader)) for index, reader in self._readers.items()]

    def handed_over(self) -> None:
        """The template has been started. (From here on it shows if a tracker is gone.)"""
        while self._readers:
            os.close(self._readers.popitem()[1])

    def close(self) -> None:
        """The directories are gone. Let the trackers end, which they do when nobody is left who could use them."""
        with self.in_place():
            for directory in self._directories:
                loky_tracker.unregister(directory, "folder")
        self.abandon()

    def abandon(self) -> None:
        """Close the pipes. (In the child of a fork: they are the parent's.)"""
        self.handed_over()
        for writer in self._writers:
            if writer is not None:
                os.close(writer)
        self._writers = [None, None]


def fork_trackers(new: Sequence[tuple[int, int]]) -> list[int]:
    """Start what `Trackers.new` says; their pids. In the template, which ignores what is sent to the whole group."""
    pids = []
    for index, reader in new:
        pid = os.fork()
        if not pid:
            _track(_modules[index].main, reader)
        os.close(reader)
        pids.append(pid)
    return pids


def _track(main: Callable[[int], object], reader: int) -> None:
    """A tracker's whole life. Never returns."""
    status: Any = 1
    try:
        os.setsid()  # who kills the driver's whole group leaves it: a notebook does that to restart its kernel
        warnings.filterwarnings("ignore", ".* leaked folder objects")  # that is what it is for
        gc.freeze()  # what is here stays shared with the template
        reader = os.dup2(reader, 3)
        os.closerange(4, os.sysconf("SC_OPEN_MAX"))  # its own pipe's other end is among them
        main(reader)
        status = 0
    except SystemExit as end:
        status = end.code or 0
    finally:
        sys.stderr.flush()
        os._exit(status)


def join_trackers(pids: list[int]) -> None:
    """Let the trackers end. In the template, when it is the last of the run that could use them.

    A program that a task has left behind may do so for longer; then they are left behind as well.
    """
    for module in _modules:
        os.close(module._resource_tracker._fd)
    deadline = time.monotonic() + _SECONDS
    for pid in pids:
        with suppress(ChildProcessError):
            while not os.waitpid(pid, os.WNOHANG)[0] and time.monotonic() < deadline:
                time.sleep(0.001)
