"""Any history whatever: Hypothesis submits, calls, kills, crashes; after every step the books have to balance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from minray.core.template import ActorTemplate, TaskTemplate
from minray.core.value import SPILLED, STORED, Value, is_bytes
from tests.core.sim_worker import SimWorker
from tests.core.simulation import Simulation
from tests.core.templates import actor_class, amounts, function, generator, method, on_terms, value, within

T = TypeVar("T")

#: What tasks and actors ask for. Whether two CPUs or an R are there is for each run to say; a GPU never is.
DEMANDS = ({"CPU": 1.0}, {"CPU": 0.5}, {"none": 0.0}, {"CPU": 2.0}, {"R": 1.0}, {"CPU": 1.0, "R": 0.3}, {"GPU": 1.0})

STRATEGIES = ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")

index = st.integers(0, 15)
few = st.lists(index, max_size=2)
demands = st.sampled_from(DEMANDS)
retries = st.sampled_from([0, 0, 1, 2, -1])
number = st.sampled_from([1, 1, 1, 2, 0])
pace = st.sampled_from([0.0, 0.0001, 0.001, 0.1])
names = st.sampled_from([None, None, "a", "b"])
#: What a call returns: for each object the references in it, and whether it is written to the store.
limits = st.sampled_from([0, 0, 1, 2, 3])
results = st.lists(st.tuples(few, st.booleans()), max_size=2)


def pick(among: Sequence[T], index: int) -> T:
    return among[index % len(among)]


class History(RuleBasedStateMachine):
    """One run. A rule is something that the driver, the code in a worker, a channel or fate may do at any time."""

    sim: Simulation

    def __init__(self) -> None:
        super().__init__()
        self.functions: dict[object, TaskTemplate] = {}
        self.groups: list[str] = []  # placement groups, living and removed

    @initialize(cpus=st.integers(1, 3), warm=st.integers(0, 2), r=st.integers(0, 1), prompt=st.booleans())
    def begin(self, cpus: int, warm: int, r: int, prompt: bool) -> None:
        self.sim = Simulation(warm, CPU=cpus, R=r)
        self.prompt = prompt

    @invariant()
    def everybody_is_prompt(self) -> None:
        """In half of the histories messages are read and calls begun at once, so that more happens in as many steps."""
        if self.prompt:
            for worker in list(self.sim.workers.values()):
                self.sim.receive(worker)
                if worker.alive:
                    worker.read()
                if worker.ready:
                    worker.begin()
                self.sim.receive(worker)

    # -- whom a rule is about --------------------------------------------------------------------------------------

    def held(self, holder: SimWorker | None) -> list[int]:
        """What the driver or a worker can name."""
        return sorted(self.sim.refs) if holder is None else [id for id in holder.refs if not is_bytes(id)]

    def refs(self, indices: Sequence[int], holder: SimWorker | None = None) -> list[int]:
        held = [id for id in self.held(holder) if id not in self.sim.stream_ids]
        return [pick(held, i) for i in indices] if held else []

    def objects(self, indices: Sequence[int], holder: SimWorker | None = None) -> list[int]:
        held = [id for id in self.held(holder) if id not in self.sim.actor_ids | self.sim.stream_ids]
        return [pick(held, i) for i in indices] if held else []

    def handles(self, holder: SimWorker | None = None) -> list[int]:
        return [id for id in self.held(holder) if id in self.sim.actor_ids]

    def streams(self, holder: SimWorker | None = None) -> list[int]:
        return [id for id in self.held(holder) if id in self.sim.stream_ids]

    def running(self) -> list[SimWorker]:
        return [worker for worker in self.sim.living() if worker.running]

    def calling(self) -> list[SimWorker]:
        """Workers whose code can go on."""
        able = [worker for worker in self.running() if not worker.requests and not worker.waits_for_readers]
        return [worker for worker in able if not worker.waits]

    def yielding(self) -> list[SimWorker]:
        return [worker for worker in self.calling() if worker.call in self.sim.streams]

    # -- the driver ------------------------------------------------------------------------------------------------

    def function(self, returns: int, retries: int, demand: dict[str, float]) -> TaskTemplate:
        """One template for all calls under the same options, as it learns how long they take."""
        return self.functions.setdefault((returns, retries, str(demand)), function(returns, retries, **demand))

    @rule(deps=few, refs=few, returns=number, retries=retries, demand=demands)
    def submit(self, deps: list[int], refs: list[int], returns: int, retries: int, demand: dict[str, float]) -> None:
        self.sim.submit(self.function(returns, retries, demand), *self.objects(deps), refs=self.refs(refs))

    @rule(refs=few, retries=retries, limit=limits, demand=demands)
    def submit_a_generator(self, refs: list[int], retries: int, limit: int, demand: dict[str, float]) -> None:
        self.sim.submit(generator(limit, retries, **demand), refs=self.refs(refs))

    @precondition(lambda self: self.streams())
    @rule(which=index)
    def take(self, which: int) -> None:
        self.sim.take(pick(self.streams(), which))

    @rule(times=st.integers(2, 6), refs=few, retries=retries)
    def submit_many(self, times: int, refs: list[int], retries: int) -> None:
        for _ in range(times):
            self.sim.submit(self.function(1, retries, {"CPU": 1.0}), refs=self.refs(refs))

    @rule(refs=few, stored=st.booleans())
    def put(self, refs: list[int], stored: bool) -> None:
        self.sim.put(value(*self.refs(refs), stored=stored))

    @rule(
        deps=few,
        refs=few,
        restarts=retries,
        detached=st.booleans(),
        unread=st.sampled_from([None, None, 2]),
        concurrent=st.booleans(),
        pending=st.sampled_from([-1, 2]),
        demand=demands,
        name=names,
    )
    def create(
        self,
        deps: list[int],
        refs: list[int],
        restarts: int,
        detached: bool,
        concurrent: bool,
        pending: int,
        unread: int | None,
        demand: dict[str, float],
        name: str | None,
    ) -> None:
        template = actor_class(restarts, detached, concurrent, pending, **demand)
        template.max_unread = unread
        taken = name is not None and self.sim.graph.actors.find(("", name)) is not None
        try:
            self.sim.create(template, *self.objects(deps), refs=self.refs(refs), name=name)
        except ValueError:
            assert taken
        else:
            assert not taken

    @rule(bundles=st.lists(demands, min_size=1, max_size=3), strategy=st.sampled_from(STRATEGIES))
    def reserve(self, bundles: list[dict[str, float]], strategy: str) -> None:
        asked = [amounts(**bundle) or amounts(CPU=0.1) for bundle in bundles]
        self.groups.append(self.sim.reserve(*asked, strategy=strategy))

    @precondition(lambda self: self.groups)
    @rule(group=index)
    def remove(self, group: int) -> None:
        self.sim.remove(pick(self.groups, group))

    def place(self, group: int, index: int) -> tuple[str, int, dict[str, float]]:
        """A bundle, or (-1) any, and a demand that fits into it."""
        id = pick(self.groups, group)
        bundles = self.sim.graph.placement.groups[id].bundles
        demand = {name: amount / 10_000 for name, amount in pick(bundles, index)}
        return id, index % len(bundles) if index % 2 else -1, demand

    @precondition(lambda self: self.groups)
    @rule(group=index, where=index, nothing=st.booleans(), deps=few, refs=few, retries=retries)
    def submit_in_a_group(
        self, group: int, where: int, nothing: bool, deps: list[int], refs: list[int], retries: int
    ) -> None:
        id, bundle, demand = self.place(group, where)
        template = within(function(1, retries, **({"none": 0} if nothing else demand)), id, bundle)
        self.sim.submit(template, *self.objects(deps), refs=self.refs(refs))

    @rule(env=st.sampled_from(["", "a", "b"]), max_calls=st.integers(0, 2), refs=few, retries=retries, demand=demands)
    def submit_on_terms(
        self, env: str, max_calls: int, refs: list[int], retries: int, demand: dict[str, float]
    ) -> None:
        template = on_terms(function(1, retries, **demand), env=env, max_calls=max_calls)
        self.sim.submit(template, refs=self.refs(refs))

    @precondition(lambda self: self.groups)
    @rule(group=index, where=index, nothing=st.booleans(), deps=few, restarts=retries)
    def create_in_a_group(self, group: int, where: int, nothing: bool, deps: list[int], restarts: int) -> None:
        id, bundle, demand = self.place(group, where)
        template: ActorTemplate = within(
            actor_class(restarts, False, False, -1, **({} if nothing else demand)), id, bundle
        )
        self.sim.create(template, *self.objects(deps))

    @precondition(lambda self: self.handles())
    @rule(actor=index, deps=few, refs=few, returns=number, retries=retries)
    def call(self, actor: int, deps: list[int], refs: list[int], returns: int, retries: int) -> None:
        template = method(returns, retries)
        to = pick(self.handles(), actor)
        known = self.sim.actors.get(to)
        if known is None or not self.sim.limited(to) or known.pending.get(0, 0) < known.template.max_pending_calls:
            self.sim.call(to, *self.objects(deps), refs=self.refs(refs), template=template)
        elif known.death is None:
            assert not self.sim.graph.actors.reserved(to, 0)

    @precondition(lambda self: self.sim.refs)
    @rule(which=index, force=st.booleans(), recursive=st.booleans())
    def cancel(self, which: int, force: bool, recursive: bool) -> None:
        for id in self.refs([which]):
            try:
                self.sim.cancel(id, force, recursive)
            except ValueError:
                assert force

    @precondition(lambda self: self.handles())
    @rule(actor=index, retries=retries, limit=limits)
    def call_a_generator(self, actor: int, retries: int, limit: int) -> None:
        to = pick(self.handles(), actor)
        if not self.sim.limited(to):
            self.sim.call(to, template=method(1, retries, limit))

    def stored(self) -> list[int]:
        entries = self.sim.objects.entries
        there = [(id, entry.value) for id, entry in entries.items() if entry.value is not None and not is_bytes(id)]
        return [id for id, value in there if value[0] in (STORED, SPILLED)]

    @precondition(lambda self: self.stored())
    @rule(which=index)
    def lose(self, which: int) -> None:
        self.sim.lose(pick(self.stored(), which))

    @precondition(lambda self: self.sim.refs)
    @rule(which=index)
    def release(self, which: int) -> None:
        self.sim.release(pick(self.held(None), which))

    @precondition(lambda self: self.sim.graph.actors.names)
    @rule(name=index)
    def find(self, name: int) -> None:
        key = pick(sorted(self.sim.graph.actors.names), name)
        actor = self.sim.graph.actors.find(key)
        assert actor is not None and actor.death is None
        if actor.in_scope:
            self.sim.retain(actor.id)

    @precondition(lambda self: self.handles())
    @rule(actor=index, no_restart=st.booleans())
    def kill(self, actor: int, no_restart: bool) -> None:
        self.sim.kill(pick(self.handles(), actor), no_restart)

    @rule(which=few, less=st.integers(0, 1), eager=st.booleans())
    def watch(self, which: list[int], less: int, eager: bool) -> None:
        ids = self.objects(which)
        self.sim.watch(ids, max(0, len(ids) - less), eager)

    @precondition(lambda self: self.sim.watches)
    @rule(which=index)
    def unwatch(self, which: int) -> None:
        self.sim.unwatch(pick(list(self.sim.watches), which))

    # -- a worker --------------------------------------------------------------------------------------------------

    @precondition(lambda self: self.sim.living())
    @rule(worker=index)
    def read(self, worker: int) -> None:
        pick(self.sim.living(), worker).read()

    @precondition(lambda self: any(worker.ready for worker in self.sim.living()))
    @rule(worker=index)
    def begin_call(self, worker: int) -> None:
        pick([worker for worker in self.sim.living() if worker.ready], worker).begin()

    def returned(self, worker: SimWorker, results: list[tuple[list[int], bool]]) -> list[Value]:
        return [value(*self.refs(refs, worker), stored=stored) for refs, stored in results]

    @precondition(lambda self: self.calling())
    @rule(worker=index, results=results, seconds=pace)
    def finish(self, worker: int, results: list[tuple[list[int], bool]], seconds: float) -> None:
        running = pick(self.calling(), worker)
        running.finish(*self.returned(running, results), seconds=seconds)

    @precondition(lambda self: self.yielding())
    @rule(worker=index, results=results)
    def yield_items(self, worker: int, results: list[tuple[list[int], bool]]) -> None:
        running = pick(self.yielding(), worker)
        running.yields(*self.returned(running, results))

    @precondition(lambda self: any(worker.waits_for_readers for worker in self.running()))
    @rule(worker=index, retry=st.booleans())
    def interrupt_a_generator_that_waits_for_its_readers(self, worker: int, retry: bool) -> None:
        at = pick([worker for worker in self.running() if worker.waits_for_readers], worker)
        if not at.waits:
            at.fail(retry)

    @precondition(lambda self: any(self.streams(worker) for worker in self.calling()))
    @rule(worker=index, which=index, patient=st.booleans())
    def take_in_a_call(self, worker: int, which: int, patient: bool) -> None:
        at = pick([worker for worker in self.calling() if self.streams(worker)], worker)
        at.next(pick(self.streams(at), which), patient)

    @precondition(lambda self: self.calling())
    @rule(worker=index, retries=retries, limit=limits)
    def submit_a_generator_in_a_call(self, worker: int, retries: int, limit: int) -> None:
        pick(self.calling(), worker).submit(generator(limit, retries))

    @precondition(lambda self: any(worker.requests for worker in self.running()))
    @rule(worker=index)
    def finish_while_a_thread_of_the_call_still_waits(self, worker: int) -> None:
        waiting = [worker for worker in self.running() if worker.requests and not worker.waits_for_readers]
        waiting = [worker for worker in waiting if not worker.waits]
        if waiting:
            pick(waiting, worker).finish()

    @precondition(lambda self: self.calling())
    @rule(worker=index, retry=st.booleans(), seconds=pace)
    def fail(self, worker: int, retry: bool, seconds: float) -> None:
        pick(self.calling(), worker).fail(retry, seconds)

    @precondition(lambda self: any(worker.is_actor and not worker.aside for worker in self.calling()))
    @rule(worker=index)
    def exit(self, worker: int) -> None:
        pick([worker for worker in self.calling() if worker.is_actor and not worker.aside], worker).exit()

    @precondition(lambda self: any(worker.aside for worker in self.running()))
    @rule(worker=index, call=index)
    def another_call_of_an_actor_goes_on(self, worker: int, call: int) -> None:
        pick([worker for worker in self.running() if worker.aside], worker).turn(call)

    @precondition(lambda self: self.sim.living())
    @rule(worker=index)
    def crash(self, worker: int) -> None:
        pick(self.sim.living(), worker).die()

    @precondition(lambda self: self.calling())
    @rule(worker=index, deps=few, refs=few, returns=number, retries=retries, demand=demands)
    def submit_in_a_call(
        self, worker: int, deps: list[int], refs: list[int], returns: int, retries: int, demand: dict[str, float]
    ) -> None:
        at = pick(self.calling(), worker)
        at.submit(self.function(returns, retries, demand), *self.objects(deps, at), refs=self.refs(refs, at))

    @precondition(lambda self: self.calling())
    @rule(worker=index, actor=index, deps=few, refs=few, retries=retries)
    def call_in_a_call(self, worker: int, actor: int, deps: list[int], refs: list[int], retries: int) -> None:
        at = pick(self.calling(), worker)
        handles = self.handles(at)
        if handles:
            to = pick(handles, actor)
            at.call_actor(to, method(retries=retries), *self.objects(deps, at), refs=self.refs(refs, at))

    @precondition(lambda self: self.calling())
    @rule(worker=index, deps=few, refs=few, restarts=retries, several=st.booleans(), demand=demands, name=names)
    def create_in_a_call(
        self,
        worker: int,
        deps: list[int],
        refs: list[int],
        restarts: int,
        several: bool,
        demand: dict[str, float],
        name: str | None,
    ) -> None:
        at = pick(self.calling(), worker)
        at.create(
            actor_class(restarts, False, several, -1, **demand),
            *self.objects(deps, at),
            refs=self.refs(refs, at),
            name=name,
        )

    @precondition(lambda self: self.calling())
    @rule(worker=index, refs=few, stored=st.booleans())
    def put_in_a_call(self, worker: int, refs: list[int], stored: bool) -> None:
        at = pick(self.calling(), worker)
        at.put(value(*self.refs(refs, at), stored=stored))

    @precondition(lambda self: self.running())
    @rule(worker=index, ids=few, patient=st.booleans())
    def get(self, worker: int, ids: list[int], patient: bool) -> None:
        at = pick(self.running(), worker)
        at.get(*self.objects(ids, at), patient=patient)

    @precondition(lambda self: self.running())
    @rule(worker=index, ids=few, block=st.booleans(), patient=st.booleans())
    def wait(self, worker: int, ids: list[int], block: bool, patient: bool) -> None:
        at = pick(self.running(), worker)
        objects = self.objects(ids, at)
        at.wait(objects, min(1, len(objects)), block, patient)

    @precondition(lambda self: self.running())
    @rule(worker=index, ids=few, patient=st.booleans())
    def get_what_came_by_hand(self, worker: int, ids: list[int], patient: bool) -> None:
        """The driver has given a call refs since it began: so it may wait for what waits for it."""
        objects = self.objects(ids)
        for id in objects:
            self.sim.retain(id)
        pick(self.running(), worker).get(*objects, patient=patient)

    @precondition(lambda self: any(worker.requests for worker in self.sim.living()))
    @rule(worker=index)
    def time_out(self, worker: int) -> None:
        pick([worker for worker in self.sim.living() if worker.requests], worker).give_up_waiting()

    @precondition(lambda self: self.sim.movable())
    @rule(which=index)
    def move_a_value_to_disk(self, which: int) -> None:
        self.sim.move(pick(self.sim.movable(), which))

    @precondition(lambda self: any(worker.refs for worker in self.sim.living()))
    @rule(worker=index, number=st.integers(1, 3))
    def drop(self, worker: int, number: int) -> None:
        pick([worker for worker in self.sim.living() if worker.refs], worker).drop(number)

    # -- the channels, and time ------------------------------------------------------------------------------------

    @precondition(lambda self: any(worker.outbox for worker in self.sim.workers.values()))
    @rule(worker=index, number=st.integers(1, 4), carry_out=st.booleans())
    def receive(self, worker: int, number: int, carry_out: bool) -> None:
        speaking = [worker for worker in self.sim.workers.values() if worker.outbox]
        self.sim.receive(pick(speaking, worker), number, carry_out)

    @rule(seconds=st.sampled_from([0.0, 0.001, 0.01, 3.0]))
    def tick(self, seconds: float) -> None:
        self.sim.tick(seconds)

    @rule(steps=st.lists(index, max_size=12))
    def go_on(self, steps: list[int]) -> None:
        """So that histories get somewhere: some workers do what a worker does."""
        for step in steps:
            if self.sim.workers:
                self.sim.step(pick(list(self.sim.workers.values()), step))

    @precondition(lambda self: len(self.sim.scheduler.nodes) == 1)
    @rule(cpus=st.integers(0, 2), r=st.integers(0, 1), warm=st.integers(0, 1))
    def a_node_joins(self, cpus: int, r: int, warm: int) -> None:
        self.sim.join(1, warm, CPU=cpus, R=r)

    # -- the end ---------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        sim = self.sim
        sim.after()
        sim.run()
        sim.join(2, CPU=1000, GPU=1000, R=1000)  # now nothing is infeasible
        sim.run()
        for group in self.groups:
            sim.remove(group)  # an actor may keep a bundle that others wait for
        sim.run()
        assert sim.ended.keys() == sim.submitted, "every call ends"
        assert not sim.graph.tasks and not sim.watches and not sim.requests
        assert not any(entry.value is None for entry in sim.objects.entries.values()), "every object comes"
        self.let_go()
        assert not sim.refs and not any(worker.loans or worker.sent for worker in sim.scheduler.workers.values())
        # By now only objects can hold objects. The books balance, so what is left holds itself, in a circle.
        left = [entry.value for id, entry in sim.objects.entries.items() if is_bytes(id) and entry.value]
        assert sorted(one[1] for one in sim.freed + left) == sorted([*(one[1] for one in sim.stored), *sim.moved])
        for actor in sim.actors.values():
            assert actor.death is None and actor.id in sim.objects.entries, f"{actor} has outlived its handles"
        if not sim.actors:
            for node in sim.scheduler.nodes.values():
                assert node.free == node.total

    def let_go(self) -> None:
        """Everybody drops every reference, and detached actors are killed."""
        sim = self.sim
        sim.release(*sim.refs.elements())
        while True:
            for actor in list(sim.actors.values()):
                if actor.template.lifetime == "detached":
                    sim.kill(actor.id)
            for worker in sim.living():
                worker.drop(len(worker.refs))
            sim.run()
            if not any(worker.refs for worker in sim.living()):
                return


@pytest.mark.slow
@pytest.mark.timeout(300)  # on a machine that does much else
def test_every_call_ends_once_and_nothing_is_lost_or_left_whatever_happens() -> None:
    run_state_machine_as_test(History)
