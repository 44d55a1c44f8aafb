"""The session inside a worker: the public API as messages to the owner, and the count of references held here.

       user code ──> Client ──(SUBMIT, GET, PUT ...)──> owner      replies: whoever waits reads them (reading.py)

Ids are made here, from a range of the worker's own, so that submitting needs no answer.
"""

from __future__ import annotations

import pickle
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from threading import get_ident
from typing import Any, NoReturn, cast

from minray.backend import Link, Store
from minray.calling import Codec, Gone
from minray.code import pack
from minray.core.template import ActorTemplate, Code, MethodTemplate, T, TaskTemplate
from minray.core.terms import NO_ENVIRONMENT
from minray.core.value import FIRST_ERROR, SPILLED, STORED, Value, bytes_of
from minray.current_call import current_call
from minray.exceptions import ActorAlreadyExistsError, DeadlockError, RayTaskError
from minray.measures import OWN, Measured, Outgoing
from minray.reading import Reader, Waiting
from minray.reentry import ReentrantLock, owner_of, take, would_wait
from minray.room import PATIENCE_SECONDS, RoomMaker, move_nothing
from minray.session import timed_out
from minray.sites import caller
from minray.strategies import inherit
from minray.wire import messages as m
from minray.wire.messages import Message

#: What the answer to a question may raise.
ERRORS: dict[str, type[Exception]] = {
    kind.__name__: kind
    for kind in (ActorAlreadyExistsError, DeadlockError, KeyError, RuntimeError, TypeError, ValueError)
}

#: What who calls `exit_actor` elsewhere is told.
NO_ACTOR = (
    "exit_actor() is called on a non-actor worker. Call it inside of an actor's method to end that actor, and "
    "elsewhere kill(handle)."
)

#: Ids of worker n start at n << ID_BITS; the driver's at 1.
ID_BITS = 40


class Counts:
    """References held in this process, and those to give back to the owner.

    For each id: how many are held here, and how many the owner has counted for this worker. When nothing is held any
    more all of these go back at once. Everything but `settle` only notes, and takes no lock: the garbage collector may
    call it anywhere.
    """

    def __init__(self) -> None:
        self._held: dict[int, list[int]] = {}
        #: What happened, in order: ``(id, 1)`` received, ``(id, 0)`` retained, ``id`` dropped.
        self._noted: deque[tuple[int, int] | int] = deque()

    def receive(self, id: int) -> None:
        """The owner has counted one for us, and it is held until dropped."""
        self._noted.append((id, 1))

    def retain(self, id: int) -> None:
        """One more is held here."""
        self._noted.append((id, 0))

    def drop(self, id: int) -> None:
        """One less is."""
        self._noted.append(id)

    @property
    def noted(self) -> bool:
        """Whether something has happened since `settle`."""
        return bool(self._noted)

    def settle(self) -> tuple[tuple[int, int], ...]:
        """What goes back to the owner by now. One thread at a time."""
        noted = self._noted
        held = self._held
        back: list[tuple[int, int]] = []
        while noted:
            note = noted.popleft()
            if isinstance(note, tuple):
                id, counted = note
                entry = held.get(id)
                if entry is None:
                    held[id] = [1, counted]
                else:
                    entry[0] += 1
                    entry[1] += counted
            else:
                entry = held[note]
                entry[0] -= 1
                if not entry[0]:
                    del held[note]
                    if entry[1]:
                        back.append((note, entry[1]))
        return tuple(back)


def _parent() -> int:
    """The call that makes another one. A thread that it has started makes them on its own account."""
    call = current_call.get()
    return 0 if call is None else call[0] if call[0] >> 63 == 0 else 0


class _Notice:
    """A request that nobody waits for: whoever reads the answer calls back."""

    __slots__ = ("_callback", "_flush", "reply")

    def __init__(self, callback: Callable[[Message], None], flush: Callable[[], None]) -> None:
        self._callback: Callable[[Message], None] | None = callback
        self._flush = flush
        self.reply: Message = ()

    def finish(self) -> None:
        callback, self._callback = self._callback, None
        assert callback is not None
        callback(self.reply)
        # Who is called back may be done with the value before this thread lets go of it here.
        del callback
        self._flush()


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


def _nothing() -> None:
    """Nobody serves in a worker, so nobody has to be woken."""


