"""The driver's side of the loky backend: a `minray.backend.WorkerPool` of processes.

start ──fds──> template ──fork──> worker ──hello──> receive          worker's socket ends ──┐
                                                                     template: it is gone ──┴─> (LOST, why)
"""

from __future__ import annotations

import os
import secrets
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from threading import get_ident
from typing import Any
from weakref import WeakSet

from minray import machine
from minray.backend import NodeInfo, PoolConfig
from minray.wire.framing import FramingError
from minray.wire.messages import FREE, LOST, STOP, Message
from minray_loky.channel import DriverEnd, Poller
from minray_loky.logs import LogReader
from minray_loky.spawning import Inherited, cpu_count, start_process
from minray_loky.store import DRIVER, Location, SharedStore, discard
from minray_loky.template import COMMAND, FORKED, KILL, QUIT, READY, REPORT, START, Setup, serve
from minray_loky.trackers import Trackers

__all__ = ["LokyPool"]

#: Modules that every worker needs, imported once in the template.
_PRELOAD = ("cloudpickle", "minray.api", "minray.wire.faults", "concurrent.futures", "traceback")
#: And those that are imported there if the driver has them already, as its tasks will then want them too.
_PRELOAD_IF_LOADED = ("numpy", "numpy.random")
#: How long the template gets to end before it is killed (s).
_CLOSE_SECONDS = 5.0
#: A template that has failed to start so often in a row is not started again for so long (s).
_TRIES, _PAUSE_SECONDS = 2, 1.0


class _Process:
    """One worker process, as the driver sees it."""

    def __init__(self, messages: int, interrupts: int) -> None:
        """Adopt two descriptors of sockets."""
        self.channel = DriverEnd(socket.socket(fileno=messages))
        self.interrupts = socket.socket(fileno=interrupts)
        self.interrupts.setblocking(False)
        self.pid = 0
        self.status: int | None = None  # as of waitpid, once it is gone
        self.ended = False  # its stream has ended
        self.killed = False
        self.leaving = False  # was told to end: it may not read what it is sent from now on


