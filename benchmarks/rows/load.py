"""All CPUs at work: how much of them the tasks get, and who has to wait."""

from __future__ import annotations

import os
import time
from typing import Any

from rows.base import DASK, EXECUTORS, MACHINE, POOL, RAY_API, Goal, Row, expect, workers
from rows.graph import all_held
from rows.tasks import nothing

QUEUED = 10_000
#: Nested requests that are timed while the driver computes.
REQUESTS = 30

SHORT = Row(
    "CPUs used, 1 ms tasks",
    "of 1",
    "1,000 tasks that each use 1 ms of CPU time: the time that they would take on all CPUs, divided by what they took. "
    "The machine: as many processes that do so without being told.",
    goals=(Goal("minray[loky]", at_least=0.92),),
)
LONGER = Row(
    "CPUs used, 10 ms tasks",
    "of 1",
    "The same with 200 tasks of 10 ms.",
    goals=(Goal("minray[loky]", at_least=0.975),),
)
LATENCY = Row(
    f"latency behind {QUEUED:,}",
    "ms",
    f"A task that returns 1 is submitted behind {QUEUED:,} that do nothing and are held back by tasks on all CPUs: "
    "the time from the moment when these let go to its result.",
    smaller_is_better=True,
)
BUSY_DRIVER = Row(
    "nested task, busy driver",
    "ms",
    f"A task submits a task that does nothing and fetches its result, {REQUESTS} times one after another, while the "
    "driver computes in Python: the time that nine in ten of them stay below.",
    goals=(Goal("minray[loky]", at_most=20.0),),
    smaller_is_better=True,
)


def burn(seconds: float) -> None:
    """The task: use that much CPU time, not just let it pass."""
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def efficiency(seconds: float, count: int, run_all: Any) -> float:
    """The median of three runs, after a short one to warm up."""
    from statistics import median  # here: workers import this module too, and are weighed

    run_all([seconds] * (count // 10))
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        run_all([seconds] * count)
        taken.append(time.perf_counter() - start)
    return seconds * count / workers() / median(taken)


def fetch_futures(submit: Any, calls: list[float]) -> None:
    """Through whatever has `submit` and `result`."""
    for future in [submit(burn, seconds) for seconds in calls]:
        future.result()


@SHORT.on(*RAY_API)
def _(ray: Any) -> float:
    task = ray.remote(burn)
    return efficiency(0.001, 1000, lambda calls: ray.get([task.remote(seconds) for seconds in calls]))


@LONGER.on(*RAY_API)
def _(ray: Any) -> float:
    task = ray.remote(burn)
    return efficiency(0.01, 200, lambda calls: ray.get([task.remote(seconds) for seconds in calls]))


@SHORT.on(*EXECUTORS)
def _(executor: Any) -> float:
    return efficiency(0.001, 1000, lambda calls: fetch_futures(executor.submit, calls))


@LONGER.on(*EXECUTORS)
def _(executor: Any) -> float:
    return efficiency(0.01, 200, lambda calls: fetch_futures(executor.submit, calls))


@SHORT.on(POOL)
def _(pool: Any) -> float:
    return efficiency(0.001, 1000, lambda calls: pool.map(burn, calls, chunksize=1))


@LONGER.on(POOL)
def _(pool: Any) -> float:
    return efficiency(0.01, 200, lambda calls: pool.map(burn, calls, chunksize=1))


@SHORT.on(DASK)
def _(client: Any) -> float:
    return efficiency(0.001, 1000, lambda calls: client.gather(client.map(burn, calls, pure=False)))


@LONGER.on(DASK)
def _(client: Any) -> float:
    return efficiency(0.01, 200, lambda calls: client.gather(client.map(burn, calls, pure=False)))


def burn_apart(calls: list[float]) -> None:
    """As many processes as there are workers, each of which does its share without being told anything."""
    share = len(calls) // workers()
    pids = []
    for _ in range(workers()):
        pid = os.fork()
        if not pid:
            for seconds in calls[:share]:
                burn(seconds)
            os._exit(0)
        pids.append(pid)
    for pid in pids:
        os.waitpid(pid, 0)


@SHORT.on(MACHINE)
def _(_: None) -> float:
    return efficiency(0.001, 1000, burn_apart)


@LONGER.on(MACHINE)
def _(_: None) -> float:
    return efficiency(0.01, 200, burn_apart)


def other() -> int:
    """The short task behind the others; a function of its own, as it would be in a program."""
    return 1


@LATENCY.on(*RAY_API)
def _(ray: Any) -> float:
    task, short = ray.remote(nothing), ray.remote(other)
    ray.get([task.remote() for _ in range(100)] + [short.remote()])
    with all_held(ray):
        queued = [task.remote() for _ in range(QUEUED)]
        ref = short.remote()
        start = time.perf_counter()
    expect(ray.get(ref), 1)
    taken = time.perf_counter() - start
    ray.get(queued)
    return taken * 1000


@BUSY_DRIVER.on(*RAY_API)
def _(ray: Any) -> float:
    task = ray.remote(nothing)

    @ray.remote  # type: ignore[untyped-decorator]
    def ask() -> list[float]:
        taken = []
        for _ in range(REQUESTS):
            start = time.perf_counter()
            ray.get(task.remote())
            taken.append(time.perf_counter() - start)
            time.sleep(0.002)  # let the driver's threads settle: each request finds it computing
        return taken

    from statistics import quantiles  # here: see above

    def busy(seconds: float) -> None:
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            pass

    ray.get(ask.remote())
    ref = ask.remote()
    for _ in range(100):  # computing, without a call of the API but for a look every 0.1 s
        busy(0.1)
        if ray.wait([ref], timeout=0)[0]:
            break
    taken: list[float] = ray.get(ref)
    return quantiles(taken, n=10)[-1] * 1000
