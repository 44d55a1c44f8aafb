"""The threads backend: every worker is a thread of this process.

For debugging and tests: a breakpoint in a task works, so do `unittest.mock.patch`, coverage and profilers. The
semantics are those of processes (arguments and results are copies, errors surface at `get`) unless
`init(isolate=False)` says otherwise. A thread cannot be killed: `kill` makes its next Python instruction raise
`SystemExit`, and what waits in C code (a sleep, a lock) is left to end by itself, unheard.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from minray import machine
from minray.backend import NodeInfo, PoolConfig, interruptible, raise_in
from minray.wire.messages import LOST, Message
from minray.worker import Worker
from minray_threads.store import Blocks, LocalStore

try:  # where `queue` has them from; it would import more, 0.7 of the 10 ms that a start takes
    from _queue import Empty, SimpleQueue
except ImportError:
    from queue import Empty, SimpleQueue

if TYPE_CHECKING:
    import asyncio

__all__ = ["ThreadPool"]

#: Batches taken per `receive`, so that one reader's turn stays short.
_BATCHES = 256
#: How long `close` waits for threads that are in user code, all together (s).
_CLOSE_SECONDS = 0.25


class _Link:
    """A worker thread's end: one queue each way."""

    def __init__(self, worker: int, report: Callable[[int, list[Message]], None]) -> None:
        self.number = worker
        self.inbox: SimpleQueue[list[Message] | None] = SimpleQueue()
        self.worker: Worker | None = None
        self.thread: threading.Thread | None = None
        self.dead = False
        self._report = report
        self._tell: Callable[[], object] | None = None  # an event loop, that there is something in the inbox
        self._told = False  # it was, and has not looked yet

    def put(self, messages: list[Message] | None) -> None:
        """What `receive` is to find. Any thread."""
        self.inbox.put(messages)
        if self._tell is not None and not self._told:
            self._told = True
            with suppress(RuntimeError):  # the loop has ended
                self._tell()

    def send(self, messages: list[Message]) -> None:
        if self.dead:
            raise EOFError("this worker was ended")
        self._report(self.number, messages)

    def receive(self, timeout: float | None) -> list[Message]:
        self._check()
        try:
            messages = self.inbox.get(timeout != 0, timeout)
        except Empty:
            return []
        self._check()
        messages = messages or []
        while timeout == 0:  # all that has come
            try:
                messages = messages + (self.inbox.get_nowait() or [])
            except Empty:
                break
        return messages

    def _check(self) -> None:
        if self.dead:
            self.put(None)  # for others who read
            raise EOFError("this worker was ended")

    def wake(self) -> None:
        self.put(None)

    def watch(self, loop: asyncio.AbstractEventLoop, readable: Callable[[], None]) -> bool:
        def heard() -> None:
            self._told = False
            readable()
            if not self.inbox.empty():  # another thread reads, and is about to go without having read this
                loop.call_soon(heard)

        self._tell = partial(loop.call_soon_threadsafe, heard)
        heard()  # of what has come already
        return True

    def threads(self) -> list[threading.Thread]:
        """Those that run the worker and its calls."""
        others = [] if self.worker is None else self.worker.threads()
        return others if self.thread is None else [self.thread, *others]

    def end(self) -> None:
        self.dead = True
        self.put(None)


