"""What the graph decides, as things to do: messages for workers, and calls of the pool.

    graph.out: ("run", worker, task) ──> outbox: (worker, (RUN, ...))     and before it CODE, if that worker needs it
               ("start", worker)     ──> outbox: (worker, "start", node)

All of it under the lock of the runtime, in the order of the decisions. They are carried out by `minray.delivery`.
"""

from __future__ import annotations

from typing import Any

from minray.core.graph import TaskGraph
from minray.core.objects import Watch
from minray.core.tasks import Actor, Task, Worker
from minray.core.template import Code
from minray.core.terms import NO_ENVIRONMENT
from minray.delivery import Delivery
from minray.driver_memory import DECISIONS, DriverMemory
from minray.machine import gpu_names
from minray.places import Places
from minray.reading import Waiting
from minray.serving import Request, Serving
from minray.wire import messages as m


class Carrier:
    """Empties the graph's list of decisions into the outbox."""

    def __init__(
        self,
        graph: TaskGraph,
        delivery: Delivery,
        serving: Serving,
        places: Places,
        memory: DriverMemory | None,
        runtime_env: str,
        directory: str | None,
    ) -> None:
        """`runtime_env` is the job's, `directory` the run's own."""
        self._graph = graph
        self._outbox = delivery.outbox
        self._callbacks = delivery.callbacks
        self._serving = serving
        self._places = places
        self._memory = memory
        self._runtime_env = runtime_env
        self._directory = directory or ""
        self._gpus = gpu_names()
        self._known: dict[int, set[bytes]] = {}  # code that each worker has

    def forget(self, worker: int) -> None:
        """It has ended."""
        self._known.pop(worker, None)

    def carry_out(self) -> None:
        """Turn the graph's decisions into things to do."""
        graph = self._graph
        out = graph.out
        outbox = self._outbox
        freed = graph.objects.freed
        if graph.objects.dropped:
            graph.sweep()
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
                elif op == "resume":
                    outbox.append((decision[1].id, (m.RESUME,)))
                elif op == "stop":
                    worker = decision[1]
                    outbox.append((worker.id, (m.STOP,)))
                    if worker.actor is not None:  # whose event loop reads the channel, and may be busy
                        outbox.append((worker.id, "interrupt"))
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
                        env = worker.env or self._runtime_env
                        if env != NO_ENVIRONMENT:
                            outbox.append((worker.id, (m.ENV, worker.env, env, self._directory)))
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
        if task.again and task.stream is not None:
            assert extra is not None
            extra = {**extra, "yields": {**extra["yields"], "stream": 0, "again": True}}
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
