"""Deadlocks, livelocks, faults: reported, and for faults, as often as was asked for."""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
from typing import Any

import pytest

import minray
from minray.exceptions import DeadlockError, LivelockError

ray: Any = minray


def test_a_circle_of_waits_is_reported_with_who_waits_and_where(simulate: Any) -> None:
    def program() -> None:
        @ray.remote
        class Peer:
            def ask(self, peer: Any) -> Any:
                return ray.get(peer[0].say.remote())  # the line that is named

            def say(self) -> str:
                return "hello"

        a, b = Peer.remote(), Peer.remote()
        ray.get([a.ask.remote([b]), b.ask.remote([a])])

    with pytest.raises(DeadlockError) as caught:
        simulate(program)
    text = str(caught.value)
    assert "main waits in get, at " in text
    assert "Peer.ask.3 waits in get, at " in text
    assert "Peer.ask.3/Peer.say.1, which is behind another call of its actor" in text or "waits for its turn" in text
    assert "so the circle closes: Peer.ask.3 -> Peer.ask.4 -> Peer.ask.3" in text
    assert __file__ in text


def test_waiting_for_resources_that_never_come_free_is_a_deadlock(simulate: Any) -> None:
    def program() -> None:
        @ray.remote(num_cpus=1)
        class Holder:
            def hold(self) -> None:
                return None

        holders = [Holder.remote() for _ in range(3)]
        ray.get([holder.hold.remote() for holder in holders])

    with pytest.raises(DeadlockError, match="no resources"):
        simulate(program, num_cpus=2)


def test_a_lock_that_nobody_releases_is_a_deadlock(simulate: Any) -> None:
    def program() -> None:
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()

    with pytest.raises(DeadlockError, match="main waits in a lock, or another thread"):
        simulate(program)


def test_a_program_may_go_on_after_a_deadlock(simulate: Any) -> None:
    def program() -> int:
        @ray.remote
        class Stuck:
            def wait(self) -> None:
                lock = threading.Lock()
                lock.acquire()
                lock.acquire()

        with pytest.raises(DeadlockError):
            ray.get(Stuck.remote().wait.remote())
        return int(ray.get(ray.put(3)))

    assert simulate(program)[0] == 3


def test_a_run_without_end_is_a_livelock(simulate: Any) -> None:
    def program() -> None:
        @ray.remote
        class Flag:
            def get(self) -> bool:
                return False

        flag = Flag.remote()
        while not ray.get(flag.get.remote()):
            pass

    with pytest.raises(LivelockError, match=r"After 501 steps[^\n]*\n[^\n]*Flag\.get"):
        simulate(program, max_steps=500)


def test_who_polls_does_not_keep_others_from_going_on(simulate: Any) -> None:
    def program() -> list[int]:
        @ray.remote
        def f() -> int:
            return 1

        ref = f.remote()
        while not ray.wait([ref], timeout=0)[0]:
            pass
        return list(ray.get([ref]))

    for strategy in ("fifo", "random", "pct", "pctcp", "pos"):
        for seed in range(10):
            assert simulate(program, seed=seed, strategy=strategy, max_steps=5000)[0] == [1]


# -- faults -------------------------------------------------------------------------------------------------------


def ledger(retries: int = 3) -> Any:
    """Counts how often a task was run."""

    @ray.remote
    class Ledger:
        def __init__(self) -> None:
            self.n = 0

        def add(self) -> int:
            self.n += 1
            return self.n

        def read(self) -> int:
            return self.n

    @ray.remote(max_retries=retries)
    def pay(ledger: Any) -> str:
        ray.get(ledger.add.remote())
        return "paid"

    keeper = Ledger.remote()
    try:
        return ray.get(pay.remote(keeper)), ray.get(keeper.read.remote())
    except ray.exceptions.RayError as error:
        return type(error).__name__


def _seen(simulate: Any, program: Any, faults: Any, seeds: int = 150) -> set[Any]:
    return {simulate(program, seed=seed, strategy="random", faults=faults)[0] for seed in range(seeds)}


def test_a_worker_may_die_before_during_and_after_a_call(simulate: Any) -> None:
    seen = _seen(simulate, ledger, {"death": 1})
    assert {("paid", 1), ("paid", 2), "ActorDiedError"} <= seen
    assert ("paid", 3) not in seen  # it would take two


def test_a_call_without_retries_fails_when_its_worker_dies(simulate: Any) -> None:
    assert "WorkerCrashedError" in _seen(simulate, lambda: ledger(0), "death")


def test_a_reply_may_be_lost_after_the_call_has_run(simulate: Any) -> None:
    seen = _seen(simulate, ledger, "reply")
    assert ("paid", 2) in seen
    assert "WorkerCrashedError" in _seen(simulate, lambda: ledger(0), "reply")


def test_an_actor_that_may_is_restarted(simulate: Any) -> None:
    def program() -> Any:
        @ray.remote(max_restarts=1, max_task_retries=1)
        class Counter:
            def __init__(self) -> None:
                self.n = 0

            def add(self) -> int:
                self.n += 1
                return self.n

        counter = Counter.remote()
        return tuple(ray.get(counter.add.remote()) for _ in range(2))

    assert _seen(simulate, program, {"death": 1}) == {(1, 2), (1, 1)}


def test_the_value_of_an_object_may_be_lost(simulate: Any) -> None:
    def program() -> str:
        ref = ray.put("value")
        try:
            ray.wait([ref])
            return str(ray.get(ref))
        except ray.exceptions.ObjectLostError:
            return "lost"

    assert _seen(simulate, program, "object") == {"value", "lost"}


def test_a_timeout_may_come_first(simulate: Any) -> None:
    def program() -> str:
        @ray.remote
        def f() -> str:
            return "there"

        try:
            return str(ray.get(f.remote(), timeout=1e6))
        except ray.exceptions.GetTimeoutError:
            return "late"

    assert _seen(simulate, program, "timeout") == {"there", "late"}
    assert _seen(simulate, program, None) == {"there"}


def test_a_call_may_count_as_cancelled_although_it_has_run(simulate: Any) -> None:
    def program() -> Any:
        @ray.remote
        class Cell:
            def __init__(self) -> None:
                self.n = 0

            def add(self) -> int:
                self.n += 1
                return self.n

            def read(self) -> int:
                return self.n

        cell = Cell.remote()
        ref = cell.add.remote()
        ray.cancel(ref)
        try:
            answer = ray.get(ref)
        except ray.exceptions.TaskCancelledError:
            answer = None
        return answer, ray.get(cell.read.remote())

    seen = _seen(simulate, program, "cancel", 300)
    assert seen == {(1, 1), (None, 0), (None, 1)}
    assert _seen(simulate, program, None, 100) == {(1, 1), (None, 0)}


def test_no_more_breaks_than_the_budget_has(simulate: Any) -> None:
    from minray_sim import active

    def program() -> int:
        @ray.remote(max_retries=-1)
        def f() -> int:
            return 1

        pool = active.pool
        ray.get([f.remote() for _ in range(6)])
        assert pool is not None
        return sum(event.kind == "fault" for event in pool.simulation.trace)

    counts = {simulate(program, seed=seed, strategy="random", faults={"death": 2})[0] for seed in range(60)}
    assert max(counts) == 2


def test_an_event_loop_that_a_run_leaves_goes_without_a_word(simulate: Any) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        simulate(asyncio.new_event_loop)
        gc.collect()
    assert not caught
