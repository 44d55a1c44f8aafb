"""The owner of a simulated run: it carries out what the graph decides and hears workers, as `minray.owner` does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minray.core.objects import Watch
from minray.core.stalling import stalled
from minray.core.tasks import Call, Task, Worker
from minray.core.template import MethodTemplate
from minray.core.value import PICKLED, SPILLED, STORED, Value
from tests.core.accounting import check
from tests.core.ledger import Ledger
from tests.core.sim_worker import BOOM, SimWorker

#: What a call says that waits and can do nothing else meanwhile; see `minray.core.deadlocks`.
Own = tuple[int, bool] | None


class Owner(Ledger):
    """Between the graph and the workers. Every event ends with `after`."""

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

    def _stored(self, id: int, one: Value, worker: Worker | None) -> None:
        if one[0] == STORED:
            self.stored.append(one)
        self.graph.stored(id, one, worker)

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
