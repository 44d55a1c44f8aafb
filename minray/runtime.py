"""The driver: it feeds events to the task graph and carries out what the graph decides.

      caller: f.remote(x) ─┐                                                  ┌─> pool.send(worker, [RUN ...])
                           ├─> with lock: graph.submitted(...) ; decisions ───┤   pool.start / kill / interrupt
      reader: pool.receive ┘      (decide)          -> outbox                 └─> (act, outside the lock, in order)

Under `_lock` things are decided and never done: no I/O, no user code. What is to be done goes to `_outbox` in the
order of the decisions, and one thread at a time carries it out (`_deliver`). The garbage collector may run user code
there all the same: what that asks for is noted (`_note`), and happens when the graph is whole again (`_settle`).
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from threading import get_ident
from time import perf_counter, sleep
from typing import Any, NoReturn

from minray.about import About
from minray.backend import PoolConfig, WorkerPool
from minray.calling import Codec, EncodedCall, Gone
from minray.client import ID_BITS, NO_ACTOR
from minray.code import make_code
from minray.core.graph import TaskGraph
from minray.core.objects import Watch
from minray.core.streams import FIRST_ITEM
from minray.core.tasks import Actor, Call, Task, Worker
from minray.core.template import ActorTemplate, Code, MethodTemplate, TaskTemplate
from minray.core.terms import NO_ENVIRONMENT
from minray.core.value import FIRST_ERROR, SPILLED, STORED, Value
from minray.driver_memory import DECISIONS, DriverMemory
from minray.exceptions import ActorDiedError, RaySystemError, RayTaskError
from minray.ids import actor_id
from minray.listing import Listing
from minray.machine import gpu_names
from minray.measures import OWN, Measures
from minray.monitor import Monitor
from minray.napping import Naps
from minray.places import Places
from minray.reading import Reader, Waiting
from minray.reentry import ReentrantLock, owner_of, take, would_wait
from minray.serving import Request, Serving, no_actor
from minray.session import timed_out
from minray.sites import caller
from minray.wire import messages as m
from minray.wire.messages import Message

#: While a backlog grows, a submitter reads replies once every so many calls, so that workers are refilled meanwhile.
PUMP_EVERY = 32
#: How many calls that have ended the state API and `timeline` can tell of; MINRAY_TASK_HISTORY chooses another number.
#: Remembering one takes 0.14 us of the 10 us that a call costs the driver, and 300 bytes.
TASK_HISTORY = 10_000
#: How often somebody looks for a ref that came before its announcement, if another thread reads (s).
HEAR_SECONDS = 0.0005
HEAR_TIMES = 4000
#: While references are being dropped the service thread looks so often for more, rather than be woken for each: called
#: from `__del__`, that would cost a system call, and a Ctrl-C that arrives during it would be lost.
RELEASE_SECONDS = 0.05
#: How long the end of a run waits for what is on its way (s).
CLOSE_SECONDS = 5.0
#: How often, while idle workers beyond the CPUs may be stopped, or calls wait for others (s).
SLOW_TICK_SECONDS = 1.0

#: The next ids: each names one thing in the life of a process. And those that the last run has used of its workers and
#: of its streams' items.
_ids = count(1)
_used = (0, FIRST_ITEM)


class Runtime:
    """`minray.session.Session` in the driver, and the owner of everything in the run."""

    in_worker = False
    resident: tuple[int, type] | None = None
    given: Mapping[str, Any] | None = None
    env = ""
    runtime_env = NO_ENVIRONMENT

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
        self._outbox: deque[tuple[Any, ...]] = deque()
        self._delivering = ReentrantLock()
        self._is_delivering = owner_of(self._delivering)
        #: References that were dropped, and events that could not be told to the graph when they happened; in order.
        self._noted: deque[int | Callable[[], object]] = deque()
        self._releasing = False  # references were dropped since the service thread last looked
        self._idle = False  # it sleeps until something comes, and has to be told of the next one
        self._graph.scheduler.last_worker, self._graph.streams.next_id = _used
        self._backlog = 0
        self._naps = Naps(self._graph.scheduler)
        self._known: dict[int, set[bytes]] = {}  # code that each worker has
        self._codes: dict[bytes, Code] = {}
        self._futures: dict[int, list[Callable[[], None]]] = {}
        self._callbacks: deque[Callable[[], None]] = deque()
        self._namespace = namespace or os.urandom(16).hex()
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
        self._shares = not config.isolate
        about = About(self._graph, self._namespace)
        self._places = Places(self._graph, about)
        self._serving.questions.update(about.questions)
        self._serving.questions.update(self._places.questions)
        self._gpus = gpu_names()
        listing = Listing(self._graph, about, pool.store.size if pool.store is not None else sys.getsizeof)
        listing.rows["placement_groups"] = self._places.rows
        self._serving.questions["rows"] = listing.answer
        self._codec = Codec(pool.store, config.isolate, self.retain, self.release)
        self._memory: DriverMemory | None = None
        if pool.store is not None:
            parts = (self._graph, self._lock, self._outbox, self._reader, self._serving, self._codec)
            self._memory = DriverMemory(pool.store, *parts, self._decide, self._note, self._inside)
        with self._lock:
            for node in self.nodes:
                self._graph.memory.joined(node.id, node.store_bytes)
                head = node is self.nodes[0]
                self._places.join(node, head, (labels or {}) if head else {})
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

    # -- decide and act -------------------------------------------------------------------------------------------

    def _carry_out(self) -> None:
        """Turn the graph's decisions into things to do. Under the lock."""
        graph = self._graph
        out = graph.out
        outbox = self._outbox
        freed = graph.objects.freed
        while out:
            decisions, graph_out = out[:], out
            graph_out.clear()
            for decision in decisions:
                op = decision[0]
                if op == "run":
                    self._run(decision[1], decision[2])
                elif op == "wake":
                    self._wake(decision[1])
                elif op == "create":
                    self._create(decision[1], decision[2])
                elif op == "recall":
                    worker = decision[1]
                    # In get the worker reads its channel; running a call it does not, and has to be interrupted.
                    outbox.append((worker.id, (m.RECALL,)) if worker.blocked else (worker.id, "interrupt"))
                elif op == "cancel":
                    worker, task = decision[1], decision[2]
                    outbox.append((worker.id, (m.CANCEL, task.id)))
                    if not worker.blocked:
                        outbox.append((worker.id, "interrupt"))
                elif op == "taken":
                    outbox.append((decision[1].id, (m.TAKEN, decision[2], decision[3])))
                elif op == "stop":
                    outbox.append((decision[1].id, (m.STOP,)))
                elif op in DECISIONS:
                    assert self._memory is not None
                    self._memory.carry_out(*decision)
                elif op in ("locate", "deadlock"):
                    self._serving.tell_of_deadlock(*decision)
                elif op == "infeasible":
                    outbox.append((0, "warn", self._places.warning(decision[1], decision[2])))
                else:  # start, kill
                    worker = decision[1]
                    outbox.append((worker.id, op, worker.node.id))
                    if op == "start":
                        self._known[worker.id] = set()
                        env = worker.env or self.runtime_env
                        if env != NO_ENVIRONMENT:
                            outbox.append((worker.id, (m.ENV, worker.env, env, self._pool.directory or "")))
        if graph.objects.dropped:
            graph.lineage.sweep()
        if freed:
            for value in freed:
                outbox.append((0, "free", value[1]))
            freed.clear()

    def _run(self, worker: Worker, task: Task) -> None:
        if task.worker is not worker:
            return  # lost in the meantime
        call = task.call
        deps: Any = self._graph.lend(worker, task) if call.deps or call.args[2] else ()
        op: int
        target: bytes | str
        if task.template is not None:
            code = task.template.code
            self._ensure_code(worker, code)
            op, target, retry, extra = m.RUN, code.key, task.template.retry_exceptions, task.template.extra
        else:
            assert task.method is not None
            op, target, retry, extra = m.CALL, task.method.method, task.method.retry_exceptions, task.method.extra
        if type(retry) is Code:
            self._ensure_code(worker, retry)
            retry = retry.key
        if worker.gpus and op == m.RUN:
            extra = {**(extra or {}), "gpus": self._name_gpus(worker)}
        inputs = (call.args, call.where, call.deps, deps)
        message = (op, task.id, target, *inputs, task.num_returns, task.name, retry, extra)
        self._outbox.append((worker.id, message))

    def _create(self, worker: Worker, actor: Actor) -> None:
        if actor.worker is not worker:
            return
        self._ensure_code(worker, actor.template.code)
        call = actor.call
        creation = Task(actor.id, call, 0, actor.template.name, 0, 0)
        deps = self._graph.lend(worker, creation)
        extra = actor.template.extra
        if worker.gpus:
            extra = {**(extra or {}), "gpus": self._name_gpus(worker)}
        template = actor.template
        inputs = (call.args, call.where, call.deps, deps)
        self._outbox.append((worker.id, (m.CREATE, actor.id, template.code.key, *inputs, template.name, extra)))

    def _name_gpus(self, worker: Worker) -> tuple[int | str, ...]:
        """The GPUs that a worker holds, as users know them."""
        names = self._gpus
        return tuple([names[gpu] if gpu < len(names) else gpu for gpu, _ in worker.gpus])

    def _ensure_code(self, worker: Worker, code: Code) -> None:
        known = self._known[worker.id]
        if code.key not in known:
            known.add(code.key)
            self._outbox.append((worker.id, (m.CODE, code.key, code.blob, code.name)))

    def _wake(self, watch: Watch) -> None:
        token = watch.token
        if type(token) is Waiting:
            token.finish()
        elif type(token) is Request:
            self._serving.reply(token)
        else:
            self._callbacks.append(token)

    def _deliver(self) -> None:
        """Do what was decided, in order. One thread at a time: whoever finds another at it leaves it all."""
        outbox = self._outbox
        while outbox and not self._is_delivering() and self._delivering.acquire(False):
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
        while self._callbacks:
            try:
                callback = self._callbacks.popleft()
            except IndexError:
                break
            callback()

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

    def _on_lost(self, worker: Worker, message: Message) -> None:
        self._forget_worker(worker.id)
        self._graph.worker_lost(worker, message[1])
        self._graph.writer_gone(worker.id)

    def _gone(self, id: int) -> None:
        """The end of a worker that was given up before."""
        self._forget_worker(id)
        self._graph.writer_gone(id)

    def _forget_worker(self, id: int) -> None:
        self._known.pop(id, None)
        self._serving.forget(id)

    # -- Session: calls -------------------------------------------------------------------------------------------

    def submit(self, template: TaskTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        call = self._codec.call(args, kwargs, template.name, self._put_arguments)
        graph = self._graph
        if self._shares and call[2]:
            self._hear_of(call[2])
        id = next(_ids) if template.counted == 1 else take(_ids, template.counted)
        if self._is_deciding():
            self._note(self._submitted, id, template, call)
            return id
        with self._lock:
            if self._noted:
                self._settle()
            graph.submitted(id, template, Call(*call))
            self._let_go(call)
            if graph.out or self._freed:
                self._carry_out()
        if self._outbox:
            self._deliver()
        else:
            self._pump()
        return id

    def _submitted(self, id: int, template: TaskTemplate, call: EncodedCall) -> None:
        self._graph.submitted(id, template, Call(*call))
        self._let_go(call)

    def call(self, actor: int, template: MethodTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        if self.closed:
            raise ActorDiedError(
                "The actor lived in an earlier session, which minray.shutdown() has ended.", actor_id(actor).hex()
            )
        call = self._codec.call(args, kwargs, template.name, self._put_arguments)
        if self._shares:
            self._hear_of((actor, *call[2]))
        id = next(_ids) if template.counted == 1 else take(_ids, template.counted)
        if self._is_deciding():
            self._note(self._called, id, actor, template, call)
            return id
        with self._lock:
            if self._noted:
                self._settle()
            self._called(id, actor, template, call)
            self._carry_out()
        if self._outbox:
            self._deliver()
        else:
            self._pump()
        return id

    def _called(self, id: int, actor: int, template: MethodTemplate, call: EncodedCall) -> None:
        self._graph.actors.called(id, actor, template, Call(*call), None)
        self._let_go(call)

    def create_actor(self, template: ActorTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        call = self._codec.call(args, kwargs, template.name, self._put_arguments)
        site = caller()
        id = next(_ids)
        if self._is_deciding():
            if template.registered_name is not None:
                raise would_wait()  # to know whether the name is taken
            self._note(self._created, id, template, call, site)
            return id
        with self._lock:
            if self._noted:
                self._settle()
            try:
                self._created(id, template, call, site)
            finally:
                self._carry_out()
        self._deliver()
        return id

    def _created(self, id: int, template: ActorTemplate, call: EncodedCall, site: str) -> None:
        try:
            self._serving.create_actor(id, template, Call(*call), None, site)
        finally:
            self._let_go(call)

    def _pump(self) -> None:
        """A backlog grows: now and then the submitter reads, so that the workers do not wait for it to end."""
        self._backlog += 1
        if self._backlog >= PUMP_EVERY:
            self._backlog = 0
            self._reader.pump()

    def _put_arguments(self, value: Value) -> int:
        id = next(_ids)
        if self._is_deciding():
            self._note(self._graph.stored, id, value)
            return id
        with self._lock:
            if self._noted:
                self._settle()
            self._graph.stored(id, value)
        return id

    def _let_go(self, call: EncodedCall) -> None:
        """The task holds its stored arguments from here on. Under the lock."""
        if call[1] and call[1][0] == "*":
            self._graph.released(call[2][0])

    def kill(self, actor: int, no_restart: bool) -> None:
        if self._is_deciding():
            self._note(self._graph.actors.killed, actor, no_restart)
            return
        with self._lock:
            if self._noted:
                self._settle()
            self._graph.actors.killed(actor, no_restart)
            self._carry_out()
        self._deliver()

    def is_cancelled(self) -> bool:
        return False

    def exit_actor(self) -> NoReturn:
        raise TypeError(NO_ACTOR)

    def find_actor(self, name: str, namespace: str | None) -> tuple[int, ActorTemplate]:
        deciding = self._is_deciding()
        with self._lock:
            if not deciding:
                self._event()
            actor = self._graph.actors.find((namespace or self._namespace, name))
        if not deciding:
            self._deliver()
        if actor is None:
            raise ValueError(no_actor(name))
        return actor.id, actor.template

    # -- Session: objects -----------------------------------------------------------------------------------------

    def put(self, value: Any) -> int:
        encoded = self._codec.value(value, "the put value")
        graph = self._graph
        id = next(_ids)
        if self._is_deciding():
            self._note(self._graph.stored, id, encoded)
            return id
        with self._lock:
            if self._noted:
                self._settle()
            graph.stored(id, encoded)
            if graph.out or self._freed:
                self._carry_out()
        if self._outbox:
            self._deliver()
        return id

    def get(self, ids: Sequence[int], timeout: float | None) -> list[Any]:
        entries = self._entries
        if self._shares:
            self._hear_of(ids)
        for id in ids:
            entry = entries.get(id)
            if entry is None or entry.value is None:
                self._await(ids, timeout)
                break
        results, gone = list[Any](), False
        decode = self._codec.decode
        for id in ids:
            value = self._graph.objects.value_of(id)
            if value is None:
                continue  # another one failed, and is raised below
            if value[0] == STORED or value[0] == SPILLED:
                assert self._memory is not None
                try:
                    results.append(self._memory.read(id))
                except Gone:
                    gone = True  # and so may be others: all are made again at once
                continue
            result = decode(value, id)
            if value[0] >= FIRST_ERROR:
                try:
                    raise result.as_instanceof_cause() if isinstance(result, RayTaskError) else result
                finally:
                    del result  # its traceback has this frame: a cycle, with all that its callers refer to
            results.append(result)
        return self.get(ids, timeout) if gone else results

    def _hear_of(self, ids: Sequence[int]) -> None:
        """With `isolate=False` a worker's ref can be here before the message that announces it: read until it is."""
        if self._inside():
            return
        for id in ids:
            for _ in range(HEAR_TIMES):
                if id in self._entries or id >> ID_BITS not in self._graph.scheduler.workers:
                    break
                self._reader.pump()
                if id not in self._entries:
                    sleep(HEAR_SECONDS)

    def _await(self, ids: Sequence[int], timeout: float | None) -> None:
        if self._is_deciding() or self._is_delivering():
            if timeout == 0:
                raise timed_out(timeout)
            raise would_wait()
        waiting = Waiting()
        with self._lock:
            if self._noted:
                self._settle()
            watch = self._graph.watched(ids, len(ids), waiting, eager=True)
            self._carry_out()
        self._deliver()
        done = watch.done
        try:
            done = done or self._reader.wait(waiting, timeout)
        finally:
            if not done:
                with self._lock:
                    self._graph.unwatched(ids, watch)
        if not done:
            self._check_open()
            raise timed_out(timeout)

    def wait(self, ids: Sequence[int], num_returns: int, timeout: float | None) -> set[int]:
        if self._shares:
            self._hear_of(ids)
        if self._inside():
            return self._look(ids, num_returns, timeout)
        with self._lock:
            if self._noted:
                self._settle()
            ready = self._graph.ready(ids)
            if len(ready) >= num_returns:
                return set(ready)
            waiting = Waiting()
            watch = self._graph.watched(ids, num_returns, waiting)
            self._carry_out()
        self._deliver()
        try:
            if timeout == 0:
                self._reader.pump()  # what has arrived by now counts as ready
            elif not watch.done:
                self._reader.wait(waiting, timeout)
        finally:
            with self._lock:
                ready = self._graph.ready(ids)
                if not watch.done:
                    self._graph.unwatched(ids, watch)
        if timeout != 0:
            self._check_open()
        return set(ready)

    def _look(self, ids: Sequence[int], num_returns: int, timeout: float | None) -> set[int]:
        """`wait` where nobody must wait. What was noted and has not happened yet is not ready."""
        entries = self._entries
        ready = {id for id in ids if (entry := entries.get(id)) is not None and entry.value is not None}
        if len(ready) < num_returns and timeout != 0:
            raise would_wait()
        return ready

    def take(self, stream: int, timeout: float | None) -> Sequence[int] | None:
        if self._is_deciding():
            raise would_wait()
        streams = self._graph.streams
        while True:
            with self._lock:
                if self._noted:
                    self._settle()
                found = streams.take(stream)
                expected = streams.peek(stream) if found == [] else 0
                if self._graph.out or self._freed:
                    self._carry_out()
            if self._outbox:
                self._deliver()
            if not expected:
                return found
            if not self.wait([expected], 1, timeout):
                return ()

    def peek(self, stream: int) -> int:
        if self._is_deciding():
            raise would_wait()
        with self._lock:
            if self._noted:
                self._settle()
            return self._graph.streams.peek(stream)

    def _check_open(self) -> None:
        if self.closed:
            if self._exiting:  # in a daemon thread, about whose end nobody wants to read
                raise SystemExit
            raise RaySystemError(
                "minray.shutdown() has ended the run while this thread was waiting for an object of it."
            )

    def fetch(self, id: int, callback: Callable[[Callable[[], Any]], None]) -> None:
        self.when_ready(id, partial(callback, partial(self.get, [id], None)))

    def when_ready(self, id: int, callback: Callable[[], None]) -> None:
        if self._is_deciding():
            self._note(self._watched, id, callback)
            return
        with self._lock:
            if self._noted:
                self._settle()
            self._watched(id, callback)
            self._carry_out()
        self._deliver()

    def _watched(self, id: int, callback: Callable[[], None]) -> None:
        # Whoever reads may finish it from here on, and calls back: so it is asked for once.
        if self._graph.watched([id], 1, callback).done:
            self._callbacks.append(callback)

    def retain(self, id: int) -> None:
        if self._is_deciding():
            self._note(self._graph.objects.retain, id)
            return
        with self._lock:
            if self._noted and id not in self._entries:
                self._event()
            self._graph.objects.retain(id)

    def release(self, id: int) -> None:
        self._noted.append(id)
        if self._idle:
            self._idle = False
            self._pool.wake()

    def give_back(self) -> None:
        pass  # here a reference is released when it is dropped

    def pin(self, id: int) -> None:
        self.retain(id)

    def code(self, target: Any, name: str) -> Code:
        return make_code(target, name, self.pin, self._pool.in_process)

    def ask(self, topic: str, *args: Any) -> Any:
        if self._is_deciding():
            raise would_wait()
        with self._lock:
            self._event()
            found = self._serving.questions[topic](None, *args)
            self._carry_out()
        self._deliver()
        return found

    def measured(self) -> Measures:
        return OWN

    # -- memory for values ----------------------------------------------------------------------------------------

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
        global _used
        if self.closed:
            return
        self._exiting = exiting
        self.closed = True
        _used = (self._graph.scheduler.last_worker, self._graph.streams.next_id)
        self._reader.close()
        # Nothing is delivered any more, and nothing is being delivered: it takes microseconds, and this thread may be
        # the one that does it, under a signal handler.
        self._delivering.acquire(timeout=CLOSE_SECONDS)
        self._pool.close()
        if self._take_back is not None:
            self._take_back()
        # A signal handler that ends the run may have stopped this thread where it has the lock: do not wait long then.
        patience = 0.1 if self._interrupted() else CLOSE_SECONDS
        if self._service is not None:
            self._monitor.close(patience)
            self._service.join(patience)

    def _interrupted(self) -> bool:
        """Whether the calling thread is also further out in a function of this file: under a signal handler, say."""
        frame = sys._getframe(2).f_back
        while frame is not None and frame.f_globals is not globals():
            frame = frame.f_back
        return frame is not None
