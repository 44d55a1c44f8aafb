"""A whole run in one thread, step by step: a `TaskGraph` and simulated workers, driven as `minray.owner` does it.

      Simulation ──(event)──> TaskGraph ──decisions──> carry_out() ──inbox──> SimWorker: read(), begin(), finish() ...
          ^                                                                      │
          └───────────────────────── receive() <────────────outbox───────────────┘

Nothing in the channels moves by itself: the test says who goes on when. Every event ends with `check()`.
"""

from __future__ import annotations

from collections.abc import Sequence

from minray.core.cancelling import cancel
from minray.core.deadlocks import LOOK_SECONDS
from minray.core.objects import Watch
from minray.core.placement import Group
from minray.core.tasks import Call
from minray.core.template import ActorTemplate, Demand, MethodTemplate, TaskTemplate
from minray.core.value import PICKLED, SPILLED, STORED, Value, bytes_of, is_bytes
from tests.core.owner import Owner
from tests.core.sim_worker import SimWorker
from tests.core.templates import METHOD, amounts, counted, locations, value


class Simulation(Owner):
    """What the driver does, and a run that goes well."""

    def __init__(self, warm: int = 0, **resources: float) -> None:
        super().__init__()
        self._next_id = 1
        self.join(0, warm, **(resources or {"CPU": 2}))

    # -- what the driver does --------------------------------------------------------------------------------------

    def join(self, node: int, warm: int = 0, **resources: float) -> None:
        self.graph.node_joined(node, dict(amounts(**resources)), warm)
        self.after()

    def _new(self, template: TaskTemplate | MethodTemplate | None = None) -> int:
        id = self._next_id
        self._next_id += 2
        self.refs.update((id,) if template is None else counted(id, template))
        return id

    def submit(self, template: TaskTemplate, *deps: int, refs: Sequence[int] = ()) -> int:
        id = self._new(template)
        self.note_called(id, template)
        self.submitted.add(id)
        self.graph.submitted(id, template, Call((PICKLED, b"", tuple(refs)), (), deps))
        self.after()
        return id

    def put(self, one: Value) -> int:
        id = self._new()
        self._stored(id, one, None)
        self.after()
        return id

    def movable(self) -> list[int]:
        """Objects whose values are in the store."""
        entries = self.objects.entries.items()
        return sorted(id for id, entry in entries if not is_bytes(id) and entry.value and entry.value[0] == STORED)

    def move(self, id: int) -> None:
        """The driver moves a value to disk, under its readers."""
        self.objects.retain(bytes_of(id, STORED))
        self.moved.append(next(locations))
        self.graph.moved(None, id, self.moved[-1])
        self.after()

    def create(self, template: ActorTemplate, *deps: int, refs: Sequence[int] = (), name: str | None = None) -> int:
        """ValueError: the name is taken."""
        id = self._next_id
        call = Call((PICKLED, b"", tuple(refs)), (), deps)
        self.graph.actors.created(id, template, call, None, None if name is None else ("", name))
        self._new()
        self.note_created(id, template)
        self.after()
        return id

    def call(self, actor: int, *deps: int, refs: Sequence[int] = (), template: MethodTemplate = METHOD) -> int:
        if self.limited(actor):
            assert self.graph.actors.reserved(actor, 0)
        id = self._new(template)
        self.note_called(id, template)
        self.submitted.add(id)
        self.graph.actors.called(id, actor, template, Call((PICKLED, b"", tuple(refs)), (), deps), None)
        self.after()
        return id

    def limited(self, actor: int) -> bool:
        """Whether each caller may have only so many unfinished calls at this actor."""
        return actor in self.actors and self.actors[actor].template.max_pending_calls > 0

    def cancel(self, id: int, force: bool = False, recursive: bool = True) -> None:
        """ValueError: by force, an actor's call."""
        cancel(self.graph, id, force, recursive)
        self.after()

    def retain(self, id: int) -> None:
        self.refs[id] += 1
        self.objects.retain(id)
        self.after()

    def lose(self, id: int) -> None:
        """The bytes of a stored object are gone, as somebody finds."""
        value = self.value(id)
        assert value is not None and value[0] in (STORED, SPILLED)
        self.graph.lineage.lost(id, value[1])
        assert self.value(id) is None or self.fault(id) == "ObjectLost" or self.value(id) is not value
        self.after()

    def release(self, *ids: int) -> None:
        for id in ids:
            self.refs[id] -= 1
            if not self.refs[id]:
                del self.refs[id]
            self.graph.released(id)
            self.after()

    def watch(self, ids: Sequence[int], number: int, eager: bool = False) -> Watch:
        watch = self.graph.watched(ids, number, None, eager)
        if not watch.done:
            self.watches[watch] = tuple(ids)
        self.after()
        return watch

    def unwatch(self, watch: Watch) -> None:
        self.graph.unwatched(self.watches.pop(watch), watch)
        self.after()

    def take(self, stream: int) -> list[int] | None:
        """The driver takes the next items of a stream."""
        ids = self._take(stream, None)
        self.refs.update(ids or ())
        self.after()
        return ids

    def kill(self, actor: int, no_restart: bool = True) -> None:
        self.graph.actors.killed(actor, no_restart)
        self.after()

    def reserve(self, *bundles: Demand, strategy: str = "PACK", name: str = "") -> str:
        """Ask for a placement group. ValueError: the name is taken."""
        id = f"{len(self.graph.placement.groups) + 1:036x}"
        self.graph.placement.created(Group(id, bundles, strategy, ("", name)))
        self.after()
        return id

    def remove(self, group: str) -> None:
        self.graph.placement.removed(group)
        self.after()

    def state(self, group: str) -> str:
        return self.graph.placement.groups[group].state

    def tick(self, seconds: float) -> None:
        self.graph.ticked(self.scheduler.now + seconds)
        self.after()

    # -- a run that goes well --------------------------------------------------------------------------------------

    def step(self, worker: SimWorker) -> bool:
        """Let a worker go on by one step, and hear what it says; False if there was nothing to do."""
        busy = False
        if worker.alive:
            busy = bool(worker.inbox) or not worker.up
            worker.read()
        if worker.ready:
            worker.begin()
            busy = True
        elif worker.alive and worker.running and worker.turn_to_one_that_goes_on():
            if not (worker.requests.keys() - worker.patient.keys()) and not worker.waits_for_readers:
                worker.finish(*([value(stored=True), value(stored=True)] if self.stores else []))
        return self.receive(worker) or busy

    def run_one(self) -> None:
        """Go on until one more call has ended."""
        before = len(self.ended)
        while len(self.ended) == before:
            self.step(next(worker for worker in self.living() if worker.inbox or worker.todo or worker.running))

    def run(self) -> None:
        """Let all calls that can be run begin, and return None, until nobody has anything to do."""
        going = True
        while going:
            going = False
            for worker in list(self.workers.values()):
                going |= self.step(worker)
            if not going:
                going = self._end_deadlocks()
            if not going:
                for worker in self.living():
                    going |= worker.give_up_waiting()
                going = going or self._read_streams()

    def _end_deadlocks(self) -> bool:
        """Let time pass until somebody has looked for deadlocks; False if that has led to nothing."""
        if self.deaf or not self.graph.deadlocks.waits:
            return False
        self.tick(2 * LOOK_SECONDS)
        return any(worker.inbox for worker in self.living())

    def _read_streams(self) -> bool:
        """Whoever has streams that may hold up their producers reads on; False if nobody found anything."""
        before = sum(self.taken.values())
        for stream in sorted(self.stream_ids & self.refs.keys()):
            self.take(stream)
        for worker in self.living():
            for stream in sorted(self.stream_ids.intersection(worker.refs)):
                worker.next(stream)
            self.receive(worker)
        return sum(self.taken.values()) > before
