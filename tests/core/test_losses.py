"""Large results get lost while workers die, streams are read and references are dropped: whatever was lost comes back,
or says why it does not."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from minray.core import lineage
from minray.core.value import SPILLED, STORED
from tests.core.sim_worker import SimWorker
from tests.core.templates import actor_class, generator, method, value
from tests.core.test_histories import History, few, index, pick

some_retries = st.sampled_from([1, 2, -1])


class Losses(History):
    """Tasks, methods and generators that make large values, which get lost meanwhile."""

    # What other histories are about.
    submit = submit_many = submit_a_generator = submit_on_terms = submit_in_a_group = None  # type: ignore[assignment]
    create = create_in_a_group = create_in_a_call = reserve = a_node_joins = None  # type: ignore[assignment]
    wait = watch = unwatch = receive = read = begin_call = time_out = None  # type: ignore[assignment]
    call = call_a_generator = yield_items = None  # type: ignore[assignment]
    move_a_value_to_disk = turn = tick = find = go_on = None  # type: ignore[assignment]
    submit_in_a_call = submit_a_generator_in_a_call = put_in_a_call = None  # type: ignore[assignment]

    @rule(deps=few, refs=few, returns=st.sampled_from([1, 1, 2]), retries=some_retries)
    def make(self, deps: list[int], refs: list[int], returns: int, retries: int) -> None:
        self.sim.stores = True
        self.sim.submit(self.function(returns, retries, {"CPU": 1.0}), *self.objects(deps), refs=self.refs(refs))

    @rule(deps=few, retries=some_retries, limit=st.sampled_from([0, 0, 2]), number=st.integers(1, 3), end=st.booleans())
    def generate(self, deps: list[int], retries: int, limit: int, number: int, end: bool) -> None:
        call = self.sim.submit(generator(limit, retries), *self.objects(deps))
        for _ in range(3):
            at = [worker for worker in self.yielding() if worker.call == call]
            if at:
                self.yield_large(at[0], number, end)
                break
            for worker in self.sim.living():
                worker.read()
                if worker.ready:
                    worker.begin()
                self.sim.receive(worker)

    @rule(deps=few, restarts=some_retries, concurrent=st.booleans(), unread=st.sampled_from([None, None, 2]))
    def make_an_actor(self, deps: list[int], restarts: int, concurrent: bool, unread: int | None) -> None:
        template = actor_class(restarts, concurrent=concurrent)
        template.max_unread = unread
        self.sim.create(template, *self.objects(deps))

    @precondition(lambda self: self.handles())
    @rule(actor=index, deps=few, refs=few, retries=some_retries, stream=st.sampled_from([None, None, 0, 2]))
    def call_an_actor(self, actor: int, deps: list[int], refs: list[int], retries: int, stream: int | None) -> None:
        self.sim.stores = True
        template = method(retries=retries, stream=stream)
        self.sim.call(pick(self.handles(), actor), *self.objects(deps), refs=self.refs(refs), template=template)

    @precondition(lambda self: self.yielding())
    @rule(worker=index, number=st.integers(1, 3), end=st.booleans())
    def yield_large_items(self, worker: int, number: int, end: bool) -> None:
        self.yield_large(pick(self.yielding(), worker), number, end)

    def yield_large(self, at: SimWorker, number: int, end: bool) -> None:
        at.yields(*(value(stored=True) for _ in range(number)))
        if end:
            at.finish()
        self.sim.receive(at)
        if at.alive and self.streams():
            self.sim.take(self.streams()[-1])

    @rule(rounds=st.integers(2, 8))
    def let_calls_go_on(self, rounds: int) -> None:
        for _ in range(rounds):
            for worker in list(self.sim.workers.values()):
                self.sim.step(worker)

    @rule(deps=few, restarts=some_retries, retries=some_retries, calls=st.integers(1, 2))
    def have_an_actor_make_something(self, deps: list[int], restarts: int, retries: int, calls: int) -> None:
        """And let it go."""
        self.sim.stores = True
        actor = self.sim.create(actor_class(restarts), *self.objects(deps))
        for _ in range(calls):
            self.sim.call(actor, template=method(retries=retries))
        self.let_calls_go_on(4)
        self.sim.release(actor)

    @rule(retries=some_retries, more=st.integers(1, 3))
    def make_a_chain(self, retries: int, more: int) -> None:
        """Of which only the last value is kept."""
        self.sim.stores = True
        last = self.sim.submit(self.function(1, retries, {"CPU": 1.0}))
        for _ in range(more):
            before, last = last, self.sim.submit(self.function(1, retries, {"CPU": 1.0}), last)
            self.sim.release(before)
            self.let_calls_go_on(2)

    @precondition(lambda self: len(self.sim.refs) > 2)
    @rule(which=index)
    def forget(self, which: int) -> None:
        self.sim.release(pick(sorted(self.sim.refs), which))

    @rule(retries=some_retries, concurrent=st.booleans(), behind=st.integers(0, 2), ahead=st.booleans())
    def have_an_actor_miss_what_it_made(self, retries: int, concurrent: bool, behind: int, ahead: bool) -> None:
        """It finds an argument of its next call gone that it has made itself."""
        self.sim.stores = True
        actor = self.sim.create(actor_class(retries, concurrent=concurrent))
        made = self.sim.call(actor, template=method(retries=retries))
        self.let_calls_go_on(4)
        value = self.sim.value(made)
        if value is None or value[0] not in (STORED, SPILLED):
            return
        if ahead:  # somebody else finds it first
            self.sim.lose(made)
        for dep in (made, *[None] * behind):
            self.sim.call(actor, *[dep] if dep else [], template=method(retries=retries))
        at = self.sim.of(actor)
        at.read()
        if not at.running and at.todo and at.todo[0][0] == "call":
            at.begin(made)
            seen["an argument gone"] += 1

    def with_origins(self) -> list[int]:
        return [id for id in self.stored() if isinstance(self.sim.objects.origins.get(id), lineage.Origin)]

    @precondition(lambda self: self.with_origins())
    @rule(which=index)
    def lose_what_a_call_made(self, which: int) -> None:
        id = pick(self.with_origins(), which)
        origin = self.sim.objects.origins[id]
        assert isinstance(origin, lineage.Origin)
        tasks = len(self.sim.graph.tasks)
        revived = 0 if origin.actor is None else origin.actor.revived
        self.sim.lose(id)
        if self.sim.value(id) is None:
            seen["again"] += 1
            seen["an item"] += id in origin.items
            seen["of an actor"] += origin.actor is not None
            seen["of one that had ended"] += origin.actor is not None and origin.actor.revived > revived
            seen["arguments too"] += len(self.sim.graph.tasks) > tasks + 1

    def teardown(self) -> None:
        super().teardown()
        self.sim.graph.sweep()
        origins = self.sim.graph.lineage.origins.values()
        assert all(origin.live or origin.wanted for origin in origins)
        if not self.sim.objects.entries:
            assert not origins and not self.sim.objects.origins


seen: Counter[str] = Counter()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_whatever_is_lost_comes_back_or_says_why_and_the_books_balance() -> None:
    seen.clear()
    run_state_machine_as_test(Losses, settings=settings(max_examples=settings().max_examples // 2))
    assert all(
        seen[what]
        for what in ("again", "an item", "of an actor", "of one that had ended", "arguments too", "an argument gone")
    ), seen
