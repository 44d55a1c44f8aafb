"""Lineage: how to make a stored object again whose bytes were lost, by running the call that made it once more.

The rules:

1. What a call has returned or yielded into the store has an *origin*: the call's template and arguments. It is kept for
   as long as one of its objects lives, or another origin has one of them as an argument, and no longer than
   `MOST_ORIGINS` allows.
2. An object that is lost becomes pending again, its call is queued again (which is one of its `max_retries`, or of its
   actor's `max_task_retries`), and so are the calls of those of its arguments that are gone. An argument that was small
   is kept with the origin.
3. A generator that is run again fills in what was lost of its items, and nothing else. If it still runs it is run again
   when it has ended.
4. An actor that ended because nobody had a handle any more is made again for that, as one of its `max_restarts`. For a
   call of one that died the result is its death.
5. What cannot be made again becomes an error that says why: what was `put`, what has no retries left, or never had any.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from minray.core.numbering import results_of
from minray.core.objects import HANDLE, Object
from minray.core.streams import Stream
from minray.core.tasks import Actor, Call, Task
from minray.core.value import FIRST_ERROR, SPILLED, STORED, Value, bytes_of, fault

if TYPE_CHECKING:
    from minray.core.graph import TaskGraph
    from minray.core.template import MethodTemplate, TaskTemplate

#: So many calls can be run again. Beyond that the oldest are forgotten: a program that computes a value from the last
#: one for ever would remember all of its steps.
MOST_ORIGINS = 100_000

# Why an object cannot be made again, as `minray.wire.faults` words it.
PUT, ACTOR, DISABLED, EXHAUSTED, EVICTED = "put", "actor", "disabled", "exhausted", "evicted"
CANCELLED, ARGUMENT = "cancelled", "argument"


class Origin:
    """A call that is over, or a generator that may still run, some of whose results are in the store."""

    __slots__ = ("actor", "call", "cancelled", "id", "items", "kept", "live", "lost", "num_returns", "parent",
                 "retries", "sources", "template", "wanted")  # fmt: skip

    def __init__(self, task: Task, template: TaskTemplate | MethodTemplate) -> None:
        self.id = task.id
        self.template = template
        self.actor: Actor | None = task.actor
        self.call: Call = task.call
        self.parent = task.parent
        self.num_returns = task.num_returns
        self.retries = task.retries
        self.cancelled = False
        self.sources: list[tuple[Origin, int]] = []  # of its arguments in the store, with these
        self.kept: dict[int, Value] = {}  # its arguments that are not
        self.live: set[int] = set()  # its objects in the store
        self.wanted: dict[int, int] = {}  # of its objects, how many origins have each as an argument
        self.items: dict[int, int] = {}  # what was yielded: the place of each, by object
        self.lost: dict[int, int] = {}  # of these, what is to be yielded again: objects by place

    def __repr__(self) -> str:
        return f"<Origin of {sorted(self.live)} wanted={self.wanted} lost={self.lost}>"


class Lineage:
    """The origins of a run."""

    def __init__(self, graph: TaskGraph) -> None:
        self._graph = graph
        self.origins: dict[int, Origin] = {}  # by call
        self._of: dict[int, Origin | str] = graph.objects.origins  # by object in the store; or why it has none

    # -- what is remembered ----------------------------------------------------------------------------------------

    def made(self, task: Task, values: Sequence[Value]) -> None:
        """A call has returned `values`, not all of them small. Its arguments are still there."""
        is_pending = self._graph.objects.is_pending
        stored = [id for id, value in zip(task.returns, values) if value[0] == STORED and is_pending(id)]
        origin = self._note(task, stored)
        if origin is not None and self._is_useless(origin):
            self._forget([origin])

    def yielded(self, task: Task, place: int, id: int) -> None:
        """A generator's item is in the store."""
        origin = self._note(task, (id,))
        if origin is not None:
            origin.items[id] = place

    def _note(self, task: Task, stored: Collection[int]) -> Origin | None:
        """Remember where objects come from; None if they cannot be made again."""
        self.sweep()
        template = task.template or task.method
        assert template is not None
        if not template.max_retries:
            self._of.update(dict.fromkeys(stored, DISABLED if task.actor is None else ACTOR))
            return None
        origin = self.origins.get(task.id)
        if origin is None:
            if not stored:
                return None
            origin = self.origins[task.id] = Origin(task, template)
            self._hold_arguments(origin)
            if origin.actor is not None:
                origin.actor.origins += 1
        origin.retries = task.retries
        origin.live.update(stored)
        self._of.update(dict.fromkeys(stored, origin))
        while len(self.origins) > MOST_ORIGINS:
            oldest = next((one for one in self.origins.values() if not one.lost), None)
            if oldest is None:
                break
            self._forget([oldest], EVICTED)
        return origin

    def _hold_arguments(self, origin: Origin) -> None:
        objects = self._graph.objects
        for id in {*origin.call.deps, *origin.call.args[2]}:
            entry = objects.entries.get(id)
            if entry is None or entry.value is HANDLE:
                continue
            value = entry.value
            if value is None or value[0] in (STORED, SPILLED):  # None: it has just been lost
                source = self._of.get(id)
                if isinstance(source, Origin):
                    source.wanted[id] = source.wanted.get(id, 0) + 1
                    origin.sources.append((source, id))
            elif value[0] < FIRST_ERROR:
                origin.kept[id] = value
                for inner in value[2]:
                    objects.retain(inner)

    def sweep(self) -> None:
        """Forget how to make what nobody needs any more."""
        dropped = self._graph.objects.dropped
        while dropped:
            self._drop(dropped.pop())

    def _drop(self, id: int) -> None:
        origin = self._of.get(id)
        if isinstance(origin, Origin):
            origin.live.discard(id)
            self._let_go(origin, id)
            if self._is_useless(origin):
                self._forget([origin])
        else:
            self._of.pop(id, None)

    def _let_go(self, origin: Origin, id: int) -> None:
        """Forget one item, if nobody needs it: a generator may yield for ever."""
        place = origin.items.get(id)
        if place is not None and id not in origin.live and id not in origin.wanted and place not in origin.lost:
            del origin.items[id]
            del self._of[id]

    def _is_useless(self, origin: Origin) -> bool:
        return not (origin.live or origin.wanted or origin.lost or origin.id in self._graph.tasks)

    def _forget(self, unused: list[Origin], why: str = "") -> None:
        graph = self._graph
        while unused:
            origin = unused.pop()
            if self.origins.pop(origin.id, None) is None:
                continue
            for id in (*results_of(origin.id, origin.num_returns), *origin.items):
                if self._of.pop(id, None) is not None and id in origin.live:
                    self._of[id] = why
            for value in origin.kept.values():
                for inner in value[2]:
                    graph.objects.release(inner)
            for source, id in origin.sources:
                source.wanted[id] -= 1
                if not source.wanted[id]:
                    del source.wanted[id]
                    self._let_go(source, id)
                    if self._is_useless(source):
                        unused.append(source)
            if origin.actor is not None:
                graph.actors.less_wanted(origin.actor)

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
        entry.value = None
        entry.count += 1  # as long as it is being decided on
        self._make_again([id])
        for inner in (id, bytes_of(id, value[0]), *value[2]):
            self._graph.released(inner)
        self._graph._free_resources()

    def _make_again(self, ids: list[int]) -> None:
        """Have the calls run that make objects, which are pending, and all that these need; or say why they cannot."""
        graph = self._graph
        origins, needed, why, culprit = self._plan(ids)
        if why:
            for id in ids:
                self._end(id, fault("ObjectLost", id, why, culprit))
            return
        for id in needed:
            origin = self._of[id]
            assert isinstance(origin, Origin)
            origin.live.discard(id)
            if id in origin.items:
                origin.lost[origin.items[id]] = id
                if id not in graph.objects.entries:
                    graph.objects.entries[id] = Object(0)  # until it comes, if nobody needs it then
        tasks = [self._again(origin) for origin in origins]
        for task in tasks:
            graph.hold_arguments(task)
        for task in tasks:
            if not task.missing:
                graph.go_on(task)
            elif task.actor is not None:
                graph.actors.wait_again(task.actor, task)

    def _plan(self, ids: list[int]) -> tuple[list[Origin], list[int], str, int]:
        """The calls to be run again for some objects, and all objects that they are to make; or why that is not
        possible, and because of which object."""
        graph = self._graph
        entries = graph.objects.entries
        found: dict[int, Origin] = {}
        needed: list[int] = []
        todo = list(ids)
        while todo:
            one = todo.pop()
            origin = self._of.get(one)
            if not isinstance(origin, Origin):
                return [], [], origin or (PUT if one in ids else ARGUMENT), one
            needed.append(one)
            running = graph.tasks.get(origin.id)
            if running is not None and (running.stream is None or running.stream.made <= origin.items[one]):
                continue  # it will make this
            if origin.id in found:
                continue
            if origin.cancelled:
                return [], [], CANCELLED, one
            if not (origin if running is None else running).retries:
                return [], [], EXHAUSTED, one
            if running is not None:
                continue  # once it has ended
            found[origin.id] = origin
            call = origin.call
            gone = {*call.deps, *call.args[2]} - entries.keys() - origin.kept.keys()
            # An object that was only named inside an argument may never be asked for.
            todo += [dep for dep in gone if dep in self._of or dep in call.deps]
        return list(found.values()), needed, "", 0

    def _again(self, origin: Origin) -> Task:
        """The call of an origin, with its objects and what it has of its arguments."""
        graph = self._graph
        objects = graph.objects
        template, actor = origin.template, origin.actor
        task = Task(origin.id, origin.call, 0, template.name, origin.num_returns, origin.retries)
        task.retries -= task.retries > 0
        task.again = True
        task.parent = origin.parent
        if actor is None:
            task.template = template  # type: ignore[assignment]
        else:
            task.actor = actor
            task.method = template  # type: ignore[assignment]
            task.line = task.id
            graph.actors.wanted_again(actor)
        if template.stream is not None:
            task.stream = Stream.lost(task)
        graph.tasks[task.id] = task
        for id in task.returns:
            if id not in objects.entries:
                objects.entries[id] = Object(0)
            if objects.entries[id].value is None:
                origin.live.discard(id)
        for id, value in origin.kept.items():
            if id not in objects.entries:
                objects.add(id, value, 0)
        return task

    def _end(self, id: int, value: Value) -> None:
        """What an object comes to that was lost."""
        graph = self._graph
        graph._tell(graph.objects.resolve(id, value), value)
        if value[0] != STORED:
            self._drop(id)

    # -- generators that are run again ------------------------------------------------------------------------------

    def yielded_again(self, call: int, place: int, values: Sequence[Value]) -> None:
        """A generator has yielded items for the second time, from `place` on: those that were lost are wanted."""
        self.sweep()
        origin = self.origins.get(call)
        for at, value in enumerate(values, place):
            id = None if origin is None else origin.lost.pop(at, None)
            if id is None:
                self._graph.objects.discard([value])
                continue
            assert origin is not None
            if value[0] == STORED:
                origin.live.add(id)
            self._end(id, value)
        self._graph._settle()

    def generated(self, task: Task, value: Value) -> None:
        """A generator's call has ended, as `value`, having yielded all it ever will in this run."""
        origin = self.origins.get(task.id)
        if origin is None:
            return
        self.sweep()
        assert task.stream is not None
        made = task.stream.made
        origin.retries = task.retries
        origin.cancelled = task.cancelled
        for place in sorted(place for place in origin.lost if place >= made):
            other = fault("ReplayInconsistent", task.id, made, place + 1)
            self._end(origin.lost.pop(place), value if value[0] >= FIRST_ERROR else other)
        if origin.lost:
            ids = [*origin.lost.values()]
            origin.lost.clear()
            self._make_again(ids)
        if self._is_useless(origin):
            self._forget([origin])

    # -- invariants ------------------------------------------------------------------------------------------------

    def check(self) -> None:
        entries = self._graph.objects.entries
        dropped = set(self._graph.objects.dropped)
        wanted: dict[tuple[int, int], int] = {}
        actors: dict[Actor, int] = {}
        for origin in self.origins.values():
            for source, id in origin.sources:
                wanted[source.id, id] = wanted.get((source.id, id), 0) + 1
            if origin.actor is not None:
                actors[origin.actor] = actors.get(origin.actor, 0) + 1
        for id, origin in self.origins.items():
            assert id == origin.id
            assert not self._is_useless(origin), f"{origin} is of no use"
            assert {(id, one): number for one, number in origin.wanted.items()} == {
                key: number for key, number in wanted.items() if key[0] == id
            }, origin
            for one in origin.live - dropped:
                value = entries[one].value
                assert value is not None and value[0] in (STORED, SPILLED), one
                assert self._of[one] is origin
            for one, place in origin.items.items():
                assert one in origin.live or one in origin.wanted or place in origin.lost, one
            for place, one in origin.lost.items():
                assert origin.items[one] == place and entries[one].value is None and id in self._graph.tasks, one
        for actor, number in actors.items():
            assert actor.origins == number, actor
        for one, known in self._of.items():
            assert isinstance(known, Origin) or one in entries or one in dropped, f"{one} is gone"