class Client:
    """`minray.session.Session` for the code that runs in one worker."""

    closed = False  # a worker does not outlive its run
    in_worker = True
    resident: tuple[int, type] | None = None
    given: Mapping[str, Any] | None = None
    env = ""
    runtime_env = NO_ENVIRONMENT

    def __init__(self, worker: int, link: Link, store: Store | None, isolate: bool, in_process: bool = False) -> None:
        self._link = link
        self.in_process = in_process
        self._outbox: deque[Message] = deque()
        self._sending = ReentrantLock()
        self._is_sending = owner_of(self._sending)  # the calling thread, that is
        self._ids = count(worker << ID_BITS)
        self._numbers = count(1)  # of requests
        self._requests: dict[int, Waiting | _Notice] = {}
        self._pending: set[int] = set()  # notices that have not come
        self._hearing: dict[int, Waiting] = {}  # 0: the wait of a thread that reads while notices are pending
        #: Ends the actor from within its method; None while this worker has no actor.
        self.leave: Callable[[], NoReturn] | None = None
        #: Whether somebody has cancelled the call that asks; the worker knows.
        self.is_cancelled: Callable[[], bool] = _never
        #: The threads that run calls, and whether each runs all those of its concurrency group.
        self.runners: set[int] = set()
        self.alone = True
        #: Some thread of the worker reads the channel at all times.
        self.always_read = False
        self._measured: Outgoing | None = None  # since something was
        self._known: set[bytes] = set()
        self._inherited: dict[tuple[bytes, str, bool | None], TaskTemplate | ActorTemplate] = {}
        self._on_work: Callable[[list[Message]], None] = list.clear
        self.counts = Counts()
        self.codec = Codec(store, isolate, self.counts.retain, self.counts.drop)
        self.reader = self._make_reader()
        if store is not None:
            store.bind(RoomMaker(store, self._ask_room, self._moved), self._give_room)

    def _make_reader(self) -> Reader:
        return Reader(self._receive, _nothing)

    # -- the channel ----------------------------------------------------------------------------------------------
    # Where the owner is gone SystemExit is raised: user code that waits, or catches errors, is to end too, silently.

    def on_work(self, handle: Callable[[list[Message]], None]) -> None:
        """What to do with messages that are no replies."""
        self._on_work = handle

    def post(self, message: Message) -> None:
        """Send with the next `flush`."""
        self._outbox.append(message)

    def flush(self) -> None:
        """Send what was posted, and the references given back. Any thread."""
        if self._is_sending():
            return  # further out this thread is at it, and goes on until all is sent
        while True:
            with self._sending:
                # Counted before the outbox is taken, and sent after it: what was posted before a reference was dropped,
                # a result or a call with it, must reach the owner before the reference is given back.
                back = self.counts.settle()
                outbox = [self._outbox.popleft() for _ in range(len(self._outbox))]
                if back:
                    outbox.append((m.RELEASE, back))
                if self._measured is not None and (sums := self._measured.take()):
                    outbox.insert(0, (m.MEASURED, sums))  # before the results of the calls that have counted it
                if outbox:
                    try:
                        self._link.send(outbox)
                    except TimeoutError:  # of the user's own, from a signal handler: what fits the socket has been sent
                        raise
                    except (EOFError, OSError):
                        raise SystemExit from None
            if not self._outbox:
                return

    def _send(self, message: Message) -> None:
        self._outbox.append(message)
        self.flush()

    def _receive(self, timeout: float | None) -> None:
        try:
            messages = self._link.receive(timeout)
        except TimeoutError:  # of the user's own, from a signal handler
            raise
        except (EOFError, OSError):
            raise SystemExit from None
        self.hear(messages)

    def hear(self, messages: list[Message]) -> None:
        """Deal with what has come. Whoever reads."""
        work = []
        for message in messages:
            if message[0] == m.VALUES or message[0] == m.ANSWER:
                waiting = self._requests.pop(message[1], None)
                if waiting is not None:
                    waiting.reply = message
                    waiting.finish()
            else:
                work.append(message)
        if work:
            self._on_work(work)

    def _request(
        self,
        op: int,
        *rest: Any,
        timeout: float | None = None,
        give_back: Callable[[Message], None] | None = None,
    ) -> tuple[Message, bool]:
        """Ask and wait; the answer, and whether it came in time. After `timeout` the owner answers with what it has.

        `give_back`: gets the answer where the call that asked was interrupted.
        """
        if self._inside():
            raise would_wait()
        waiting = Waiting()
        waiting.thread = get_ident()
        number = next(self._numbers)
        self._requests[number] = waiting
        try:
            self._send((op, number, *rest))
            in_time = self.reader.wait(waiting, timeout)
            if not in_time:
                self._send((m.FORGET, number))
                self.reader.wait(waiting)
        except BaseException:  # whatever a signal handler raises
            self._abandon(number, waiting, give_back or self._give_back)
            raise
        reply: Any = waiting.reply
        if reply[0] == m.ANSWER and reply[2] is not None:
            raise ERRORS[reply[2]](reply[3])
        return reply, in_time

    def _give_back(self, reply: Message) -> None:
        if reply[0] == m.VALUES:
            _Fetched(self, reply)

    def _abandon(self, number: int, waiting: Waiting, give_back: Callable[[Message], None]) -> None:
        """The call that asked was interrupted. What comes all the same is given back."""
        self._requests[number] = _Notice(give_back, self.flush)
        if waiting.reply is None:
            self._send((m.FORGET, number))
        else:
            del self._requests[number]
            give_back(cast(Message, waiting.reply))

    def break_wait(self, thread: int) -> bool:
        """If that thread waits for an answer, make it raise KeyboardInterrupt. Any thread of this process."""
        for waiting in list(self._requests.values()):
            if isinstance(waiting, Waiting) and waiting.thread == thread and not waiting.done:
                waiting.broken = True
                waiting.nudge()
                self._link.wake()
                return True
        return False

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

    def _inside(self) -> bool:
        """Whether the calling thread is sending or reading already, further out."""
        return self._is_sending() or not self.reader.may_wait(get_ident())

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

    def _new_ids(self, number: int) -> int:
        """Ids for `number` objects, counted once each for us here and by the owner when it hears of them."""
        first = take(self._ids, number)
        for id in range(first, first + number):
            self.counts.receive(id)
        return first

    # -- Session --------------------------------------------------------------------------------------------------

    def submit(self, template: TaskTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        if self.given is not None:
            template = self._inherit(template)
        call = self.codec.call(args, kwargs, template.name, self._put_arguments)
        self._introduce(template)
        first = self._new_ids(template.counted)
        self._send((m.SUBMIT, first, template.key, *call, _parent()))
        self._let_go(call[1], call[2])
        return first

    def create_actor(self, template: ActorTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        if self.given is not None:
            template = self._inherit(template)
        call = self.codec.call(args, kwargs, template.name, self._put_arguments)
        self._introduce(template)
        first = self._new_ids(1)
        if template.registered_name is None and self._inside():
            self._send((m.SUBMIT_ACTOR, 0, first, template.key, *call, caller()))  # only its name can be refused
        else:
            self._request(m.SUBMIT_ACTOR, first, template.key, *call, caller())
        self._let_go(call[1], call[2])
        return first

    def call(self, actor: int, template: MethodTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        call = self.codec.call(args, kwargs, template.name, self._put_arguments)
        self._introduce(template)
        first = self._new_ids(template.counted)
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
        id = self._new_ids(1)
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
        id = self._new_ids(1)
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

    def fetch(self, id: int, callback: Callable[[Callable[[], Any]], None]) -> None:
        self.retain(id)

        def fetched(reply: Message) -> None:
            callback(_Fetched(self, reply))
            self.release(id)

        self._notice(fetched, m.FETCH, (id,), None)

    def when_ready(self, id: int, callback: Callable[[], None]) -> None:
        self._notice(lambda _: callback(), m.READY, id)

    def _notice(self, callback: Callable[[Message], None], op: int, *rest: Any) -> None:
        """Ask, and call back with the answer on the thread that reads it."""
        number = next(self._numbers)
        self._requests[number] = _Notice(partial(self._noticed, callback), self.flush)
        self._pending.add(number)
        self._send((op, number, *rest))
        self._hear()

    def _hear(self) -> None:
        """Have some thread read: that of this process may be busy running a call."""
        if not self.always_read:
            hearing = Waiting()
            if self._hearing.setdefault(0, hearing) is hearing:
                threading.Thread(target=self._listen, args=(hearing,), name="minray-futures", daemon=True).start()

    def _listen(self, hearing: Waiting) -> None:
        with suppress(SystemExit):  # the owner is gone, or the worker was killed
            self.reader.wait(hearing)

    def _noticed(self, callback: Callable[[Message], None], reply: Message) -> None:
        """An answer has come that no thread waits for. The thread that reads."""
        self._pending.discard(reply[1])
        if not self._pending:
            hearing = self._hearing.pop(0, None)
            if hearing is not None:
                hearing.finish()
                if self._pending:  # since a moment ago, and it has found somebody who reads
                    self._hear()
        callback(reply)

    def code(self, target: Any, name: str) -> Code:
        from minray.code import make_code

        return make_code(target, name, self.pin, self.in_process)

    def ask(self, topic: str, *args: Any) -> Any:
        reply, _ = self._request(m.ASK, topic, args)
        return reply[3]

    def measured(self) -> Measured:
        if self.in_process:
            return OWN
        if self._measured is None:
            self._measured = Outgoing(self.flush)
        return self._measured
