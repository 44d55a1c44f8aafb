"""Sessions that run in steps: before whatever others can see at once, somebody else may get a turn.

      user code ──> SteppedRuntime / SteppedClient ──turn──> Stepper (the sim backend): who goes on?
                                                  ──wait──> Stepper: until this wait is over

For a backend that runs everything in one thread at a time. Submitting needs no turn: what is submitted takes effect
when it is delivered, and delivery is a step of its own.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Container, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Protocol

# Others import this when they need it. Here it is imported before a run puts its own clock in place: whether an earlier
# run has done so must make no difference.
import minray.looping  # noqa: F401
from minray.backend import PoolConfig, WorkerPool
from minray.client import Client
from minray.core.digest import digest
from minray.core.numbering import call_of
from minray.core.objects import HANDLE
from minray.core.tasks import READY, WAITING, Task
from minray.core.value import FIRST_ERROR, Value, fault
from minray.current_call import current_call
from minray.owner import Numbers
from minray.reading import Reader, Waiting
from minray.runtime import Runtime
from minray.session import set_thread
from minray.stopping import Interruptible
from minray.wire import messages as m
from minray.wire.messages import Message
from minray.worker import Worker

__all__ = [
    "Interruptible",
    "Stepper",
    "SteppedClient",
    "SteppedRuntime",
    "SteppedWorker",
    "Waiting",
    "cancelled_late",
    "leave",
    "reply_lost",
    "running_call",
]


class Stepper(Protocol):
    """Decides who goes on. All methods are called by the one thread that runs."""

    def turn(self, what: str, polls: bool = False) -> None:
        """The caller is about to do `what`: others may go first. `polls`: it asks for news, and will again."""
        ...

    def wait(self, waiting: Waiting, timeout: float | None) -> bool:
        """Let others go on until `waiting` is done; False if `timeout` seconds were over before that."""
        ...

    def wants(self, what: str, ids: Sequence[int]) -> None:
        """What the caller's next wait is for: said by who waits for objects."""
        ...

    def submitted(self, id: int, name: str) -> None:
        """The caller has made the call `id`, or asked for that actor."""
        ...

    def now(self) -> float:
        """The time (s)."""
        ...


class SteppedReader(Reader):
    """Nobody reads: what comes is dealt with at once, and who waits lets others run."""

    def __init__(self, stepper: Stepper) -> None:
        self._inside = set()  # that nobody is
        self._stepper = stepper

    def wait(self, waiting: Waiting, timeout: float | None = None) -> bool:
        if waiting.done:
            return True
        return self._stepper.wait(waiting, timeout) and waiting.done

    def pump(self) -> None:
        """Everything has been read."""

    def drain(self) -> None:
        """Everything has been read."""

    def lock(self) -> AbstractContextManager[None]:
        return nullcontext()  # who has it lets nobody go on

    def close(self) -> None:
        """Waits end with the simulation."""


class _Stepped:
    """What a session does on top: the methods of `minray.session.Session` that others can see at once, or that wait."""

    _stepper: Stepper

    def put(self, value: Any) -> int:
        self._stepper.turn("put")
        return super().put(value)  # type: ignore[misc, no-any-return]

    def create_actor(self, template: Any, args: Any, kwargs: Any) -> int:
        if template.registered_name is not None:
            self._stepper.turn(f"name {template.registered_name}")
        id: int = super().create_actor(template, args, kwargs)  # type: ignore[misc]
        self._stepper.submitted(id, template.name)
        return id

    def submit(self, template: Any, args: Any, kwargs: Any) -> int:
        id: int = super().submit(template, args, kwargs)  # type: ignore[misc]
        self._stepper.submitted(id, template.name)
        return id

    def call(self, actor: int, template: Any, args: Any, kwargs: Any) -> int:
        id: int = super().call(actor, template, args, kwargs)  # type: ignore[misc]
        self._stepper.submitted(id, template.name)
        return id

    def find_actor(self, name: str, namespace: str | None) -> Any:
        self._stepper.turn(f"get_actor {name}")
        return super().find_actor(name, namespace)  # type: ignore[misc]

    def kill(self, actor: int, no_restart: bool) -> None:
        self._stepper.turn("kill")
        super().kill(actor, no_restart)  # type: ignore[misc]

    def ask(self, topic: str, *args: Any) -> Any:
        self._stepper.turn(topic)
        return super().ask(topic, *args)  # type: ignore[misc]

    def get(self, ids: Sequence[int], timeout: float | None) -> list[Any]:
        if timeout == 0:
            self._stepper.turn("get", polls=True)
        self._stepper.wants("get", ids)
        return super().get(ids, timeout)  # type: ignore[misc, no-any-return]

    def wait(self, ids: Sequence[int], num_returns: int, timeout: float | None) -> set[int]:
        self._stepper.turn("wait", polls=timeout == 0)
        self._stepper.wants("wait", ids)
        return super().wait(ids, num_returns, timeout)  # type: ignore[misc, no-any-return]

    def take(self, stream: int, timeout: float | None) -> Sequence[int] | None:
        if timeout == 0:
            self._stepper.turn("next", polls=True)
        self._stepper.wants("next", (stream,))
        return super().take(stream, timeout)  # type: ignore[misc, no-any-return]


