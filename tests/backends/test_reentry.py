"""Calls of minray from `__del__`, which Python may run in the middle of minray's own code (`minray.reentry`)."""

from __future__ import annotations

import gc
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import count
from types import FrameType
from typing import Any

import cloudpickle
import pytest

import minray
from minray.reentry import take
from minray.session import current


@pytest.fixture(params=["threads", "loky"])
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


class Owner:
    """Part of a cycle, so that the garbage collector ends it: anywhere, in the middle of minray's own code too."""

    def __init__(self, done: Callable[[], object]) -> None:
        self.me = self
        self.done = done

    def __del__(self) -> None:
        self.done()


@pytest.fixture
def busy_collector() -> Iterator[None]:
    """The garbage collector comes by very often."""
    threshold = gc.get_threshold()
    gc.set_threshold(10)
    try:
        yield
    finally:
        gc.set_threshold(*threshold)


def test_ids_that_are_drawn_while_others_draw_are_consecutive() -> None:
    ids = count(1)

    class Interrupted:
        """A counter from which somebody else draws as well, now and then."""

        def __init__(self) -> None:
            self.turn = 0

        def __next__(self) -> int:
            self.turn += 1
            if self.turn == 4:
                next(ids)
            return next(ids)

    interrupted: Any = Interrupted()
    assert take(interrupted, 2) == 1
    assert take(interrupted, 4) == 5  # 3 and the next were torn apart
    assert take(ids, 1) == 9
    assert take(ids, 0) == 10  # a call without results needs a name as well


@pytest.mark.usefixtures("busy_collector")
def test_objects_that_submit_tasks_when_they_are_collected_do_not_block_minray(ray: Any) -> None:
    @ray.remote
    def small(x: int) -> int:
        return x

    kept: list[Any] = []
    for _ in range(300):
        Owner(lambda: kept.append(small.remote(1)))
        ray.get([small.remote(x) for x in range(5)])
    gc.collect()
    assert ray.get(kept) == [1] * 300


@pytest.mark.slow
@pytest.mark.usefixtures("busy_collector")
def test_whatever_objects_do_when_they_are_collected_is_done(ray: Any) -> None:
    @ray.remote(num_cpus=0)
    def pair(x: Any) -> list[Any]:
        return [x, x]

    @ray.remote(num_cpus=0)
    class Actor:
        def echo(self, x: Any) -> Any:
            return x

    actor = Actor.remote()
    ready = ray.put("ready")
    large = b"x" * 200_000
    kept: list[tuple[Any, Any]] = []
    gots: list[Any] = []
    actors: list[Any] = []
    victims = [Actor.remote() for _ in range(20)]
    deeds: list[Callable[[], object]] = [
        lambda: kept.append((pair.remote(ray.put(2)), [2, 2])),
        lambda: kept.extend(zip(pair.options(num_returns=2).remote(3), (3, 3))),
        lambda: kept.append((ray.put(large), large)),
        lambda: kept.append((actor.echo.remote(large), large)),
        lambda: gots.append(ray.get(ready)),
        lambda: actors.append(Actor.remote()) if len(actors) < 10 else None,
        lambda: ray.kill(victims.pop()) if victims else None,
        lambda: kept.append((actor.echo.options(name="other").remote(kept[-1][0]), kept[-1][1])),
        lambda: ray.wait([ready, pair.remote(1)], num_returns=1, timeout=0),
    ]
    kept.append((ready, "ready"))
    for turn in range(40 * len(deeds)):
        Owner(deeds[turn % len(deeds)])
        ray.get([pair.remote(turn), actor.echo.remote(turn)])
        if turn % 10 == 0:
            assert ray.get(ray.put(large)) == large
    gc.collect()
    assert gots == ["ready"] * 40
    assert len(kept) == 1 + 40 * 6
    for ref, value in kept:
        assert ray.get(ref) == value
    assert ray.get([one.echo.remote(1) for one in actors]) == [1] * 10


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["loky"], indirect=True)
@pytest.mark.parametrize("in_actor", [False, True], ids=["task", "actor"])
def test_objects_may_call_minray_when_they_are_collected_in_a_worker(ray: Any, in_actor: bool) -> None:
    def work(turns: int, small: Any, actor_class: Any) -> tuple[int, int]:
        import gc

        import minray as ray

        kept: list[Any] = []
        large = b"x" * 200_000

        class Owner:
            def __init__(self, turn: int) -> None:
                self.me, self.turn = self, turn

            def __del__(self) -> None:
                if self.turn % 3 == 0:
                    kept.append((small.remote(1), 1))
                elif self.turn % 3 == 1:
                    kept.append((ray.put(large), large))
                elif self.turn % 30 == 2:
                    kept.append((actor_class.remote().echo.remote(large), large))
                else:
                    kept.extend(zip(small.options(num_returns=2).remote((1, 2)), (1, 2)))

        threshold = gc.get_threshold()
        gc.set_threshold(10)
        try:
            for turn in range(turns):
                Owner(turn)
                assert ray.get([small.remote(x) for x in range(3)]) == [0, 1, 2]
                if turn % 8 == 0:
                    assert ray.get(ray.put(large)) == large
        finally:
            gc.set_threshold(*threshold)
        gc.collect()
        return sum(ray.get(ref) == value for ref, value in kept), len(kept)

    @ray.remote(num_cpus=0)
    def small(x: Any) -> Any:
        return x

    @ray.remote(num_cpus=0)
    class Echo:
        def echo(self, x: Any) -> Any:
            return x

        def work(self, turns: int, small: Any, actor_class: Any) -> tuple[int, int]:
            return work(turns, small, actor_class)

    run = Echo.remote().work if in_actor else ray.remote(num_cpus=0)(work)
    right, all_of_them = ray.get(run.remote(90, small, Echo))
    assert right == all_of_them >= 90


