"""A worker as its owner sees it, gone through step by step: a todo list, one running call, references held."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import count
from math import inf
from typing import Any, Protocol

from minray.client import ID_BITS
from minray.core.value import ABSENT, ERROR, NONE, SPILLED, STORED, Value, bytes_of
from minray.counts import Counts
from tests.core.templates import counted

BOOM: Value = (ERROR, b"boom", ())


class Log(Protocol):
    """What the workers of one simulation tell it."""

    num_returns: dict[int, int]  # of each call
    streams: dict[int, int]  # of each generator called: the limit to its unread items, 0 for none
    max_unread: dict[int, int | None]  # of each actor
    refilling: set[int]  # generators that are run again, and are not to wait for readers

    def note_called(self, call: int, template: Any) -> None: ...

    def note_created(self, actor: int, template: Any) -> None: ...

    def note_begun(self, call: int, worker: SimWorker) -> None: ...

    def note_attempt_over(self, call: int) -> None:
        """It may begin once more: its worker died under it, or it failed and asks for a retry."""


class SimWorker:
    """Reads `inbox`, writes `outbox`; both keep their order. `refs` are the references and mapped views that the user's
    code in it holds now."""

    def __init__(self, id: int, log: Log) -> None:
        self.id = id
        self.log = log
        self.inbox: deque[tuple[Any, ...]] = deque()
        self.outbox: deque[tuple[Any, ...]] = deque()
        self.todo: deque[tuple[Any, ...]] = deque()
        self.running: tuple[Any, ...] | None = None
        self.held: list[int] = []  # what came with the running call, until it is over
        #: Other calls that run, each with what came with it and how many items it has yielded.
        self.aside: list[tuple[tuple[Any, ...], list[int], int]] = []
        self.concurrent = False  # an actor that runs several calls at once
        self.refs: list[int] = []
        self.requests: dict[int, str] = {}  # GETs and WAITs without an answer
        self.patient: dict[int, int] = {}  # of those, such as have no time-out and hold up the call that made them
        self.futures: set[int] = set()  # requests for futures without an answer; `patient` has those that are awaited
        self.limit: float = inf  # of calls that run at once
        self.alarmed = False  # a signal may take the running call out of its wait
        self.counts = Counts()
        self.made = 0  # items that the running call has yielded
        self.unread: dict[int, int] = {}  # by generator: those that have not been taken, as far as it was told
        self.unlimited: set[int] = set()  # generators that nobody reads
        self.max_unread: int | None = None  # its actor's
        self.stalled = False  # it begins nothing until it is told to
        self.dropped: list[int] = []  # calls that were sent to it before it was
        self.up = self.is_actor = self.exiting = False
        self.alive = True
        self._next_id = (id << ID_BITS) + 1
        self._numbers = count(1)

    # -- its channel -----------------------------------------------------------------------------------------------

    def post(self, *message: Any) -> None:
        """Write a message, and after it the references that are to go back."""
        self.outbox.append(message)
        self.flush()

    def flush(self) -> None:
        back = self.counts.settle()
        if back:
            self.outbox.append(("release", back))

    def read(self) -> None:
        """Come up, and take in all that was sent."""
        if not self.up:
            self.up = True
            self.post("hello")
        while self.alive and self.inbox:
            message = self.inbox.popleft()
            op = message[0]
            if op == "recall":
                back = tuple(each[1] for each in self.todo if each[0] == "run")
                self.todo = deque(each for each in self.todo if each[0] != "run")
                self.post("returned", back)
            elif op == "values":
                self._answered(message[1])
                held = [inner for id, one in message[2] for inner in self._hold(id, one)]
                self._unpickle(held)
                for id in held:
                    self.counts.drop(id)
                self.flush()
            elif op == "cancel":
                waiting = [each for each in self.todo if each[0] in ("run", "call") and each[1] == message[1]]
                if waiting:  # else it runs, and may be interrupted or not, or is over
                    self.todo.remove(waiting[0])
                    self.post("returned", (message[1],))
                elif not self.is_actor and message[1] in self.patient.values():
                    self.post("forget", next(n for n, call in self.patient.items() if call == message[1]))
            elif op == "answer":
                self._answered(message[1])
            elif op == "where":
                if message[1] in self.requests or message[1] in self.futures:
                    self._at(message[1])
            elif op == "items":
                self._answered(message[1])
                for id in message[2]:
                    self.counts.receive(id)
                    self.refs.append(id)
            elif op == "taken":
                self._hear_of_readers(*message[1:])
            elif op == "stop":
                while self.stalled:  # what was sent to it too early
                    self.begin()
                assert self.exiting or not (self.todo or self.calls), "told to stop with something to do"
                self.die("it was told to stop")
            else:
                self.todo.append(message)

    def _answered(self, number: int) -> None:
        self.requests.pop(number, None)
        self.futures.discard(number)
        self.patient.pop(number, None)

    def _at(self, number: int) -> None:
        """Say where a call waits."""
        others: tuple[int, ...] = ()
        if number in self.futures:
            others = tuple(self.patient)
            waits = set(self.calls) <= set(self.patient.values())
        else:
            waits = True
        self.post("at", number, "somewhere" if waits and not self.alarmed else None, others)

    def _hold(self, id: int, one: Value) -> list[int]:
        """As `minray.client.Client.hold`."""
        held = [*one[2], bytes_of(id, one[0])] if one[0] in (STORED, SPILLED) else list(one[2])
        for inner in held:
            self.counts.receive(inner)
        return held

    def _unpickle(self, ids: Sequence[int]) -> None:
        """References, and views of stored values, that the user's code has from now on."""
        for id in ids:
            self.counts.retain(id)
            self.refs.append(id)

    # -- its calls -------------------------------------------------------------------------------------------------

    @property
    def call(self) -> int:
        """The id of what it runs."""
        assert self.running is not None
        id: int = self.running[1]
        return id

    @property
    def calls(self) -> list[int]:
        """The ids of all that it runs: where several do, the first is the one whose code goes on."""
        return [each[1] for each in (self.running, *(aside[0] for aside in self.aside)) if each]

    @property
    def ready(self) -> bool:
        """Whether it would begin its next call now."""
        free = self.running is None or (self.concurrent and self.running[0] != "create")
        free = free and len(self.calls) < self.limit
        return bool(self.alive and free and self.todo and not self.exiting)

    def begin(self, gone: int | None = None) -> None:
        """Take the next call from the todo list. Its references are the user's for now. `gone`: this argument of an
        actor's call cannot be read."""
        if self.running:
            self.aside.append((self.running, self.held, self.made))
        message = self.todo.popleft()
        if message[0] == "resume":
            self.dropped.clear()
            self.stalled = False
            return
        if self.stalled:
            self.dropped.append(message[1])
            return
        self.running = op, id, args, deps = message
        self.made = 0
        self.unread.pop(id, None)
        self.unlimited.discard(id)
        if id in self.log.refilling:
            self.unlimited.add(id)
        if op == "create":
            self.is_actor = True
            self.max_unread = self.log.max_unread[id]
        self.held = [inner for dep, one in [(0, args), *deps] for inner in self._hold(dep, one)]
        if op == "call" and (gone is not None or ABSENT in (one for _, one in deps)):
            self._stall(gone)
            return
        self._unpickle(self.held)
        if op != "create":
            self.log.note_begun(id, self)

    def _stall(self, gone: int | None) -> None:
        """As `minray.running.Calls.stalled`."""
        assert self.running
        _, id, _, deps = self.running
        self.running = None
        self.stalled = not self.concurrent
        for dep, one in deps:
            if dep == gone:
                self.outbox.append(("gone", dep, one[1]))
        self.outbox.append(("stalled", id))
        for inner in self.held:
            self.counts.drop(inner)
        self.held = []
        self.flush()
        if self.aside:
            self.running, self.held, self.made = self.aside.pop()

    def turn_to_one_that_goes_on(self) -> bool:
        """Let a call go on that does not wait for others, if there is one."""
        for _ in self.aside:
            if not self.waits:
                break
            assert self.running
            self.aside.insert(0, (self.running, self.held, self.made))
            self.running, self.held, self.made = self.aside.pop()
        return not self.waits

    def turn(self, index: int) -> None:
        """Let another of the calls that run go on."""
        if self.running and self.aside:
            self.aside.append((self.running, self.held, self.made))
            self.running, self.held, self.made = self.aside.pop(index % (len(self.aside) - 1))

    def finish(self, *values: Value, seconds: float = 0.0) -> None:
        """The running call returns `values`, None for those left out. An actor's creation succeeds."""
        if self.running and self.running[0] == "create":
            self._over("created", self.call, None)
        else:
            returns = self.log.num_returns[self.call]
            if self.call in self.log.streams:  # what it makes it yields
                values = ()
            self._over("done", self.call, (values + (NONE,) * returns)[:returns], seconds)

    @property
    def waits_for_readers(self) -> bool:
        """Whether its generator cannot go on until something of it, or of its actor's others, was taken."""
        return self.running is not None and self.room == 0

    @property
    def room(self) -> int:
        """How many items the running call may yield now."""
        if self.call in self.unlimited:
            return 1000
        limit = self.log.streams.get(self.call)
        room = 1000 if not limit else limit - self.unread.get(self.call, 0)
        if self.max_unread is not None and limit is not None:
            room = min(room, self.max_unread - sum(self.unread.values()))
        return max(room, 0)

    def yields(self, *values: Value) -> None:
        """The running generator yields `values`, as many as it may."""
        values = values[: self.room]
        if self.log.streams[self.call] or self.max_unread is not None:
            if self.call not in self.unlimited:
                self.unread[self.call] = self.unread.get(self.call, 0) + len(values)
        self.post("yield", self.call, self.made, list(values))
        self.made += len(values)

    def _hear_of_readers(self, call: int, number: int) -> None:
        if number < 0:
            self.unread.pop(call, None)
            self.unlimited.add(call)
        elif call in self.unread:
            self.unread[call] -= number

    def fail(self, retry: bool = False, seconds: float = 0.0) -> None:
        """The running call raises; `retry`: its options say to try that again."""
        if self.running and self.running[0] == "create":
            self.exiting = True
            self._over("created", self.call, BOOM)
        else:
            if retry:
                self.log.note_attempt_over(self.call)
            self._over("failed", self.call, BOOM, retry, seconds)

    def _over(self, *message: Any) -> None:
        self.outbox.append(message)
        if self.max_unread is None:
            self.unread.clear()
        self.running = None
        for id in self.held:
            self.counts.drop(id)
        self.held = []
        if self.aside:
            self.running, self.held, self.made = self.aside.pop()
        if self.is_actor:
            self.flush()
        else:
            self.drop(len(self.refs))

    def exit(self) -> None:
        """The running method ends its actor."""
        if self.running and self.running[0] != "create":
            self.outbox.append(("done", self.call, (NONE,) * self.log.num_returns[self.call], 0.0))
        self.running = None
        self.exiting = True
        self.post("exit")

    def die(self, cause: str = "it crashed") -> None:
        """What it has written arrives, what it has not read is lost."""
        if self.alive:
            self.alive = False
            if not self.running or self.running[0] != "create":
                for call in self.calls:
                    self.log.note_attempt_over(call)
            self.running = None
            self.aside = []
            self.outbox.append(("lost", cause))

    # -- what the user's code in it does ---------------------------------------------------------------------------

    def make(self, template: Any = None) -> int:
        """The id of a call or an object to come; all that a call makes is counted once."""
        first = self._next_id
        self._next_id += 2
        for id in (first,) if template is None else counted(first, template):
            self.counts.receive(id)
            self.refs.append(id)
        return first

    def submit(self, template: Any, *deps: int, refs: Sequence[int] = ()) -> int:
        id = self.make(template)
        self.log.note_called(id, template)
        self.post("submit", id, template, deps, tuple(refs), self.call if self.running else 0)
        return id

    def call_actor(self, actor: int, template: Any, *deps: int, refs: Sequence[int] = ()) -> int:
        id = self.make(template)
        self.log.note_called(id, template)
        self.post("submit_call", id, template, deps, tuple(refs), actor, self.call if self.running else 0)
        return id

    def create(self, template: Any, *deps: int, refs: Sequence[int] = (), name: str | None = None) -> int:
        id = self.make()
        self.log.note_created(id, template)
        self.post("submit_actor", id, template, deps, tuple(refs), name)
        return id

    def put(self, one: Value) -> int:
        id = self.make()
        self.post("put", id, one)
        return id

    # `patient`: the call's own thread waits, and without a time-out, if that does not wait already.

    def get(self, *ids: int, patient: bool = False) -> int:
        return self._ask("get", patient, tuple(ids))

    def wait(self, ids: Sequence[int], number: int, block: bool = True, patient: bool = False) -> int:
        return self._ask("wait", patient and block, tuple(ids), number if block else 0)

    def next(self, stream: int, patient: bool = False) -> int:
        """Ask for the next items of a stream."""
        return self._ask("next", patient, stream)

    def future(self, id: int, patient: bool = False) -> int:
        """Ask for a future; `patient`: the call awaits it."""
        number = next(self._numbers)
        self.futures.add(number)
        own = None
        if self.running and self.running[0] != "create":
            own = self.call, False
            if patient and not self.waits:
                self.patient[number] = self.call
        self.post("future", number, (id,), own)
        return number

    def _ask(self, op: str, patient: bool, *rest: Any) -> int:
        number = next(self._numbers)
        self.requests[number] = op
        own = None
        if patient and self.running and not self.waits:
            self.patient[number] = self.call
            own = self.call, not self.concurrent
        self.post(op, number, *rest, own)
        return number

    @property
    def waits(self) -> bool:
        """Whether the running call can do nothing but wait."""
        return self.running is not None and self.call in self.patient.values()

    def give_up_waiting(self) -> bool:
        """The time-outs of its GETs and WAITs are over; False if none has one."""
        timed = [number for number in self.requests if number not in self.patient]
        for number in timed:
            self.post("forget", number)
        return bool(timed)

    def drop(self, number: int) -> None:
        """Let the latest of its references go."""
        for _ in range(min(number, len(self.refs))):
            self.counts.drop(self.refs.pop())
        self.flush()
