"""What the owner does with the messages of workers: each is an event for the graph, or a question to be answered.

All of it happens under the runtime's lock, and only decides: answers go to the runtime's outbox as messages.
"""

from __future__ import annotations

import pickle
from collections import deque
from collections.abc import Callable
from typing import Any

from minray.code import pack_for_handles
from minray.core.cancelling import cancel
from minray.core.graph import TaskGraph
from minray.core.memory import FULL
from minray.core.objects import Watch
from minray.core.stalling import stalled
from minray.core.tasks import Call, Worker
from minray.core.template import ActorTemplate, MethodTemplate, TaskTemplate
from minray.core.value import FIRST_ERROR
from minray.exceptions import ActorAlreadyExistsError, DeadlockError
from minray.measures import OWN
from minray.wire import messages as m
from minray.wire.messages import Message

#: Requests that no call waits for: their workers go on meanwhile.
_UNHEEDED = (m.FETCH, m.READY)


class Request:
    """A worker's GET, FETCH, WAIT, READY or NEXT (of `stream`) that is not answered yet."""

    __slots__ = ("ids", "least", "number", "op", "own", "stream", "worker")

    def __init__(
        self,
        worker: Worker,
        op: int,
        number: int,
        ids: tuple[int, ...],
        own: tuple[int, bool] | None = None,
        least: int = 0,
        stream: int = 0,
    ) -> None:
        """`own`: a call waits for it without a time-out (see `Deadlocks`). `least`: so many of `ids` must be ready."""
        self.worker = worker
        self.own = own
        self.least = least
        self.op = op
        self.number = number
        self.ids = ids
        self.stream = stream


