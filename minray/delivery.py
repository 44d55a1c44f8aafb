"""Does what was decided, in order, outside the lock: one thread at a time, whoever comes by.

outbox: (worker, message) ... ──> pool.send(worker, [message, ...])
        (worker, "start" | "kill" | "interrupt", ...) ──> pool.start / kill / interrupt
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from minray.backend import WorkerPool
from minray.reentry import ReentrantLock, owner_of


class Delivery:
    """The outbox, and who empties it."""

    def __init__(self, pool: WorkerPool) -> None:
        self.outbox: deque[tuple[Any, ...]] = deque()
        self.callbacks: deque[Callable[[], None]] = deque()  #: to be called when it is empty
        self._pool = pool
        self._delivering = ReentrantLock()
        #: Whether the calling thread is in the middle of it.
        self.is_delivering = owner_of(self._delivering)

    def stop(self, timeout: float) -> None:
        """Nothing is delivered any more, and after `timeout` (s) at the latest nothing is being delivered.

        The calling thread may be the one that does it, under a signal handler.
        """
        self._delivering.acquire(timeout=timeout)

    def deliver(self) -> None:
        """Do what was decided, in order. One thread at a time: whoever finds another at it leaves it all."""
        outbox = self.outbox
        while outbox and not self.is_delivering() and self._delivering.acquire(False):
            try:
                pool = self._pool
                while outbox:
                    try:
                        item = outbox.popleft()
                    except IndexError:
                        break
                    worker, what = item[0], item[1]
                    if type(what) is tuple:
                        messages = [what]
                        while outbox and outbox[0][0] == worker and type(outbox[0][1]) is tuple:
                            messages.append(outbox.popleft()[1])
                        pool.send(worker, messages)
                    elif what == "start":
                        pool.start(worker, item[2])
                    elif what == "kill":
                        pool.kill(worker)
                    elif what == "interrupt":
                        pool.interrupt(worker)
                    elif what == "warn":
                        with suppress(OSError, ValueError):  # nobody reads stderr
                            sys.stderr.write(f"{item[2]}\n")
                    elif what == "do":
                        item[2]()
                    else:
                        assert pool.store is not None
                        pool.store.free(item[2])
            finally:
                self._delivering.release()
        while self.callbacks:
            try:
                callback = self.callbacks.popleft()
            except IndexError:
                break
            callback()
