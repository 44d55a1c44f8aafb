"""Who runs what: leases of workers to lanes, calls sent ahead, calls taken back.

The rules:

1. A worker is leased to one lane while it has tasks of it, and holds the lane's demand on its node meanwhile; a blocked
   worker lends it back until it goes on.
2. A call is sent to an idle worker if there is one, else to a new one if the node has room, else ahead to a leased
   worker, but only as far as the work already there is known to be short. Nothing is sent behind a blocked worker.
3. Calls that were sent ahead and not begun are recalled when their worker blocks, runs long, or another has nothing
   to do. A worker answers every recall with what it had not begun, so that each call runs once.
4. In a lane functions take turns, and the tasks of one are sent in the order in which they became ready, but for those
   that a blocked call waits for, which come first (`hurry`).
5. Lanes that wait take turns: whoever was served and wants more is the last of them. Actors that wait for room come
   before all lanes.
6. While memory is tight (`tight`) a task is sent only if no other runs, or the latest was sent HOLD_SECONDS ago. Who
   is blocked in `get` does not run. So every task begins at last, and nobody waits for one that cannot.

Decisions are appended to `out`: ``("start", worker)``, ``("run", worker, task)``, ``("recall", worker)``,
``("stop", worker)``, ``("kill", worker)``, ``("infeasible", demand, terms)``.
"""

from __future__ import annotations

from math import inf

from minray.core.tasks import READY, SENT, Lane, Task, Worker
from minray.core.template import LaneKey, TaskTemplate
from minray.core.workforce import Workforce

#: Seconds of known work that may be sent ahead to one worker. Long enough that a reader who gets the interpreter
#: late (5 ms is CPython's switch interval, the pump comes by every fraction of that) finds the worker still busy, and
#: that one write carries several calls of a millisecond; short enough to recall.
AHEAD_SECONDS = 0.008
#: Beyond that, one call may be sent behind a single other one if both together are known to take no longer than this
#: (s). Where the CPUs are busy a driver that wakes up to send the next call takes half a millisecond to get one.
ONE_AHEAD_SECONDS = 0.03
#: Calls that may be sent ahead to one worker, however short they are.
AHEAD_CALLS = 128
#: A call that has run this long, and so many times as long as it was known to, gets what is queued behind it recalled.
STUCK_SECONDS = 0.005
STUCK_TIMES = 2
#: A worker whose running call is cancelled by force gets this long to hand back those behind it first.
DEAF_SECONDS = 1.0
#: Work ahead that is worth a recall when another worker has nothing to do.
WORTH_STEALING_SECONDS = 0.0005
#: In a longer queue a task does not come to the front because somebody waits for it: it would have to be searched for.
HURRY_AMONG = 1000
#: Lanes up to which nobody looks whether some are of no use any more.
MANY_LANES = 64
#: While memory is tight, this long after a task the next one begins although others still run.
HOLD_SECONDS = 1.0
#: What takes less is as good as nothing (s).
SHORTEST_PACE = 1e-6
#: Weight of the newest measurement in a function's pace.
PACE_WEIGHT = 0.2


