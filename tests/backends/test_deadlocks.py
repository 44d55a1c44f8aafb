"""Calls that wait for each other in a circle raise DeadlockError, with the circle and its lines. (Ray would hang.)"""

from __future__ import annotations

import signal
import threading
import time
from typing import Any

import pytest

from minray.exceptions import DeadlockError, GetTimeoutError

pytestmark = pytest.mark.slow  # somebody looks only now and then


@pytest.fixture(params=["threads", "loky"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minray.core.deadlocks.LOOK_SECONDS", 0.1)
    monkeypatch.setattr("minray.owner.SLOW_TICK_SECONDS", 0.1)


def test_it_takes_less_than_five_seconds(ray: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()

    @ray.remote
    class Actor:
        def outer(self, me: Any) -> None:
            ray.get(me.outer.remote(me))

    actor = Actor.remote()
    begun = time.monotonic()
    with pytest.raises(DeadlockError):
        ray.get(actor.outer.remote(actor))
    assert time.monotonic() - begun < 5


def test_two_actors_that_get_from_each_other(ray: Any) -> None:
    @ray.remote
    class Actor:
        def meet(self, other: Any) -> None:
            self.other = other

        def outer(self) -> int:
            return ray.get(self.other.inner.remote())

        def inner(self) -> int:
            try:
                return ray.get(self.other.leaf.remote())
            except DeadlockError as error:
                raise RuntimeError("told as well") from error

        def leaf(self) -> int:
            return 1

    a, b = Actor.remote(), Actor.remote()
    ray.get([a.meet.remote(b), b.meet.remote(a)])
    with pytest.raises(DeadlockError) as caught:
        ray.get(a.outer.remote())
    text = str(caught.value)
    assert "Actor.outer waits for Actor.inner at " in text and "Actor.inner waits for Actor.leaf at " in text
    assert "test_deadlocks.py" in text and "in outer: return ray.get(self.other.inner.remote())" in text
    assert "Actor.leaf waits for its turn, as its actor is busy with Actor.outer" in text
    assert ray.get([a.leaf.remote(), b.leaf.remote()]) == [1, 1], "both are free again"


def test_a_task_that_gets_its_own_result(ray: Any) -> None:
    @ray.remote(num_cpus=0)
    class Box:
        def put(self, refs: list[Any]) -> None:
            self.refs = refs

        def take(self) -> list[Any] | None:
            return getattr(self, "refs", None)

    @ray.remote
    def selfish(box: Any, wait: bool) -> None:
        while (refs := ray.get(box.take.remote())) is None:
            pass
        if wait:
            ray.wait(refs)
        else:
            ray.get(refs)

    for wait in (False, True):
        box = Box.remote()
        ref = selfish.remote(box, wait)
        box.put.remote([ref])
        with pytest.raises(DeadlockError, match="selfish waits for itself"):
            ray.get(ref)


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_an_actor_that_gets_from_itself(ray: Any, kind: str) -> None:
    class Plain:
        def outer(self, me: Any) -> int:
            return ray.get(me.leaf.remote())

        def leaf(self) -> int:
            return 1

    class Async:
        async def outer(self, me: Any) -> int:
            return ray.get(me.leaf.remote())  # which holds up the loop: `await` would not

        async def leaf(self) -> int:
            return 1

    actor = ray.remote(Async if kind == "async" else Plain).remote()
    for ref in [actor.outer.remote(actor) for _ in range(2)]:
        with pytest.raises(DeadlockError, match=r"outer waits for .*leaf"):
            ray.get(ref)
    assert ray.get(actor.leaf.remote()) == 1


def test_an_actor_with_threads_that_gets_from_itself_in_all_of_them(ray: Any) -> None:
    @ray.remote(max_concurrency=2)
    class Actor:
        def __init__(self) -> None:
            self.both = threading.Barrier(2)

        def outer(self, me: Any) -> str:
            self.both.wait()
            try:
                return ray.get(me.leaf.remote())
            except DeadlockError:
                return "told"

        def leaf(self) -> str:
            return "not told"

    actor = Actor.remote()
    assert "told" in ray.get([actor.outer.remote(actor) for _ in range(2)])


def test_who_waits_with_a_time_out_gets_that(ray: Any) -> None:
    @ray.remote
    class Actor:
        def outer(self, me: Any) -> str:
            try:
                ray.get(me.leaf.remote(), timeout=0.4)
            except GetTimeoutError:
                return "timed out"
            return "not reached"

        def leaf(self) -> None:
            pass

    actor = Actor.remote()
    assert ray.get(actor.outer.remote(actor)) == "timed out"


def test_other_threads_of_a_call_may_wait_for_what_comes_later(ray: Any) -> None:
    @ray.remote
    class Actor:
        def outer(self, me: Any) -> None:
            self.results: list[int] = []
            ref = me.leaf.remote()
            self.thread = threading.Thread(target=lambda: self.results.append(ray.get(ref)))
            self.thread.start()
            self.thread.join(0.4)

        def leaf(self) -> int:
            return 1

        def inner(self) -> list[int]:
            self.thread.join()
            return self.results

    actor = Actor.remote()
    ray.get(actor.outer.remote(actor))
    assert ray.get(actor.inner.remote()) == [1]


@pytest.mark.parametrize("backend", ["loky"])
def test_an_alarm_ends_a_wait_first(ray: Any) -> None:
    @ray.remote
    class Actor:
        def outer(self, me: Any) -> str:
            def ring(*_: Any) -> None:
                raise TimeoutError

            signal.signal(signal.SIGALRM, ring)
            signal.setitimer(signal.ITIMER_REAL, 0.5)
            try:
                ray.get(me.leaf.remote())
            except TimeoutError:
                return "rang"
            return "not reached"

        def leaf(self) -> None:
            pass

    actor = Actor.remote()
    assert ray.get(actor.outer.remote(actor)) == "rang"
