"""Several threads of one driver, and a driver that is busy with something else."""

from __future__ import annotations

import gc
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import minray
from minray.session import current


@pytest.fixture(params=["threads", "loky"])
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


def in_threads(count: int, work: Callable[[int], Any]) -> list[Any]:
    """What `work` returns for 0 ... count - 1, each in a thread of its own."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, range(count)))


def test_eight_threads_call_one_after_another_each(ray: Any) -> None:
    @ray.remote
    def double(x: int) -> int:
        return 2 * x

    @ray.remote(num_cpus=0)
    class Counter:
        def __init__(self) -> None:
            self.count = 0

        def add(self, x: int) -> int:
            self.count += x
            return x

        def read(self) -> int:
            return self.count

    counter = Counter.remote()

    def loop(me: int) -> int:
        total = 0
        for x in range(60):
            total += ray.get(double.remote(x)) + ray.get(counter.add.remote(1))
        return total

    assert in_threads(8, loop) == [60 * 59 + 60] * 8
    assert ray.get(counter.read.remote()) == 480


def test_calls_of_each_thread_reach_an_actor_in_its_order(ray: Any) -> None:
    @ray.remote(num_cpus=0)
    class Log:
        def __init__(self) -> None:
            self.entries: list[tuple[int, int]] = []

        def add(self, me: int, number: int) -> None:
            self.entries.append((me, number))

        def read(self) -> list[tuple[int, int]]:
            return self.entries

    log = Log.remote()
    in_threads(4, lambda me: ray.get([log.add.remote(me, number) for number in range(200)]))
    entries = ray.get(log.read.remote())
    for me in range(4):
        assert [number for who, number in entries if who == me] == list(range(200))


def test_a_thread_that_waits_long_does_not_hold_up_the_others(ray: Any, flags: Any) -> None:
    @ray.remote
    def long() -> str:
        flags.wait("go")
        return "long"

    @ray.remote(num_cpus=0)
    def quick(x: int) -> int:
        return x

    def work(me: int) -> Any:
        if not me:
            return ray.get(long.remote())
        result = sum(ray.get(quick.remote(x)) for x in range(100))
        if flags.up("done") == 7:
            flags.up("go")
        return result

    assert in_threads(8, work) == ["long", *[4950] * 7]


def test_waits_with_timeouts_end_in_time_while_others_are_busy(ray: Any, flags: Any) -> None:
    @ray.remote
    def long() -> None:
        flags.wait("go")

    @ray.remote(num_cpus=0)
    def quick(x: int) -> int:
        return x

    ref = long.remote()

    def work(me: int) -> Any:
        if me % 2:
            return sum(ray.get(quick.remote(x)) for x in range(200))
        for _ in range(10):
            with pytest.raises(minray.exceptions.GetTimeoutError):
                ray.get(ref, timeout=0.003)
            assert ray.wait([ref], timeout=0.003) == ([], [ref])
        return "timed out"

    assert in_threads(6, work) == ["timed out", 19900] * 3
    flags.up("go")
    assert ray.get(ref) is None


def test_a_value_that_many_threads_wait_for_reaches_all_of_them(ray: Any, flags: Any) -> None:
    @ray.remote
    def long() -> str:
        flags.wait("go")
        return "value"

    ref = long.remote()

    def work(me: int) -> Any:
        if flags.up("waiting") == 10:
            flags.up("go")
        return ray.get(ref) if me % 2 else ray.get(ray.wait([ref])[0][0])

    assert in_threads(10, work) == ["value"] * 10


def test_a_driver_that_computes_still_serves_nested_calls(ray: Any, flags: Any) -> None:
    @ray.remote
    def leaf(x: int) -> int:
        return x

    @ray.remote
    def parent() -> int:
        total = sum(minray.get([leaf.remote(x) for x in range(50)]))
        flags.up("done")
        return total

    ref = parent.remote()
    deadline = time.monotonic() + 20
    while not flags.count("done"):
        sum(range(1000))
        assert time.monotonic() < deadline, "nobody serves the tasks while the driver computes"
    assert ray.get(ref) == 1225


def test_a_driver_that_sleeps_still_serves_nested_calls(ray: Any, flags: Any) -> None:
    @ray.remote
    def leaf(x: int) -> int:
        return x

    @ray.remote
    def parent() -> int:
        total = sum(minray.get(leaf.remote(x)) for x in range(50))
        flags.up("done")
        return total

    ref = parent.remote()
    flags.wait("done")
    assert ray.get(ref) == 1225


def test_futures_are_done_while_the_driver_does_something_else(ray: Any) -> None:
    @ray.remote
    def double(x: int) -> int:
        return 2 * x

    futures = [double.remote(x).future() for x in range(50)]
    assert [future.result(timeout=20) for future in futures] == [2 * x for x in range(50)]


def test_refs_and_actors_may_be_dropped_by_the_garbage_collector(ray: Any) -> None:
    @ray.remote
    def small(x: int) -> int:
        return x

    @ray.remote(num_cpus=0)
    class Actor:
        def ping(self) -> int:
            return 1

    class Holder:
        def __init__(self, *things: Any) -> None:
            self.me, self.things = self, things

    threshold = gc.get_threshold()
    gc.set_threshold(10)
    try:
        for x in range(300):
            Holder(small.remote(x), [ray.put(x)])
        actors = [Actor.remote() for _ in range(3)]
        ray.get([actor.ping.remote() for actor in actors])
        Holder(*actors)
        del actors
        assert ray.get([small.remote(x) for x in range(300)]) == list(range(300))
    finally:
        gc.set_threshold(*threshold)


def test_a_future_that_is_finished_while_it_is_being_made_is_finished_once(ray: Any, monkeypatch: Any) -> None:
    @ray.remote
    def one() -> int:
        return 1

    ref = one.remote()
    session: Any = current()
    original = session._deliver

    def deliver() -> None:
        monkeypatch.undo()
        original()
        assert ray.get(ref) == 1  # in the middle of `future`, as another thread might

    monkeypatch.setattr(session, "_deliver", deliver)
    assert ref.future().result(20) == 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_threads_that_do_everything_at_once(ray: Any, seed: int) -> None:
    @ray.remote(num_cpus=0.5)
    def double(x: int) -> int:
        return 2 * x

    @ray.remote(num_cpus=0.5)
    def nested(x: int) -> int:
        return minray.get(double.remote(x)) + minray.get(double.remote(x))

    @ray.remote(num_cpus=0)
    class Keeper:
        def __init__(self) -> None:
            self.value = 0

        def swap(self, value: int) -> int:
            self.value, old = value, self.value
            return old

    def work(me: int) -> int:
        rng = random.Random(100 * seed + me)
        keeper = Keeper.remote()
        last = 0
        for number in range(60):
            what = rng.randrange(6)
            if what == 0:
                assert ray.get(double.remote(number)) == 2 * number
            elif what == 1:
                assert ray.get(nested.remote(ray.put(number))) == 4 * number
            elif what == 2:
                assert ray.get(keeper.swap.remote(double.remote(number))) == last
                last = 2 * number
            elif what == 3:
                refs = [double.remote(x) for x in range(rng.randrange(1, 30))]
                timeout = rng.choice([None, 0, 0.001])
                ready, others = ray.wait(refs, num_returns=rng.randint(1, len(refs)), timeout=timeout)
                assert sorted(ray.get(ready + others)) == [2 * x for x in range(len(refs))]
            elif what == 4:
                try:
                    assert ray.get(nested.remote(number), timeout=rng.choice([0, 0.0005, 0.005])) == 4 * number
                except minray.exceptions.GetTimeoutError:
                    pass
            else:
                assert double.remote(number).future().result(20) == 2 * number
        return me

    assert in_threads(8, work) == list(range(8))