class Scheduler(Workforce):
    """The lanes of a run, and who serves them."""

    def __init__(self, out: list[tuple[object, ...]]) -> None:
        super().__init__(out)
        self.lanes: dict[LaneKey, Lane] = {}
        self.hungry: dict[LaneKey, Lane] = {}  # stalled lanes, the longest waiting first
        self.sent_ahead = False  # some worker may have calls queued behind its head
        self.due = 0.0  # when the first of them may be stuck; 0: calls were sent since the last tick
        # At the last tick, while calls wait: how much work (s) every worker had behind its head, and calls a second.
        self.cushion = self.rate = 0.0
        self.tight: set[str] = set()  # the reasons for which memory is
        self.last_sent = 0.0  # when the latest task was since it is, or when that began
        self._many_lanes = MANY_LANES

    # -- tasks ----------------------------------------------------------------------------------------------------

    def enqueue(self, task: Task) -> None:
        """A task's arguments are there: run it when its turn comes."""
        template = task.template
        assert template is not None
        task.state = READY
        lane = self.lanes.get(template.lane_key)
        if lane is None:
            lane = self._new_lane(template)
        ready = lane.ready
        if task.hurried:
            lane.push(task)
        elif ready and (lane.others or ready[-1].template is not template):
            lane.queue_of(template).append(task)
        else:
            ready.append(task)
        if not lane.stalled:
            self.dispatch(lane)

    def _new_lane(self, template: TaskTemplate) -> Lane:
        if len(self.lanes) >= self._many_lanes:  # forget those that nobody uses, however many demands there ever were
            self.lanes = {key: lane for key, lane in self.lanes.items() if lane.ready or lane.leased}
            self._many_lanes = max(MANY_LANES, 2 * len(self.lanes))
        key = template.lane_key
        lane = self.lanes[key] = Lane(key, template.demand, template.terms)
        return lane

    def requeue(self, tasks: list[Task]) -> None:
        """Put tasks that were sent and not begun back in front, in their order."""
        lanes: dict[LaneKey, Lane] = {}
        for task in reversed(tasks):
            template = task.template
            assert template is not None
            task.state = READY
            task.worker = None
            if task.stream is not None:
                task.stream.rewind()
            key = template.lane_key
            lane = lanes[key] = self.lanes.get(key) or self._new_lane(template)
            lane.push(task)
        for lane in lanes.values():
            self.dispatch(lane)

    def hurry(self, tasks: list[Task]) -> None:
        """Put tasks that are ready in front of their lanes, in their order; not where the queue is long."""
        for task in reversed(tasks):
            assert task.template is not None
            lane = self.lanes[task.template.lane_key]
            if lane.ready[0] is not task and len(lane.queue_of(task.template)) <= HURRY_AMONG:
                lane.remove(task)
                lane.push(task)

    def withdraw(self, task: Task) -> None:
        """A task that is ready is not to run after all."""
        assert task.template is not None
        lane = self.lanes[task.template.lane_key]
        lane.remove(task)
        if not lane.ready:
            self.dispatch(lane)

    def dispatch(self, lane: Lane) -> None:
        """Send what can be sent of one lane. If that is not all, it is the last of those that wait."""
        served = False
        while lane.ready:
            worker = self._worker_for(lane, lane.ready[0])
            if worker is None:
                if served or not lane.stalled:
                    lane.stalled = True
                    self.hungry.pop(lane.key, None)
                    self.hungry[lane.key] = lane
                    if not lane.warned:
                        lane.warned = True
                        self.warn(lane.demand, lane.terms)
                return
            self._assign(worker, lane.ready.popleft())
            if lane.others:
                lane.turn()
            served = True
        if lane.stalled:
            lane.stalled = False
            self.hungry.pop(lane.key, None)

    def dispatch_all(self) -> None:
        """Resources or workers came free: try every lane that waits, the longest waiting first."""
        if self.hungry:
            for lane in list(self.hungry.values()):
                self.dispatch(lane)

    def _worker_for(self, lane: Lane, task: Task) -> Worker | None:
        if self.tight and self.held_back():
            return None
        worker = self.obtain(lane.demand, lane.terms)
        if worker is not None:
            worker.lane = lane
            lane.leased[worker.id] = worker
            return worker
        best = None
        for worker in lane.leased.values():
            if (best is None or worker.load < best.load) and self._has_room(worker, task):
                best = worker
        return best

    def held_back(self) -> bool:
        """Whether tasks have to wait because memory is tight. Actors that serve others for ever do not hold them up."""
        return self.now - self.last_sent < HOLD_SECONDS and self._some_task_runs()

    def _some_task_runs(self) -> bool:
        return any(worker.sent and not worker.blocked and worker.actor is None for worker in self.workers.values())

    @staticmethod
    def _has_room(worker: Worker, task: Task) -> bool:
        if worker.blocked or worker.stuck or worker.recalling or worker.stopping or worker.condemned is not None:
            return False
        waiting = len(worker.sent)
        if not waiting:
            return True
        assert task.template is not None
        pace = task.template.pace
        if pace is None or not worker.up:
            return False
        load = worker.load + pace
        return (load <= AHEAD_SECONDS and waiting < AHEAD_CALLS) or (waiting == 1 and load <= ONE_AHEAD_SECONDS)

    def _assign(self, worker: Worker, task: Task) -> None:
        template = task.template
        assert template is not None
        if worker.sent:
            self.sent_ahead = True
            self.due = 0.0
        else:
            worker.running_since = self.now
        worker.sent[task.id] = task
        cost = template.pace or 0.0
        task.cost = cost
        worker.load += cost
        task.worker = worker
        task.state = SENT
        if self.tight:
            self.last_sent = self.now
        self.out.append(("run", worker, task))

    def finish(self, worker: Worker, task: Task, seconds: float, refill: bool) -> None:
        """A leased worker has finished `task`, which is no longer in `sent`: give it more, or end the lease.

        `refill`: nobody but lanes waits for resources.
        """
        template = task.template
        assert template is not None
        pace = template.pace
        terms = template.terms
        if terms is not None and terms.max_calls:
            # Without a pace nothing is ever sent ahead of such calls, as their worker may end after each.
            self._count(worker, template.code.key, terms.max_calls)
        else:
            template.pace = seconds if pace is None else pace + PACE_WEIGHT * (seconds - pace)
        worker.stuck = False
        worker.running_since = self.now
        worker.load -= task.cost
        sent = worker.sent
        lane = worker.lane
        if lane is None or worker.stopping:
            return
        if not sent:
            worker.load = 0.0  # what rounding has left
        # Below half of what may be sent ahead it is filled up at once, so that one write carries many calls.
        if (
            lane.ready
            and refill
            and not self.tight
            and not worker.worn
            and (worker.load <= AHEAD_SECONDS / 2 or len(sent) == 1)
            and len(self.hungry) < 2
        ):
            while lane.ready and self._has_room(worker, lane.ready[0]):
                self._assign(worker, lane.ready.popleft())
                if lane.others:
                    lane.turn()
            if not lane.ready and lane.stalled:
                lane.stalled = False
                self.hungry.pop(lane.key, None)
        if not sent:
            self.end_lease(worker)

    @staticmethod
    def _count(worker: Worker, function: bytes, max_calls: int) -> None:
        if worker.calls is None:
            worker.calls = {}
        number = worker.calls[function] = worker.calls.get(function, 0) + 1
        worker.worn = worker.worn or number >= max_calls

    def end_lease(self, worker: Worker) -> None:
        """A worker of the pool has nothing left to do: it is idle, and what it held is free for whoever comes next."""
        lane = worker.lane
        assert lane is not None
        del lane.leased[worker.id]
        worker.lane = None
        worker.load = 0.0
        worker.stuck = False
        self._let_go(worker)
        worker.idle_since = self.now
        if worker.worn:
            self.stop(worker)
        elif worker.env:
            worker.node.dressed.setdefault(worker.env, []).append(worker)
        else:
            worker.node.idle.append(worker)
        if self.sent_ahead and not self.hungry:
            self._steal(lane)

    # -- calls sent ahead and taken back --------------------------------------------------------------------------

    def _steal(self, lane: Lane) -> None:
        busiest = None
        for worker in lane.leased.values():
            if len(worker.sent) > 1 and not worker.recalling and worker.load > WORTH_STEALING_SECONDS:
                if busiest is None or worker.load > busiest.load:
                    busiest = worker
        if busiest is not None:
            self.recall(busiest)

    def recall(self, worker: Worker) -> None:
        worker.recalling = True
        self.out.append(("recall", worker))

    def returned(self, worker: Worker, tasks: list[Task]) -> None:
        """A worker's answer to a recall: these it had not begun."""
        worker.recalling = False
        for task in tasks:
            del worker.sent[task.id]
            worker.load -= task.cost

    def end_if_done(self, worker: Worker) -> None:
        """A worker has handed back calls: perhaps all of them."""
        if not worker.sent and worker.lane is not None:
            self.end_lease(worker)

    def block(self, worker: Worker) -> None:
        """A call on `worker` waits for others: lend its resources out, and take back what is queued behind it."""
        worker.blocked += 1
        # An actor that runs several calls at once keeps what it has: others of them go on (Ray does the same).
        if not worker.lent and not (worker.actor is not None and worker.actor.template.concurrent):
            # Its CPUs alone: a GPU that a task has loaded something on is still in use (Ray does the same).
            worker.lent = tuple([part for part in worker.held if _is_cpu(part[0])])
            worker.node.give(worker.lent)
        if worker.lane is not None and len(worker.sent) > 1 and not worker.recalling:
            self.recall(worker)

    def unblock(self, worker: Worker) -> None:
        """It goes on. Its node may be overdrawn for a while: nothing new starts there until that is made good."""
        worker.blocked -= 1
        if not worker.blocked:
            worker.node.take(worker.lent)
            worker.lent = ()
            worker.running_since = self.now

    def tick(self) -> list[Worker]:
        """Time has passed: recall what is stuck behind long calls, stop workers that nobody needs.

        Returns workers that are to be ended by force: they have not answered a recall for long.
        """
        deaf = []
        if self.sent_ahead:
            self.sent_ahead = False
            self.due = self.cushion = inf
            self.rate = 0.0
            for lane in self.lanes.values():
                for worker in lane.leased.values():
                    if len(worker.sent) > 1:
                        self.sent_ahead = True
                        head = next(iter(worker.sent.values()))
                        stuck = worker.running_since + max(STUCK_SECONDS, STUCK_TIMES * head.cost)
                        if worker.condemned is not None and self.now - worker.running_since > DEAF_SECONDS:
                            deaf += [worker] if head is worker.condemned else []
                        elif not worker.recalling and self.now > stuck:
                            worker.stuck = True
                            self.recall(worker)
                        self.due = min(self.due, stuck)
                        self.cushion = min(self.cushion, worker.load - head.cost)
                        self.rate += 1 / max(head.cost, SHORTEST_PACE)
                    elif not worker.blocked:
                        self.cushion = 0.0
            if not self.hungry:
                self.cushion = 0.0
        self.stop_surplus()
        return deaf

    def check(self) -> None:
        """Invariants: resources neither lost nor made, leases and queues consistent."""
        self.check_nodes()
        assert self.hungry.keys() <= self.lanes.keys()
        for lane in self.lanes.values():
            assert lane.stalled == (lane.key in self.hungry)
            assert lane.stalled or not lane.ready, lane
            held_back = self.tight and self._some_task_runs()
            room = not held_back and self.has_room(lane.demand, lane.terms)
            assert not lane.stalled or not room, f"{lane} waits for nothing"
            assert all(lane.others) and (lane.ready or not lane.others), lane
            for queue in (lane.ready, *lane.others) if lane.others else ():
                assert {task.template.key for task in queue if task.template is not None} == {queue.key}, lane
            for task in lane.tasks():
                assert task.state == READY, task
            for worker in lane.leased.values():
                assert worker.lane is lane and worker.sent, worker
                assert all(task.state == SENT and task.worker is worker for task in worker.sent.values()), worker
        for worker in self.workers.values():
            assert worker.lane is None or worker.id in worker.lane.leased, worker
            assert worker.env == (worker.lane.terms.env if worker.lane and worker.lane.terms else worker.env), worker


def _is_cpu(name: str) -> bool:
    return name == "CPU" or name.startswith("CPU_group_")
