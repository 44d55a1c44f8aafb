"""Deadlocks: calls that wait for each other in a circle, found and ended with an error.

The rules:

1. A *wait* is a call whose own thread blocks in `get`, `wait` or `next` without a time-out. Whatever else a call does,
   it is taken to be able to go on, and so is what runs, what waits for resources, and what somebody has cancelled.
2. What can go on is found by propagation: a task goes on when all that it needs can, a wait when enough of its objects
   can. What is left can only be ended from outside, by a kill, a cancellation or a death: it is *stuck*, and as
   everything that is stuck waits for something that is stuck, following that leads into a circle.
3. Nobody looks before a wait has lasted for `LOOK_SECONDS`, and what was looked at costs time before the next look: a
   program that only computes pays one entry in a table for each blocking call.

A circle is told of in two steps, as only the workers know at which lines their calls wait:

    look ──("locate", watch)──> worker ──located(where)──> look ──("deadlock", watch, text)──> the call gets the error
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import groupby
from math import inf
from typing import TYPE_CHECKING

from minray.core.numbering import call_of
from minray.core.tasks import SENT, WAITING, Actor, Task, Worker

if TYPE_CHECKING:
    from minray.core.graph import TaskGraph
    from minray.core.objects import Watch

#: How long calls wait before somebody looks whether they wait for each other, and between two looks (s).
LOOK_SECONDS = 1.0
#: And for each call looked at, so that looking takes no more than a twentieth of the owner's time (s).
LOOK_SECONDS_PER_CALL = 4e-5


class Wait:
    """A call whose own thread waits. `call` is its id; of an actor's creation, the actor's.

    `alone`: while this thread waits no other call of its concurrency group goes on.
    """

    __slots__ = ("alone", "asked", "call", "ids", "watch", "where", "worker")

    def __init__(self, watch: Watch, ids: Sequence[int], worker: Worker, call: int, alone: bool) -> None:
        self.watch = watch
        self.ids = ids
        self.worker = worker
        self.call = call
        self.alone = alone
        self.asked = False  # its worker, where it waits
        self.where: str | None = None

    def __repr__(self) -> str:
        return f"<Wait of {self.call} for {list(self.ids)}>"


class Turn:
    """What the calls of an actor that have not begun wait for: a place in their concurrency group."""

    __slots__ = ("actor", "waits")

    def __init__(self, actor: Actor, waits: list[Wait]) -> None:
        self.actor = actor
        self.waits = waits  # that take up all places, or none: then there is one


#: What may be stuck. An actor stands for its creation.
Part = Task | Wait | Turn | Actor


class Deadlocks:
    """The waits of a run, and those that are stuck."""

    def __init__(self, graph: TaskGraph) -> None:
        self._graph = graph
        self.waits: dict[Watch, Wait] = {}
        self.due = inf  #: when to `look` again

    def began(self, watch: Watch, ids: Sequence[int], worker: Worker, call: int, alone: bool) -> None:
        """A call waits, and nothing but its objects can end that."""
        self.waits[watch] = Wait(watch, ids, worker, call, alone)
        if self.due == inf:
            self.due = self._graph.scheduler.now + LOOK_SECONDS

    def ended(self, watch: Watch) -> None:
        """It goes on, or is gone."""
        if self.waits.pop(watch, None) is not None and not self.waits:
            self.due = inf

    def located(self, watch: Watch, where: str | None) -> None:
        """A worker says where the call waits; None: something else may end the wait, an alarm that was set, say."""
        wait = self.waits.get(watch)
        if wait is not None:
            wait.where = where
            wait.asked = where is not None
            if all(other.where is not None for other in self.waits.values() if other.asked):
                self.due = 0.0

    def look(self, now: float) -> None:
        """Look for calls that wait for each other: ask where they do, or have them told."""
        stuck = _Stuck(self._graph, list(self.waits.values()))
        for circle in stuck.circles():
            waits = [one for one in circle if isinstance(one, Wait)]
            if all(wait.where is not None for wait in waits):
                text = stuck.describe(circle)
                self._graph.out += [("deadlock", wait.watch, text) for wait in waits]
                for wait in waits:
                    self.ended(wait.watch)
            else:
                for wait in waits:
                    if not wait.asked:
                        wait.asked = True
                        self._graph.out.append(("locate", wait.watch))
        self.due = now + LOOK_SECONDS + stuck.looked_at * LOOK_SECONDS_PER_CALL if self.waits else inf

    def stuck(self) -> list[Watch]:
        """Those that no event of the graph can ever end, but a kill, a cancellation or a death."""
        stuck = _Stuck(self._graph, list(self.waits.values()))
        return [wait.watch for wait in self.waits.values() if wait in stuck]

    def check(self) -> None:
        assert (self.due == inf) == (not self.waits)
        for watch, wait in self.waits.items():
            assert wait.watch is watch, wait


class _Stuck:
    """Of some waits, and of what they wait for: what can never go on."""

    def __init__(self, graph: TaskGraph, waits: list[Wait]) -> None:
        self._graph = graph
        self._waits = waits
        self._by_call = {wait.call: wait for wait in waits}
        self._turns: dict[Hashable, Turn] = {}
        self._children: dict[Part, Sequence[Part]] = {}
        self._needs: dict[Part, int] = {}  # so many more of its children have to go on
        self._find()

    @property
    def looked_at(self) -> int:
        return len(self._children)

    def __contains__(self, one: object) -> bool:
        return self._needs.get(one, 0) > 0  # type: ignore[call-overload,no-any-return]

    def _find(self) -> None:
        parents: dict[Part, list[Part]] = {}
        going: list[Part] = []
        todo: list[Part] = list(self._waits)
        while todo:
            one = todo.pop()
            if one in self._needs:
                continue
            need, children = self._ask(one)
            self._needs[one] = need
            self._children[one] = children
            if need <= 0:
                going.append(one)
            for child in children:
                parents.setdefault(child, []).append(one)
            todo += children
        while going:
            for parent in parents.get(going.pop(), ()):
                self._needs[parent] -= 1
                if not self._needs[parent]:
                    going.append(parent)

    # -- what each of them needs -----------------------------------------------------------------------------------

    def _ask(self, one: Part) -> tuple[int, Sequence[Part]]:
        """How many of which others have to go on before this one can."""
        if isinstance(one, Wait):
            return self._ask_wait(one)
        if isinstance(one, Turn):
            return (1, one.waits) if one.waits else (0, ())
        needed = self._creation(one) if isinstance(one, Actor) else self._task(one)
        return len(needed), needed

    def _ask_wait(self, wait: Wait) -> tuple[int, Sequence[Task]]:
        worker = wait.worker
        gone = self._graph.scheduler.workers.get(worker.id) is not worker
        if gone or wait.watch.done or worker.condemned is not None:
            return 0, ()
        if worker.actor is None or worker.actor.id != wait.call:
            task = worker.sent.get(wait.call)
            if task is None or (task.cancelled and task.actor is None):  # actors' methods are not interrupted
                return 0, ()
        makers = self._makers(wait.ids)
        # A `get` ends with the first error, so that each of its objects may end it.
        return (1 if wait.watch.eager else wait.watch.missing), makers

    def _makers(self, ids: Sequence[int]) -> list[Task]:
        """The calls that are to make those of some objects that are pending."""
        entries = self._graph.objects.entries
        tasks = self._graph.tasks
        makers = []
        for id in ids:
            entry = entries.get(id)
            if entry is None or entry.value is not None:
                continue
            makers.append(tasks[call_of(id)])
        return makers

    def _creation(self, actor: Actor) -> list[Part]:
        """What the calls of an actor wait for until it is there."""
        if actor.worker is None:
            return list(self._makers(actor.call.deps))
        wait = self._by_call.get(actor.id)
        return [] if wait is None else [wait]

    def _task(self, task: Task) -> list[Part]:
        own = self._by_call.get(task.id)
        if own is not None:
            return [own]
        if task.cancelled:
            return []
        needed: list[Part] = []
        if task.state == WAITING:
            needed += self._makers(task.call.deps)
        if task.actor is not None:
            actor = task.actor
            if not actor.created:
                needed.append(actor)
            needed.append(self._turn(actor, _group(task)))
            if task.state != SENT:
                # The first of its caller's line holds it up. (If that goes on it makes way for the next.)
                queue = actor.queues.get(task.line)
                if queue and queue[0] is not task and queue[0].state == WAITING:
                    needed.append(queue[0])
        return needed

    def _turn(self, actor: Actor, group: str) -> Turn:
        turn = self._turns.get((actor.id, group))
        if turn is None:
            waits = [wait for wait in self._waits if wait.worker is actor.worker and self._is_in(wait, group)]
            busy = [wait for wait in waits if wait.alone]
            if not busy and actor.worker is not None and len(waits) >= _limit(actor, group):
                busy = waits
            turn = self._turns[actor.id, group] = Turn(actor, busy)
        return turn

    def _is_in(self, wait: Wait, group: str) -> bool:
        task = self._graph.tasks.get(wait.call)
        return task is not None and _group(task) == group

    # -- circles ---------------------------------------------------------------------------------------------------

    def circles(self) -> list[list[Part]]:
        """Things that are stuck because of each other, each in the order in which one waits for the next."""
        found = []
        seen: set[Part] = set()
        for wait in self._waits:
            path: list[Part] = []
            one: Part | None = wait if wait in self else None
            while one is not None and one not in seen:
                seen.add(one)
                path.append(one)
                one = next((child for child in self._children[one] if child in self), None)
            if one in path:
                found.append(path[path.index(one) :])
        return found

    def describe(self, circle: list[Part]) -> str:
        """The circle in words, a line for each call that waits for something."""
        first = next(at for at, one in enumerate(circle) if isinstance(one, Wait))
        steps = circle[first:] + circle[:first]
        lines = [self._step(one, steps[(at + 1) % len(steps)]) for at, one in enumerate(steps)]
        told = [line for line, _ in groupby(lines) if line]
        return "None of these calls can ever go on, as they wait for each other:\n    " + "\n    ".join(told)

    def _step(self, one: Part, other: Part) -> str:
        if isinstance(one, Wait):
            assert isinstance(other, Task)
            me = self._name(one)
            return f"{me} waits for {'itself' if other.id == one.call else other.name} at {one.where}"
        if isinstance(one, Task):
            if isinstance(other, Turn):
                return f"{one.name} waits for its turn, as its actor is busy with {self._names(other.waits)}"
            if isinstance(other, Actor):
                return f"{one.name} waits until its actor is there"
            if isinstance(other, Task):
                if one.actor is not None and one.line == other.line and other.actor is one.actor:
                    return f"{one.name} waits for its turn behind {other.name}"
                return f"{one.name} waits for the result of {other.name}, which is an argument"
        elif isinstance(one, Actor) and isinstance(other, Task):
            return f"{one.template.name}.__init__ waits for the result of {other.name}, which is an argument"
        return ""

    def _names(self, waits: Sequence[Wait]) -> str:
        return " and ".join(dict.fromkeys(self._name(wait) for wait in waits))

    def _name(self, wait: Wait) -> str:
        task = self._graph.tasks.get(wait.call)
        if task is not None:
            return task.name
        assert wait.worker.actor is not None
        return f"{wait.worker.actor.template.name}.__init__"


def _group(task: Task) -> str:
    """The concurrency group of an actor's call."""
    extra = task.method.extra if task.method is not None else None
    name: str = extra.get("concurrency_group", "") if extra else ""
    return name


def _limit(actor: Actor, group: str) -> float:
    """How many calls a concurrency group of an actor runs at once."""
    if not actor.template.concurrent:
        return 1
    limits = (actor.template.extra or {}).get("limits", {})
    limit: float = limits.get(group, inf)
    return limit
