"""The template: a clean process with one thread and the imports done, from which workers are forked in a millisecond.

    driver ──loky starts──> template ──fork──> worker, worker, ...      (this module runs in the right two)
       └─ one socket:  (start, worker) with its fds / (kill, worker) / (quit)  ──>
                       <── (ready) / (forked, worker, pid) / (gone, worker, status)

The template is its workers' parent: it alone knows their pids for sure, ends them, and hears of their deaths. When
its socket ends, because the driver was killed, it kills them all and removes the run's directories.
"""

from __future__ import annotations

import gc
import importlib
import os
import random
import select
import shutil
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import current_process, set_start_method
from typing import Any

from minray.worker import Worker
from minray_loky import logs
from minray_loky.channel import WorkerEnd
from minray_loky.spawning import GROUP_SIGNALS, loky_tracker
from minray_loky.store import SharedStore
from minray_loky.trackers import fork_trackers, join_trackers

COMMAND = struct.Struct("!cq")  # what, worker
REPORT = struct.Struct("!cqq")  # what, worker, pid or wait status
START, KILL, QUIT = b"S", b"K", b"Q"
READY, FORKED, GONE = b"R", b"F", b"G"
#: The wait status of a worker that there never was: what a process that exits with 127 has.
FORK_FAILED = 127 << 8
#: fds that come with START: messages, interrupts, stdout, stderr
FDS = 4
#: How long workers get to end by themselves when the run ends (s). Idle ones need a few milliseconds.
GRACE_SECONDS = 0.15


@dataclass(frozen=True)
class Setup:
    """What the driver tells the template once."""

    directories: Sequence[str]
    preload: Sequence[str]
    sys_path: Sequence[str]
    isolate: bool
    disk_threshold: float
    blocked: Sequence[int] = ()  # signals, in the thread that started the run: so they are in workers


def serve(sock: int, setup: Setup, trackers: Sequence[tuple[int, int]]) -> None:
    """The template's whole life. Runs in the process that loky started, and never returns.

    `sock` is a descriptor; `trackers`: see `fork_trackers`.
    """
    _Template(socket.socket(fileno=sock), setup).run(trackers)
    os._exit(0)


