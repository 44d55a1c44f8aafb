"""Tasks that do nothing: what a call costs."""

from __future__ import annotations

import os
import socket
import time
from typing import Any

from rows.base import DASK, EXECUTORS, MACHINE, POOL, RAY_API, Goal, Row, expect, rate

AT_ONCE = 5_000

SYNC = Row(
    "sync tasks",
    "/s",
    "A task that does nothing is submitted and its result fetched, one after another. The machine: one byte there "
    "and one back between two processes over a socket pair.",
    goals=(
        Goal("minray[loky]", times=20),
        Goal("minray[loky]", times=1, than="ProcessPoolExecutor"),
        Goal("minray[threads]", times=50),
    ),
)

ASYNC = Row(
    f"async tasks, {AT_ONCE:,} at once",
    "/s",
    f"{AT_ONCE:,} tasks that do nothing are submitted, then all results fetched.",
    goals=(
        Goal("minray[loky]", times=20),
        Goal("minray[loky]", times=1, than=POOL),
        Goal("minray[threads]", times=25),
    ),
)


def nothing() -> None:
    """The task."""


def pause() -> None:
    """A task that keeps one worker busy for long enough that the next one goes to another."""
    time.sleep(0.1)


@SYNC.on(*RAY_API)
def _(ray: Any) -> float:
    task = ray.remote(nothing)
    return rate(lambda: ray.get(task.remote()))


@SYNC.on(*EXECUTORS)
def _(executor: Any) -> float:
    return rate(lambda: executor.submit(nothing).result())


@SYNC.on(POOL)
def _(pool: Any) -> float:
    return rate(lambda: pool.apply(nothing))


@SYNC.on(DASK)
def _(client: Any) -> float:
    return rate(lambda: client.submit(nothing, pure=False).result())


@SYNC.on(MACHINE)
def _(_: None) -> float:
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        while byte := theirs.recv(1):
            theirs.send(byte)
        os._exit(0)
    theirs.close()

    def ping() -> None:
        ours.send(b"x")
        ours.recv(1)

    try:
        return rate(ping)
    finally:
        ours.close()
        os.wait()


@ASYNC.on(*RAY_API)
def _(ray: Any) -> float:
    task = ray.remote(nothing)
    return rate(lambda: expect(len(ray.get([task.remote() for _ in range(AT_ONCE)])), AT_ONCE), AT_ONCE)


@ASYNC.on(*EXECUTORS)
def _(executor: Any) -> float:
    def step() -> None:
        futures = [executor.submit(nothing) for _ in range(AT_ONCE)]
        for future in futures:
            future.result()

    return rate(step, AT_ONCE)


@ASYNC.on(POOL)
def _(pool: Any) -> float:
    def step() -> None:
        results = [pool.apply_async(nothing) for _ in range(AT_ONCE)]
        for result in results:
            result.get()

    return rate(step, AT_ONCE)


@ASYNC.on(DASK)
def _(client: Any) -> float:
    def step() -> None:
        client.gather([client.submit(nothing, pure=False) for _ in range(AT_ONCE)])

    return rate(step, AT_ONCE)
