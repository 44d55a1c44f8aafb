"""Lineage: how to make a stored object again whose bytes were lost, by running the task that made it once more.

The rules:

1. What a task has returned into the store has an *origin*: the task's template and arguments. It is kept for as long as
   one of its objects lives, or another origin has one of them as an argument, and no longer than `MOST_ORIGINS` allows.
2. An object that is lost becomes pending again, its task is queued again (which is one of its `max_retries`), and so
   are the tasks of those of its arguments that are gone. An argument that was small is kept with the origin.
3. What cannot be made again becomes an error that says why: what was `put`, or made by an actor or as an item of a
   generator, and what has no retries left.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from minray.core.objects import HANDLE, Object
from minray.core.streams import FIRST_ITEM
from minray.core.tasks import Call, Task
from minray.core.value import FIRST_ERROR, SPILLED, STORED, Value, bytes_of, fault

if TYPE_CHECKING:
    from minray.core.graph import TaskGraph
    from minray.core.template import TaskTemplate

#: So many tasks can be run again. Beyond that the oldest are forgotten: a program that computes a value from the last
#: one for ever would remember all of its steps.
MOST_ORIGINS = 100_000

# Why an object cannot be made again, as `minray.wire.faults` words it.
PUT, ACTOR, DISABLED, EXHAUSTED, EVICTED, ARGUMENT = "put", "actor", "disabled", "exhausted", "evicted", "argument"


def _without_task(id: int) -> str:
    """What an object is that is nobody's result."""
    return ACTOR if FIRST_ITEM <= id < 2 * FIRST_ITEM else PUT


class Origin:
    """A task that is over, some of whose results are in the store."""

    __slots__ = ("call", "id", "kept", "live", "num_returns", "parent", "retries", "sources", "template", "users")

    def __init__(self, task: Task, template: TaskTemplate) -> None:
        self.id = task.id
        self.template = template
        self.call: Call = task.call
        self.parent = task.parent
        self.num_returns = task.num_returns
        self.retries = task.retries
        self.sources: list[Origin] = []  # of its arguments in the store
        self.kept: dict[int, Value] = {}  # its arguments that are not
        self.live: set[int] = set()  # its objects in the store
        self.users = 0  # origins that have it as a source

    def __repr__(self) -> str:
        return f"<Origin of {sorted(self.live)} users={self.users}>"


