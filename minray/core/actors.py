"""Actors: where each one lives, in which order its calls go to it, and what its death means for them.

The rules:

1. Calls of one caller reach the actor in the order in which they were made: one whose arguments are pending holds back
   those behind it. Between callers nothing is promised. An actor that keeps no order (one that runs several calls at
   once) gets each call as soon as its arguments are there.
2. An actor has a worker of its own from its creation to its death, and holds its template's demand there.
3. It ends when it is killed, when its worker is lost and no restart is left, or when nobody has a handle and all calls
   made so far are done. In the last case it can be made anew, as a restart, for results of it that were lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING

from minray.core.objects import HANDLE, Object
from minray.core.placement import actor_refused
from minray.core.tasks import DONE, NO_CALL, READY, SENT, WAITING, Actor, Call, Task, Worker
from minray.core.template import ActorTemplate, LaneKey, MethodTemplate
from minray.core.value import FIRST_ERROR, Value, dependency_failed, fault

if TYPE_CHECKING:
    from minray.core.graph import TaskGraph

#: Calls that may be at an actor's worker at once. More would only move the queue into its socket. Where several run at
#: once there is no such limit: those that wait for one concurrency group must not hold back those of another.
CALLS_AHEAD = 1024

#: So many actors that are dead can still be listed.
REMEMBERED = 1000


class ActorTable:
    """The actors of a run, and the names by which they can be found."""

    def __init__(self, graph: TaskGraph) -> None:
        self.graph = graph
        self.actors: dict[int, Actor] = {}
        self.dead: deque[tuple[Actor, Worker | None]] = deque(maxlen=REMEMBERED)  # the latest, and where they lived
        self.names: dict[tuple[str, str], Actor] = {}
        self.unplaced: dict[LaneKey, deque[Actor]] = {}  # ready to be created, no room yet

    # -- birth ----------------------------------------------------------------------------------------------------

    def created(
        self,
        id: int,
        template: ActorTemplate,
        call: Call,
        submitter: Worker | None,
        name_key: tuple[str, str] | None,
        site: str = "",
    ) -> Actor:
        """An actor was asked for, at `site`. Its handle is counted once for whoever did it.

        ValueError: the name is taken.
        """
        if name_key is not None and name_key in self.names:
            raise ValueError(
                f"The name {name_key[1]} (namespace={name_key[0]}) is already taken. Please use a different name, or "
                "get the existing actor using ray.get_actor(name, namespace=namespace)"
            )
        graph = self.graph
        actor = self.actors[id] = Actor(id, template, call)
        actor.site = site
        if name_key is not None:
            self.names[name_key] = actor
            actor.name_key = name_key
        graph.objects.entries[id] = Object(1, HANDLE)
        if submitter is not None:
            submitter.loans[id] = submitter.loans.get(id, 0) + 1
        if template.lifetime == "detached":
            graph.objects.retain(id)
        creation = Task(id, call, 0, f"{template.name}.__init__", 0, 0)
        creation.actor = actor
        graph.expect(creation, None)
        if not creation.missing:
            self.creation_ready(actor, creation)
        return actor

    def creation_ready(self, actor: Actor, creation: Task) -> None:
        """The arguments of its __init__ are there."""
        if actor.death is not None:
            return
        for id in creation.call.deps:
            value = self.graph.objects.value_of(id)
            if value is not None and value[0] >= FIRST_ERROR:
                error = dependency_failed(creation.name, value)
                self._die(actor, _death(actor, "its creation failed", error))
                return
        self._place(actor)

    def _place(self, actor: Actor) -> None:
        template = actor.template
        if template.terms is not None:
            refusal = self.graph.placement.refusal(template, actor.id)
            if refusal is not None:
                self._die(actor, refusal)
                return
        waiting = self.unplaced.get(template.lane_key)
        if waiting is None:
            if self._settle_down(actor):
                return
            waiting = self.unplaced[template.lane_key] = deque()
            self.graph.scheduler.warn(template.demand, template.terms)
        waiting.append(actor)

    def place_waiting(self) -> None:
        """Give room to the actors that wait for it; those that ask for the same in their order."""
        for key, waiting in list(self.unplaced.items()):
            while waiting and self._settle_down(waiting[0]):
                waiting.popleft()
            if not waiting:
                del self.unplaced[key]

    def _settle_down(self, actor: Actor) -> bool:
        worker = self.graph.scheduler.obtain(actor.template.demand, actor.template.terms)
        if worker is None:
            return False
        worker.actor = actor
        actor.worker = worker
        self.graph.out.append(("create", worker, actor))
        self._send_queued(actor, worker)
        return True

    def creation_finished(self, worker: Worker, error: Value | None, shown: str = "", seconds: float = 0.0) -> None:
        """Its __init__ has returned, or raised `error`, after `seconds`. `shown`: its own repr."""
        actor = worker.actor
        if actor is None or actor.worker is not worker:
            return
        actor.shown = shown or actor.shown
        actor.creation = (self.graph.scheduler.now, seconds)
        if error is None:
            actor.created = True
            if not actor.restarts:
                self._release_arguments(actor)
            self._end_if_unused(actor)
            self.graph._settle()
        else:
            self._die(actor, _death(actor, "its creation failed", error))

    # -- calls ----------------------------------------------------------------------------------------------------

    def called(
        self,
        id: int,
        actor_id: int,
        method: MethodTemplate,
        call: Call,
        submitter: Worker | None,
        parent: int = 0,
    ) -> None:
        """A method was called, by the call `parent`."""
        actor = self.actors.get(actor_id)
        name = method.name
        caller = 0 if submitter is None else submitter.id
        task = Task(id, call, caller, name, method.num_returns, method.max_retries)
        if actor is not None and not actor.template.in_order:
            task.line = id
        task.method = method
        task.actor = actor
        task.parent = parent
        graph = self.graph
        graph.tasks[id] = task
        graph.expect(task, submitter)
        if method.stream is not None:
            graph.streams.opened(task, method.stream or None, submitter)
        if actor is None:
            graph.fail(task, fault("ActorDied", name.partition(".")[0], actor_id, "it is gone", 0, "", "", "", None))
        elif actor.death is not None:
            graph.fail(task, actor.death)
        else:
            queue = actor.queues.get(task.line)
            if queue is not None:
                queue.append(task)
                actor.queued += 1
            elif task.missing:
                self._queue_first(actor, task)
            if not task.missing:
                graph._ready(task)

    def reserved(self, actor_id: int, caller: int) -> bool:
        """A caller wants to make one more call of an actor with `max_pending_calls`: whether it may.

        If so the call counts from now on, until it is done or `unreserved`.
        """
        actor = self.actors.get(actor_id)
        if actor is None or actor.death is not None:
            return True  # the call will say why it fails
        pending = actor.pending.get(caller, 0)
        if pending >= actor.template.max_pending_calls:
            return False
        actor.pending[caller] = pending + 1
        return True

    def unreserved(self, actor: Actor, caller: int) -> None:
        """A call that counted is done, or was not made after all."""
        pending = actor.pending.get(caller, 0) - 1
        if pending > 0:
            actor.pending[caller] = pending
        else:
            actor.pending.pop(caller, None)

    def call_ready(self, actor: Actor, task: Task) -> None:
        """A call's arguments are there; it goes when those before it have gone."""
        if actor.death is not None:
            if task.again:
                self.graph.fail(task, actor.death)
            return  # others are about to be told
        task.state = READY
        worker = actor.worker
        if task.line in actor.queues:
            if worker is not None:
                self._send_line(actor, worker, task.line)
        elif worker is not None and not _is_full(worker):
            self._send(worker, task)
        else:
            self._queue_first(actor, task)

    def wait_again(self, actor: Actor, task: Task) -> None:
        """A call is to be run once more, as a result of it was lost, and waits for its arguments.

        It keeps no order with its caller's others: they may wait for what it makes.
        """
        if actor.death is None:
            self._queue_first(actor, task)

    def _queue_first(self, actor: Actor, task: Task) -> None:
        """Queue a call in front of its caller's others."""
        queue = actor.queues.get(task.line)
        if queue is None:
            actor.queues[task.line] = deque((task,))
        else:
            queue.appendleft(task)
        actor.queued += 1

    def _send(self, worker: Worker, task: Task) -> None:
        task.state = SENT
        task.worker = worker
        worker.sent[task.id] = task
        self.graph.out.append(("run", worker, task))

    def _send_line(self, actor: Actor, worker: Worker, line: int) -> None:
        queue = actor.queues[line]
        while queue:
            task = queue[0]
            if task.state != DONE:
                if task.state != READY or _is_full(worker):
                    return
                actor.queued -= 1
                self._send(worker, task)
            queue.popleft()
        del actor.queues[line]

    def _send_queued(self, actor: Actor, worker: Worker) -> None:
        for line in list(actor.queues):
            if _is_full(worker):
                return
            self._send_line(actor, worker, line)
            if line in actor.queues:  # whoever got less this time comes first the next
                actor.queues[line] = actor.queues.pop(line)

    def call_finished(self, actor: Actor) -> None:
        worker = actor.worker
        # Only calls that the limit held back can go now: all others have gone as soon as they were ready.
        if actor.queued and worker is not None and len(worker.sent) == CALLS_AHEAD - 1:
            self._send_queued(actor, worker)
        if not actor.in_scope:
            self._end_if_unused(actor)

    def drop(self, actor: Actor, task: Task, error: Value) -> None:
        """End a call that was not sent: those behind it may go."""
        if task.line in actor.queues:
            actor.queued -= 1  # it stays in its queue, done, until it comes to the front
        self.graph.fail(task, error)
        if actor.worker is not None and task.line in actor.queues:
            self._send_line(actor, actor.worker, task.line)
        if not actor.in_scope:
            self._end_if_unused(actor)

    def retry(self, actor: Actor, task: Task) -> None:
        """A call raised and asks to be run again."""
        self._queue_again(actor, [task])
        if actor.worker is not None:
            self._send_queued(actor, actor.worker)

    def came_back(self, actor: Actor, tasks: list[Task]) -> None:
        """Its worker has not begun these, as an argument of the first is gone: they are sent again in their order."""
        for task in tasks:
            self.graph.await_lost(task)
        self._queue_again(actor, tasks)
        for task in tasks:
            error = self.graph.failed_argument(task) if task.state == READY else None
            if error is not None:
                self.drop(actor, task, error)
        if actor.worker is not None:
            self._send_queued(actor, actor.worker)

    def _queue_again(self, actor: Actor, tasks: list[Task]) -> None:
        for task in reversed(tasks) if actor.template.in_order else tasks:
            task.state = WAITING if task.missing else READY
            task.worker = None
            if task.stream is not None:
                task.stream.rewind()
            self._queue_first(actor, task)

    # -- death ----------------------------------------------------------------------------------------------------

    def killed(self, actor_id: int, no_restart: bool) -> None:
        """Somebody asked to end it at once."""
        actor = self.actors.get(actor_id)
        if actor is None or actor.death is not None:
            return
        worker = actor.worker
        reason = _death(actor, "it was killed by `ray.kill`")
        if no_restart or actor.restarts == 0 or worker is None:
            self._die(actor, reason, at_once=True)
        else:
            sent = list(worker.sent.values())
            worker.sent = {}
            self.give_up(worker, at_once=True)
            self.worker_lost(worker, sent, "it was killed by `ray.kill`")
            self.graph._free_resources()

    def exited(self, worker: Worker) -> None:
        """The actor ended itself: no restart."""
        actor = worker.actor
        if actor is not None and actor.worker is worker:
            self._die(actor, _death(actor, "exit_actor() is called"))

    def group_removed(self, group: str, cause: str) -> None:
        """A placement group is gone, and the actors that lived in it, or were to."""
        within = [
            actor
            for actor in self.actors.values()
            if actor.death is None and actor.template.terms is not None and actor.template.terms.group == group
        ]
        within.sort(key=lambda actor: actor.worker is not None)  # none is to move into the place of another
        for actor in within:
            name = actor.template.name
            if actor.worker is None:
                self._die(actor, actor_refused(name, actor.id, group))
            else:
                self._die(actor, _death(actor, cause), at_once=True)

    def worker_lost(self, worker: Worker, sent: list[Task], cause: str, charged: bool = True) -> None:
        """Its worker is gone: restart it if it may, else fail its calls. `charged`: that counts as a restart."""
        actor = worker.actor
        if actor is None or actor.worker is not worker:
            return
        again = [task for task in sent if (task.retries or not charged) and not task.cancelled]
        if charged and (actor.restarts == 0 or not (actor.in_scope or actor.queued or again)):
            self._die(actor, _death(actor, f"its worker process has died. {cause}"), sent)
            return
        actor.worker = None
        actor.created = False
        actor.quota = None
        if charged:
            actor.restarts -= actor.restarts > 0
            actor.restarted += 1
            for task in again:
                task.retries -= task.retries > 0
        self._queue_again(actor, again)
        for task in sent:
            if task.state == SENT:
                self.graph.fail(task, fault("ActorUnavailable", actor.template.name, actor.id, cause))
        if actor.death is None:  # what ended just now may have been the last that was asked of it
            self._place(actor)

    def out_of_scope(self, actor_id: int) -> None:
        """Nobody can name it any more: it ends after the calls made so far."""
        actor = self.actors.get(actor_id)
        if actor is not None:
            actor.in_scope = False
            if actor.death is not None:
                del self.actors[actor_id]
            else:
                self._end_if_unused(actor)

    def _end_if_unused(self, actor: Actor) -> None:
        if actor.death is not None or actor.in_scope or actor.queued:
            return
        worker = actor.worker
        if worker is None or (actor.created and not worker.sent):  # what runs its __init__ may finish that
            reason = "all references to it were removed"
            self._die(actor, _death(actor, reason), for_ever=not (actor.origins and actor.restarts))

    def wanted_again(self, actor: Actor) -> None:
        """It is about to be called for a result that was lost, and is held for that. If it has ended only because
        nobody could name it, it is made anew."""
        if actor.death is None or actor.call is NO_CALL:
            self.graph.objects.retain(actor.id)
            return
        actor.restarts -= actor.restarts > 0
        actor.restarted += 1
        actor.revived += 1
        actor.death = None
        actor.created = False
        actor.quota = None
        actor.in_scope = True
        actor.name_key = None  # somebody else may have it by now
        self.dead = deque((one for one in self.dead if one[0] is not actor), REMEMBERED)
        self.actors[actor.id] = actor
        self.graph.objects.entries[actor.id] = Object(1, HANDLE)
        creation = Task(actor.id, actor.call, 0, f"{actor.template.name}.__init__", 0, 0)
        creation.actor = actor
        self.graph.go_on(creation)

    def less_wanted(self, actor: Actor) -> None:
        """There is one call less of it that may have to be run again."""
        actor.origins -= 1
        if not actor.origins and actor.death is not None:
            self._release_arguments(actor)

    def _die(
        self, actor: Actor, death: Value, sent: Sequence[Task] = (), at_once: bool = False, for_ever: bool = True
    ) -> None:
        """It is gone, and so are its calls: those in `sent`, at its worker if it still has one, and queued.

        Not `for_ever`: see `wanted_again`.
        """
        actor.death = death
        if actor.name_key is not None and self.names.get(actor.name_key) is actor:
            del self.names[actor.name_key]
        if actor.template.lifetime == "detached":
            self.graph.objects.release(actor.id)
        worker, actor.worker = actor.worker, None
        self.dead.append((actor, worker))
        lost = [*sent]
        if worker is not None:
            lost += worker.sent.values()
            worker.sent = {}
            self.give_up(worker, at_once)
        elif actor in self.unplaced.get(actor.template.lane_key, ()):
            self.unplaced[actor.template.lane_key].remove(actor)
        for queue in actor.queues.values():
            lost += queue
        actor.queues = {}
        actor.queued = 0
        if for_ever:
            self._release_arguments(actor)
        for task in lost:
            if task.state != DONE:
                self.graph.fail(task, death)
        if not actor.in_scope:
            self.actors.pop(actor.id, None)
        self.graph._free_resources()

    def _release_arguments(self, actor: Actor) -> None:
        """It will not be created again."""
        call, actor.call = actor.call, NO_CALL
        for id in (*call.deps, *call.args[2]):
            self.graph.objects.release(id)

    def give_up(self, worker: Worker, at_once: bool) -> None:
        """End an actor's worker, and forget it at once: what it still says is not heard."""
        graph = self.graph
        if graph.scheduler.workers.get(worker.id) is worker:
            graph.scheduler.stop(worker, at_once)
            graph.scheduler.lose(worker)
            loans, worker.loans = worker.loans, {}
            for id, count in loans.items():
                graph.objects.release(id, count)

    def find(self, name_key: tuple[str, str]) -> Actor | None:
        return self.names.get(name_key)

    def check(self) -> None:
        """Invariants: every call of a living actor is queued or sent, a dead one has none."""
        for unplaced in self.unplaced.values():
            template = unplaced[0].template
            assert not self.graph.scheduler.has_room(template.demand, template.terms), f"{unplaced} wait for nothing"
            assert all(actor.death is None and actor.worker is None for actor in unplaced), unplaced
        for actor in self.actors.values():
            if actor.death is not None:
                assert not actor.queued and not actor.queues and actor.worker is None, actor
                assert actor.call is NO_CALL or actor.origins, actor
            waiting = [task for queue in actor.queues.values() for task in queue if task.state != DONE]
            assert actor.queued == len(waiting), actor
            assert actor.name_key is None or actor.death is not None or self.names[actor.name_key] is actor
            for line, queue in actor.queues.items():
                for task in queue:
                    assert task.actor is actor and task.line == line and task.state != SENT, task
                if actor.worker is not None and not _is_full(actor.worker) and queue:
                    assert queue[0].state == WAITING, f"{queue[0]} could have been sent"


def _is_full(worker: Worker) -> bool:
    """Whether an actor's worker has as many calls in front of it as it may."""
    actor = worker.actor
    assert actor is not None
    return len(worker.sent) >= CALLS_AHEAD and not actor.template.concurrent


def _death(actor: Actor, cause: str, error: Value | None = None) -> Value:
    """The fault that calls of a dead actor get. `error`: its __init__ could not run to its end."""
    pid = actor.worker.pid if actor.worker is not None else 0
    namespace, name = actor.name_key or ("", "")
    return fault("ActorDied", actor.template.name, actor.id, cause, pid, name, namespace, actor.site, error)
