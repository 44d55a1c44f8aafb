"""The driver: what its code asks for becomes events for the task graph.

      f.remote(x) ──> submit: encode ──> with lock: graph.submitted(...) ; decisions ──> deliver
      ray.get     ──> get: is it there? else wait until the graph says so ──> decode

Each method that is an event has two ways: at once, or noted for later, if the calling thread is in the middle of a
decision (`minray.owner`), where the garbage collector may have led it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from time import sleep
from typing import Any, NoReturn

from minray.backend import PoolConfig, WorkerPool
from minray.calling import EncodedCall, Gone
from minray.client import ID_BITS, NO_ACTOR
from minray.code import make_code
from minray.core.numbering import call_of
from minray.core.tasks import Call
from minray.core.template import ActorTemplate, Code, MethodTemplate, TaskTemplate
from minray.core.value import FIRST_ERROR, SPILLED, STORED, Value
from minray.exceptions import ActorDiedError, RaySystemError, RayTaskError
from minray.ids import actor_id
from minray.measures import OWN, Measures
from minray.owner import Owner
from minray.reading import Waiting
from minray.reentry import take, would_wait
from minray.serving import no_actor
from minray.session import timed_out
from minray.sites import caller

#: While a backlog grows, a submitter reads replies once every so many calls, so that workers are refilled meanwhile.
PUMP_EVERY = 32
#: How often somebody looks for a ref that came before its announcement, if another thread reads (s).
HEAR_SECONDS = 0.0005
HEAR_TIMES = 4000


class Runtime(Owner):
    """`minray.session.Session` in the driver."""

    in_worker = False
    resident: tuple[int, type] | None = None
    given: Mapping[str, Any] | None = None
    env = ""

    def __init__(self, pool: WorkerPool, config: PoolConfig, *rest: Any) -> None:
        """As for `Owner`."""
        self._backlog = 0  # calls in a row that were submitted and could not be sent
        self._shares = not config.isolate
        self._ids = self.numbers.ids
        super().__init__(pool, config, *rest)

    # -- Session: calls -------------------------------------------------------------------------------------------

    def submit(self, template: TaskTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        call = self._codec.call(args, kwargs, template.name, self._put_arguments)
        graph = self._graph
        if self._shares and call[2]:
            self._hear_of(call[2])
        id = next(self._ids) if template.stream is None else take(self._ids, 2)
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
        id = next(self._ids) if template.stream is None else take(self._ids, 2)
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
        id = next(self._ids)
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
        id = next(self._ids)
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
        id = next(self._ids)
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
        results, missing = list[Any](), False
        decode = self._codec.decode
        for id in ids:
            value = self._graph.objects.value_of(id)
            if value is None:
                missing = True  # another one failed, and is raised below; or this was lost since a moment ago
                continue
            if value[0] == STORED or value[0] == SPILLED:
                assert self._memory is not None
                try:
                    results.append(self._memory.read(id))
                except Gone:
                    missing = True  # and so may be others: all are made again at once
                continue
            result = decode(value, id)
            if value[0] >= FIRST_ERROR:
                try:
                    raise result.as_instanceof_cause() if isinstance(result, RayTaskError) else result
                finally:
                    del result  # its traceback has this frame: a cycle, with all that its callers refer to
            results.append(result)
        return self.get(ids, timeout) if missing else results

    def _hear_of(self, ids: Sequence[int]) -> None:
        """With `isolate=False` a worker's ref can be here before the message that announces it: read until it is."""
        if self._inside():
            return
        for id in ids:
            for _ in range(HEAR_TIMES):
                if id in self._entries or call_of(id) >> ID_BITS not in self._graph.scheduler.workers:
                    break
                self._reader.pump()
                if id not in self._entries:
                    sleep(HEAR_SECONDS)

    def _await(self, ids: Sequence[int], timeout: float | None) -> None:
        if self._is_deciding() or self._is_delivering():
            if timeout == 0:
                raise timed_out(timeout)
            self._check_open()
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
            ready = self._graph.ready(ids, num_returns)
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
                ready = self._graph.ready(ids, num_returns)
                if not watch.done:
                    self._graph.unwatched(ids, watch)
        if timeout != 0:
            self._check_open()
        if timeout is None and len(ready) < num_returns:  # one was lost since a moment ago
            return self.wait(ids, num_returns, timeout)
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

    def fetch(
        self,
        id: int,
        callback: Callable[[Callable[[], Any]], None],
        future: Any = None,
        on_loop: bool = False,
    ) -> None:
        self._check_open()
        self.when_ready(id, partial(callback, partial(self.get, [id], None)))

    def when_ready(self, id: int, callback: Callable[[], None], on_loop: bool = False) -> None:
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
            self._delivery.callbacks.append(callback)

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