class LokyPool:
    """Worker processes on this machine, forked from a template that loky starts."""

    name = "loky"
    in_process = False
    directory: str | None = None

    def __init__(self) -> None:
        self._processes: dict[int, _Process] = {}
        self._by_fd: dict[int, int] = {}
        self._news: deque[tuple[int, list[Message]]] = deque()  # made here, not read from a channel
        self._name = f"minray-{os.getpid()}-{secrets.token_hex(4)}"
        self._directories: list[str] = []  # the fastest first, the last is for what finds no room
        self._trackers = Trackers()
        self._template: Any = None
        self._undo = ExitStack()  # what `open` has made, to be unmade in reverse
        self._closed = False
        self._receiver = 0  # the thread that is in `receive`
        self._stillborn: deque[float] = deque(maxlen=_TRIES)  # when templates in a row failed to start
        self._failure = ""  # why the last one did

    def open(self, config: PoolConfig) -> Sequence[NodeInfo]:
        if not hasattr(os, "fork"):
            raise NotImplementedError(
                "The loky backend needs os.fork, which this platform lacks. Use init(backend='threads')."
            )
        try:
            self._open(config)
        except BaseException:
            self.close()
            raise
        cpus = config.num_cpus if config.num_cpus is not None else cpu_count()
        warm = min(cpus, cpu_count())
        return [NodeInfo(0, machine.resources(config, cpus), warm, store_bytes=self._store_bytes(config))]

    def _open(self, config: PoolConfig) -> None:
        undo = self._undo
        undo.callback(self._join_template)
        undo.callback(self._trackers.close)
        planned = [os.path.join(parent, self._name) for parent in _parents(config.spill_directory)]
        self._trackers.watch(planned)
        self._setup = Setup(
            directories=planned,
            preload=[*config.preload, *_PRELOAD, *(name for name in _PRELOAD_IF_LOADED if name in sys.modules)],
            sys_path=[path if path else os.path.abspath(path) for path in sys.path],
            isolate=config.isolate,
            disk_threshold=config.disk_threshold,
            blocked=list(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        )
        self._wake_r, self._wake_w = os.pipe()
        for fd in (self._wake_r, self._wake_w):
            undo.callback(os.close, fd)
            os.set_blocking(fd, False)
        self._poller = Poller()
        undo.callback(self._poller.close)
        self._poller.register(self._wake_r)
        self._logs = LogReader(config.log_to_driver)
        undo.callback(self._logs.close)
        files = undo.enter_context(ExitStack())  # what is unmade once the template has ended
        undo.callback(self._end_template)
        self._start_template()  # before its directories are made: now it will remove them if this process is killed
        for directory in planned:
            self._make_directory(directory, files)
        if not self._directories:
            raise OSError(
                f"Neither {machine.SHARED_MEMORY} nor {_temporary() or '/tmp'} can be written: set TMPDIR to a "
                "directory that can."
            )
        # Files of the run are in the temporary one, if there is one: they are not to fill the memory.
        self.directory = self._directories[1 if len(self._directories) > 1 else 0]
        self.store = SharedStore(self._directories, DRIVER, self._free_elsewhere, config.disk_threshold)
        files.callback(self.store.close)
        _pools.add(self)

    def _make_directory(self, directory: str, undo: ExitStack) -> None:
        """A private directory of the run. The template leaves out those that are not there."""
        try:
            os.mkdir(directory, 0o700)
        except OSError:
            self._trackers.unwatch(directory)
            return
        undo.callback(shutil.rmtree, directory, ignore_errors=True)
        self._directories.append(directory)

    def _store_bytes(self, config: PoolConfig) -> int:
        """What `init` says, but not more than there is. Without shared memory it is files that the system caches."""
        asked = machine.store_bytes(config)
        shared = machine.shared_memory() if self._directories[0].startswith(machine.SHARED_MEMORY) else None
        return asked if shared is None else min(asked, shared)

    def _start_template(self) -> None:
        ours, theirs = socket.socketpair()
        environment = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": "1"}
        try:
            with self._trackers.in_place():
                parts = (Inherited(theirs.fileno()), self._setup, self._trackers.new())
                self._template = start_process(serve, parts, "minray-template", environment)
            self._trackers.handed_over()
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        self._control = ours
        self._poller.register(ours.fileno())
        self._reports = b""
        self._ready = False

    # -- workers --------------------------------------------------------------------------------------------------

    def start(self, worker: int, node: int) -> None:
        if self._closed:
            return
        if self._failure and not self._restart_template():
            self._news.append((worker, [(LOST, self._failure)]))
            self.wake()
            return
        ends: list[int] = []  # ours and the worker's of each: messages, interrupts, stdout, stderr
        try:
            for make in (_socket_pair, _socket_pair, os.pipe, os.pipe):
                ends += make()
            self._processes[worker] = _Process(ends[0], ends[2])
            socket.send_fds(self._control, [COMMAND.pack(START, worker)], ends[1::2])
        except OSError as error:  # no more descriptors, or the template is gone
            unborn = self._processes.pop(worker, None)
            if unborn is not None:
                unborn.channel.sock.detach()
                unborn.interrupts.detach()
            for fd in ends:
                os.close(fd)
            self._news.append((worker, [(LOST, f"Its process could not be started: {error}.")]))
            self.wake()
            return
        for fd in ends[1::2]:
            os.close(fd)
        self._logs.add(worker, ends[4], ends[6])
        self._by_fd[ends[0]] = worker
        self._poller.register(ends[0])

    def send(self, worker: int, messages: list[Message]) -> None:
        process = self._processes.get(worker)
        if process is not None and not process.ended:
            if messages[-1][0] == STOP:
                process.leaving = True
            if not process.channel.send(messages):
                self._poller.modify(process.channel.sock.fileno(), writing=True)

    def interrupt(self, worker: int) -> None:
        process = self._processes.get(worker)
        if process is not None:
            try:
                process.interrupts.send(b"!")
            except OSError:  # it is gone, or has as many interrupts before it as it can hold
                return

    def kill(self, worker: int) -> None:
        process = self._processes.get(worker)
        if process is not None:
            process.killed = process.leaving = True
            self._command(KILL, worker)

    def _command(self, what: bytes, worker: int = 0) -> None:
        try:
            self._control.sendall(COMMAND.pack(what, worker))
        except OSError:  # the template is gone, and its workers with it
            return

    # -- reading --------------------------------------------------------------------------------------------------

    def receive(self, timeout: float | None) -> list[tuple[int, list[Message]]]:
        self._receiver = get_ident()
        try:
            return [] if self._closed else self._receive(timeout)
        finally:
            self._receiver = 0

    def _receive(self, timeout: float | None) -> list[tuple[int, list[Message]]]:
        batches: list[tuple[int, list[Message]]] = []
        for fd, event in self._poller.poll(0 if self._news else timeout):
            worker = self._by_fd.get(fd)
            if worker is None:
                if fd == self._wake_r:
                    _empty(fd)
                else:
                    self._hear_template()
                continue
            process = self._processes[worker]
            if event & ~select.POLLOUT:
                try:
                    messages = process.channel.read()
                except FramingError:
                    messages = None
                    process.killed = True
                if messages is None:
                    self._stream_ended(worker, process)
                elif messages:
                    batches.append((worker, messages))
            if event & select.POLLOUT and not process.ended and process.channel.flush():
                self._poller.modify(fd, writing=False)
                if process.channel.behind:  # another thread has just sent more than there was room for
                    self._poller.modify(fd, writing=True)
        while self._news:
            batches.append(self._news.popleft())
        return batches

    def _stream_ended(self, worker: int, process: _Process) -> None:
        process.ended = True
        self._poller.unregister(process.channel.sock.fileno())
        if process.status is None:
            self._command(KILL, worker)  # in case it lives on without us; no harm to one that is ending
        else:
            self._lose(worker, process)

    def _hear_template(self) -> None:
        """Births and deaths."""
        try:
            data = self._control.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._template_lost()
            return
        data = self._reports + data
        whole = len(data) // REPORT.size * REPORT.size
        self._reports = data[whole:]
        for what, worker, number in REPORT.iter_unpack(data[:whole]):
            process = self._processes.get(worker)
            if what == READY:
                self._ready = True
                self._stillborn.clear()
            if process is None:
                continue
            if what == FORKED:
                process.pid = number
            else:
                process.status = number
                if process.ended:
                    self._lose(worker, process)

    def _template_lost(self) -> None:
        """The template was killed, and the kernel killed its workers: each is reported when its stream ends."""
        self._poller.unregister(self._control.fileno())
        self._control.close()
        self._join_template()
        if not self._ready:
            self._stillborn.append(time.monotonic())
            self._failure = (
                "The process that workers are forked from could not be started: it ended with status "
                f"{self._template.exitcode}. What it said about that is on stderr."
            )
        for worker, process in list(self._processes.items()):
            if process.status is None:
                process.status = signal.SIGKILL
            if process.ended:
                self._lose(worker, process)
        if not self._closed and not self._failure:
            self._start_template()

    def _restart_template(self) -> bool:
        """Try once more to start the template, unless that has just failed again and again."""
        if len(self._stillborn) == _TRIES and time.monotonic() - self._stillborn[-1] < _PAUSE_SECONDS:
            return False
        self._failure = ""
        try:
            self._start_template()
        except OSError as error:
            self._failure = f"The process that workers are forked from could not be started: {error}."
        return not self._failure

    def _lose(self, worker: int, process: _Process) -> None:
        """It is gone, and all it wrote has been read."""
        assert process.status is not None
        cause = "it was killed" if process.killed else _why(process.status)
        lines = self._logs.last_lines(worker)
        text = f"Worker process {process.pid}: {cause}." if process.pid or not self._failure else self._failure
        if lines and not process.killed:
            text += " Its last output:\n    " + "\n    ".join(lines)
        self._forget(worker)
        self._news.append((worker, [(LOST, text)]))

    def _forget(self, worker: int) -> None:
        process = self._processes.pop(worker)
        self._by_fd.pop(process.channel.sock.fileno(), None)
        process.channel.close()
        process.interrupts.close()

    def wake(self) -> None:
        try:
            os.write(self._wake_w, b"x")
        except (BlockingIOError, OSError):  # enough wakes are waiting, or nobody reads any more
            return

    def _free_elsewhere(self, worker: int, location: Location, lost: bool) -> None:
        """A value in some worker's arena is not needed any more, or is gone."""
        process = self._processes.get(worker)
        if process is not None and not process.ended and not process.leaving:
            self.send(worker, [(FREE, location, lost)])
        elif not lost:
            discard(location)

    # -- the end --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        _pools.discard(self)
        with suppress(AttributeError):  # `open` did not get that far
            self.wake()
        # The reader is on its way out, unless it is in a signal handler right here.
        deadline = time.monotonic() + _CLOSE_SECONDS
        while self._receiver not in (0, get_ident()) and time.monotonic() < deadline:
            time.sleep(0.0002)
        self._undo.close()
        self._template = None  # and with it the pipe that multiprocessing watches it by

    def _end_template(self) -> None:
        """End all workers. The template is the last to go, with the trackers (`_join_template`)."""
        if self._template is None:
            return
        for process in list(self._processes.values()):
            with suppress(OSError):
                process.channel.sock.shutdown(socket.SHUT_RDWR)  # an idle worker ends at once
        with suppress(OSError):
            self._control.settimeout(_CLOSE_SECONDS)
            self._control.sendall(COMMAND.pack(QUIT, 0))
            while self._control.recv(65536):  # what it still has to report, or it could not go on
                pass
        for worker in list(self._processes):
            self._forget(worker)
        self._control.close()

    def _join_template(self) -> None:
        """Wait for the template, which has no reason to go on. (`join` would wait for whoever it has forked, too.)"""
        if self._template is None:
            return
        deadline = time.monotonic() + _CLOSE_SECONDS
        while self._template.exitcode is None and time.monotonic() < deadline:
            time.sleep(0.001)
        if self._template.exitcode is None:
            os.kill(self._template.pid, signal.SIGKILL)
            self._template.join()

    def abandon(self) -> None:
        """In the child of a fork: close what is the parent's, whose end will be noticed although the child lives on."""
        self._closed = True
        self._undo.pop_all()
        self._logs.abandon()
        wake, self._wake_w = self._wake_w, -1
        self._trackers.abandon()
        fds = [self._wake_r, wake, self._control.detach()]
        for worker in self._processes.values():
            fds += [worker.channel.sock.detach(), worker.interrupts.detach()]
        for fd in fds:
            with suppress(OSError):
                os.close(fd)
        self._poller.close()


#: The pools that are open.
_pools: WeakSet[LokyPool] = WeakSet()


def _abandon_all() -> None:
    for pool in list(_pools):
        pool.abandon()
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)


def _parents(spill_directory: str | None) -> list[str]:
    """Where a run makes its private directories. OSError: `spill_directory` cannot be made."""
    found = [] if machine.shared_memory() is None else [machine.SHARED_MEMORY]
    if os.path.isdir(_temporary()):
        found.append(_temporary())
    if spill_directory is not None:
        os.makedirs(spill_directory, exist_ok=True)
        found.append(os.path.abspath(spill_directory))
    return list(dict.fromkeys(found))


def _temporary() -> str:
    """The temporary directory; "" where none can be written, in a read-only container, say."""
    try:
        return tempfile.gettempdir()
    except FileNotFoundError:
        return ""


def _socket_pair() -> tuple[int, int]:
    ours, theirs = socket.socketpair()
    return ours.detach(), theirs.detach()


def _why(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        try:
            return f"it was killed by {signal.Signals(number).name}"
        except ValueError:
            return f"it was killed by signal {number}"
    return f"it exited with status {os.waitstatus_to_exitcode(status)}"


def _empty(fd: int) -> None:
    try:
        while os.read(fd, 4096):
            pass
    except BlockingIOError:
        return
