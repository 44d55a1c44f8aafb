"""A socket that carries messages, from the driver's end (never blocks) and from the worker's (does)."""

from __future__ import annotations

import os
import select
import socket
import threading
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any

from minray.backend import interruptible
from minray.wire.framing import Framer, frame
from minray.wire.messages import Message

if TYPE_CHECKING:
    import asyncio

#: Bytes read at a time. What fits is read with one call; more would be a large allocation for each small message.
_CHUNK = 65536
#: How long to look for what is about to come before going to sleep (s), where there are CPUs to do it on. To wake a
#: process takes 5 to 20 us on a virtual machine, twice a call: 10,000 small calls one after another where looking does
#: 35,000.
LOOK_SECONDS = 0.0001 if (os.cpu_count() or 1) > 1 else 0.0
#: Who waits for longer looks again meanwhile (s): epoll and poll count milliseconds in 32 bits.
LONGEST_SECONDS = 1_000_000.0


class DriverEnd:
    """The driver's end. What the socket cannot take now is kept; `flush` goes on when it can.

    Nobody waits for another thread, or for an outer call of the same one: who finds somebody at it leaves the rest to
    the next `flush`.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._framer = Framer()
        self._kept: deque[bytes] = deque()
        self._lock = threading.Lock()

    def send(self, messages: list[Message]) -> bool:
        """Send in order; False if some of it is kept. One thread at a time, beside `flush`."""
        kept = self._kept
        data = frame(messages)
        if not kept and self._lock.acquire(False):
            try:
                sent = self.sock.send(data)
            except BlockingIOError:
                sent = 0
            except OSError:  # the worker is gone; its end is noticed where the channel is read
                return True
            finally:
                self._lock.release()
            if sent == len(data):
                return True
            data = data[sent:]
        kept.append(data)
        return False

    def flush(self) -> bool:
        """Write what was kept; False if some of it may still be."""
        if not self._lock.acquire(False):
            return False
        kept = self._kept
        try:
            while kept:
                data = kept[0]
                try:
                    sent = self.sock.send(data)
                except BlockingIOError:
                    return False
                except OSError:  # the worker is gone; its end is noticed where the channel is read
                    kept.clear()
                    return True
                if sent == len(data):
                    kept.popleft()
                else:
                    kept[0] = data[sent:]
            return True
        finally:
            self._lock.release()

    @property
    def behind(self) -> bool:
        """Whether something is kept."""
        return bool(self._kept)

    def read(self) -> list[Message] | None:
        """The messages that are there; None at the end of the stream."""
        try:
            data = self.sock.recv(_CHUNK)
        except BlockingIOError:
            return []
        except OSError:
            return None
        return self._framer.feed(data) if data else None

    def close(self) -> None:
        self.sock.close()


class WorkerEnd:
    """The worker's end: a `minray.backend.Link`."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(True)
        self._sock = sock
        self._framer = Framer()
        self._lock = threading.Lock()
        self._poller = Poller()
        self._poller.register(sock.fileno())
        self._wake_r, self._wake_w = os.pipe()
        self._poller.register(self._wake_r)

    def send(self, messages: list[Message]) -> None:
        with self._lock:
            self._sock.sendall(frame(messages))

    def receive(self, timeout: float | None) -> list[Message]:
        events = self._poller.poll(timeout)
        if len(events) != 1 or events[0][0] == self._wake_r:
            woken = [event for event in events if event[0] == self._wake_r]
            if woken:
                os.read(self._wake_r, 4096)
            if len(woken) == len(events):
                return []
        messages = self._read()
        # Who does not wait looks for something that was sent just now: it may be behind what one chunk holds.
        while timeout == 0 and (self._framer.pending or self._sock_is_ready()):
            messages += self._read()
        return messages

    def _read(self) -> list[Message]:
        data = self._sock.recv(_CHUNK)
        if not data:
            raise EOFError("the driver is gone")
        return self._framer.feed(data)

    def _sock_is_ready(self) -> bool:
        return any(fd != self._wake_r for fd, _ in self._poller.poll(0))

    def wake(self) -> None:
        os.write(self._wake_w, b"x")

    def watch(self, loop: asyncio.AbstractEventLoop, readable: Callable[[], None]) -> bool:
        try:
            loop.add_reader(self._sock.fileno(), readable)
        except NotImplementedError:  # the loop of Windows
            return False
        return True


class Poller:
    """Which fds can be read or written: epoll, or poll where there is none."""

    def __init__(self) -> None:
        self._poll: Any = select.epoll() if hasattr(select, "epoll") else select.poll()
        self._unit = 1 if hasattr(select, "epoll") else 1000
        self._brisk = False  # what came last came soon

    def register(self, fd: int) -> None:
        self._poll.register(fd, select.POLLIN)

    def modify(self, fd: int, writing: bool) -> None:
        try:
            self._poll.modify(fd, select.POLLIN | select.POLLOUT if writing else select.POLLIN)
        except (OSError, KeyError, ValueError):  # it has just been closed
            return

    def unregister(self, fd: int) -> None:
        try:
            self._poll.unregister(fd)
        except (OSError, KeyError, ValueError):
            return

    @interruptible
    def poll(self, timeout: float | None) -> list[tuple[int, int]]:
        """Wait for events, for ever if `timeout` is None."""
        look = self._poll.poll
        events: list[tuple[int, int]]
        begun = perf_counter()
        if self._brisk and timeout != 0:
            while perf_counter() - begun < LOOK_SECONDS:
                events = look(0)
                if events:
                    return events
        events = look(-1 if timeout is None else min(timeout, LONGEST_SECONDS) * self._unit)
        # It pays only where the other side answers at once. Whoever waits for longer work sleeps.
        self._brisk = perf_counter() - begun < LOOK_SECONDS
        return events

    def close(self) -> None:
        if hasattr(self._poll, "close"):
            self._poll.close()
