"""The memory for values: grants stay within the limit, who asks is always answered, the coldest values go first."""

from __future__ import annotations

from collections import Counter
from itertools import count
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from minray.core.graph import TaskGraph
from minray.core.memory import FULL, GRANTED, OWN, SPILL
from minray.core.template import RESOURCE_UNIT
from minray.core.value import IN_STORE, SPILLED, STORED, Value

_tokens = count(1)


class Owner:
    """A graph with one node, and what it has decided."""

    def __init__(self, limit: int, workers: int = 0) -> None:
        self.graph = TaskGraph()
        self.memory = self.graph.memory
        self.memory.share = lambda location: (location[0], location[1])
        self.memory.joined(0, limit)
        self.graph.node_joined(0, {"CPU": 8 * RESOURCE_UNIT}, workers)
        self.workers = [None, *self.graph.scheduler.workers.values()]
        self.grants: Counter[int] = Counter()
        self.answers: dict[Any, tuple[Any, ...]] = {}
        self.trims: list[int] = []
        self.buried: list[tuple[int, list[Any]]] = []
        self.freed: list[Any] = []
        self._ids = count(1)
        self.act()

    def act(self) -> None:
        """Take what was decided."""
        self.graph.check()
        for op, *rest in self.graph.take_out():
            if op == "grant":
                self.grants[rest[0]] += rest[1]
            elif op == "room":
                assert rest[0] not in self.answers
                self.answers[rest[0]] = rest[1]
            elif op == "trim":
                self.trims.append(rest[0])
            elif op == "bury":
                self.buried.append((rest[0], rest[1]))
            elif op == "free":
                self.freed.append(rest[0][1])

    def ask(self, writer: int, needed: int, spare: int = 0, first: bool = False) -> int:
        token = next(_tokens)
        self.graph.asked_room(self.workers[writer], needed, spare, first, token)
        self.act()
        return token

    def answer(self, writer: int, needed: int, spare: int = 0) -> Any:
        """What the owner says at once; None: nothing."""
        return self.answers.get(self.ask(writer, needed, spare))

    def put(self, writer: int, size: int) -> int:
        """A writer has filled what it was granted with a value."""
        id = next(self._ids)
        self.graph.stored(id, (STORED, (writer, size, id), ()), self.workers[writer])
        self.act()
        return id

    def release(self, writer: int, id: int) -> None:
        worker = self.workers[writer]
        if worker is None:
            self.graph.released(id)
        else:
            self.graph.repaid(worker, id, 1)
        self.act()

    def give_back(self, writer: int, amount: int, trimmed: bool = False) -> None:
        self.grants[writer] -= amount
        self.graph.room_given_back(self.workers[writer], amount, trimmed)
        self.act()

    def moved(self, writer: int, id: int, done: bool = True) -> None:
        self.graph.moved(self.workers[writer], id, (writer, 0, -id) if done else None)
        self.act()

    def die(self, writer: int) -> None:
        worker = self.workers[writer]
        assert worker is not None
        self.graph.worker_lost(worker, "it crashed")
        self.graph.writer_gone(writer)
        self.act()

    def value(self, id: int) -> Value:
        value = self.graph.objects.value_of(id)
        assert value is not None
        return value


def test_what_is_free_is_granted() -> None:
    owner = Owner(100)
    assert owner.answer(0, 60) == (GRANTED,)
    assert owner.grants == {0: 60}


def test_more_is_granted_at_once_while_most_is_free() -> None:
    owner = Owner(1 << 30)
    assert owner.answer(0, 1000) == (GRANTED,)
    assert owner.grants[0] == 16 << 20


def test_who_has_enough_that_it_cannot_use_gives_that_up_first() -> None:
    owner = Owner(100)
    owner.ask(0, 90)
    assert owner.answer(0, 40, spare=30) == (OWN,)
    assert owner.grants == {0: 100}, "with what is free it is enough"


def test_who_has_not_heard_that_its_values_are_free_looks_again_first() -> None:
    owner = Owner(100)
    owner.ask(0, 100)
    id = owner.put(0, 100)
    owner.release(0, id)
    assert owner.answers[owner.ask(0, 50, first=True)] == (OWN,)