class Serving:
    """Serves the sessions of all workers (`minray.client.Client`).

    `handlers` says what becomes of each kind of message. `questions` answers what is asked by topic, by workers and by
    the driver itself: ``answer(worker or None, *args)`` returns plain values, or raises one of
    `minray.exchange.ERRORS`.
    """

    def __init__(self, graph: TaskGraph, outbox: deque[tuple[Any, ...]], namespace: str) -> None:
        self._graph = graph
        self._outbox = outbox
        self._namespace = namespace
        self._templates: dict[bytes, TaskTemplate | ActorTemplate | MethodTemplate] = {}
        self._requests: dict[tuple[int, int], Watch] = {}
        self.questions: dict[str, Callable[..., Any]] = {
            "peek": lambda _, stream: graph.streams.peek(stream),
            "reserve": lambda worker, actor: graph.actors.reserved(actor, worker.id if worker else 0),
            "unreserve": self._unreserve,
            "cancel": lambda _, id, force, recursive: cancel(graph, id, force, recursive),
        }
        self.handlers: dict[int, Callable[[Worker, Message], None]] = {
            m.HELLO: self._on_hello,
            m.DONE: lambda worker, msg: graph.finished(worker, msg[1], msg[2], msg[3]),
            m.FAILED: lambda worker, msg: graph.failed(worker, msg[1], msg[2], msg[3], msg[4]),
            m.CREATED: lambda worker, msg: graph.actors.creation_finished(worker, *msg[2:]),
            m.EXIT: lambda worker, _: graph.actors.exited(worker),
            m.RETURNED: lambda worker, msg: graph.returned(worker, msg[1]),
            m.YIELD: lambda worker, msg: graph.streams.yielded(worker, msg[1], msg[2], msg[3]),
            m.NEXT: self._on_next,
            m.TEMPLATE: self._on_template,
            m.SUBMIT: self._on_submit,
            m.SUBMIT_ACTOR: self._on_submit_actor,
            m.SUBMIT_CALL: self._on_submit_call,
            m.PUT: lambda worker, msg: graph.stored(msg[1], msg[2], worker),
            m.GET: self._on_get,
            m.WAIT: self._on_wait,
            m.FETCH: self._on_get,
            m.AT: self._on_at,
            m.GONE: lambda _, msg: graph.lineage.lost(msg[1], msg[2]),
            m.STALLED: lambda worker, msg: stalled(graph, worker, msg[1]),
            m.READY: self._on_ready,
            m.FORGET: self._on_forget,
            m.RELEASE: self._on_release,
            m.PIN: lambda worker, msg: graph.objects.retain(msg[1]),
            m.KILL: lambda worker, msg: graph.actors.killed(msg[1], msg[2]),
            m.FIND: self._on_find,
            m.ASK: self._on_ask,
            m.MEASURED: lambda _, msg: OWN.merge(msg[1]),
            m.NEED: lambda worker, msg: graph.asked_room(worker, msg[2], msg[3], msg[4], (worker, msg[1])),
            m.GAVE: lambda worker, msg: graph.room_given_back(worker, msg[1], msg[2]),
            m.MOVED: lambda worker, msg: graph.moved(worker, msg[1], msg[2]),
        }

    def _unreserve(self, worker: Worker | None, id: int) -> None:
        actor = self._graph.actors.actors.get(id)
        if actor is not None:
            self._graph.actors.unreserved(actor, worker.id if worker else 0)

    def forget(self, worker: int) -> None:
        """It is gone, and nobody waits for what it asked."""
        for key in [key for key in self._requests if key[0] == worker]:
            watch = self._requests.pop(key)
            self._graph.unwatched(watch.token.ids, watch)
            self._graph.deadlocks.ended(watch)

    def _on_hello(self, worker: Worker, message: Message) -> None:
        worker.pid = message[1]
        self._graph.worker_up(worker)

    def _on_template(self, worker: Worker, message: Message) -> None:
        _, key, data = message
        if key not in self._templates:
            self._templates[key] = pickle.loads(data)

    def _on_submit(self, worker: Worker, message: Message) -> None:
        _, first, key, args, where, deps, parent = message
        template = self._templates[key]
        assert isinstance(template, TaskTemplate)
        self._graph.submitted(first, template, Call(args, where, deps), worker, parent)

    def _on_submit_actor(self, worker: Worker, message: Message) -> None:
        _, request, id, key, args, where, deps, site = message
        template = self._templates[key]
        assert isinstance(template, ActorTemplate)
        try:
            self.create_actor(id, template, Call(args, where, deps), worker, site)
        except ActorAlreadyExistsError as error:
            self._refuse(worker, request, error)
        else:
            self._answer(worker, request, None)

    def create_actor(self, id: int, template: ActorTemplate, call: Call, worker: Worker | None, site: str) -> None:
        """A worker, or the driver, asks for an actor, at `site`. ActorAlreadyExistsError: its name is taken."""
        try:
            self._graph.actors.created(id, template, call, worker, self._name_key(template), site)
        except ValueError as error:
            raise ActorAlreadyExistsError(str(error)) from None

    def _name_key(self, template: ActorTemplate) -> tuple[str, str] | None:
        """Under which namespace and name an actor is to be found."""
        if template.registered_name is None:
            return None
        return (template.namespace or self._namespace, template.registered_name)

    def _on_submit_call(self, worker: Worker, message: Message) -> None:
        _, first, actor, key, args, where, deps, parent = message
        method = self._templates[key]
        assert isinstance(method, MethodTemplate)
        self._graph.actors.called(first, actor, method, Call(args, where, deps), worker, parent)

    # -- waiting --------------------------------------------------------------------------------------------------

    def _on_get(self, worker: Worker, message: Message) -> None:
        op, number, ids, own = message
        self._watch(Request(worker, op, number, ids, own, len(ids)))

    def _on_wait(self, worker: Worker, message: Message) -> None:
        _, number, ids, count, block, own = message
        request = Request(worker, m.WAIT, number, ids, own, count if block else 0)
        if not block and len(self._graph.ready(ids)) < count:
            # It only looks, perhaps again and again: what it looks for may need the CPU that it holds.
            self._graph.blocked(worker)
            self._graph.unblocked(worker)
        self._watch(request)

    def _on_ready(self, worker: Worker, message: Message) -> None:
        _, number, id = message
        self._watch(Request(worker, m.READY, number, (id,), least=1))

    def _on_next(self, worker: Worker, message: Message) -> None:
        _, number, stream, own = message
        ids = (self._graph.streams.peek(stream),)
        self._watch(Request(worker, m.NEXT, number, ids, own, least=1, stream=stream))

    def _watch(self, request: Request) -> None:
        """Answer a request when what it waits for is there."""
        eager = request.op in (m.GET, m.FETCH)
        watch = self._graph.watched(request.ids, request.least, request, eager)
        if watch.done:
            self._send_reply(request)
        else:
            self._requests[request.worker.id, request.number] = watch
            if request.own is not None:
                self._graph.deadlocks.began(watch, request.ids, request.worker, *request.own, request.op == m.FETCH)
            if request.op not in _UNHEEDED:
                self._graph.blocked(request.worker, request.ids)

    def reply(self, request: Request) -> None:
        """A request that had to wait can be answered."""
        known = self._requests.pop((request.worker.id, request.number), None)
        if known is not None:
            self._graph.deadlocks.ended(known)
            if request.worker.id in self._graph.scheduler.workers:
                if request.op not in _UNHEEDED:
                    self._graph.unblocked(request.worker)
                self._send_reply(request)

    def tell_of_deadlock(self, op: str, watch: Watch, text: str = "") -> None:
        """A call's wait has no end of its own: ask where it waits, or let it raise DeadlockError."""
        request = watch.token
        if op == "locate":
            self._outbox.append((request.worker.id, (m.WHERE, request.number)))
        elif self._requests.pop((request.worker.id, request.number), None) is not None:
            self._graph.unwatched(request.ids, watch)
            if request.op not in _UNHEEDED:
                self._graph.unblocked(request.worker)
            self._refuse(request.worker, request.number, DeadlockError(text))

    def _on_at(self, worker: Worker, message: Message) -> None:
        _, number, where, others = message
        watch = self._requests.get((worker.id, number))
        if watch is not None:
            waits = [self._requests.get((worker.id, other)) for other in others]  # None: its answer is on its way
            self._graph.deadlocks.located(watch, where, waits)

    def _send_reply(self, request: Request) -> None:
        graph = self._graph
        worker = request.worker
        if request.op == m.WAIT or request.op == m.READY:
            ready = graph.ready(request.ids)
            if len(ready) < request.least:
                self._watch(request)
            else:
                self._answer(worker, request.number, tuple(ready))
            return
        if request.op == m.NEXT:
            taken = graph.streams.take(request.stream, worker)
            self._answer(worker, request.number, None if taken is None else tuple(taken))
            return
        found = [(id, graph.objects.value_of(id)) for id in request.ids]
        there = [(id, value) for id, value in found if value is not None]
        if len(there) < len(found) and all(value[0] < FIRST_ERROR for _, value in there):
            self._watch(request)  # one was lost since a moment ago; else it is pending beside one that failed
            return
        ids, values = [], []
        for id, value in there:
            graph.objects.lend_value(worker.loans, id, value)
            ids.append(id)
            values.append(value)
        self._outbox.append((worker.id, (m.VALUES, request.number, tuple(ids), values)))

    def _on_forget(self, worker: Worker, message: Message) -> None:
        watch = self._requests.pop((worker.id, message[1]), None)
        if watch is not None:
            request = watch.token
            self._graph.unwatched(request.ids, watch)
            self._graph.deadlocks.ended(watch)
            self._graph.unblocked(worker)
            if request.op == m.NEXT:
                self._answer(worker, request.number, ())
            else:
                self._answer(worker, request.number, tuple(self._graph.ready(request.ids)))
        elif self._graph.room_forgotten((worker, message[1])):
            self._answer(worker, message[1], (FULL,))

    def give_room(self, token: tuple[Worker, int], answer: tuple[Any, ...]) -> None:
        """Answer a worker that needs memory for values."""
        worker, request = token
        if worker.id in self._graph.scheduler.workers:
            self._answer(worker, request, answer)

    # -- the rest -------------------------------------------------------------------------------------------------

    def _on_release(self, worker: Worker, message: Message) -> None:
        for id, count in message[1]:
            self._graph.repaid(worker, id, count)

    def _on_find(self, worker: Worker, message: Message) -> None:
        _, request, name, namespace = message
        actor = self._graph.actors.find((namespace or self._namespace, name))
        if actor is None:
            self._refuse(worker, request, ValueError(no_actor(name)))
        else:
            self._answer(worker, request, (actor.id, pack_for_handles(actor.template)))

    def _on_ask(self, worker: Worker, message: Message) -> None:
        _, request, topic, args = message
        try:
            found = self.questions[topic](worker, *args)
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            self._refuse(worker, request, error)
        else:
            self._answer(worker, request, found)

    def _answer(self, worker: Worker, request: int, payload: Any) -> None:
        self._outbox.append((worker.id, (m.ANSWER, request, None, payload)))

    def _refuse(self, worker: Worker, request: int, error: Exception) -> None:
        text = error.args[0] if error.args else ""
        self._outbox.append((worker.id, (m.ANSWER, request, type(error).__name__, text)))


def no_actor(name: str) -> str:
    """What who looks for an actor is told if there is none."""
    return (
        f"Failed to look up actor with name '{name}'. It was not created, its creation is not finished, it has "
        "died, or it is in another namespace: pass get_actor(name, namespace=...)."
    )