class ThreadPool:
    """A `minray.backend.WorkerPool` of threads."""

    name = "threads"
    in_process = True
    directory = None

    def __init__(self) -> None:
        self._inbox: deque[tuple[int, list[Message]]] = deque()
        self._news = threading.Lock()  # held while there is nothing new in the inbox
        self._news.acquire()
        self._links: dict[int, _Link] = {}
        self._isolate = True
        self._closed = False

    def open(self, config: PoolConfig) -> Sequence[NodeInfo]:
        self._isolate = config.isolate
        if config.spill_directory is not None:
            os.makedirs(config.spill_directory, exist_ok=True)
        self._blocks = Blocks(config.spill_directory, config.disk_threshold)
        self.store = LocalStore(self._blocks, 0)
        cpus = config.num_cpus if config.num_cpus is not None else len(_affinity())
        return [NodeInfo(0, machine.resources(config, cpus), store_bytes=machine.store_bytes(config))]

    def start(self, worker: int, node: int) -> None:
        if self._closed:
            return
        link = self._links[worker] = _Link(worker, self._report)
        store = LocalStore(self._blocks, worker)
        link.worker = Worker(worker, link, store, self._isolate, in_process=True)
        link.thread = threading.Thread(target=self._run, args=(link,), name=f"minray-worker-{worker}", daemon=True)
        try:
            link.thread.start()
        except RuntimeError as error:  # no more threads, or (from 3.12 on) the interpreter is about to end
            del self._links[worker]
            self._report(worker, [(LOST, f"its thread could not be started: {error}")])

    def _run(self, link: _Link) -> None:
        cause = "it ended"
        try:
            assert link.worker is not None
            link.worker.run()
        except SystemExit as error:
            cause = "it was killed" if link.dead else f"the task called sys.exit({error.code!r})"
        except BaseException as error:  # whatever ended the thread, the owner must hear of it
            cause = f"its thread ended with {error!r}"
        self._links.pop(link.number, None)
        if not link.dead:
            self._report(link.number, [(LOST, cause)])
            link.end()  # for threads of its own that still read

    def send(self, worker: int, messages: list[Message]) -> None:
        link = self._links.get(worker)
        if link is not None:
            link.put(messages)

    def interrupt(self, worker: int) -> None:
        link = self._links.get(worker)
        if link is not None and link.worker is not None:
            try:
                link.worker.drain()
                link.worker.recall()
            except (EOFError, SystemExit):  # it has just ended, and says so itself
                if not link.dead:
                    raise

    def receive(self, timeout: float | None) -> list[tuple[int, list[Message]]]:
        inbox = self._inbox
        if not inbox and timeout != 0:
            self._sleep(-1 if timeout is None else timeout)
        batches: list[tuple[int, list[Message]]] = []
        while inbox and len(batches) < _BATCHES:
            batches.append(inbox.popleft())
        return batches

    @interruptible
    def _sleep(self, timeout: float) -> None:
        """Until there may be something in the inbox."""
        self._news.acquire(timeout=timeout)

    def _report(self, worker: int, messages: list[Message]) -> None:
        """Bring messages to the reader. Any thread."""
        self._inbox.append((worker, messages))
        self.wake()

    def wake(self) -> None:
        if self._news.locked():
            with suppress(RuntimeError):  # somebody else was faster
                self._news.release()

    def kill(self, worker: int) -> None:
        link = self._links.pop(worker, None)
        if link is not None:
            link.dead = True
            # Before they are on their way out by themselves, where an exception leaves an event loop half closed.
            for thread in link.threads():
                _raise_in(thread)
            link.end()
            self._report(worker, [(LOST, "it was killed")])

    def close(self) -> None:
        self._closed = True
        links = list(self._links.values())
        self._links.clear()
        for link in links:
            link.end()
        # Idle threads end by themselves, if they are let: an exception may hit them anywhere on their way out. Those
        # that are still there then are in user code, and are asked to end, now and then.
        step = _CLOSE_SECONDS / 50
        for turn in range(50):
            alive = [thread for link in links for thread in link.threads() if thread.is_alive()]
            if not alive:
                break
            alive[0].join(step)
            if turn % 10 == 4:
                for thread in alive:
                    _raise_in(thread)
        self._blocks.close()
        self.wake()


def _affinity() -> Any:
    """The CPUs that this process may use."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)


def _raise_in(thread: threading.Thread) -> None:
    """Make the thread's next Python instruction raise SystemExit."""
    if sys.version_info[:2] == (3, 11) and sys.gettrace() is not None:
        return  # under a tracer CPython 3.11 would spin in every other thread until this one wakes
    if thread.ident is not None and thread.is_alive() and thread is not threading.current_thread():
        raise_in(thread.ident, SystemExit)
