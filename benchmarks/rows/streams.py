"""Coroutines, generators, queues and pools: what is built on tasks and actors."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from rows.base import POOL, RAY_API, Goal, Row, expect, rate, workers

CALLS = 3_000
ITEMS = 2_000
PUTS = 500
MAPPED = 10_000

COROUTINES = Row(
    f"async actor, {CALLS:,} coroutines at once",
    "/s",
    f"{CALLS:,} calls of a coroutine of one async actor are submitted, then all results fetched.",
    goals=(Goal("minray[loky]", times=10),),
)
STREAM = Row(
    "streaming generator, items",
    "/s",
    f"A generator task yields {ITEMS:,} ints, and each is fetched as it comes.",
    goals=(Goal("minray[loky]", times=10),),
)
QUEUE = Row(
    "queue, put and get",
    "/s",
    f"{PUTS:,} ints are put into a `util.queue.Queue` one by one, then taken out one by one: so many a second.",
    goals=(Goal("minray[loky]", times=10),),
)
MAP = Row(
    f"Pool.map of {MAPPED:,} small items",
    "items/s",
    f"The `map` of a pool of processes squares {MAPPED:,} ints: `util.multiprocessing.Pool`, the standard library's.",
    goals=(Goal("minray[loky]", times=1, than=POOL),),
)


class Echo:
    """An async actor: its one method is a coroutine."""

    async def echo(self, value: int) -> int:
        return value


def count() -> Iterator[int]:
    # Not `yield from`: Ray sends to what it reads, and a range cannot be sent to.
    for i in range(ITEMS):  # noqa: UP028
        yield i


def square(number: int) -> int:
    return number * number


@COROUTINES.on(*RAY_API)
def _(ray: Any) -> float:
    echo = ray.remote(Echo).remote()

    def step() -> None:
        expect(ray.get([echo.echo.remote(i) for i in range(CALLS)]), list(range(CALLS)))

    try:
        return rate(step, CALLS)
    finally:
        ray.kill(echo)


@STREAM.on(*RAY_API)
def _(ray: Any) -> float:
    counted = ray.remote(num_returns="streaming")(count)
    return rate(lambda: expect(sum(ray.get(ref) for ref in counted.remote()), sum(range(ITEMS))), ITEMS)


@QUEUE.on(*RAY_API)
def _(ray: Any) -> float:
    queue = importlib.import_module(f"{ray.__name__}.util.queue").Queue()

    def step() -> None:
        for i in range(PUTS):
            queue.put(i)
        expect([queue.get() for _ in range(PUTS)], list(range(PUTS)))

    try:
        return rate(step, PUTS)
    finally:
        queue.shutdown(force=True)


@MAP.on(*RAY_API)
def _(ray: Any) -> float:
    pool = importlib.import_module(f"{ray.__name__}.util.multiprocessing").Pool(workers())
    try:
        return _map(pool)
    finally:
        pool.terminate()


@MAP.on(POOL)
def _map(pool: Any) -> float:
    squares = [i * i for i in range(MAPPED)]
    return rate(lambda: expect(pool.map(square, range(MAPPED)), squares), MAPPED)
