"""The session inside a worker: the public API as messages to the owner, and the count of references held here.

       user code ──> Client ──(SUBMIT, GET, PUT ...)──> owner      how they travel: exchange.py

Ids are made here, from a range of the worker's own, so that submitting needs no answer.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from threading import get_ident
from typing import Any, NoReturn, cast

from minray.backend import Link, Store
from minray.calling import Codec, Gone
from minray.code import pack
from minray.core.numbering import counted_for
from minray.core.template import ActorTemplate, Code, MethodTemplate, T, TaskTemplate
from minray.core.terms import NO_ENVIRONMENT
from minray.core.value import FIRST_ERROR, SPILLED, STORED, Value, bytes_of
from minray.current_call import current_call
from minray.exceptions import RayTaskError
from minray.exchange import Exchange
from minray.measures import OWN, Measured, Outgoing
from minray.reading import Waiting
from minray.reentry import take
from minray.room import PATIENCE_SECONDS, RoomMaker, move_nothing
from minray.session import timed_out
from minray.sites import caller
from minray.strategies import inherit
from minray.wire import messages as m
from minray.wire.messages import Message

#: What who calls `exit_actor` elsewhere is told.
NO_ACTOR = (
    "exit_actor() is called on a non-actor worker. Call it inside of an actor's method to end that actor, and "
    "elsewhere kill(handle)."
)

#: Ids of worker n start at n << ID_BITS; the driver's at 1.
ID_BITS = 40


def _parent() -> int:
    """The call that makes another one. A thread that it has started makes them on its own account."""
    call = current_call.get()
    return 0 if call is None else call[0] if call[0] >> 63 == 0 else 0


class _Fetched:
    """Values that have come. What was counted for them goes back with this, read or not."""

    __slots__ = ("_client", "_held", "_reply")

    def __init__(self, client: Client, reply: Message) -> None:
        self._client = client
        self._reply = reply
        self._held = [inner for id, value in zip(reply[2], reply[3]) for inner in client.hold(id, value)]

    @property
    def value(self) -> Value:
        """The first of them, as it came."""
        value: Value = self._reply[3][0]
        return value

    def __call__(self) -> Any:
        """A fresh copy of each; the first error is raised."""
        results = []
        for id, value in zip(self._reply[2], self._reply[3]):
            try:
                result = self._client.codec.decode(value, id)
            except Gone as gone:
                (result,) = self._client.get_again(gone)()
            if value[0] >= FIRST_ERROR:
                try:
                    raise result.as_instanceof_cause() if isinstance(result, RayTaskError) else result
                finally:
                    del result  # its traceback has this frame: a cycle, with all that its callers refer to
            results.append(result)
        return results

    def __del__(self) -> None:
        for id in self._held:
            self._client.counts.drop(id)


def _never() -> bool:
    return False


class Client(Exchange):
    """`minray.session.Session` for the code that runs in one worker."""

    closed = False  # a worker does not outlive its run
    in_worker = True
    resident: tuple[int, type] | None = None
    given: Mapping[str, Any] | None = None
    env = ""
    runtime_env = NO_ENVIRONMENT

    def __init__(self, worker: int, link: Link, store: Store | None, isolate: bool, in_process: bool = False) -> None:
        super().__init__(link)
        self.in_process = in_process
        self._ids = count(worker << ID_BITS)
        #: Ends the actor from within its method; None while this worker has no actor.
        self.leave: Callable[[], NoReturn] | None = None
        #: Whether somebody has cancelled the call that asks; the worker knows.
        self.is_cancelled: Callable[[], bool] = _never
        #: The threads that run calls, and whether each runs all those of its concurrency group.
        self.runners: set[int] = set()
        self.alone = True
        #: By the address of a function or class that lives as long as the worker, the code that it has come as.
        self.came: dict[int, Code] = {}
        self._known: set[bytes] = set()
        self._inherited: dict[tuple[bytes, str, bool | None], TaskTemplate | ActorTemplate] = {}
        self.codec = Codec(store, isolate, self.counts.retain, self.counts.drop)
        if store is not None:
            store.bind(RoomMaker(store, self._ask_room, self._moved), self._give_room)

    def _own(self, timeout: float | None) -> tuple[int, bool] | None:
        """The call that is about to wait, and can do nothing else until that is over (`own` of GET); None: others."""
        if timeout is not None or get_ident() not in self.runners:
            return None
        call = current_call.get()
        if call is None:
            return None
        if call[0]:
            return call[0], self.alone
        return None if self.resident is None else (self.resident[0], True)

    def locate(self, number: int) -> None:
        """Tell the owner at which line of the user's code a request was made that has no answer yet. Any thread."""
        waiting = self._requests.get(number)
        if isinstance(waiting, Waiting):
            from minray.locating import line_of

            self._send((m.AT, number, line_of(waiting.thread, signals=not self.in_process)))

    def _give_back(self, reply: Message) -> None:
        if reply[0] == m.VALUES:
            _Fetched(self, reply)

    # -- memory for values ----------------------------------------------------------------------------------------

    def _ask_room(self, missing: int, spare: int, first: bool) -> Any:
        if self._inside():
            return None
        needs = (missing, spare, first)
        reply, _ = self._request(m.NEED, *needs, timeout=PATIENCE_SECONDS, give_back=self._move_nothing)
        return reply[3]

    def _move_nothing(self, reply: Message) -> None:
        move_nothing(reply[3], self._moved)

    def _moved(self, id: int, location: Any) -> None:
        self._send((m.MOVED, id, location))

    def _give_room(self, amount: int) -> None:
        self.post((m.GAVE, amount, False))

    # -- references -----------------------------------------------------------------------------------------------

    def hold(self, id: int, value: Value) -> list[int]:
        """Count what came with a value (see `ObjectTable.lend_value`); the ids to `drop` once it is decoded."""
        held = list(value[2])
        if value[0] == STORED or value[0] == SPILLED:
            held.append(bytes_of(id, value[0]))
        for inner in held:
            self.counts.receive(inner)
        return held

    def retain(self, id: int) -> None:
        self.counts.retain(id)

    def release(self, id: int) -> None:
        self.counts.drop(id)

    def give_back(self) -> None:
        self.flush()

    def pin(self, id: int) -> None:
        self._send((m.PIN, id))

    def _new_id(self) -> int:
        """An id for an object, counted once for us here and by the owner when it hears of it."""
        id = next(self._ids)
        self.counts.receive(id)
        return id

    def _new_call(self, template: TaskTemplate | MethodTemplate) -> int:
        """As `_new_id`, for all that a call makes."""
        streams = template.stream is not None
        call = take(self._ids, 2) if streams else next(self._ids)
        for id in counted_for(call, template.num_returns, streams):
            self.counts.receive(id)
        return call

    # -- Session --------------------------------------------------------------------------------------------------

    def submit(self, template: TaskTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        if self.given is not None:
            template = self._inherit(template)
        call = self.codec.call(args, kwargs, template.name, self._put_arguments)
        self._introduce(template)
        first = self._new_call(template)
        self._send((m.SUBMIT, first, template.key, *call, _parent()))
        self._let_go(call[1], call[2])
        return first

    def create_actor(self, template: ActorTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        if self.given is not None:
            template = self._inherit(template)
        call = self.codec.call(args, kwargs, template.name, self._put_arguments)
        self._introduce(template)
        first = self._new_id()
        if template.registered_name is None and self._inside():
            self._send((m.SUBMIT_ACTOR, 0, first, template.key, *call, caller()))  # only its name can be refused
        else:
            self._request(m.SUBMIT_ACTOR, first, template.key, *call, caller())
        self._let_go(call[1], call[2])
        return first

    def call(self, actor: int, template: MethodTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        call = self.codec.call(args, kwargs, template.name, self._put_arguments)
        self._introduce(template)
        first = self._new_call(template)
        self._send((m.SUBMIT_CALL, first, actor, template.key, *call, _parent()))
        self._let_go(call[1], call[2])
        return first

    def _inherit(self, template: T) -> T:
        """What becomes of calls that are made in a placement group. ValueError: they do not fit into it."""
        assert self.given is not None
        group, captures = self.given.get("group"), self.given.get("captures")
        if group is None:
            return template
        inherited = self._inherited.get((template.key, group, captures))
        if inherited is None:
            inherited = inherit(self, template, group, captures)
            self._inherited[template.key, group, captures] = inherited
        return cast(T, inherited)

    def _introduce(self, template: TaskTemplate | ActorTemplate | MethodTemplate) -> None:
        # Known only once it is on its way: another thread of this worker that sees the key submits at once. Two threads
        # may both post it: the owner keeps the first.
        if template.key not in self._known:
            self.post((m.TEMPLATE, template.key, pack(template)))
            self._known.add(template.key)

    def _put_arguments(self, value: Value) -> int:
        id = self._new_id()
        self.post((m.PUT, id, value))
        return id

    def _let_go(self, where: tuple[int | str, ...], deps: tuple[int, ...]) -> None:
        """The owner holds a call's stored arguments from here on."""
        if where and where[0] == "*":
            self.counts.drop(deps[0])

    def put(self, value: Any) -> int:
        return self.put_value(self.codec.value(value, "the put value"))

    def put_value(self, encoded: Value) -> int:
        """Store what is encoded already; return its id, counted once for the caller."""
        id = self._new_id()
        self._send((m.PUT, id, encoded))
        if encoded[0] == STORED:
            self.reader.pump()  # the owner may have freed earlier ones: their bytes can be used again
        return id

    def get(self, ids: Sequence[int], timeout: float | None) -> list[Any]:
        reply, _ = self._request(m.GET, tuple(ids), self._own(timeout), timeout=timeout)
        if reply[0] != m.VALUES:
            raise timed_out(timeout)
        values: list[Any] = _Fetched(self, reply)()
        return values

    def get_again(self, gone: Gone) -> _Fetched:
        """Wait for an object whose bytes are gone, until it was made again or is an error that says why not."""
        self.post((m.GONE, gone.id, gone.location))
        reply, _ = self._request(m.GET, (gone.id,), self._own(None))
        return _Fetched(self, reply)

    def arguments(
        self, args: Value, where: tuple[int | str, ...], ids: tuple[int, ...], deps: list[Value]
    ) -> tuple[Any, Any]:
        """`Codec.arguments`, once all of them are there. What one that was lost has become is raised if it is an error:
        as what it is."""
        held = []  # until all is decoded
        while True:
            try:
                return self.codec.arguments(args, where, ids, deps)
            except Gone as gone:
                held.append(self.get_again(gone))
                value = held[-1].value
                if value[0] >= FIRST_ERROR:
                    held[-1]()
                deps = [value if id == gone.id else dep for id, dep in zip(ids, deps)]

    def wait(self, ids: Sequence[int], num_returns: int, timeout: float | None) -> set[int]:
        block = timeout is None or timeout > 0
        own = self._own(timeout)
        reply, _ = self._request(m.WAIT, tuple(ids), num_returns, block, own, timeout=timeout if block else None)
        return set(reply[3])

    def take(self, stream: int, timeout: float | None) -> Sequence[int] | None:
        reply, _ = self._request(m.NEXT, stream, self._own(timeout), timeout=timeout)
        ids: tuple[int, ...] | None = reply[3]
        for id in ids or ():
            self.counts.receive(id)
        return ids

    def peek(self, stream: int) -> int:
        id: int = self.ask("peek", stream)
        return id

    def kill(self, actor: int, no_restart: bool) -> None:
        self._send((m.KILL, actor, no_restart))

    def exit_actor(self) -> NoReturn:
        if self.leave is None:
            raise TypeError(NO_ACTOR)
        self.leave()

    def find_actor(self, name: str, namespace: str | None) -> tuple[int, ActorTemplate]:
        reply, _ = self._request(m.FIND, name, namespace)
        id, template = reply[3]
        return id, pickle.loads(template)

    def fetch(self, id: int, callback: Callable[[Callable[[], Any]], None], on_loop: bool = False) -> None:
        self.retain(id)

        def fetched(reply: Message) -> None:
            callback(_Fetched(self, reply))
            self.release(id)

        self._notice(fetched, on_loop, m.FETCH, (id,), None)

    def when_ready(self, id: int, callback: Callable[[], None], on_loop: bool = False) -> None:
        self._notice(lambda _: callback(), on_loop, m.READY, id)

    def code(self, target: Any, name: str) -> Code:
        # What has come as code is known by it, whatever a call has changed of it here (as in Ray).
        found = self.came.get(id(target))
        if found is None:
            from minray.code import make_code

            found = make_code(target, name, self.pin, self.in_process)
        return found

    def ask(self, topic: str, *args: Any) -> Any:
        reply, _ = self._request(m.ASK, topic, args)
        return reply[3]

    def measured(self) -> Measured:
        if self.in_process:
            return OWN
        if self._measured is None:
            self._measured = Outgoing(self.flush)
        return self._measured
