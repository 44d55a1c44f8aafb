"""What runs a run: it feeds events to the task graph and has carried out what the graph decides.

      caller: f.remote(x) ─┐                                                  ┌─> pool.send(worker, [RUN ...])
                           ├─> with lock: graph.submitted(...) ; decisions ───┤   pool.start / kill / interrupt
      reader: pool.receive ┘      (decide)          -> outbox                 └─> (act, outside the lock, in order)

Under `_lock` things are decided and never done: no I/O, no user code. What is to be done goes to the outbox in the
order of the decisions (`minray.carrying`), and one thread at a time does it (`minray.delivery`). The garbage collector
may run user code under the lock all the same: what that asks for is noted (`_note`), and happens when the graph is
whole again (`_settle`).

Here are the events that come from workers, and the beginning and the end of the run. Those that come from the driver's
code are in `minray.runtime`.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from threading import get_ident
from time import perf_counter
from typing import Any

from minray.about import TOKEN_BYTES, About
from minray.backend import PoolConfig, WorkerPool
from minray.calling import Codec
from minray.carrying import Carrier
from minray.core.graph import TaskGraph
from minray.core.objects import Watch
from minray.core.tasks import Worker
from minray.core.terms import NO_ENVIRONMENT
from minray.delivery import Delivery
from minray.driver_memory import DriverMemory
from minray.listing import Listing
from minray.monitor import Monitor
from minray.napping import Naps
from minray.places import Places
from minray.reading import Reader, Waiting
from minray.reentry import ReentrantLock, owner_of
from minray.serving import Request, Serving
from minray.wire import messages as m
from minray.wire.messages import Message

#: How many calls that have ended the state API and `timeline` can tell of; MINRAY_TASK_HISTORY chooses another number.
#: Remembering one takes 0.14 us of the 10 us that a call costs the driver, and 300 bytes.
TASK_HISTORY = 10_000
#: While references are being dropped the service thread looks so often for more, rather than be woken for each: called
#: from `__del__`, that would cost a system call, and a Ctrl-C that arrives during it would be lost.
RELEASE_SECONDS = 0.05
#: How long the end of a run waits for what is on its way (s).
CLOSE_SECONDS = 5.0
#: How often, while idle workers beyond the CPUs may be stopped, or calls wait for others (s).
SLOW_TICK_SECONDS = 1.0


class Numbers:
    """The next ids: of objects, of workers."""

    def __init__(self) -> None:
        self.ids = count(1)
        self.last_worker = 0


class Owner:
    """The owner of everything in the run."""

    runtime_env = NO_ENVIRONMENT
    numbers = Numbers()  #: so that each names one thing in the life of a process
    random_bytes = staticmethod(os.urandom)  #: what ids are made of that nobody else in the world has

    def __init__(
        self,
        pool: WorkerPool,
        config: PoolConfig,
        namespace: str | None,
        labels: dict[str, str] | None = None,
        runtime_env: Mapping[str, Any] | None = None,
    ) -> None:
        """`labels` are those of the driver's own node; `runtime_env` has been checked."""
        self._pool = pool
        self._lock = ReentrantLock()
        self._is_deciding = owner_of(self._lock)  # the calling thread, that is
        self._graph = TaskGraph(int(os.environ.get("MINRAY_TASK_HISTORY", TASK_HISTORY)))
        self._entries = self._graph.objects.entries
        self._freed = self._graph.objects.freed
        self._delivery = Delivery(pool)
        self._outbox = self._delivery.outbox
        self._deliver = self._delivery.deliver
        self._is_delivering = self._delivery.is_delivering
        #: References that were dropped, and events that could not be told to the graph when they happened; in order.
        self._noted: deque[int | Callable[[], object]] = deque()
        self._releasing = False  # references were dropped since the service thread last looked
        self._idle = False  # it sleeps until something comes, and has to be told of the next one
        self._graph.scheduler.last_worker = self.numbers.last_worker
        self._naps = Naps(self._graph.scheduler)
        self._namespace = namespace or self.random_bytes(16).hex()
        self.closed = False
        self._exiting = False
        self._reader = self._make_reader()
        self._serving = Serving(self._graph, self._outbox, self._namespace)
        self._handlers = self._serving.handlers
        self._handlers[m.LOST] = self._on_lost
        self.nodes = list(pool.open(config))
        self.in_process = pool.in_process
        self._take_back: Callable[[], None] | None = None
        try:
            if runtime_env:
                from minray.environments import lend_process, of_job

                self.runtime_env = of_job(runtime_env, pool.directory)
                if self.in_process:
                    self._take_back = lend_process(self.runtime_env)
        except BaseException:
            pool.close()
            raise
        about = About(self._graph, self._namespace, self.random_bytes(TOKEN_BYTES))
        places = Places(self._graph, about, self.random_bytes)
        self._serving.questions.update(about.questions)
        self._serving.questions.update(places.questions)
        listing = Listing(self._graph, about, pool.store.size if pool.store is not None else sys.getsizeof)
        listing.rows["placement_groups"] = places.rows
        self._serving.questions["rows"] = listing.answer
        self._tellers = (about, places, listing)
        self.node_id = about.node(self.nodes[0].id)  #: the driver's own node's, in 56 hexadecimal digits
        self._codec = Codec(pool.store, config.isolate, self.retain, self.release)
        self._memory: DriverMemory | None = None
        if pool.store is not None:
            parts = (self._graph, self._lock, self._outbox, self._reader, self._serving, self._codec)
            self._memory = DriverMemory(pool.store, *parts, self._decide, self._note, self._inside)
        self._carrier = Carrier(
            self._graph, self._delivery, self._serving, places, self._memory, self.runtime_env, pool.directory
        )
        self._carry_out = self._carrier.carry_out
        with self._lock:
            for node in self.nodes:
                self._graph.memory.joined(node.id, node.store_bytes)
                head = node is self.nodes[0]
                places.join(node, head, (labels or {}) if head else {})
            self._carry_out()
        self._deliver()
        self._service = self._start_service()
        self._monitor = Monitor(self._graph, config.memory_threshold, config.memory_refresh, self._decide)
        if self._service is not None:
            self._monitor.start()

    def _make_reader(self) -> Reader:
        return Reader(self._receive, self._pool.wake)

    def _start_service(self) -> threading.Thread | None:
        """A thread that reads while nobody waits."""
        service = threading.Thread(target=self._serve, name="minray-service", daemon=True)
        service.start()
        return service

    # -- references, which anybody may hold -----------------------------------------------------------------------

    def retain(self, id: int) -> None:
        """One more reference to an object. Any thread, wherever it is."""
        if self._is_deciding():
            self._note(self._graph.objects.retain, id)
            return
        with self._lock:
            if self._noted and id not in self._entries:
                self._event()
            self._graph.objects.retain(id)

    def release(self, id: int) -> None:
        """One less. Any thread, wherever it is: called from `__del__`."""
        self._noted.append(id)
        if self._idle:
            self._idle = False
            self._pool.wake()

    # -- from workers ---------------------------------------------------------------------------------------------

    def _receive(self, timeout: float | None) -> None:
        """Read once, tell the graph, act. The reader."""
        scheduler = self._graph.scheduler
        if timeout is None and self._reader.serving:
            if self._releasing:
                self._releasing = False
                timeout = RELEASE_SECONDS
            else:
                self._idle = True
        if self._noted:
            timeout = 0  # while nobody was reading
        elif scheduler.sent_ahead:
            timeout = self._naps.before(timeout)
        elif self._graph.deadlocks.waits or (timeout is None and (scheduler.tight or scheduler.surplus())):
            timeout = SLOW_TICK_SECONDS if timeout is None else min(timeout, SLOW_TICK_SECONDS)
        batches = self._pool.receive(timeout)
        self._idle = False
        self._naps.heard(batches)
        handlers = self._handlers
        with self._lock:
            graph = self._graph
            workers = scheduler.workers
            scheduler.now = now = perf_counter()
            for id, messages in batches:
                worker = workers.get(id)
                if worker is None:  # it was given up: what it still says is not heard
                    if messages[-1][0] == m.LOST:
                        self._gone(id)
                    continue
                for message in messages:
                    handlers[message[0]](worker, message)
                    if worker.id not in workers:
                        if message is not messages[-1] and messages[-1][0] == m.LOST:
                            self._gone(id)
                        break
            if scheduler.sent_ahead or not batches or now >= graph.deadlocks.due:
                graph.ticked(now)
            if self._noted:
                self._settle()
            self._carry_out()
        self._deliver()

    def _serve(self) -> None:
        try:
            self._reader.serve()
        except (OSError, ValueError):
            if not self.closed:
                raise

    def _on_lost(self, worker: Worker, message: Message) -> None:
        self._forget_worker(worker.id)
        self._graph.worker_lost(worker, message[1])
        self._graph.writer_gone(worker.id)

    def _gone(self, id: int) -> None:
        """The end of a worker that was given up before."""
        self._forget_worker(id)
        self._graph.writer_gone(id)

    def _forget_worker(self, id: int) -> None:
        self._carrier.forget(id)
        self._serving.forget(id)

    # -- deciding -------------------------------------------------------------------------------------------------

    def _note(self, event: Callable[..., object], *args: Any) -> None:
        """Have ``event(*args)`` happen soon: the calling thread is inside the lock already, further out."""
        self._noted.append(partial(event, *args))
        self._pool.wake()  # in case the outer call has looked for the last time

    def _settle(self) -> None:
        """Do what was noted. Under the lock, and with the graph whole."""
        self._releasing = True
        noted = self._noted
        graph = self._graph
        while noted:
            note = noted.popleft()
            if isinstance(note, int):
                graph.released(note)
            else:
                note()

    def _event(self) -> None:
        """What every event from a caller ends with, and begins with if it speaks of ids. Under the lock."""
        if self._noted:
            self._settle()
        self._carry_out()

    def _inside(self) -> bool:
        """Whether the calling thread is in the middle of deciding, delivering or reading, where it must not wait."""
        return self._is_deciding() or self._is_delivering() or not self._reader.may_wait(get_ident())

    def _decide(self, event: Callable[[], object]) -> None:
        """Have an event for the graph happen, and carry out what it leads to. No longer once the run is closed."""
        with self._lock:
            if self.closed:
                return
            self._event()
            self._graph.scheduler.now = perf_counter()
            event()
            self._carry_out()
        self._deliver()

    # -- the end --------------------------------------------------------------------------------------------------

    def close(self, exiting: bool = False) -> None:
        """End the run and everything in it. Refs and handles that are left are of no use any more.

        Threads that wait get a RaySystemError, or end silently if the interpreter is `exiting`.
        """
        if self.closed:
            return
        self._exiting = exiting
        self.closed = True
        self.numbers.last_worker = self._graph.scheduler.last_worker
        self._reader.close()
        self._delivery.stop(CLOSE_SECONDS)  # it takes microseconds
        self._pool.close()
        if self._take_back is not None:
            self._take_back()
        # A signal handler that ends the run may have stopped this thread where it has the lock: do not wait long then.
        patience = 0.1 if self._interrupted() else CLOSE_SECONDS
        if self._service is not None:
            self._monitor.close(patience)
            self._service.join(patience)
        self._call_back()

    def _call_back(self) -> None:
        """Whoever waits for a future learns that nobody will finish it: its reader finds the run closed."""
        for entry in list(self._entries.values()):
            for waiter in entry.waiting or ():
                if isinstance(waiter, Watch) and not waiter.done and type(waiter.token) not in (Waiting, Request):
                    waiter.done = True
                    waiter.token()

    def _interrupted(self) -> bool:
        """Whether the calling thread is further out in a method of a runtime as well: under a signal handler, say."""
        modules = {cls.__module__ for cls in type(self).__mro__[:-1]}
        frame = sys._getframe(2).f_back
        while frame is not None and frame.f_globals.get("__name__") not in modules:
            frame = frame.f_back
        return frame is not None
