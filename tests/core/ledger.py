"""What is seen to happen in a simulated run: each call begins and ends as it may, and in its order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from minray.core.graph import TaskGraph
from minray.core.lineage import Origin
from minray.core.objects import Watch
from minray.core.tasks import Task, Worker
from minray.core.template import RESOURCE_UNIT, ActorTemplate, Demand, MethodTemplate, TaskTemplate
from minray.core.value import FAULT, Value
from tests.core.sim_worker import SimWorker


class Ledger:
    """The graph of one run, who takes part, and what they have done."""

    def __init__(self) -> None:
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
        self._complete = self.graph.complete
        self.graph.complete = self._note_ended  # type: ignore[method-assign]
        self._unblocked = self.graph.unblocked
        self.graph.unblocked = self._note_unblocked  # type: ignore[method-assign]
        self._again = self.graph.lineage._again
        self.graph.lineage._again = self._note_again  # type: ignore[method-assign]

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

    def _note_unblocked(self, worker: Worker) -> None:
        self._unblocked(worker)
        for name, amount in worker.node.free.items():
            self.overdrawn[worker.node.id, name] = max(0, -amount)

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