class SteppedClient(_Stepped, Client):
    """A worker's session. Its link is the stepper too."""

    def _make_reader(self) -> Reader:
        self._stepper: Stepper = self._link.stepper  # type: ignore[attr-defined]
        self.always_read = True
        self._flushing = False
        self._is_sending = lambda: self._flushing
        return SteppedReader(self._stepper)

    def turn(self, what: str) -> None:
        """Others may go first."""
        self._stepper.turn(what)

    def close(self) -> None:
        """The run is over: all that is left to do is to be told of references that are dropped."""
        counts = self.counts
        vars(self).clear()
        self.counts = counts
        self.closed = True

    def flush(self) -> None:
        """As that of `Exchange`, where no other thread comes in between."""
        if self._flushing:
            return
        self._flushing = True
        outbox, counts = self._outbox, self.counts
        try:
            while outbox or counts.noted:
                back = counts.settle()
                messages = list(outbox)
                outbox.clear()
                if back:
                    messages.append((m.RELEASE, back))
                if messages:
                    self._link.send(messages)
        except EOFError:
            raise SystemExit from None
        finally:
            self._flushing = False

    def flush_if_needed(self) -> None:
        """Send what there is to send."""
        if self._outbox or self.counts.noted:
            self.flush()


class SteppedRuntime(_Stepped, Runtime):
    """The driver's session. Its pool is the stepper too, and tells it by `hear` what workers say."""

    def __init__(self, pool: WorkerPool, config: PoolConfig, *rest: Any) -> None:
        # Each run is a world of its own, and the same each time: also where refs and handles are in sets.
        self.numbers = Numbers()
        self._drawn = 0
        self._stepper = pool  # type: ignore[assignment]
        pool.owner = self  # type: ignore[attr-defined]
        super().__init__(pool, config, *rest)

    def random_bytes(self, number: int) -> bytes:
        found = b""
        while len(found) < number:
            self._drawn += 1
            found += digest(f"ids {self._drawn}".encode())
        return found[:number]

    def _make_reader(self) -> Reader:
        return SteppedReader(self._stepper)

    def _start_service(self) -> threading.Thread | None:
        return None

    def hear(self, worker: int, messages: list[Message]) -> None:
        """What a worker says, at once. The thread that runs."""
        with self._lock:
            scheduler = self._graph.scheduler
            scheduler.now = self._stepper.now()
            known = scheduler.workers.get(worker)
            if known is None:
                if messages[-1][0] == m.LOST:
                    self._forget_worker(worker)
            else:
                for message in messages:
                    self._handlers[message[0]](known, message)
                    if worker not in scheduler.workers:
                        break
            if self._noted:
                self._settle()
            objects = self._graph.objects
            if self._graph.out or objects.freed or objects.dropped:
                self._carry_out()
        if self._outbox or self._delivery.callbacks:
            self._deliver()

    def close(self, exiting: bool = False) -> None:
        """End the run, and cut the circles that it consists of: then all of it is gone when nobody refers to it. For
        short runs one after another the garbage collector would take a fifth of the time."""
        if self.closed:
            return
        super().close(exiting)
        self._handlers.clear()
        graph = self._graph
        tables = (graph.actors, graph.streams, graph.placement, graph.deadlocks, graph.lineage, graph.memory)
        for node in graph.scheduler.nodes.values():
            node.idle.clear()
            node.dressed.clear()
        parts = (self._serving, *self._tellers, self._carrier, self._monitor, self._codec)
        for part in (*parts, *tables, graph.scheduler, graph):
            vars(part).clear()

    def _call_back(self) -> None:
        """Whoever waits for a future ends with the simulation."""

    def retain(self, id: int) -> None:
        if not self.closed:
            super().retain(id)

    def when_ready(self, id: int, callback: Callable[[], None], on_loop: bool = False) -> None:
        self._check_open()
        super().when_ready(id, callback)

    @property
    def dropped(self) -> Sequence[Any]:
        """What is to be settled."""
        return self._noted

    def settle(self) -> None:
        """Give back what the driver has dropped."""
        with self._lock:
            self._event()
        self._deliver()

    def line_of(self, id: int) -> int:
        """Which calls of an actor this one must not overtake, by a number: those of one caller, or none."""
        task = self._graph.tasks.get(id)
        return id if task is None else task.line

    def lose(self, id: int) -> None:
        """The value of an object is gone, as if its node had died."""
        entry = self._entries.get(id)
        if entry is not None and entry.value is not None and entry.value is not HANDLE:
            entry.value = fault("ObjectLost", id)

    def losable(self) -> list[int]:
        """The objects whose values could be lost, the oldest first."""
        return [
            id
            for id, entry in self._entries.items()
            if entry.value is not None and entry.value is not HANDLE and entry.value[0] < FIRST_ERROR
        ]

    # -- who waits for whom ---------------------------------------------------------------------------------------

    def maker(self, id: int) -> Task | None:
        """The call that is to make a pending object."""
        entry = self._entries.get(id)
        return None if entry is None or entry.value is not None else self._graph.tasks.get(call_of(id))

    def awaits(self, task: Task) -> tuple[str, list[Task]]:
        """Why a call has not ended: in words, and the calls that it waits for."""
        if task.state == WAITING:
            makers = [self.maker(id) for id in task.call.deps]
            return "waits for its arguments", [one for one in makers if one is not None]
        if task.state == READY and task.actor is None:
            return "waits for resources", self._running()
        if task.state == READY:
            worker = task.actor.worker if task.actor is not None else None
            if worker is None:
                return "waits for its actor, for which there are no resources", self._running()
            return "waits for its turn at its actor", list(worker.sent.values())[:1]
        assert task.worker is not None
        head = next(iter(task.worker.sent.values()))
        return ("is behind another call of its actor", [head]) if head is not task else ("runs", [])

    def _running(self) -> list[Task]:
        workers = self._graph.scheduler.workers.values()
        return [next(iter(worker.sent.values())) for worker in workers if worker.sent]


