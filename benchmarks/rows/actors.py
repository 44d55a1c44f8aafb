"""One actor, one caller: what a call costs."""

from __future__ import annotations

from typing import Any

from rows.base import DASK, RAY_API, Goal, Row, expect, rate

AT_ONCE = 1_000

SYNC = Row(
    "sync actor calls",
    "/s",
    "A method that adds one to a number is called and its result fetched, one after another.",
    goals=(Goal("minray[loky]", times=12), Goal("minray[threads]", times=25)),
)

ASYNC = Row(
    f"async actor calls, {AT_ONCE:,} at once",
    "/s",
    f"{AT_ONCE:,} calls of the same method are submitted, then all results fetched.",
    goals=(Goal("minray[loky]", times=10), Goal("minray[threads]", times=25)),
)


class Counter:
    """The actor: it counts its calls, so that a lost or repeated one shows."""

    def __init__(self) -> None:
        self.calls = 0

    def add(self) -> int:
        self.calls += 1
        return self.calls


@SYNC.on(*RAY_API)
def _(ray: Any) -> float:
    counter = ray.remote(Counter).remote()
    calls = 0

    def step() -> None:
        nonlocal calls
        calls += 1
        expect(ray.get(counter.add.remote()), calls)

    try:
        return rate(step)
    finally:
        ray.kill(counter)


@SYNC.on(DASK)
def _(client: Any) -> float:
    counter = client.submit(Counter, actor=True, pure=False).result()
    return rate(lambda: counter.add().result())


@ASYNC.on(*RAY_API)
def _(ray: Any) -> float:
    counter = ray.remote(Counter).remote()
    calls = 0

    def step() -> None:
        nonlocal calls
        calls += AT_ONCE
        expect(ray.get([counter.add.remote() for _ in range(AT_ONCE)])[-1], calls)

    try:
        return rate(step, AT_ONCE)
    finally:
        ray.kill(counter)


@ASYNC.on(DASK)
def _(client: Any) -> float:
    counter = client.submit(Counter, actor=True, pure=False).result()

    def step() -> None:
        futures = [counter.add() for _ in range(AT_ONCE)]
        for future in futures:
            future.result()

    return rate(step, AT_ONCE)
