"""A whole run in one thread, step by step: a `TaskGraph` and simulated workers, driven as `minray.owner` does it.

      Simulation ──(event)──> TaskGraph ──decisions──> carry_out() ──inbox──> SimWorker: read(), begin(), finish() ...
          ^                                                                      │
          └───────────────────────── receive() <────────────outbox───────────────┘

Nothing in the channels moves by itself: the test says who goes on when. Every event ends with `check()`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, TypeVar

from minray.core.cancelling import cancel
from minray.core.deadlocks import LOOK_SECONDS
from minray.core.graph import TaskGraph
from minray.core.lineage import Origin
from minray.core.objects import Watch
from minray.core.placement import Group, inside
from minray.core.stalling import stalled
from minray.core.tasks import Call, Task, Worker
from minray.core.template import RESOURCE_UNIT, ActorTemplate, Code, Demand, MethodTemplate, TaskTemplate, placed
from minray.core.terms import Terms
from minray.core.value import FAULT, ON_DISK, PICKLED, SPILLED, STORED, Value, bytes_of
from tests.core.accounting import check
from tests.core.sim_worker import BOOM, SimWorker

#: What a call says that waits and can do nothing else meanwhile; see `minray.core.deadlocks`.
Own = tuple[int, bool] | None

T = TypeVar("T", TaskTemplate, ActorTemplate)
CODE = Code(b"code", b"", "f")
_locations = count(1)


def amounts(**resources: float) -> Demand:
    """``amounts(CPU=0.5)``: what a call asks for, or what a node has."""
    return tuple(sorted((name, round(amount * RESOURCE_UNIT)) for name, amount in resources.items() if amount))


def value(*refs: int, stored: bool = False) -> Value:
    """A value with `refs` inside; each stored one has a location of its own."""
    return (STORED, next(_locations), refs) if stored else (PICKLED, b"", refs)


def function(num_returns: int = 1, retries: int = 0, **demand: float) -> TaskTemplate:
    """A remote function under some options; it asks for one CPU unless `demand` is given."""
    asked = amounts(**(demand or {"CPU": 1}))
    key = f"f {num_returns} {retries} {demand}".encode()  # under other options it is as good as another function
    return TaskTemplate(key, CODE, "f", num_returns=num_returns, demand=asked, max_retries=retries)


def generator(limit: int, retries: int = 0, /, **demand: float) -> TaskTemplate:
    """A generator, of whose items `limit` may be unread (0: any number)."""
    asked = amounts(**(demand or {"CPU": 1}))
    return TaskTemplate(b"g", CODE, "g", demand=asked, max_retries=retries, stream=limit)


def actor_class(
    restarts: int = 0, detached: bool = False, concurrent: bool = False, pending: int = -1, **demand: float
) -> ActorTemplate:
    """An actor class under some options; it asks for nothing unless `demand` is given."""
    return ActorTemplate(
        b"a",
        CODE,
        "A",
        {},
        amounts(**demand),
        restarts,
        lifetime="detached" if detached else None,
        in_order=not concurrent,
        concurrent=concurrent,
        max_pending_calls=pending,
    )


def within(template: T, group: str, bundle: int = -1) -> T:
    """The same calls in a bundle of a placement group."""
    return placed(template, b"g", inside(template.demand, group, bundle), Terms(group=group), {})


def on_terms(template: T, **terms: Any) -> T:
    """The same calls on other terms."""
    return placed(template, b"t", template.demand, Terms(**terms), {})


def method(num_returns: int = 1, retries: int = 0, stream: int | None = None) -> MethodTemplate:
    """A method under some options."""
    return MethodTemplate(b"m", "m", "A.m", num_returns, retries, stream=stream)


METHOD = method()


class Simulation:
    """The owner's side: the graph, what the driver holds, and what has been seen to happen."""

    def __init__(self, warm: int = 0, **resources: float) -> None:
        self.graph = TaskGraph(history=50)
        self.scheduler = self.graph.scheduler
        self.objects = self.graph.objects
        self.actors = self.graph.actors.actors
        self.workers: dict[int, SimWorker] = {}  # all that ever were
        self.refs: Counter[int] = Counter()  # the driver's
        self.watches: dict[Watch, tuple[int, ...]] = {}  # the driver's
        self.requests: dict[tuple[int, int], Watch] = {}  # by worker and number
        self.num_returns: dict[int, int] = {}
        self.streams: dict[int, int] = {}  # of each generator called: the limit to its unread items, 0 for none
        self.stream_ids: set[int] = set()  # the handles of all that anybody called
        self.yielded: dict[int, list[Value]] = {}  # by call: each item as it was yielded first
        self.taken: Counter[int] = Counter()  # by call: how many of them
        self.max_unread: dict[int, int | None] = {}  # by actor
        self.actor_ids: set[int] = set()  # all that anybody asked for
        self.submitted: set[int] = set()  # calls that the graph has heard of
        self.ended: dict[int, tuple[Value, ...]] = {}  # by call
        self.begun: dict[int, list[int]] = {}  # by call: the workers that began it
        self.over: Counter[int] = Counter()  # attempts that ended without ending the call
        self.arrived: dict[tuple[int, int], list[int]] = {}  # by actor and caller: its calls as they first began
        self.freed: list[Value] = []
        self.warned: list[Demand] = []  # what no node can ever have
        self.stored: list[Value] = []
        self.moved: list[int] = []  # locations on disk
        self.overdrawn: Counter[tuple[int, str]] = Counter()  # of each resource, by workers that go on
        self.lost: set[int] = set()  # objects that were gone when somebody was to be sent them
        self.refilling: set[int] = set()  # generators that are run again for lost items
        self.stale = 0  # runs that were decided for a worker that was lost before they were carried out
        self.stores = False  # calls that are let go on return values in the store
        self.deaf = False  # nobody is told of deadlocks
        self.deadlocks: list[str] = []  # what calls were told
        self._next_id = 1
        self._complete = self.graph.complete
        self.graph.complete = self._note_ended  # type: ignore[method-assign]
        self._unblocked = self.graph.unblocked
        self.graph.unblocked = self._note_unblocked  # type: ignore[method-assign]
        self._again = self.graph.lineage._again
        self.graph.lineage._again = self._note_again  # type: ignore[method-assign]
        self.join(0, warm, **(resources or {"CPU": 2}))

    # -- what is seen ----------------------------------------------------------------------------------------------

    def _note_ended(
        self, task: Task, values: Sequence[Value], error: Value | None = None, seconds: float = 0.0
    ) -> None:
        assert task.id not in self.ended, f"{task} ended twice"
        self.ended[task.id] = tuple(values)
        assert error is None or task.stream is not None or all(value is error for value in values)
        self._complete(task, values, error, seconds)

    def _note_again(self, origin: Origin) -> Task:
        assert len(self.ended.pop(origin.id)) == origin.num_returns, "what is run again was over"
        self.over[origin.id] += 1
        if origin.template.stream is not None:
            self.refilling.add(origin.id)
        return self._again(origin)

    def note_called(self, call: int, template: TaskTemplate | MethodTemplate) -> None:
        self.num_returns[call] = template.num_returns
        if template.stream is not None:
            self.streams[call] = template.stream
            self.stream_ids.add(call + 1)

    def note_created(self, actor: int, template: ActorTemplate) -> None:
        self.actor_ids.add(actor)
        self.max_unread[actor] = template.max_unread

    def note_begun(self, call: int, worker: SimWorker) -> None:
        for other in self.workers.values():
            assert other is worker or call not in other.calls, f"{call} runs twice at once"
        assert call not in self.ended or worker.id not in self.scheduler.workers, f"{call} begins after its end"
        begun = self.begun.setdefault(call, [])
        begun.append(worker.id)
        assert len(begun) <= 1 + self.over[call], f"{call} began again while it was neither lost nor to be retried"
        task = self.graph.tasks.get(call)
        if task is not None and task.actor is not None and len(begun) == 1:
            order = self.arrived.setdefault((task.actor.id, task.line), [])
            assert not order or order[-1] < call, f"{call} overtook {order[-1]}"
            order.append(call)

    def note_attempt_over(self, call: int) -> None:
        self.over[call] += 1

    def value(self, id: int) -> Value | None:
        """The value of an object, None while it is pending."""
        return self.objects.value_of(id)

    def fault(self, id: int) -> str | None:
        """The name of the fault that an object is; None if it is none."""
        one = self.value(id)
        return one[1][0] if one is not None and one[0] == FAULT else None

    def free(self, name: str = "CPU", node: int = 0) -> float:
        return self.scheduler.nodes[node].free.get(name, 0) / RESOURCE_UNIT

    def living(self) -> list[SimWorker]:
        return [worker for worker in self.workers.values() if worker.alive]

    def at(self, call: int) -> SimWorker:
        """The worker that a call was sent to."""
        (found,) = [worker for worker in self.scheduler.workers.values() if call in worker.sent]
        return self.workers[found.id]

    def of(self, actor: int) -> SimWorker:
        """An actor's worker."""
        worker = self.actors[actor].worker
        assert worker is not None
        return self.workers[worker.id]

    # -- what the driver does --------------------------------------------------------------------------------------

    def join(self, node: int, warm: int = 0, **resources: float) -> None:
        self.graph.node_joined(node, dict(amounts(**resources)), warm)
        self.after()

    def _new(self, number: int) -> int:
        first = self._next_id
        self._next_id += max(number, 1)
        self.refs.update(range(first, first + number))
        return first

    def submit(self, template: TaskTemplate, *deps: int, refs: Sequence[int] = ()) -> int:
        id = self._new(template.counted)
        self.note_called(id, template)
        self.submitted.add(id)
        self.graph.submitted(id, template, Call((PICKLED, b"", tuple(refs)), (), deps))
        self.after()
        return id

    def put(self, one: Value) -> int:
        id = self._new(1)
        self._stored(id, one, None)
        self.after()
        return id

    def _stored(self, id: int, one: Value, worker: Worker | None) -> None:
        if one[0] == STORED:
            self.stored.append(one)
        self.graph.stored(id, one, worker)

    def movable(self) -> list[int]:
        """Objects whose values are in the store."""
        entries = self.objects.entries.items()
        return sorted(id for id, entry in entries if id < ON_DISK and entry.value and entry.value[0] == STORED)

    def move(self, id: int) -> None:
        """The driver moves a value to disk, under its readers."""
        self.objects.retain(bytes_of(id, STORED))
        self.moved.append(next(_locations))
        self.graph.moved(None, id, self.moved[-1])
        self.after()

    def create(self, template: ActorTemplate, *deps: int, refs: Sequence[int] = (), name: str | None = None) -> int:
        """ValueError: the name is taken."""
        id = self._next_id
        call = Call((PICKLED, b"", tuple(refs)), (), deps)
        self.graph.actors.created(id, template, call, None, None if name is None else ("", name))
        self._new(1)
        self.note_created(id, template)
        self.after()
        return id

    def call(self, actor: int, *deps: int, refs: Sequence[int] = (), template: MethodTemplate = METHOD) -> int:
        if self.limited(actor):
            assert self.graph.actors.reserved(actor, 0)
        id = self._new(template.counted)
        self.note_called(id, template)
        self.submitted.add(id)
        self.graph.actors.called(id, actor, template, Call((PICKLED, b"", tuple(refs)), (), deps), None)
        self.after()
        return id

    def limited(self, actor: int) -> bool:
        """Whether each caller may have only so many unfinished calls at this actor."""
        return actor in self.actors and self.actors[actor].template.max_pending_calls > 0

    def cancel(self, id: int, force: bool = False, recursive: bool = True) -> None:
        """ValueError: by force, an actor's call."""
        cancel(self.graph, id, force, recursive)
        self.after()

    def retain(self, id: int) -> None:
        self.refs[id] += 1
        self.objects.retain(id)
        self.after()

    def lose(self, id: int) -> None:
        """The bytes of a stored object are gone, as somebody finds."""
        value = self.value(id)
        assert value is not None and value[0] in (STORED, SPILLED)
        self.graph.lineage.lost(id, value[1])
        assert self.value(id) is None or self.fault(id) == "ObjectLost" or self.value(id) is not value
        self.after()

    def release(self, *ids: int) -> None:
        for id in ids:
            self.refs[id] -= 1
            if not self.refs[id]:
                del self.refs[id]
            self.graph.released(id)
            self.after()

    def watch(self, ids: Sequence[int], number: int, eager: bool = False) -> Watch:
        watch = self.graph.watched(ids, number, None, eager)
        if not watch.done:
            self.watches[watch] = tuple(ids)
        self.after()
        return watch

    def unwatch(self, watch: Watch) -> None:
        self.graph.unwatched(self.watches.pop(watch), watch)
        self.after()

    def take(self, stream: int) -> list[int] | None:
        """The driver takes the next items of a stream."""
        ids = self._take(stream, None)
        self.refs.update(ids or ())
        self.after()
        return ids

    def _take(self, stream: int, holder: Worker | None) -> list[int] | None:
        call = stream - 1
        ids = self.graph.streams.take(stream, holder)
        for id in ids or ():
            items = self.yielded.get(call, [])
            value, number = self.value(id), self.taken[call]
            expected = items[number] if number < len(items) else BOOM
            moved = value is not None and value[0] == SPILLED and expected[0] == STORED
            lost = value is None or self.fault(id) in ("ObjectLost", "ReplayInconsistent")
            known = value is expected or moved or lost
            assert known, f"item {number} of {call} is another"
            self.taken[call] += 1
        return ids

    def kill(self, actor: int, no_restart: bool = True) -> None:
        self.graph.actors.killed(actor, no_restart)
        self.after()

    def reserve(self, *bundles: Demand, strategy: str = "PACK", name: str = "") -> str:
        """Ask for a placement group. ValueError: the name is taken."""
        id = f"{len(self.graph.placement.groups) + 1:036x}"
        self.graph.placement.created(Group(id, bundles, strategy, ("", name)))
        self.after()
        return id

    def remove(self, group: str) -> None:
        self.graph.placement.removed(group)
        self.after()

    def state(self, group: str) -> str:
        return self.graph.placement.groups[group].state

    def tick(self, seconds: float) -> None:
        self.graph.ticked(self.scheduler.now + seconds)
        self.after()

    # -- what the owner does ---------------------------------------------------------------------------------------

    def after(self) -> None:
        """What every event ends with."""
        self.graph.check()
        self.carry_out()
        check(self)

    def carry_out(self) -> None:
        """As `minray.carrying.Carrier.carry_out`."""
        while self.graph.out or self.objects.freed:
            for op, what, *rest in self.graph.take_out():
                if op == "start":
                    self.workers[what.id] = SimWorker(what.id, self)
                elif op == "run":
                    self._send_call("run" if rest[0].actor is None else "call", what, rest[0])
                elif op == "create":
                    creation = Task(rest[0].id, rest[0].call, 0, "", 0, 0)
                    creation.worker = rest[0].worker
                    self._send_call("create", what, creation)
                    self.workers[what.id].concurrent = rest[0].template.concurrent
                elif op == "cancel":
                    self._send(what, op, rest[0].id)
                elif op == "kill":
                    # What it has said is not heard any more, and may have been the end of a call.
                    self.over.update(said[1] for said in self.workers[what.id].outbox if said[0] in ("done", "failed"))
                    self.workers[what.id].die("it was killed")
                elif op == "wake":
                    self._wake(what)
                elif op in ("bury", "lost"):
                    pass
                elif op == "free":
                    self.freed.append(what)
                elif op == "locate":
                    if not self.deaf:
                        self._send(what.token[0], "where", what.token[1])
                elif op == "deadlock":
                    self.deadlocks.append(rest[0])
                    self._end_wait(what)
                elif op == "infeasible":
                    self.warned.append(what)
                elif op == "taken":
                    self._send(what, op, *rest)
                else:
                    assert op in ("recall", "resume", "stop"), op
                    self._send(what, op)

    def _send_call(self, op: str, worker: Worker, task: Task) -> None:
        if task.worker is not worker:
            self.stale += 1
        else:
            self.lost |= {*task.call.deps, *task.call.args[2]} - self.objects.entries.keys()
            values = self.graph.lend(worker, task)
            self._send(worker, op, task.id, task.call.args, list(zip(task.call.deps, values)))

    def _send(self, worker: Worker, *message: Any) -> None:
        if self.workers[worker.id].alive:
            self.workers[worker.id].inbox.append(message)

    def _wake(self, watch: Watch) -> None:
        assert watch.done
        if watch.token is None:
            self.watches.pop(watch, None)
            return
        worker, number = watch.token[:2]
        self.graph.deadlocks.ended(watch)
        if self.requests.pop((worker.id, number), None) and worker.id in self.scheduler.workers:
            self.graph.unblocked(worker)
            self._reply(watch)

    def _end_wait(self, watch: Watch) -> None:
        """As `minray.serving.Serving.end`."""
        worker, number, _, ids = watch.token[:4]
        del self.requests[worker.id, number]
        self.graph.unwatched(ids, watch)
        self.graph.unblocked(worker)
        self._send(worker, "answer", number)

    def _on_at(self, worker: Worker, number: int, where: str) -> None:
        watch = self.requests.get((worker.id, number))
        if watch is not None:
            self.graph.deadlocks.located(watch, where)

    def _note_unblocked(self, worker: Worker) -> None:
        self._unblocked(worker)
        for name, amount in worker.node.free.items():
            self.overdrawn[worker.node.id, name] = max(0, -amount)

    def _reply(self, watch: Watch) -> None:
        worker, number, op, ids, *rest = watch.token
        values = []
        if op == "next":
            self._send(worker, "items", number, tuple(self._take(rest[0], worker) or ()))
            return
        if op == "wait":
            assert self.graph.ready(ids) == [id for id in ids if self.value(id) is not None]
        else:
            for id in ids:
                one = self.value(id)
                if one is not None:
                    self.lost |= {id, *one[2]} - self.objects.entries.keys()
                    self.objects.lend_value(worker.loans, id, one)
                    values.append((id, one))
        self._send(worker, "values", number, values)

    def receive(self, worker: SimWorker, number: int = 1_000_000, carry_out: bool = True) -> bool:
        """Take in up to `number` messages of a worker; False if there were none."""
        before = len(worker.outbox)
        while worker.outbox and before - len(worker.outbox) < number:
            message = worker.outbox.popleft()
            known = self.scheduler.workers.get(worker.id)
            if message[0] == "lost":
                self._forget(worker.id)
                if known is None:
                    self.graph.writer_gone(worker.id)
            if known is not None:  # else it was given up, and what it still says is not heard
                handle: Callable[..., None] = getattr(self, f"_on_{message[0]}")
                handle(known, *message[1:])
                self.graph.check()
        if carry_out:
            self.after()
        return before > 0

    def _on_hello(self, worker: Worker) -> None:
        self.graph.worker_up(worker)

    def _on_done(self, worker: Worker, id: int, values: tuple[Value, ...], seconds: float) -> None:
        self.stored += [one for one in values if one[0] == STORED]
        self.graph.finished(worker, id, values, seconds)

    def _on_yield(self, worker: Worker, id: int, index: int, values: list[Value]) -> None:
        self.stored += [one for one in values if one[0] == STORED]
        items = self.yielded.setdefault(id, [])
        origin = self.graph.lineage.origins.get(id)
        for place, one in enumerate(values, index):
            if origin is not None and place in origin.lost:
                items[place] = one
        items += values[max(0, len(items) - index) :]
        self.graph.streams.yielded(worker, id, index, values)

    def _on_next(self, worker: Worker, number: int, stream: int, own: Own) -> None:
        ids = (self.graph.streams.peek(stream),)
        self._request(self.graph.watched(ids, 1, (worker, number, "next", ids, stream)), own)

    def _on_failed(self, worker: Worker, *message: Any) -> None:
        self.graph.failed(worker, *message)

    def _on_gone(self, worker: Worker, id: int, location: int) -> None:
        self.graph.lineage.lost(id, location)

    def _on_stalled(self, worker: Worker, id: int) -> None:
        stalled(self.graph, worker, id)

    def _on_created(self, worker: Worker, id: int, error: Value | None) -> None:
        self.graph.actors.creation_finished(worker, error)

    def _on_exit(self, worker: Worker) -> None:
        self.graph.actors.exited(worker)

    def _on_returned(self, worker: Worker, ids: tuple[int, ...]) -> None:
        self.graph.returned(worker, ids)

    def _forget(self, worker: int) -> None:
        for key in [key for key in self.requests if key[0] == worker]:
            watch = self.requests.pop(key)
            self.graph.unwatched(watch.token[3], watch)
            self.graph.deadlocks.ended(watch)

    def _on_lost(self, worker: Worker, cause: str) -> None:
        self.graph.worker_lost(worker, cause)
        self.graph.writer_gone(worker.id)

    def _on_release(self, worker: Worker, back: tuple[tuple[int, int], ...]) -> None:
        for id, number in back:
            self.graph.repaid(worker, id, number)

    def _on_submit(
        self, worker: Worker, id: int, template: Any, deps: tuple[int, ...], refs: tuple[int, ...], parent: int
    ) -> None:
        self.submitted.add(id)
        self.graph.submitted(id, template, Call((PICKLED, b"", refs), (), deps), worker, parent)

    def _on_submit_call(
        self,
        worker: Worker,
        id: int,
        template: MethodTemplate,
        deps: tuple[int, ...],
        refs: tuple[int, ...],
        actor: int,
        parent: int,
    ) -> None:
        self.submitted.add(id)
        self.graph.actors.called(id, actor, template, Call((PICKLED, b"", refs), (), deps), worker, parent)

    def _on_submit_actor(self, worker: Worker, id: int, template: Any, deps: Any, refs: Any, name: str | None) -> None:
        call = Call((PICKLED, b"", refs), (), deps)
        try:
            self.graph.actors.created(id, template, call, worker, None if name is None else ("", name))
        except ValueError:
            self.lost.add(id)

    def _on_put(self, worker: Worker, id: int, one: Value) -> None:
        self._stored(id, one, worker)

    def _on_get(self, worker: Worker, number: int, ids: tuple[int, ...], own: Own) -> None:
        self._request(self.graph.watched(ids, len(ids), (worker, number, "get", ids), eager=True), own)

    def _on_wait(self, worker: Worker, number: int, ids: tuple[int, ...], least: int, own: Own) -> None:
        self._request(self.graph.watched(ids, least, (worker, number, "wait", ids)), own)

    def _request(self, watch: Watch, own: Own) -> None:
        worker, number, _, ids = watch.token[:4]
        if watch.done:
            self._reply(watch)
        else:
            self.requests[worker.id, number] = watch
            if own is not None:
                self.graph.deadlocks.began(watch, ids, worker, *own)
            self.graph.blocked(worker, ids)

    def _on_forget(self, worker: Worker, number: int) -> None:
        watch = self.requests.pop((worker.id, number), None)
        if watch is not None:
            self.graph.unwatched(watch.token[3], watch)
            self.graph.deadlocks.ended(watch)
            self.graph.unblocked(worker)
            self._send(worker, "answer", number)

    # -- a run that goes well --------------------------------------------------------------------------------------

    def step(self, worker: SimWorker) -> bool:
        """Let a worker go on by one step, and hear what it says; False if there was nothing to do."""
        busy = False
        if worker.alive:
            busy = bool(worker.inbox) or not worker.up
            worker.read()
        if worker.ready:
            worker.begin()
            busy = True
        elif worker.alive and worker.running and worker.turn_to_one_that_goes_on():
            if not (worker.requests.keys() - worker.patient.keys()) and not worker.waits_for_readers:
                worker.finish(*([value(stored=True), value(stored=True)] if self.stores else []))
        return self.receive(worker) or busy

    def run_one(self) -> None:
        """Go on until one more call has ended."""
        before = len(self.ended)
        while len(self.ended) == before:
            self.step(next(worker for worker in self.living() if worker.inbox or worker.todo or worker.running))

    def run(self) -> None:
        """Let all calls that can be run begin, and return None, until nobody has anything to do."""
        going = True
        while going:
            going = False
            for worker in list(self.workers.values()):
                going |= self.step(worker)
            if not going:
                going = self._end_deadlocks()
            if not going:
                for worker in self.living():
                    going |= worker.give_up_waiting()
                going = going or self._read_streams()

    def _end_deadlocks(self) -> bool:
        """Let time pass until somebody has looked for deadlocks; False if that has led to nothing."""
        if self.deaf or not self.graph.deadlocks.waits:
            return False
        self.tick(2 * LOOK_SECONDS)
        return any(worker.inbox for worker in self.living())

    def _read_streams(self) -> bool:
        """Whoever has streams that may hold up their producers reads on; False if nobody found anything."""
        before = sum(self.taken.values())
        for stream in sorted(self.stream_ids & self.refs.keys()):
            self.take(stream)
        for worker in self.living():
            for stream in sorted(self.stream_ids.intersection(worker.refs)):
                worker.next(stream)
            self.receive(worker)
        return sum(self.taken.values()) > before