class SteppedWorker(Worker):
    """A worker that is given its calls one by one, each on whatever thread is there for it."""

    session = SteppedClient
    client: SteppedClient

    def begin(self, interruptible: Callable[[Container[int]], Interruptible]) -> None:
        """Say hello."""
        calls = self._calls
        self.client.is_cancelled = calls.is_cancelled
        calls.interruptible = interruptible(calls.cancelled)
        calls.producers.batch_seconds = -1.0
        calls.producers.turn = self.client.turn
        self.client.post((m.HELLO, os.getpid()))
        self.client.flush()

    def step(self, message: Message) -> None:
        """Run a call to its end, or hand it to what runs several at once."""
        set_thread(self.client)
        try:
            if message[0] == m.CREATE:
                self._create(message)
            else:
                self._run(message)
            if self._several is None:
                self._calls.cancelled.clear()  # these came when their calls were over
            self.client.flush_if_needed()
        except SystemExit as error:
            self._ended(error)
        finally:
            set_thread(None)

    def hear(self, messages: list[Message]) -> None:
        """What is no call: answers, code, news of streams, cancellations."""
        self.client.hear(messages)

    def dress(self, message: Message) -> None:
        """Take on a runtime environment."""
        self._dress(message)

    def stop(self) -> None:
        """End what runs several calls at once."""
        if self._several is not None:
            self._several.close()
        self._calls.producers.close()

    def _exit_actor(self) -> None:
        super()._exit_actor()
        self._end_actor()  # here, on a thread that is simulated

    def close(self) -> None:
        """The run is over, and with it all that runs here: cut the circles (see `SteppedRuntime.close`)."""
        self._calls.interruptible = None
        self.client.close()
        vars(self).clear()

    @property
    def concurrent(self) -> bool:
        """Whether it takes calls while others run."""
        return self._several is not None

    @property
    def end(self) -> str | None:
        """What has ended it; None: nothing has."""
        if isinstance(self._ending, SystemExit):
            return f"the task called sys.exit({self._ending.code!r})"
        return "it ended" if self._exiting else None


def reply_lost(name: str, of_actor: bool) -> Value:
    """What the owner is told of a call whose answer got lost."""
    if of_actor:
        return fault("ActorUnavailable", name, 0, "the reply was lost, as a fault")
    return fault("WorkerCrashed", name, "the reply was lost, as a fault")


def cancelled_late(id: int) -> Value:
    """What the owner is told of a call that counts as cancelled although it has run."""
    return fault("Cancelled", id, 0, True)


def leave() -> None:
    """The calling thread serves no worker any more."""
    set_thread(None)


def running_call() -> int:
    """The id of the call that the calling thread is in; 0: none, or the creation of an actor."""
    call = current_call.get()
    return 0 if call is None else call[0]