class Lineage:
    """The origins of a run."""

    def __init__(self, graph: TaskGraph) -> None:
        self._graph = graph
        self.origins: dict[int, Origin] = {}  # by task
        self._of: dict[int, Origin | str] = graph.objects.origins  # by object in the store; or why it has none

    # -- what is remembered ----------------------------------------------------------------------------------------

    def made(self, task: Task, values: Sequence[Value]) -> None:
        """A call has returned `values`, not all of them small. Its arguments are still there."""
        self.sweep()
        is_pending = self._graph.objects.is_pending
        stored = [id for id, value in zip(task.returns, values) if value[0] == STORED and is_pending(id)]
        template = task.template
        if template is None:
            self._of.update(dict.fromkeys(stored, ACTOR))
            return
        if not template.max_retries:
            self._of.update(dict.fromkeys(stored, DISABLED))
            return
        origin = self.origins.get(task.id)
        if origin is None:
            if not stored:
                return
            origin = self.origins[task.id] = Origin(task, template)
            self._hold_arguments(origin)
        origin.retries = task.retries
        origin.live.update(stored)
        if not origin.live and not origin.users:
            self._forget([origin])
            return
        self._of.update(dict.fromkeys(stored, origin))
        while len(self.origins) > MOST_ORIGINS:
            self._forget([next(iter(self.origins.values()))], EVICTED)

    def _hold_arguments(self, origin: Origin) -> None:
        objects = self._graph.objects
        for id in {*origin.call.deps, *origin.call.args[2]}:
            entry = objects.entries.get(id)
            value = entry.value if entry is not None else None
            if value is None or value is HANDLE or value[0] >= FIRST_ERROR:
                continue
            if value[0] not in (STORED, SPILLED):
                origin.kept[id] = value
                for inner in value[2]:
                    objects.retain(inner)
            else:
                source = self._of.get(id)
                if isinstance(source, Origin):
                    source.users += 1
                    origin.sources.append(source)

    def sweep(self) -> None:
        """Forget how to make what nobody needs any more."""
        dropped = self._graph.objects.dropped
        while dropped:
            self._drop(dropped.pop())

    def _drop(self, id: int) -> None:
        origin = self._of.get(id)
        if isinstance(origin, Origin):
            origin.live.discard(id)
            if not origin.live and not origin.users:
                self._forget([origin])
        else:
            self._of.pop(id, None)

    def _forget(self, unused: list[Origin], why: str = "") -> None:
        while unused:
            origin = unused.pop()
            if self.origins.pop(origin.id, None) is None:
                continue
            for id in range(origin.id, origin.id + origin.num_returns):
                if self._of.pop(id, None) is not None and id in origin.live:
                    self._of[id] = why
            for value in origin.kept.values():
                for inner in value[2]:
                    self._graph.objects.release(inner)
            for source in origin.sources:
                source.users -= 1
                if not source.users and not source.live:
                    unused.append(source)

    # -- what is made again ----------------------------------------------------------------------------------------

    def lost(self, id: int, location: Any) -> None:
        """Somebody found that the bytes of an object are gone which should be at `location`."""
        self.sweep()
        entry = self._graph.objects.entries.get(id)
        value = entry.value if entry is not None else None
        if entry is None or value is None or value[0] not in (STORED, SPILLED) or value[1] != location:
            return  # it is being made again already
        if value[0] == STORED:
            self._graph.out.append(("lost", value, None))
        origins, why, culprit = self._plan(id)
        if why:
            entry.value = fault("ObjectLost", id, why, culprit)
            self._drop(id)
        else:
            entry.value = None
            origin = self._of[id]
            assert isinstance(origin, Origin)
            origin.live.discard(id)
            tasks = [self._again(origin) for origin in origins]
            for task in tasks:
                self._graph.hold_arguments(task)
            for task in tasks:
                if not task.missing:
                    self._graph._ready(task)
        for inner in (bytes_of(id, value[0]), *value[2]):
            self._graph.released(inner)
        self._graph._free_resources()

    def _plan(self, id: int) -> tuple[list[Origin], str, int]:
        """The tasks to be run again for an object; or why that is not possible, and because of which object."""
        graph = self._graph
        entries = graph.objects.entries
        found: dict[int, Origin] = {}
        todo = [id]
        while todo:
            one = todo.pop()
            origin = self._of.get(one)
            if not isinstance(origin, Origin):
                return [], origin or (_without_task(id) if one == id else ARGUMENT), one
            if origin.id in found or origin.id in graph.tasks:
                continue
            if not origin.retries:
                return [], EXHAUSTED, one
            found[origin.id] = origin
            call = origin.call
            gone = {*call.deps, *call.args[2]} - entries.keys() - origin.kept.keys()
            # An object that was only named inside an argument may never be asked for.
            todo += [dep for dep in gone if dep in self._of or dep in call.deps]
        return list(found.values()), "", 0

    def _again(self, origin: Origin) -> Task:
        """The task of an origin, with its objects and what it has of its arguments."""
        graph = self._graph
        objects = graph.objects
        task = Task(origin.id, origin.call, 0, origin.template.name, origin.num_returns, origin.retries)
        task.retries -= task.retries > 0
        task.template = origin.template
        task.parent = origin.parent
        task.again = True
        graph.tasks[task.id] = task
        for id in task.returns:
            if id not in objects.entries:
                objects.entries[id] = Object(0)  # until it comes, if nobody needs it then
            if objects.entries[id].value is None:
                origin.live.discard(id)
        for id, value in origin.kept.items():
            if id not in objects.entries:
                objects.add(id, value, 0)
        return task

    # -- invariants ------------------------------------------------------------------------------------------------

    def check(self) -> None:
        entries = self._graph.objects.entries
        for id, origin in self.origins.items():
            assert id == origin.id
            assert origin.live or origin.users or id in self._graph.tasks, f"{origin} is of no use"
            users = sum(other.sources.count(origin) for other in self.origins.values())
            assert origin.users == users, origin
            for one in origin.live.difference(self._graph.objects.dropped):
                value = entries[one].value
                assert value is not None and value[0] in (STORED, SPILLED), one
                assert self._of[one] is origin
        for one, known in self._of.items():
            assert isinstance(known, Origin) or one in entries or one in self._graph.objects.dropped, f"{one} is gone"