def test_unused_room_of_others_is_collected() -> None:
    owner = Owner(100, workers=2)
    for writer in (1, 2):
        owner.ask(writer, 50)
        owner.put(writer, 20)
    token = owner.ask(0, 40)
    assert token not in owner.answers and sorted(owner.trims) == [1, 2]
    owner.give_back(1, 25, trimmed=True)
    assert token not in owner.answers
    owner.give_back(2, 25, trimmed=True)
    assert owner.answers[token] == (GRANTED,) and owner.grants[0] == 40


def test_others_that_gave_back_less_than_hoped_for_are_not_asked_twice() -> None:
    owner = Owner(100, workers=1)
    owner.ask(1, 100)
    owner.put(1, 20)
    token = owner.ask(0, 40)
    owner.give_back(1, 10, trimmed=True)
    assert owner.answers[token] == (FULL,) and owner.trims == [1]


def test_the_values_that_were_not_used_for_longest_go_to_disk() -> None:
    owner = Owner(100)
    owner.ask(0, 100)
    first, second, third, _ = [owner.put(0, 25) for _ in range(4)]
    owner.memory.used(first | IN_STORE)
    assert owner.answer(0, 40) == (SPILL, ((second, (0, 25, second)), (third, (0, 25, third))))
    owner.moved(0, second)
    assert owner.value(second) == (SPILLED, (0, 0, -second), ()) and owner.freed == [(0, 25, second)]
    owner.moved(0, third)
    assert not owner.memory.moving


def test_what_somebody_maps_is_not_moved() -> None:
    owner = Owner(100)
    owner.ask(0, 100)
    first, second = owner.put(0, 50), owner.put(0, 50)
    owner.graph.objects.retain(first | IN_STORE)
    assert owner.answer(0, 40) == (SPILL, ((second, (0, 50, second)),))
    assert owner.answer(0, 40) == (FULL,), "one is mapped, the other is being moved"


def test_what_is_mapped_before_it_has_been_moved_stays_until_it_is_not() -> None:
    owner = Owner(100)
    owner.ask(0, 100)
    id = owner.put(0, 100)
    owner.ask(0, 100)
    owner.graph.objects.retain(id | IN_STORE)
    owner.moved(0, id)
    assert owner.value(id)[0] == SPILLED and not owner.freed
    owner.graph.released(id | IN_STORE)
    owner.act()
    assert owner.freed == [(0, 100, id)]


def test_a_copy_that_comes_too_late_is_freed() -> None:
    owner = Owner(100)
    owner.ask(0, 100)
    id = owner.put(0, 100)
    owner.ask(0, 100)
    owner.release(0, id)
    assert not owner.freed, "somebody copies it"
    owner.moved(0, id)
    assert sorted(owner.freed) == [(0, 0, -id), (0, 100, id)]


def test_a_value_that_could_not_be_moved_stays() -> None:
    owner = Owner(100)
    owner.ask(0, 100)
    id = owner.put(0, 100)
    owner.ask(0, 100)
    owner.moved(0, id, done=False)
    assert owner.value(id)[0] == STORED and not owner.memory.moving


def test_what_can_never_fit_goes_to_disk() -> None:
    owner = Owner(100)
    assert owner.answer(0, 101) == (FULL,)


def test_of_a_worker_that_is_gone_what_somebody_needs_is_kept() -> None:
    owner = Owner(100, workers=1)
    owner.ask(1, 100)
    kept, _ = owner.put(1, 30), owner.put(1, 30)
    owner.graph.objects.retain(kept)
    owner.die(1)
    assert owner.buried == [(1, [(1, 30, kept)])]
    assert owner.answer(0, 70) == (GRANTED,)
    owner.graph.released(kept)
    owner.act()
    assert owner.answer(0, 30) == (GRANTED,)


def test_who_waits_for_a_worker_that_dies_is_answered() -> None:
    owner = Owner(100, workers=1)
    owner.ask(1, 100)
    token = owner.ask(0, 40)
    assert token not in owner.answers
    owner.die(1)
    assert owner.answers[token] == (GRANTED,)


def test_who_waits_no_more_is_forgotten() -> None:
    owner = Owner(100, workers=1)
    owner.ask(1, 100)
    token = owner.ask(0, 40)
    assert owner.graph.room_forgotten(token) and not owner.graph.room_forgotten(token)
    owner.give_back(1, 100, trimmed=True)
    assert token not in owner.answers


# -- whatever happens ---------------------------------------------------------------------------------------------

index = st.integers(0, 20)
sizes = st.integers(1, 60)