class _Template:
    def __init__(self, sock: socket.socket, setup: Setup) -> None:
        self._sock = sock
        self._setup = setup
        self._pids: dict[int, int] = {}  # worker -> pid, of those not reaped
        self._die_with_parent = _to_die_with_parent()
        self._unsent = bytearray()  # reports that the socket could not take yet

    def run(self, trackers: Sequence[tuple[int, int]]) -> None:
        # Sent to the whole group these end the driver, or mean something to it; this process ends when the driver has.
        self._signals = {number: signal.signal(number, signal.SIG_IGN) for number in GROUP_SIGNALS}
        signal.pthread_sigmask(signal.SIG_SETMASK, self._setup.blocked)
        pids = fork_trackers(trackers)
        # Inherited by workers: to the user's code each is a program of its own, which starts processes as Python does.
        current_process().daemon = False
        current_process().name = "MainProcess"
        set_start_method(None, force=True)
        sys.path[:] = self._setup.sys_path
        for name in self._setup.preload:
            try:
                importlib.import_module(name)
            except Exception:  # who needs it in a worker will see why
                continue
        self._report(READY, 0, 0)
        gc.collect()
        gc.freeze()  # what is here stays shared between all workers
        told = self._obey()
        self._end()
        if not told:
            for directory in self._setup.directories:
                shutil.rmtree(directory, ignore_errors=True)
                loky_tracker.unregister(directory, "folder")
        self._sock.close()  # the driver goes on
        join_trackers(pids)

    def _obey(self) -> bool:
        """Do what the driver says; True if it says that all is over, False if it is gone."""
        deaths, alarm = os.pipe()
        os.set_blocking(deaths, False)
        os.set_blocking(alarm, False)
        signal.set_wakeup_fd(alarm, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _noted)  # the byte in the pipe says it all
        self._deaths = (deaths, alarm)
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        poll.register(deaths, select.POLLIN)
        while True:
            poll.modify(self._sock, select.POLLIN | select.POLLOUT if self._unsent else select.POLLIN)
            ready = dict(poll.poll())
            if deaths in ready:
                os.read(deaths, 4096)
                self._reap()
            event = ready.get(self._sock.fileno(), 0)
            if event & select.POLLOUT:
                self._send_reports()
            if not event & ~select.POLLOUT:
                continue
            try:
                data, fds, _, _ = socket.recv_fds(self._sock, COMMAND.size, FDS, socket.MSG_WAITALL)
            except OSError:
                return False
            if len(data) < COMMAND.size:
                return False
            what, worker = COMMAND.unpack(data)
            if what == START:
                self._fork(worker, list(fds))
            elif what == KILL:
                pid = self._pids.get(worker)
                if pid is not None:
                    os.killpg(pid, signal.SIGKILL)
            else:
                return True

    def _fork(self, worker: int, fds: list[int]) -> None:
        template = os.getpid()
        if not self._pids:  # the driver has made what it could by now
            existing = [directory for directory in self._setup.directories if os.path.isdir(directory)]
            self._setup = replace(self._setup, directories=existing)
        try:
            pid = os.fork()
        except OSError as error:  # no more processes, or no memory
            os.write(fds[-1], f"{error}\n".encode())
            pid = 0
        else:
            if not pid:
                try:
                    self._become_worker(worker, fds, template)
                finally:
                    os._exit(1)
        for fd in fds:
            os.close(fd)
        if pid:
            with suppress(OSError):  # here and there, so that it is done whoever runs first
                os.setpgid(pid, pid)
            self._pids[worker] = pid
            self._report(FORKED, worker, pid)
        else:
            self._report(GONE, worker, FORK_FAILED)

    def _become_worker(self, worker: int, fds: list[int], template: int) -> None:
        # A process group of its own: what the terminal sends is the driver's, and what tasks start can be ended too.
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, handler in self._signals.items():
            signal.signal(number, handler)
        for fd in self._deaths:
            os.close(fd)
        self._sock.close()
        messages, interrupts, out, err = fds
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.close(out)
        os.close(err)
        self._die_with_parent()
        if os.getppid() != template:  # it died before that
            return
        run_worker(worker, messages, interrupts, self._setup)

    def _reap(self) -> None:
        """Report every worker that has ended."""
        for worker, pid in list(self._pids.items()):
            try:
                done, status = os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                done, status = pid, 0
            if done:
                del self._pids[worker]
                _kill_rest(pid)
                self._report(GONE, worker, status)

    def _report(self, what: bytes, worker: int, number: int) -> None:
        self._unsent += REPORT.pack(what, worker, number)
        self._send_reports()

    def _send_reports(self) -> None:
        """As far as the socket takes them. To wait here could be for ever: the driver may be waiting for this process
        to take its next command."""
        try:
            sent = self._sock.send(self._unsent, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:  # the driver is gone, which ends this process too
            sent = len(self._unsent)
        del self._unsent[:sent]

    def _end(self) -> None:
        """Give workers a moment to end by themselves (their channels are closed), then kill them."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        deadline = time.monotonic() + GRACE_SECONDS
        while self._pids:
            late = time.monotonic() > deadline
            for worker, pid in list(self._pids.items()):
                try:
                    done, _ = os.waitpid(pid, os.WNOHANG)
                except ChildProcessError:
                    done = pid
                if done:
                    del self._pids[worker]
                    _kill_rest(pid)
                elif late:  # again and again until it is gone: a kill may come before it is a group of its own
                    with suppress(OSError):
                        os.killpg(pid, signal.SIGKILL)
            if self._pids:
                time.sleep(0.001)


def _kill_rest(pid: int) -> None:
    """A worker is gone: end the programs that its tasks have left behind, as Ray does. (Those that have detached
    themselves, by a session of their own, live on.)"""
    with suppress(OSError):
        os.killpg(pid, signal.SIGKILL)


def _noted(*_: Any) -> None:
    """A signal handler that does nothing: who has to know reads it from the wakeup pipe, or hears it otherwise."""


def run_worker(worker: int, messages_fd: int, interrupts_fd: int, setup: Setup) -> None:
    """What a worker process runs, from just after the fork to its end. Never returns."""
    logs.take_over_output()
    random.seed()
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()
    link = WorkerEnd(socket.socket(fileno=messages_fd))
    interrupts = socket.socket(fileno=interrupts_fd)
    store = SharedStore(setup.directories, f"w{worker}", threshold=setup.disk_threshold)
    served = Worker(worker, link, store, setup.isolate, label=logs.Label())
    threading.Thread(target=_heed, args=(interrupts, served), name="minray-interrupts", daemon=True).start()
    status = 0
    try:
        served.run(own_process=True)
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1
    except BaseException:  # nothing can be reported any more but to stderr
        import traceback

        traceback.print_exc()
        status = 1
    finally:
        _exit(status)


def _heed(interrupts: socket.socket, worker: Worker) -> None:
    """Carry out what cannot wait for the main thread, which is busy with a call."""
    try:
        while interrupts.recv(64):
            worker.drain()
            worker.recall()
    except (EOFError, OSError):
        return


def _exit(status: int) -> None:
    """End the process: exit handlers (coverage's, the user's), flushed streams, and no more."""
    import atexit

    try:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)


def _to_die_with_parent() -> Callable[[], object]:
    """What a worker calls to be killed when the template is (Linux). Looked up in the template, and not in each worker
    once more: that would take 0.8 ms of the 4 that its start takes."""
    if sys.platform != "linux":
        return lambda: None
    import ctypes

    return partial(ctypes.CDLL(None).prctl, 1, signal.SIGKILL)  # PR_SET_PDEATHSIG
