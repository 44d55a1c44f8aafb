"""Virtual time: it costs nothing, jumps in order, and is real again afterwards."""

from __future__ import annotations

import asyncio
import threading
import time
from time import sleep as sleep_by_name
from typing import Any

import pytest

import minray

ray: Any = minray


def test_sleeping_costs_no_time(simulate: Any) -> None:
    def program() -> float:
        @ray.remote
        def nap(seconds: float) -> float:
            began = time.monotonic()
            time.sleep(seconds)
            return time.monotonic() - began

        return float(sum(ray.get([nap.remote(1e6), nap.remote(2e6)])))

    began = time.perf_counter()
    slept, _ = simulate(program)
    assert slept == pytest.approx(3e6, rel=0.5)
    assert time.perf_counter() - began < 20


def test_a_name_that_was_imported_sleeps_in_virtual_time_too(simulate: Any) -> None:
    def program() -> float:
        @ray.remote
        def nap() -> float:
            began = time.time()
            sleep_by_name(1e6)
            return time.time() - began

        return float(ray.get(nap.remote()))

    assert simulate(program)[0] == pytest.approx(1e6)


def test_sleeps_are_over_in_the_order_of_their_ends(simulate: Any) -> None:
    def program() -> list[int]:
        @ray.remote
        def nap(seconds: int) -> int:
            time.sleep(seconds)
            return seconds

        left = [nap.remote(seconds) for seconds in (30, 10, 20)]
        seen = []
        while left:
            ready, left = ray.wait(left)
            seen += ray.get(ready)
        return seen

    for seed in range(20):
        assert simulate(program, seed=seed, strategy="random")[0] == [10, 20, 30]


def test_a_short_sleep_may_be_over_before_what_could_happen_at_once(simulate: Any) -> None:
    def program(seconds: float) -> bool:
        @ray.remote
        def quick() -> None:
            return None

        ref = quick.remote()
        time.sleep(seconds)
        return bool(ray.wait([ref], timeout=0)[0])

    short = {simulate(lambda: program(0.1), seed=seed, strategy="random")[0] for seed in range(30)}
    long = {simulate(lambda: program(60.0), seed=seed, strategy="random")[0] for seed in range(30)}
    assert (short, long) == ({True, False}, {True})


def test_a_timeout_is_over_when_nothing_else_can_happen(simulate: Any) -> None:
    def program() -> Any:
        @ray.remote
        def nap(seconds: float) -> str:
            time.sleep(seconds)
            return "slept"

        with pytest.raises(ray.exceptions.GetTimeoutError):
            ray.get(nap.remote(3600), timeout=60)
        assert ray.wait([nap.remote(3600)], timeout=1)[0] == []
        return ray.get(nap.remote(60), timeout=3600)

    for seed in range(10):
        assert simulate(program, seed=seed, strategy="random")[0] == "slept"


def test_timers_of_event_loops_are_virtual(simulate: Any) -> None:
    def program() -> Any:
        @ray.remote
        class Loop:
            async def nap(self, seconds: float) -> float:
                loop = asyncio.get_running_loop()
                began = loop.time()
                await asyncio.sleep(seconds)
                return loop.time() - began

            async def impatient(self) -> str:
                try:
                    await asyncio.wait_for(asyncio.sleep(1e6), timeout=1000)
                except asyncio.TimeoutError:
                    return "timed out"
                return "slept"

        loop = Loop.remote()
        return ray.get([loop.nap.remote(1e5), loop.impatient.remote()])

    slept, words = simulate(program)[0]
    assert (slept, words) == (pytest.approx(1e5), "timed out")


def test_the_driver_may_run_an_event_loop(simulate: Any) -> None:
    def program() -> Any:
        @ray.remote
        def f(x: int) -> int:
            time.sleep(10)
            return x

        async def main() -> list[int]:
            await asyncio.sleep(1)
            return [await f.remote(1), *await asyncio.gather(f.remote(2), f.remote(3))]

        return asyncio.run(main())

    for seed in range(10):
        assert simulate(program, seed=seed, strategy="random")[0] == [1, 2, 3]


def test_who_waits_for_the_clock_alone_sees_it_go_on(simulate: Any) -> None:
    def program() -> bool:
        @ray.remote
        def spin() -> bool:
            until = time.monotonic() + 10
            while time.monotonic() < until:
                pass
            return True

        return bool(ray.get(spin.remote()))

    assert simulate(program)[0]


def test_clocks_are_real_again_afterwards(simulate: Any) -> None:
    before: tuple[Any, ...] = (time.sleep, time.time, time.monotonic, time.perf_counter, sleep_by_name, threading.Lock)
    inside = simulate(lambda: (time.sleep, time.time, time.monotonic, time.perf_counter, sleep_by_name, threading.Lock))
    assert all(one is not other for one, other in zip(inside[0], before))
    assert (time.sleep, time.time, time.monotonic, time.perf_counter, sleep_by_name, threading.Lock) == before


def test_threads_that_are_none_of_the_run_see_the_real_time(simulate: Any) -> None:
    seen: list[float] = []
    go, done = threading.Event(), threading.Event()

    def look() -> None:
        go.wait(20)
        seen.append(time.time())
        done.set()

    thread = threading.Thread(target=look)
    thread.start()

    def program() -> float:
        ray.put(1)
        go.set()
        while not done.is_set():
            pass
        return time.time()

    virtual = simulate(program)[0]
    thread.join()
    assert abs(seen[0] - time.time()) < 100
    assert abs(virtual - time.time()) > 1000
