"""The nouns of the graph: calls, the actors and workers that carry them out, and the nodes these live on."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from minray.core.devices import Devices, Share
from minray.core.numbering import results_of
from minray.core.template import RESOURCE_UNIT, ActorTemplate, Demand, LaneKey, MethodTemplate, TaskTemplate
from minray.core.terms import NODE_ID, Selector, Terms, matches
from minray.core.value import NONE, Value

if TYPE_CHECKING:
    from minray.core.streams import Quota, Stream

# A call's life. `TRANSITIONS` is the table that the tests check every step against.
WAITING = "waiting"  #: for arguments that are still pending, or pending again as they were lost
READY = "ready"  #: to run, as soon as a worker is
SENT = "sent"  #: to a worker, in front of which it queues or runs
DONE = "done"  #: as a value, an error or cancelled

TRANSITIONS = {
    WAITING: {READY, DONE},
    READY: {SENT, DONE},
    SENT: {DONE, READY, WAITING},
    DONE: set[str](),
}


class Call:
    """What the caller handed over: the encoded arguments.

    `args` is the encoded ``(args, kwargs)`` without top-level references; `where` says for each of `deps` which
    argument it is (a position, a keyword, or ``"*"`` for an object that holds all of ``(args, kwargs)``).
    """

    __slots__ = ("args", "deps", "where")

    def __init__(self, args: Value, where: tuple[int | str, ...] = (), deps: tuple[int, ...] = ()) -> None:
        self.args = args
        self.where = where
        self.deps = deps


#: Without arguments.
NO_CALL = Call(NONE)


class Task:
    """One call on its way to its result. `id` names its first object too."""

    __slots__ = (
        "actor",
        "again",
        "caller",
        "call",
        "cancelled",
        "cost",
        "hurried",
        "id",
        "lent",
        "line",
        "method",
        "missing",
        "name",
        "num_returns",
        "parent",
        "retries",
        "state",
        "stream",
        "template",
        "worker",
    )

    def __init__(self, id: int, call: Call, caller: int, name: str, num_returns: int, retries: int) -> None:
        self.id = id
        self.call = call
        self.caller = caller  # the worker that it was submitted in; 0 is the driver
        self.line = caller  # the queue at its actor: its caller's, or (where no order is kept) its own
        self.name = name
        self.num_returns = num_returns
        self.retries = retries  # how often it may still be run again; -1 is "for ever"
        self.missing = 0
        self.hurried = False  # a blocked call waits for it
        self.state = WAITING
        self.cost = 0.0
        self.parent = 0  # the call that made this one; 0: the driver, or nobody knows
        self.again = False  # it was over, and is run once more because an object of it was lost
        self.cancelled = False  # somebody has asked for that when it was at a worker already
        self.worker: Worker | None = None
        self.lent: list[int] | None = None  # bytes, and what is in values, that its worker was sent with it
        self.template: TaskTemplate | None = None
        self.actor: Actor | None = None
        self.method: MethodTemplate | None = None  # of an actor's call; its creation has none
        self.stream: Stream | None = None  # of a generator whose items are streamed

    @property
    def returns(self) -> Sequence[int]:
        """The ids of the objects that it makes."""
        return results_of(self.id, self.num_returns)

    def __repr__(self) -> str:
        return f"<Task {self.name} {self.id} {self.state} missing={self.missing}>"


class Queue(deque["Task"]):
    """Tasks of one function, in order of readiness."""

    __slots__ = ("key",)

    def __init__(self) -> None:
        self.key = b""  # the template's, while others have tasks too


class Lane:
    """All tasks with the same demand and terms that are ready, and the workers that run such tasks now.

    A worker keeps its lease while it has tasks of the lane: that is what lets calls be sent ahead to it. `stalled`
    is set when no worker could take the head, so that a backlog costs a submitter nothing but an append.

    Functions take turns. `ready` is the queue of the one whose turn it is, and empty only if all are; `others` are the
    queues behind it, the next one first.
    """

    __slots__ = ("_queues", "demand", "key", "leased", "others", "ready", "stalled", "terms", "warned")

    def __init__(self, key: LaneKey, demand: Demand, terms: Terms | None) -> None:
        self.key = key
        self.demand = demand
        self.terms = terms
        self.warned = False  # it was said that no node can ever have its demand
        self.ready = Queue()
        self.others: deque[Queue] = deque()
        self._queues: dict[bytes, Queue] = {}  # all of them, where there are others
        self.leased: dict[int, Worker] = {}
        self.stalled = False

    def queue_of(self, template: TaskTemplate) -> Queue:
        """Where tasks of this function queue."""
        ready = self.ready
        if not self.others:
            if not ready:
                return ready
            alone = ready[-1].template
            assert alone is not None
            ready.key = alone.key
            self._queues = {ready.key: ready}
        queue = self._queues.get(template.key)
        if queue is None:
            queue = self._queues[template.key] = Queue()
            queue.key = template.key
            self.others.append(queue)
        return queue

    def push(self, task: Task) -> None:
        """A task is the next one of all."""
        assert task.template is not None
        queue = self.queue_of(task.template)
        queue.appendleft(task)
        if queue is not self.ready:
            self.others.remove(queue)
            self.others.appendleft(self.ready)
            self.ready = queue

    def remove(self, task: Task) -> None:
        """A task waits no more."""
        assert task.template is not None
        queue = self.queue_of(task.template)
        if queue[-1] is task:  # who cancels thousands begins at the one end or the other
            queue.pop()
        else:
            queue.remove(task)
        if not queue and queue is not self.ready:
            self.others.remove(queue)
            del self._queues[queue.key]
        elif not queue:
            self.turn()

    def turn(self) -> None:
        """It is the next function's turn, if there is another."""
        if self.others:
            before, self.ready = self.ready, self.others.popleft()
            if before:
                self.others.append(before)
            else:
                del self._queues[before.key]

    def clear(self) -> list[Task]:
        """Nothing waits any more; what has."""
        waiting = self.tasks()
        self.others.clear()
        self.ready.clear()
        return waiting

    def tasks(self) -> list[Task]:
        """All that wait, function by function."""
        return [task for queue in (self.ready, *self.others) for task in queue]

    def __repr__(self) -> str:
        return f"<Lane {dict(self.demand)} ready={len(self.tasks())} leased={list(self.leased)}>"