def test_a_thread_that_has_the_lock_gets_its_calls_carried_out_in_order(ray: Any) -> None:
    @ray.remote(num_cpus=0)
    class Log:
        def __init__(self) -> None:
            self.entries: list[int] = []

        def add(self, *numbers: int) -> list[int]:
            self.entries += numbers
            return self.entries

    session: Any = current()
    ready = ray.put(0)
    with session._lock:
        log = Log.remote()
        one = ray.put(1)
        first = log.add.remote(one, ready)
        second = log.add.options(num_returns=1).remote(2)
        del one
        assert ray.get(ready) == 0
        assert ray.wait([first, ready], timeout=0) == ([ready], [first])
        future = second.future()
        with pytest.raises(minray.exceptions.GetTimeoutError):
            ray.get(first, timeout=0)
        with pytest.raises(RuntimeError, match="would have to wait"):
            ray.get(first)
        with pytest.raises(RuntimeError, match="would have to wait"):
            ray.wait([first])
        with pytest.raises(RuntimeError, match="would have to wait"):
            Log.options(name="named").remote()
        with pytest.raises(RuntimeError, match="would have to wait"):
            ray.cluster_resources()
    assert future.result(20) == [1, 0, 2]
    assert ray.get([first, second]) == [[1, 0], [1, 0, 2]]


def test_what_is_noted_happens_although_nobody_calls_minray_again(ray: Any, flags: Any) -> None:
    @ray.remote
    def task() -> None:
        flags.up("ran")

    session: Any = current()
    with session._lock:
        ref = task.remote()
    flags.wait("ran")
    assert ray.get(ref) is None


def test_a_callback_in_the_thread_that_reads_is_told_that_it_cannot_wait(ray: Any, flags: Any) -> None:
    @ray.remote
    def value() -> int:
        return 1

    @ray.remote
    def later() -> int:
        flags.wait("go")
        return 2

    slow = later.remote()
    raised: list[BaseException] = []
    called = threading.Event()

    def look(_: Any) -> None:
        try:
            ray.get(slow)
        except RuntimeError as error:
            raised.append(error)
        flags.up("go")
        called.set()

    ref = value.remote()
    ref.future().add_done_callback(look)
    assert ray.get(slow) == 2
    called.wait(20)
    assert "would have to wait" in str(raised[0])


class Everywhere:
    """Calls `deed` once, before the `at`-th line that minray runs in this thread."""

    def __init__(self, at: int, deed: Callable[[], object]) -> None:
        self.left = at
        self.deed = deed

    def __enter__(self) -> Everywhere:
        self.before = sys.gettrace()
        sys.settrace(self.trace)
        return self

    def __exit__(self, *error: object) -> None:
        sys.settrace(self.before)

    def trace(self, frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_globals.get("__name__", "").startswith("minray"):
            return None
        if event == "line":
            self.left -= 1
            if self.left == 0:
                sys.settrace(None)
                self.deed()
        return self.trace if self.left > 0 else None


def between_all_lines(pair: Any, echo: Any) -> int:
    """Submit, put and get once for each line that minray runs meanwhile, with other calls before that line. In any
    worker, or a driver; returns how many lines there were."""
    large = b"x" * 100_000
    ready = minray.put(0)
    minray.get([pair.remote(0), echo.echo.remote(0)])
    kept: list[tuple[Any, Any]] = []

    def nested() -> None:
        kept.append((pair.remote(1), (1, 1)))
        kept.append((echo.echo.remote(large), large))
        for ref, value in ((ready, 0), kept[-1]):
            with suppress(RuntimeError):  # it would have to wait
                assert minray.get(ref) == value

    at = 0
    while True:
        at += 1
        with Everywhere(at, nested) as everywhere:
            refs = [pair.remote(at), echo.echo.remote(minray.put(large)), *pair.options(num_returns=2).remote(at)]
            got = minray.get(refs)
        assert got == [(at, at), large, at, at]
        for ref, value in kept:
            assert minray.get(ref) == value
        kept.clear()
        if everywhere.left > 0:
            return at


@pytest.fixture
def by_value() -> Iterator[None]:
    """What is in this module goes to workers by value."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.mark.slow
@pytest.mark.usefixtures("by_value")
@pytest.mark.parametrize("where", ["driver", "task", "actor"])
def test_a_call_may_come_between_any_two_lines_of_minray(ray: Any, where: str) -> None:
    @ray.remote(num_cpus=0)
    def pair(x: Any) -> tuple[Any, Any]:
        return x, x

    @ray.remote(num_cpus=0)
    class Echo:
        def echo(self, x: Any) -> Any:
            return x

        def between_all_lines(self, pair: Any, echo: Any) -> int:
            return between_all_lines(pair, echo)

    echo = Echo.remote()
    if where == "driver":
        lines = between_all_lines(pair, echo)
    elif where == "task":
        lines = ray.get(ray.remote(num_cpus=0)(between_all_lines).remote(pair, echo))
    else:
        lines = ray.get(Echo.remote().between_all_lines.remote(pair, echo))
    assert lines > 200
