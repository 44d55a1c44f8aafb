"""Many tasks, tasks that wait for tasks, and tasks that submit tasks: what the graph costs."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rows import tasks
from rows.base import EXECUTORS, POOL, RAY_API, Goal, Row, expect, once, rate
from rows.tasks import nothing

MANY = 50_000
HELD = 20_000
READY = 1_000
PENDING = 500
CHAIN = 1_000
FAN_IN = 1_000
NESTED = 1_000
#: Calls that fib(8) makes, itself among them.
FIB_CALLS = 67

MANY_AT_ONCE = Row(
    f"async tasks, {MANY:,} at once",
    "/s",
    f"{MANY:,} tasks that do nothing are submitted, then all results fetched; once, after a thousand to warm up.",
    goals=(Goal("minray[loky]", times=0.8, than="minray[loky]", in_row=tasks.ASYNC.name),),
)
PENDING_MEMORY = Row(
    "memory per pending task",
    "kB",
    f"How much the driver's own memory (USS) grows while {HELD:,} tasks are queued behind tasks that hold every CPU, "
    "references included, for each of them.",
    goals=(Goal("minray[loky]", at_most=2.0), Goal("minray[threads]", at_most=2.0)),
    smaller_is_better=True,
)
WAIT_READY = Row(
    f"wait, {READY:,} ready",
    "/s",
    f"`wait` for all of {READY:,} references that are ready, again and again.",
    goals=(Goal("minray[loky]", times=4),),
)
WAIT_PENDING = Row(
    f"wait, {PENDING:,} one by one",
    "tasks/s",
    f"{PENDING:,} tasks that do nothing are submitted and waited for one by one, with what `wait` has left over.",
    goals=(Goal("minray[loky]", times=8),),
)
CHAINED = Row(
    f"chain of {CHAIN:,}",
    "tasks/s",
    f"{CHAIN:,} tasks, each with the result of the one before as its argument; the last result is fetched.",
    goals=(Goal("minray[loky]", times=20),),
)
FANNED_IN = Row(
    f"fan-in of {FAN_IN:,}",
    "tasks/s",
    f"The results of {FAN_IN:,} tasks are the arguments of one, whose result is fetched.",
    goals=(Goal("minray[loky]", times=15),),
)
FIB = Row(
    "fib(8), nested",
    "tasks/s",
    f"The naive recursion as tasks that submit two tasks and wait for them, {FIB_CALLS} in all; for the first time, so "
    "that workers have to be started for those that wait.",
    goals=(Goal("minray[loky]", times=50),),
)
FIB_AGAIN = Row("fib(8), again", "tasks/s", "The same again and again, with the workers that the first time has left.")
SUBMITTED_BY_WORKERS = Row(
    "tasks submitted by workers",
    "/s",
    f"A task for each CPU submits {NESTED:,} tasks that do nothing and fetches their results, all at the same time.",
    goals=(Goal("minray[loky]", times=12),),
)


def add_one(number: int) -> int:
    """A link of the chain."""
    return number + 1


def count(*values: object) -> int:
    """The end of the fan."""
    return len(values)


def hold(path: str) -> None:
    """Keep a CPU until the file is gone."""
    while os.path.exists(path):
        time.sleep(0.001)


@contextmanager
def all_held(ray: Any) -> Iterator[None]:
    """Inside, every CPU is taken, so that what is submitted stays pending. It ends when all are free."""
    with tempfile.TemporaryDirectory() as folder:
        task, cpus = ray.remote(hold), int(ray.cluster_resources()["CPU"])
        path = os.path.join(folder, "held")
        open(path, "w").close()
        holders = [task.remote(path) for _ in range(cpus)]
        try:
            yield
        finally:
            os.remove(path)
            ray.get(holders)


def own_memory() -> int:
    """Bytes of this process that no other has (USS)."""
    with open("/proc/self/smaps_rollup", encoding="ascii") as lines:
        return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private"))


@MANY_AT_ONCE.on(*RAY_API)
def _(ray: Any) -> float:
    task = ray.remote(nothing)
    ray.get([task.remote() for _ in range(1000)])
    return once(lambda: expect(len(ray.get([task.remote() for _ in range(MANY)])), MANY), MANY)


@MANY_AT_ONCE.on(*EXECUTORS)
def _(executor: Any) -> float:
    def step() -> None:
        for future in [executor.submit(nothing) for _ in range(MANY)]:
            future.result()

    return once(step, MANY)


@MANY_AT_ONCE.on(POOL)
def _(pool: Any) -> float:
    def step() -> None:
        for result in [pool.apply_async(nothing) for _ in range(MANY)]:
            result.get()

    return once(step, MANY)


@PENDING_MEMORY.on(*RAY_API)
def _(ray: Any) -> float:
    task = ray.remote(nothing)
    ray.get([task.remote() for _ in range(100)])
    with all_held(ray):
        before = own_memory()
        refs = [task.remote() for _ in range(HELD)]
        grown = own_memory() - before
    ray.get(refs)
    return grown / HELD / 1000


@WAIT_READY.on(*RAY_API)
def _(ray: Any) -> float:
    refs = [ray.put(i) for i in range(READY)]
    return rate(lambda: expect(len(ray.wait(refs, num_returns=READY)[0]), READY))


@WAIT_PENDING.on(*RAY_API)
def _(ray: Any) -> float:
    task = ray.remote(nothing)

    def step() -> None:
        left = [task.remote() for _ in range(PENDING)]
        while left:
            _, left = ray.wait(left)

    return rate(step, PENDING)


@CHAINED.on(*RAY_API)
def _(ray: Any) -> float:
    task = ray.remote(add_one)

    def step() -> None:
        last = 0
        for _ in range(CHAIN):
            last = task.remote(last)
        expect(ray.get(last), CHAIN)

    return rate(step, CHAIN)


@FANNED_IN.on(*RAY_API)
def _(ray: Any) -> float:
    task, end = ray.remote(add_one), ray.remote(count)
    return rate(lambda: expect(ray.get(end.remote(*[task.remote(i) for i in range(FAN_IN)])), FAN_IN), FAN_IN)


def fib_step(ray: Any) -> Callable[[], None]:
    # Local, so that it travels by value, and the module of the API with it.
    @ray.remote  # type: ignore[untyped-decorator]
    def fib(n: int) -> int:
        return n if n < 2 else sum(ray.get([fib.remote(n - 1), fib.remote(n - 2)]))

    return lambda: expect(ray.get(fib.remote(8)), 21)


@FIB.on(*RAY_API)
def _(ray: Any) -> float:
    return once(fib_step(ray), FIB_CALLS)


@FIB_AGAIN.on(*RAY_API)
def _(ray: Any) -> float:
    return rate(fib_step(ray), FIB_CALLS)


@SUBMITTED_BY_WORKERS.on(*RAY_API)
def _(ray: Any) -> float:
    task = ray.remote(nothing)

    @ray.remote  # type: ignore[untyped-decorator]
    def submit() -> int:
        return len(ray.get([task.remote() for _ in range(NESTED)]))

    cpus = int(ray.cluster_resources()["CPU"])
    return rate(lambda: expect(ray.get([submit.remote() for _ in range(cpus)]), [NESTED] * cpus), NESTED * cpus)
