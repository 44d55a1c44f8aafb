"""What workers print, on its way to the driver's stdout and stderr.

    worker: fd 1 and 2 are pipes ──> driver: one thread reads them, puts ``(name pid=N) `` before each line

The pipes are the driver's, so that the last words of a crash are there after the worker is gone. Which task is
speaking a worker says in the stream itself, before the first line under a new name.
"""

from __future__ import annotations

import io
import os
import selectors
import sys
import threading
from collections import deque
from typing import IO, TextIO

from minray.backend import ReentrantLock, never_waiting

_MARK = "\x1eminray:"
_CHUNK = 65536
#: Chunks that a pipe can hold and then some.
_REST_CHUNKS = 64
#: Lines of a worker's output that are kept for the report of its death.
_LAST_LINES = 20
#: So many names are said as soon as they change, so that what C code and other programs print comes under them too.
#: After that the worker goes to and fro between functions, and only what Python prints is worth the writes.
_EAGER_NAMES = 8
#: How long `close` goes on reading from pipes that something still holds open (s).
_CLOSE_SECONDS = 1.0


class _Source:
    """One pipe of one worker."""

    def __init__(self, fd: int, err: bool, last: deque[str]) -> None:
        self.fd = fd
        self.err = err
        self.last = last
        self.name = "worker"
        self.pid = 0
        self.rest = bytearray()


class LogReader:
    """Reads the pipes of all workers in a thread of its own; writes their lines to `sys.stdout` and `sys.stderr`."""

    def __init__(self, show: bool) -> None:
        self._show = show
        self._selector = selectors.DefaultSelector()
        self._lock = ReentrantLock()  # the garbage collector may start a worker while it is held
        self._sources: dict[int, list[_Source]] = {}
        self._wake_r, self._wake_w = os.pipe()
        os.set_blocking(self._wake_r, False)
        self._selector.register(self._wake_r, selectors.EVENT_READ, None)
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="minray-logs", daemon=True)
        self._thread.start()

    def add(self, worker: int, out: int, err: int) -> None:
        """Read these two pipe ends, which belong to the reader from now on."""
        last: deque[str] = deque(maxlen=_LAST_LINES)
        sources = [_Source(out, False, last), _Source(err, True, last)]
        with self._lock:
            self._sources[worker] = sources
            for source in sources:
                os.set_blocking(source.fd, False)
                self._selector.register(source.fd, selectors.EVENT_READ, source)

    def last_lines(self, worker: int) -> list[str]:
        """The last lines that a worker wrote, which is gone: all it wrote has been read when this returns."""
        with self._lock:
            sources = self._sources.get(worker, [])
            for source in sources:
                self._read_rest(source)
            self._sources.pop(worker, None)
        return list(sources[0].last) if sources else []

    def _read_rest(self, source: _Source) -> None:
        """Read what is there, but not for ever: a program that a task has left behind may go on writing."""
        for _ in range(_REST_CHUNKS):
            if source.fd < 0 or not self._read(source):
                return

    def _end(self, source: _Source) -> None:
        """Close a pipe, and show what came after its last line."""
        self._selector.unregister(source.fd)
        os.close(source.fd)
        source.fd = -1
        if source.rest:
            self._line(source, source.rest)
            self._flush(source)

    def _run(self) -> None:
        with never_waiting():  # whoever reads what workers send waits for what this thread has locked
            self._serve()

    def _serve(self) -> None:
        while not self._closing:
            for key, _ in self._selector.select():
                if key.data is None:
                    try:
                        os.read(self._wake_r, 4096)
                    except BlockingIOError:
                        continue
                else:
                    with self._lock:
                        if key.data.fd >= 0:
                            self._read(key.data)

    def _read(self, source: _Source) -> bool:
        """Read and show one chunk; False if there was none. Under the lock."""
        try:
            data = os.read(source.fd, _CHUNK)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._end(source)
            return False
        source.rest += data
        if b"\n" in data:
            *lines, source.rest = source.rest.split(b"\n")
            for line in lines:
                self._line(source, line)
            self._flush(source)
        return True

    def _line(self, source: _Source, data: bytes | bytearray) -> None:
        line = data.decode("utf-8", "replace")
        if line.startswith(_MARK):
            pid, _, name = line[len(_MARK) :].partition(" ")
            if pid.isdecimal():
                source.pid, source.name = int(pid), name
                return
        source.last.append(line)
        if self._show:
            stream = sys.stderr if source.err else sys.stdout
            prefix = f"({source.name} pid={source.pid})"
            try:
                _write(stream, f"\x1b[36m{prefix}\x1b[0m {line}\n" if stream.isatty() else f"{prefix} {line}\n")
            except Exception:  # closed, None, or the user's own and failing: what is printed is lost, and no more
                return

    def _flush(self, source: _Source) -> None:
        try:
            (sys.stderr if source.err else sys.stdout).flush()
        except Exception:  # see above
            return

    def close(self) -> None:
        """Show what the workers, which are gone, have written, and stop."""
        self._closing = True
        os.write(self._wake_w, b"x")
        self._thread.join(_CLOSE_SECONDS)
        with self._lock:
            for key in list(self._selector.get_map().values()):
                source = key.data
                if source is not None:
                    self._read_rest(source)
                    if source.fd >= 0:  # held open by a program that a task has left behind
                        self._end(source)
            self._selector.close()
            os.close(self._wake_r)
            os.close(self._wake_w)

    def abandon(self) -> None:
        """In the child of a fork: close the pipes, which are the parent's. Whoever holds the lock is not here."""
        fds = [key.fd for key in self._selector.get_map().values()]
        for fd in [*fds, self._wake_w]:
            os.close(fd)
        self._selector.close()


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
    except UnicodeEncodeError as error:
        stream.write(text.encode(error.encoding, "backslashreplace").decode(error.encoding))


class LabelledStream(io.TextIOWrapper):
    """A worker's stdout or stderr: before the first line under a new name it says that name."""

    current = "worker"  #: the name of what runs in this process now

    def __init__(self, buffer: IO[bytes]) -> None:
        super().__init__(buffer, encoding="utf-8", errors="backslashreplace", line_buffering=True)
        self._said = ""
        self._fresh = True  # at the beginning of a line
        self.say()

    def say(self) -> None:
        """Say the present name, if a line begins here."""
        name = LabelledStream.current
        if name is not self._said and self._fresh:
            self._said = name
            super().write(f"{_MARK}{os.getpid()} {name}\n")

    def write(self, text: str) -> int:
        if text:
            self.say()
            self._fresh = text.endswith("\n")
        return super().write(text)


def take_over_output() -> None:
    """In a worker whose fds 1 and 2 are its pipes: make Python's streams use them, line by line."""
    sys.stdout = LabelledStream(open(1, "wb", closefd=False))
    sys.stderr = LabelledStream(open(2, "wb", closefd=False))
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr  # type: ignore[misc]  # the inherited ones are the driver's


class Label:
    """Told under which name a worker prints from now on."""

    def __init__(self) -> None:
        self._eager = _EAGER_NAMES

    def __call__(self, name: str) -> None:
        if name != LabelledStream.current:
            LabelledStream.current = name.replace("\n", " ")
            if self._eager:
                self._eager -= 1
                for stream in (sys.__stdout__, sys.__stderr__):
                    if isinstance(stream, LabelledStream):
                        try:
                            stream.say()
                        except (OSError, ValueError):  # a task has closed it: who prints there is told so, not we
                            continue