class Node:
    """A machine: what it has, what of that is free (below zero while unblocked workers share it).

    What placement groups reserve is here under names of its own (`minray.core.placement`), and taken from the rest.
    """

    __slots__ = (
        "cpus",
        "devices",
        "dressed",
        "free",
        "id",
        "idle",
        "labels",
        "offers",
        "reserved",
        "starting",
        "stillborn",
        "total",
    )

    def __init__(self, id: int, total: dict[str, int], labels: dict[str, str] | None = None) -> None:
        self.id = id
        self.labels = labels or {NODE_ID: str(id)}
        self.offers = tuple(total)  # the names of what it had when it joined
        self.total = dict(total)
        self.free = dict(total)
        self.reserved: dict[str, int] = {}
        gpus = total.get("GPU", 0) // RESOURCE_UNIT
        self.devices = Devices(gpus) if gpus else None
        self.dressed: dict[str, list[Worker]] = {}  # idle ones that have a runtime environment, by it
        self.cpus = max(1, total.get("CPU", 0) // RESOURCE_UNIT)
        self.idle: list[Worker] = []
        self.starting = 0  # workers that have not come up yet
        self.stillborn = 0  # workers in a row that were lost before they did

    def has_room(self, demand: Demand, env: str = "") -> bool:
        """Whether there can be a worker that holds `demand`, now."""
        free = self.free
        for name, amount in demand:
            if free.get(name, 0) < amount:
                return False
        if self.devices is not None and self.devices.choose(demand) is None:
            return False
        # Of what asks for nothing there is always room for more, but not for all of it to start at once.
        return bool(demand or (self.dressed.get(env) if env else self.idle)) or self.starting < self.cpus

    def could_hold(self, demand: Demand) -> bool:
        """Whether it could if nobody else held anything."""
        return all(self.total.get(name, 0) >= amount for name, amount in demand)

    def idlers(self) -> int:
        """How many workers are idle here."""
        return len(self.idle) + sum(map(len, self.dressed.values()))

    def take(self, demand: Demand) -> None:
        for name, amount in demand:
            self.free[name] = self.free.get(name, 0) - amount

    def give(self, demand: Demand) -> None:
        for name, amount in demand:
            self.free[name] += amount

    def __repr__(self) -> str:
        return f"<Node {self.id} free={self.free} idle={len(self.idle)}>"


def candidates(nodes: list[Node], demand: Demand, choices: tuple[Selector, ...]) -> list[Node]:
    """The nodes that the best choice leaves, of those that could ever hold `demand`."""
    fit = [node for node in nodes if node.could_hold(demand)]
    for selector in choices:
        found = [node for node in fit if matches(node.labels, selector)]
        if found:
            return found
    return [] if choices else fit


class Worker:
    """One worker: idle, leased to a lane, or an actor's own. `sent` is in the order of sending: its head runs."""

    __slots__ = (
        "actor",
        "blocked",
        "condemned",
        "calls",
        "env",
        "gpus",
        "held",
        "id",
        "idle_since",
        "lane",
        "lent",
        "load",
        "loans",
        "node",
        "pid",
        "recalling",
        "running_since",
        "sent",
        "stopping",
        "stuck",
        "up",
        "up_since",
        "verdict",
        "worn",
    )

    def __init__(self, id: int, node: Node) -> None:
        self.id = id
        self.node = node
        self.lane: Lane | None = None
        self.actor: Actor | None = None
        self.held: Demand = ()  # what of its node's resources it has
        self.gpus: Share = ()  # and which GPUs
        self.env = ""  # its runtime environment, for life
        self.calls: dict[bytes, int] | None = None  # how often it has run the functions that end their workers
        self.worn = False  # one of them has been called often enough
        self.lent: Demand = ()  # what of that others may use while it is blocked
        self.sent: dict[int, Task] = {}
        self.loans: dict[int, int] = {}
        self.load = 0.0  # seconds of work sent ahead to it, as far as known
        self.blocked = 0  # its threads that wait in get
        self.recalling = False  # asked to hand back what it has not begun
        self.condemned: Task | None = None  # the worker is ended if this is what it runs
        self.verdict: Value | None = None  # why, if not because somebody has cancelled it
        self.stuck = False  # its head runs long: nothing more is sent to it until it finishes
        self.running_since = 0.0
        self.idle_since = 0.0
        self.up = False  # has said hello
        self.up_since = 0.0
        self.pid = 0  # of its process, known when it is up
        self.stopping = False

    def __repr__(self) -> str:
        what = self.actor or self.lane or "idle"
        return f"<Worker {self.id} {what} sent={list(self.sent)} blocked={self.blocked}>"


class Actor:
    """One actor: its calls queue per caller, in the caller's order, and go to its own worker.

    Where the template wants no order each call has a queue of its own.
    """

    __slots__ = (
        "call",
        "created",
        "creation",
        "death",
        "id",
        "in_scope",
        "missing",
        "name_key",
        "origins",
        "pending",
        "queued",
        "queues",
        "quota",
        "restarted",
        "restarts",
        "revived",
        "shown",
        "site",
        "template",
        "worker",
    )

    def __init__(self, id: int, template: ActorTemplate, call: Call) -> None:
        self.id = id
        self.template = template
        self.call = call
        self.missing = 0
        self.worker: Worker | None = None
        self.created = False  # its __init__ has returned, in the present incarnation
        self.creation: tuple[float, float] | None = (
            None  # when that was heard of the last time, and how long it ran (s)
        )
        self.death: Value | None = None  # the fault that later calls get
        self.restarts = template.max_restarts  # left; -1 is "for ever"
        self.restarted = 0  # how often it was
        self.revived = 0  # and how often of these only for results of it that were lost
        self.origins = 0  # of its calls, as `minray.core.lineage` counts them
        self.in_scope = True  # somebody has a handle
        self.queues: dict[int, deque[Task]] = {}
        self.queued = 0
        self.quota: Quota | None = None  # of its streams together, in the present incarnation
        self.name_key: tuple[str, str] | None = None
        self.shown = ""  # its own repr, if its class has one
        self.site = ""  # where in the program it was asked for
        self.pending: dict[int, int] = {}  # unfinished calls by caller, if there is a limit to them

    def __repr__(self) -> str:
        state = "dead" if self.death else "alive" if self.created else "starting"
        return f"<Actor {self.template.name} {self.id} {state} queued={self.queued}>"


Token = Any
