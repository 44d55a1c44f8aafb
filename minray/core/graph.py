"""The dynamic task graph: a pure state machine. Events are method calls in the past tense; decisions come out in `out`.

The rules:

1. It never blocks, does no I/O and reads no clock: ids and `now` are given to it, so that a test can drive it
   through any history and a simulator can replay one.
2. Every call that was submitted ends exactly once, as values, an error or a fault; a call whose worker died is run
   again only as often as it allows.
3. Nothing here recurses along the graph: a chain of a million calls settles in a loop.

Decisions, as tuples, in the order in which they must be carried out:

    ("start", worker)        start a worker; messages may be sent to it at once
    ("run", worker, task)    send a task or an actor's method call
    ("create", worker, actor)
    ("recall", worker)       ask for the calls that it has not begun
    ("resume", worker)       it may begin calls again: see core/stalling.py
    ("cancel", worker, task) hand this call back if it has not begun, interrupt it if it has
    ("stop", worker)         let it end when it has done what it was sent; it owes us nothing
    ("kill", worker)         end it at once
    ("taken", worker, id, n) tell the producer of a stream that n more of its items were taken (-1: never wait again)
    ("wake", watch)          a watch is done
    ("locate", watch)        ask where the call waits whose watch this is
    ("deadlock", watch, text)   it waits for itself, by way of others: end its wait with an error
    ("free", value)          a stored value is not needed any more
    ("grant", writer, n), ("trim", writer, n), ("room", token, answer), ("bury", writer, locations)   see core/memory.py
    ("lost", value)          a stored value cannot be read any more
    ("infeasible", demand, terms)   tell the user that no node can ever have this
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from minray.core.actors import ActorTable
from minray.core.cancelling import condemn, drop_cancelled
from minray.core.deadlocks import Deadlocks
from minray.core.lineage import Lineage
from minray.core.memory import Memory
from minray.core.numbering import NEXT
from minray.core.objects import Object, ObjectTable, Watch
from minray.core.placement import PlacementTable
from minray.core.scheduler import Scheduler
from minray.core.streams import StreamTable
from minray.core.tasks import DONE, NO_CALL, READY, SENT, WAITING, Call, Node, Task, Worker
from minray.core.template import TaskTemplate
from minray.core.value import ABSENT, FIRST_ERROR, SPILLED, STORED, Value, bytes_of, dependency_failed, fault

#: So many of the calls that a blocked one waits for, directly or not, are looked at when it blocks.
HURRIED = 100

#: A try at a call that has ended: its worker, its error, for how many seconds it ran, and when it was heard of.
Ended = tuple[Task, "Worker | None", "Value | None", float, float]


class TaskGraph:
    """All objects, calls, actors and workers of one run."""

    def __init__(self, history: int = 0) -> None:
        """`history`: how many calls to remember once they have ended."""
        self.out: list[tuple[Any, ...]] = []
        self.memory = Memory(self.out)
        self.objects = self.memory.objects = ObjectTable(self.memory)
        self.scheduler = Scheduler(self.out)
        self.memory.workers = self.scheduler.workers
        self.actors = ActorTable(self)
        self.streams = StreamTable(self)
        self.placement = PlacementTable(self)
        self.deadlocks = Deadlocks(self)
        self.lineage = Lineage(self)
        self.tasks: dict[int, Task] = {}
        self.history: deque[Ended] | None = deque(maxlen=history) if history else None
        self._settled: deque[Task] = deque()  # tasks whose last missing argument has come
        self._settling = False

    # -- nodes and workers ----------------------------------------------------------------------------------------

    def node_joined(self, id: int, total: dict[str, int], warm: int = 0, labels: dict[str, str] | None = None) -> None:
        node = Node(id, total, labels)
        self.scheduler.nodes[id] = node
        self.scheduler.warm(node, warm)
        self._free_resources()

    def worker_up(self, worker: Worker) -> None:
        self.scheduler.up(worker)
        if self.scheduler.hungry or self.actors.unplaced or self.placement.pending:
            self._free_resources()

    def worker_lost(self, worker: Worker, cause: str) -> None:
        """A worker is gone: its running call is retried or failed, those behind it run elsewhere."""
        if self.scheduler.workers.get(worker.id) is not worker:
            return
        sent = list(worker.sent.values())
        worker.sent = {}
        charged = self.scheduler.lose(worker)
        loans, worker.loans = worker.loans, {}
        for id, count in loans.items():
            self.objects.release(id, count)
        if worker.actor is not None:
            self.actors.worker_lost(worker, sent, cause, charged)
        elif sent:
            running = sent[0]
            if charged and not running.retries and not running.cancelled:
                self.scheduler.requeue(drop_cancelled(self, sent[1:]))
                self.fail(running, fault("WorkerCrashed", running.name, cause))
            else:
                if self.history is not None and charged:
                    error = fault("WorkerCrashed", running.name, cause)
                    self.history.append((running, worker, error, 0.0, self.scheduler.now))
                running.retries -= charged and running.retries > 0
                self.scheduler.requeue(drop_cancelled(self, sent))
        self._free_resources()

    def _free_resources(self) -> None:
        """Resources came free: placement groups and actors that wait for a place first, as they are few and wait
        longest."""
        if self.placement.pending:
            self.placement.place_waiting()
        self.actors.place_waiting()
        self.scheduler.dispatch_all()
        self._settle()

    def blocked(self, worker: Worker, ids: Sequence[int] = ()) -> None:
        """A call on `worker` waits for the objects `ids`."""
        self.scheduler.block(worker)
        if self.scheduler.hungry:
            self._hurry(ids)
        self._free_resources()

    def _hurry(self, ids: Sequence[int]) -> None:
        """What a blocked call waits for comes before what nobody waits for, and so on down: a tree of calls is walked
        in depth, where one that is walked in breadth would have all of its inner calls blocked at once, on a worker
        each."""
        found: list[Task] = []
        look = list(ids[:HURRIED])
        for id in look:
            task = self.tasks.get(id)
            if task is not None and task.template is not None:
                if task.state == READY:
                    found.append(task)
                elif task.state == WAITING and len(look) < HURRIED:
                    task.hurried = True
                    look += task.call.deps
        self.scheduler.hurry(found)

    def unblocked(self, worker: Worker) -> None:
        if worker.id in self.scheduler.workers:
            self.scheduler.unblock(worker)

    def ticked(self, now: float) -> None:
        self.scheduler.now = now
        if self.scheduler.tight and self.scheduler.hungry:
            self.scheduler.dispatch_all()
        for worker in self.scheduler.tick():
            condemn(self, worker, deaf=True)
        if now >= self.deadlocks.due:
            self.deadlocks.look(now)

    # -- memory ---------------------------------------------------------------------------------------------------

    def asked_room(self, worker: Worker | None, needed: int, spare: int, first: bool, token: Any) -> None:
        """A writer of values needs memory: see `Memory.asked`."""
        self.memory.asked(worker, needed, spare, first, token)
        self._moving()

    def moved(self, worker: Worker | None, id: int, location: Any) -> None:
        """A writer has moved a value to disk (`location` None: it could not): see `Memory.moved`."""
        self.memory.moved(worker, id, location)
        self._moving()

    def writer_gone(self, worker: int) -> None:
        """A worker writes no more: its process is gone, perhaps some time after it was given up. See
        `Memory.writer_gone`."""
        self.memory.writer_gone(worker)
        self._moving()

    def room_given_back(self, worker: Worker | None, amount: int, trimmed: bool) -> None:
        """A writer does without memory that it was granted: see `Memory.given_back`."""
        self.memory.given_back(worker, amount, trimmed)
        self._moving()

    def room_forgotten(self, token: Any) -> bool:
        """A writer does not wait for memory any more: see `Memory.forgotten`."""
        found = self.memory.forgotten(token)
        self._moving()
        return found

    def _moving(self) -> None:
        """While somebody moves values, few tasks are begun."""
        self.pressed("moving", bool(self.memory.moving))

    def pressed(self, reason: str, tight: bool) -> None:
        """Memory is tight, or is not any more, for one reason."""
        reasons = self.scheduler.tight
        if tight:
            if not reasons:
                self.scheduler.last_sent = self.scheduler.now
            reasons.add(reason)
        elif reason in reasons:
            reasons.discard(reason)
            if not reasons:
                self._free_resources()

    # -- calls ----------------------------------------------------------------------------------------------------

    def submitted(
        self, id: int, template: TaskTemplate, call: Call, submitter: Worker | None = None, parent: int = 0
    ) -> None:
        """A task was submitted, by the call `parent`. Its objects are counted once for whoever did it."""
        task = Task(id, call, 0 if submitter is None else submitter.id, template.name, template.num_returns,
                    template.max_retries)  # fmt: skip
        task.template = template
        task.parent = parent
        self.tasks[id] = task
        self.expect(task, submitter)
        if template.stream is not None:
            self.streams.opened(task, template.stream or None, submitter)
        if not task.missing:
            self._ready(task)

    def expect(self, task: Task, submitter: Worker | None) -> None:
        """Make the objects of a new call, and hold its arguments until it is done."""
        entries = self.objects.entries
        for id in task.returns:
            entries[id] = Object(1)
            if submitter is not None:
                submitter.loans[id] = submitter.loans.get(id, 0) + 1
        self.hold_arguments(task)

    def hold_arguments(self, task: Task) -> None:
        """Count the arguments of a call, and those it has to wait for."""
        entries = self.objects.entries
        call = task.call
        for id in call.deps:
            entry = entries.get(id)
            if entry is not None:
                entry.count += 1
                if entry.value is None:
                    self._await(task, entry)
        for id in call.args[2]:
            self.objects.retain(id)

    def _await(self, task: Task, entry: Object) -> None:
        task.missing += 1
        if entry.waiting is None:
            entry.waiting = [task]
        else:
            entry.waiting.append(task)

    def await_lost(self, task: Task) -> None:
        """A call was ready, and holds its arguments: some of them may be pending again."""
        for id in task.call.deps:
            entry = self.objects.entries.get(id)
            if entry is not None and entry.value is None:
                self._await(task, entry)

    def finished(
        self, worker: Worker, id: int, values: Sequence[Value], seconds: float, error: Value | None = None
    ) -> None:
        """A worker has run a call; `values` are what it returned, one for each of its objects (or all are `error`)."""
        task = worker.sent.pop(id, None)
        if task is None:
            self.objects.discard(values)
            return
        if task.actor is not None:
            self.complete(task, values, error, seconds)
            self.actors.call_finished(task.actor)
        else:
            # Its worker is free before those that waited for the result look for one: a chain stays where it is.
            self._finish(worker, task, seconds)
            self.complete(task, values, error, seconds)

    def _finish(self, worker: Worker, task: Task, seconds: float) -> None:
        waiting = self.actors.unplaced or self.placement.pending
        self.scheduler.finish(worker, task, seconds, refill=not waiting)
        if worker.lane is None and (self.scheduler.hungry or waiting):
            self._free_resources()

    def failed(self, worker: Worker, id: int, error: Value, retry: bool, seconds: float) -> None:
        """A call raised; `retry` says whether its options ask to run it again for this exception."""
        task = worker.sent.get(id)
        if task is None:
            return
        stream = task.stream
        if stream is not None:
            self.streams.interrupted(stream)
        if not retry or task.retries == 0 or task.cancelled:
            if stream is None or task.cancelled:
                values = [error] * task.num_returns
            else:
                values = self.streams.raised(stream, error)
            self.finished(worker, id, values, seconds, error)
            return
        if self.history is not None:
            self.history.append((task, worker, error, seconds, self.scheduler.now))
        task.retries -= task.retries > 0
        del worker.sent[id]
        if task.actor is not None:
            self.actors.retry(task.actor, task)
        else:
            self._finish(worker, task, seconds)
            self.scheduler.requeue([task])

    def returned(self, worker: Worker, ids: Sequence[int]) -> None:
        """A worker hands back calls that it had not begun."""
        tasks = [worker.sent[id] for id in ids if id in worker.sent]
        for task in tasks:
            self.unlend(worker, task)
        self.scheduler.returned(worker, tasks)
        self.scheduler.requeue(drop_cancelled(self, tasks))
        self.scheduler.end_if_done(worker)
        condemn(self, worker)
        self._free_resources()

    def unlend(self, worker: Worker, task: Task) -> None:
        """The worker never looked at the call's arguments: take back what was counted for it when it was sent."""
        for id in task.call.args[2]:
            self.objects.repay(worker.loans, id, 1)
        for id in task.lent or ():
            self.objects.repay(worker.loans, id, 1)

    def lend(self, worker: Worker, task: Task) -> list[Value]:
        """The values of the call's dependencies, counted for the worker they are now sent to."""
        loans = worker.loans
        objects = self.objects
        call = task.call
        for id in call.args[2]:
            objects.lend(loans, id)
        values = []
        lent: list[int] = []
        for id in call.deps:
            value = objects.value_of(id)
            if value is None or value[0] >= FIRST_ERROR:  # it was lost since the call became ready
                value = ABSENT
            if value[0] >= STORED or value[2]:  # somewhere else, or with references inside
                objects.lend_value(loans, id, value)
                if value[0] == STORED or value[0] == SPILLED:
                    lent.append(bytes_of(id, value[0]))
                lent += value[2]
            values.append(value)
        task.lent = lent or None
        return values

    # -- results --------------------------------------------------------------------------------------------------

    def complete(self, task: Task, values: Sequence[Value], error: Value | None = None, seconds: float = 0.0) -> None:
        """The call is over: its objects are ready, its arguments are let go, what waited goes on."""
        if self.history is not None:
            self.history.append((task, task.worker, error, seconds, self.scheduler.now))
        task.state = DONE
        task.worker = None
        del self.tasks[task.id]
        if task.actor is not None and task.actor.pending and not task.again:
            self.actors.unreserved(task.actor, task.caller)
        objects = self.objects
        id = task.id
        known = False
        for value in values:
            if value[0] == STORED and not known:
                known = True
                self.lineage.made(task, values)
            if task.again and not objects.is_pending(id):
                objects.discard([value])  # another object of it was lost, not this one
            else:
                waiting = objects.resolve(id, value)
                if waiting:
                    self._tell(waiting, value)
            id += NEXT
        if task.again and not known:
            self.lineage.made(task, values)
        if task.stream is not None:
            self.streams.ended(task.stream)
            self.lineage.generated(task, values[0])
        call, task.call = task.call, NO_CALL  # the history may keep the task, not its arguments
        if call.deps:
            task.lent = None
            for dep in call.deps:
                objects.release(dep)
        for inner in call.args[2]:
            objects.release(inner)
        if task.again and task.actor is not None:
            objects.release(task.actor.id)  # which may have been alive for this alone
        if self._settled or objects.scopeless:
            self._settle()

    def _tell(self, waiting: list[Task | Watch], value: Value) -> None:
        for waiter in waiting:
            waiter.missing -= 1
            if isinstance(waiter, Task):
                if not waiter.missing:
                    self._settled.append(waiter)
            elif not waiter.done and (waiter.missing <= 0 or (waiter.eager and value[0] >= FIRST_ERROR)):
                waiter.done = True
                self.out.append(("wake", waiter))

    def fail(self, task: Task, error: Value) -> None:
        """End a call without running it."""
        self.complete(task, [error] * task.num_returns, error)

    def _ready(self, task: Task) -> None:
        """Its arguments are there: queue it, or fail it with the first argument that failed."""
        error = self.failed_argument(task) if task.call.deps else None
        if error is not None:
            if task.actor is None:
                self.fail(task, error)
            else:
                self.actors.drop(task.actor, task, error)
            return
        if task.actor is not None:
            self.actors.call_ready(task.actor, task)
            return
        template = task.template
        assert template is not None
        if template.terms is not None:
            refusal = self.placement.refusal(template)
            if refusal is not None:
                self.fail(task, refusal)
                return
        self.scheduler.enqueue(task)

    def failed_argument(self, task: Task) -> Value | None:
        """The error that a call comes to because of the first argument that is one."""
        for id in task.call.deps:
            value = self.objects.value_of(id)
            if value is not None and value[0] >= FIRST_ERROR:
                return dependency_failed(task.name, value)
        return None

    def go_on(self, task: Task) -> None:
        """Nothing that it waited for is missing any more: to be told before the next `_settle`."""
        self._settled.append(task)

    def _settle(self) -> None:
        """Go on with everything that was waiting for what has just become ready or unreachable."""
        if self._settling:
            return
        self._settling = True
        try:
            while self._settled or self.objects.scopeless:
                while self._settled:
                    task = self._settled.popleft()
                    if task.actor is not None and task.method is None:
                        self.actors.creation_ready(task.actor, task)
                    elif task.state != DONE:  # its actor may have died while it waited
                        self._ready(task)
                while self.objects.scopeless:
                    id = self.objects.scopeless.popleft()
                    (self.streams if id in self.streams.streams else self.actors).out_of_scope(id)
        finally:
            self._settling = False

    # -- objects --------------------------------------------------------------------------------------------------

    def stored(self, id: int, value: Value, holder: Worker | None = None) -> None:
        """Somebody put a value; it is counted once for them."""
        self.objects.add(id, value)
        if holder is not None:
            holder.loans[id] = holder.loans.get(id, 0) + 1

    def watched(self, ids: Sequence[int], count: int, token: Any, eager: bool = False) -> Watch:
        """Watch until `count` of `ids` are ready (`eager`: or one has failed); the watch may be done already."""
        entries = self.objects.entries
        pending = []
        failed = False
        for id in ids:
            entry = entries.get(id)
            if entry is None:
                failed = True
            elif entry.value is None:
                pending.append(entry)
            elif entry.value[0] >= FIRST_ERROR:
                failed = True
        watch = Watch(count - (len(ids) - len(pending)), token, eager)
        if watch.missing <= 0 or (eager and failed):
            watch.done = True
        else:
            for entry in pending:
                waiting = entry.waiting
                if waiting is None:
                    entry.waiting = [watch]
                    continue
                length = len(waiting)
                if length >= 8 and length & (length - 1) == 0:
                    # Now and then drop those who wait no more: somebody may ask for a slow object again and again.
                    entry.waiting = waiting = [one for one in waiting if isinstance(one, Task) or not one.done]
                waiting.append(watch)
        return watch

    def unwatched(self, ids: Sequence[int], watch: Watch) -> None:
        """Nobody waits for `watch` any more."""
        watch.done = True
        for id in ids:
            entry = self.objects.entries.get(id)
            if entry is not None and entry.waiting and entry.waiting[-1] is watch:
                entry.waiting.pop()

    def ready(self, ids: Sequence[int], most: int = 0) -> list[int]:
        """Those of `ids` that are ready (or gone); of many no more than `most` need be found."""
        entries = self.objects.entries
        if most == 1:
            for id in ids:
                if (entry := entries.get(id)) is None or entry.value is not None:
                    return [id]
            return []
        return [id for id in ids if (entry := entries.get(id)) is None or entry.value is not None]

    def released(self, id: int, count: int = 1) -> None:
        """The driver dropped references."""
        self.objects.release(id, count)
        if self.objects.scopeless:
            self._settle()

    def repaid(self, worker: Worker, id: int, count: int) -> None:
        """A worker gave references back."""
        self.objects.repay(worker.loans, id, count)
        if self.objects.scopeless:
            self._settle()

    def sweep(self) -> None:
        """Forget how to make what nobody needs any more, and let go what only that has held."""
        self.lineage.sweep()
        if self.objects.scopeless:
            self._settle()

    def take_out(self) -> list[tuple[Any, ...]]:
        """The decisions since the last time, in order."""
        self.sweep()
        out = self.out
        for value in self.objects.freed:
            out.append(("free", value))
        self.objects.freed.clear()
        taken = out[:]
        out.clear()
        return taken

    # -- invariants -----------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Assert everything that must hold between two events. Tests call it after each."""
        assert not self._settled and not self.objects.scopeless
        workers = self.scheduler.workers.values()
        self.objects.check(worker.loans for worker in workers)
        self.scheduler.check()
        self.memory.check()
        self.actors.check()
        self.streams.check()
        for task, *_ in self.history or ():
            assert task.id in self.tasks or (task.state == DONE and task.call is NO_CALL), f"{task} keeps its arguments"
        self.placement.check()
        self.deadlocks.check()
        self.lineage.check()
        ready = {task.id for lane in self.scheduler.lanes.values() for task in lane.tasks()}
        sent = {id for worker in workers for id in worker.sent}
        for id, task in self.tasks.items():
            assert task.id == id and task.state != DONE
            if task.actor is None:
                assert (task.state == WAITING) == (task.missing > 0), task
                assert (task.state == READY) == (id in ready), task
                assert (task.state == SENT) == (id in sent), task
            for object_id in task.returns:
                assert task.again or self.objects.is_pending(object_id), (task, object_id)
            for dep in task.call.deps:
                assert dep not in self.objects.entries or self.objects.entries[dep].count > 0
        assert ready <= self.tasks.keys()
        assert sent <= self.tasks.keys()