class Writers(RuleBasedStateMachine):
    """Writers ask, write, move, drop and die in any order."""

    @initialize(workers=st.integers(1, 3))
    def begin(self, workers: int) -> None:
        self.owner = Owner(100, workers)
        self.living = set(range(workers + 1))
        self.used: Counter[int] = Counter()  # bytes in values, by writer
        self.held: list[tuple[int, int, int]] = []  # writer, object, size
        self.mapped: list[int] = []
        self.asked: dict[int, int] = {}  # token -> writer
        self.to_move: list[tuple[int, int]] = []

    def collect(self) -> None:
        """Hear the answers, and what was freed."""
        for token in [token for token in self.asked if token in self.owner.answers]:
            writer = self.asked.pop(token)
            kind, *rest = self.owner.answers.pop(token)
            if kind == SPILL:
                assert rest[0]
                self.to_move += [(writer, id) for id, _ in rest[0]]
        for writer, size, _ in self.owner.freed:
            self.used[writer] -= size
        self.owner.freed.clear()

    @rule(who=index, needed=sizes, first=st.booleans())
    def ask(self, who: int, needed: int, first: bool) -> None:
        writer = sorted(self.living)[who % len(self.living)]
        if writer not in self.asked.values():
            self.asked[self.owner.ask(writer, needed, 0, first)] = writer
        self.collect()

    @rule(who=index, size=sizes)
    def write(self, who: int, size: int) -> None:
        writer = sorted(self.living)[who % len(self.living)]
        size = min(size, self.owner.grants[writer] - self.used[writer])
        if size > 0:
            self.used[writer] += size
            self.held.append((writer, self.owner.put(writer, size), size))

    @precondition(lambda self: self.held)
    @rule(which=index)
    def drop(self, which: int) -> None:
        writer, id, _ = self.held.pop(which % len(self.held))
        self.owner.release(writer, id)
        self.collect()

    @precondition(lambda self: self.held)
    @rule(which=index)
    def read(self, which: int) -> None:
        _, id, _ = self.held[which % len(self.held)]
        if self.owner.value(id)[0] == STORED:
            self.owner.graph.objects.retain(id | IN_STORE)
            self.mapped.append(id | IN_STORE)

    @precondition(lambda self: self.mapped)
    @rule(which=index)
    def unmap(self, which: int) -> None:
        self.owner.graph.released(self.mapped.pop(which % len(self.mapped)))
        self.owner.act()
        self.collect()

    @precondition(lambda self: self.to_move)
    @rule(which=index, done=st.booleans())
    def move(self, which: int, done: bool) -> None:
        writer, id = self.to_move.pop(which % len(self.to_move))
        self.owner.moved(writer, id, done)
        self.collect()

    @precondition(lambda self: self.owner.trims)
    @rule()
    def trim(self) -> None:
        writer = self.owner.trims.pop(0)
        if writer in self.living:
            self.owner.give_back(writer, self.owner.grants[writer] - self.used[writer], trimmed=True)
        self.collect()

    @precondition(lambda self: len(self.living) > 1)
    @rule(who=index)
    def die(self, who: int) -> None:
        workers = sorted(self.living - {0})
        writer = workers[who % len(workers)]
        self.living.discard(writer)
        self.held = [one for one in self.held if one[0] != writer]
        self.to_move = [one for one in self.to_move if one[0] != writer]
        self.asked = {token: asker for token, asker in self.asked.items() if asker != writer}
        self.owner.die(writer)
        self.collect()

    @invariant()
    def nobody_waits_but_for_room_on_its_way(self) -> None:
        assert sum(self.owner.grants[writer] for writer in self.living) <= 100
        assert not self.asked or any(writer in self.living for writer in self.owner.trims), self.asked
        assert bool(self.owner.graph.scheduler.tight) == bool(self.to_move)

    def teardown(self) -> None:
        while self.to_move or self.owner.trims:
            if self.to_move:
                self.move(0, True)
            else:
                self.trim()
        assert not self.asked, "every ask is answered"
        for bytes in self.mapped:
            self.owner.graph.released(bytes)
        for writer, id, _ in self.held:
            self.owner.release(writer, id)
        assert self.owner.memory.rooms[0].used == 0


@pytest.mark.slow
def test_grants_never_exceed_the_limit_and_every_ask_is_answered_whatever_happens() -> None:
    run_state_machine_as_test(Writers, settings=settings())
