"""How the template is started: by loky, in a way that nobody else in the process who uses loky or joblib notices.

driver ──> tracker of loky, tracker of multiprocessing     (processes that remove what is left when all others died)
   └─────> template, which inherits both, as do its workers
"""

from __future__ import annotations

import multiprocessing.context as mp_context
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import process as mp_process
from multiprocessing import resource_tracker as standard_tracker
from multiprocessing.reduction import DupFd
from typing import Any

# Loky registers itself as a start method of multiprocessing, and joblib the copy of loky that it has inside: by the
# same name, under which each looks itself up. Whoever comes second takes the place of the first, which then mixes up
# the trackers of both. So what was there is put back, and we do without the name.
_methods: dict[str, Any] = mp_context._concrete_contexts  # type: ignore[attr-defined]
_before = dict(_methods)
import loky  # noqa: E402
from loky.backend import resource_tracker as loky_tracker  # noqa: E402
from loky.backend.context import LokyContext  # noqa: E402

_methods.update(_before)

resource_tracker: Any = loky_tracker
cpu_count: Callable[[], int] = loky.cpu_count

__all__ = ["GROUP_SIGNALS", "Inherited", "Trackers", "cpu_count", "resource_tracker", "start_process"]

#: What a terminal sends to the whole group: it ends the driver, or means something to it, and to nobody else.
GROUP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
#: How long the trackers, which end by themselves, are waited for (s).
_TRACKER_SECONDS = 1.0


class Inherited:
    """A socket on its way to the template. (Loky would leave a second descriptor of it open there, and in workers.)"""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def __reduce__(self) -> Any:
        return _adopt, (DupFd(self._sock.fileno()),)


def _adopt(fd: Any) -> socket.socket:
    return socket.socket(fileno=fd.detach())


def start_process(target: Callable[..., None], args: tuple[Any, ...], name: str, environment: dict[str, str]) -> Any:
    """Start a process that runs ``target(*args, mask)``, with no module of the driver's but those that these need.

    `GROUP_SIGNALS` are blocked in it: Ctrl-C must not end it while Python starts, with a traceback on the terminal. It
    sets `mask`, the set of blocked signals that the driver has, when it has said what they are to do.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, GROUP_SIGNALS)
    try:
        started: Any = LokyContext().Process(target=target, args=(*args, mask), name=name, daemon=True, env=environment)
        started.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    mp_process._children.discard(started)  # type: ignore[attr-defined]  # or a fork of the driver would end it, too
    return started


class Trackers:
    """The resource trackers of one run: loky's and the standard library's.

    Those that the driver's process has already are used; those that have to be started are kept apart. So they end with
    the run, and nothing of the user's is in them: who needs a tracker in this process later gets one of their own. They
    outlive a template that is killed, and its successor uses them too.
    """

    def __init__(self) -> None:
        self._trackers: list[Any] = [resource_tracker._resource_tracker, standard_tracker._resource_tracker]
        self._own: list[tuple[int, int] | None] = [None, None]  # fd and pid of those that are this run's alone
        self._directories: list[str] = []

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Inside, loky and the standard library use the trackers of this run, which are running."""
        before = [(tracker._fd, tracker._pid) for tracker in self._trackers]
        for tracker, own in zip(self._trackers, self._own):
            if own is not None:
                tracker._fd, tracker._pid = own
        try:
            # Ctrl-C and SIGTERM they ignore anyway; what else is sent to the whole group stays blocked in them.
            mask = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGHUP, signal.SIGQUIT))
            try:
                for tracker in self._trackers:
                    tracker.ensure_running()
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            yield
        finally:
            for index, (tracker, (fd, pid)) in enumerate(zip(self._trackers, before)):
                if (pid is None or self._own[index] is not None) and tracker._pid is not None:
                    self._own[index] = tracker._fd, tracker._pid
                    tracker._fd, tracker._pid = fd, pid

    def watch(self, directory: str) -> None:
        """Have `directory` removed should driver and template both be killed."""
        self._directories.append(directory)
        resource_tracker.register(directory, "folder")

    def unwatch(self, directory: str) -> None:
        self._directories.remove(directory)
        resource_tracker.unregister(directory, "folder")

    def close(self) -> None:
        """The directories are gone. Let the trackers end, which they do when nobody is left who could use them."""
        with self.in_place():
            for directory in self._directories:
                resource_tracker.unregister(directory, "folder")
        for own in filter(None, self._own):
            os.close(own[0])
        deadline = time.monotonic() + _TRACKER_SECONDS
        for own in filter(None, self._own):
            with suppress(ChildProcessError):
                # A program that a task has left behind may hold it open; then it is left behind as well.
                while not os.waitpid(own[1], os.WNOHANG)[0] and time.monotonic() < deadline:
                    time.sleep(0.001)

    def abandon(self) -> None:
        """In the child of a fork: they are the parent's."""
        for own in filter(None, self._own):
            os.close(own[0])
