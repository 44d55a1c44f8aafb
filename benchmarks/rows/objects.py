"""Values, small and large: 100 MB are 12.5 million float64. numpy is imported by the rows, not with this file, so that
it does not count as memory of a system that does without."""

from __future__ import annotations

from typing import Any

from rows.base import DASK, EXECUTORS, MACHINE, POOL, RAY_API, Goal, Row, expect, rate

LENGTH = 12_500_000
GIGABYTES = 0.1

PUT_SMALL = Row(
    "put, small",
    "/s",
    "An int is put into the object store.",
    goals=(Goal("minray[loky]", times=40), Goal("minray[threads]", times=50)),
)
GET_SMALL = Row(
    "get, small",
    "/s",
    "The same stored int is fetched again and again.",
    goals=(Goal("minray[loky]", times=8), Goal("minray[threads]", times=10)),
)
PUT_LARGE = Row(
    "put, 100 MB",
    "GB/s",
    "An array of 100 MB is put into the object store, again and again, the reference before being dropped. "
    "The machine: the array is copied into another one that was touched before (memcpy).",
    goals=(Goal("minray[loky]", times=0.8, than=MACHINE),),
)
GET_LARGE = Row(
    "get, 100 MB",
    "/s",
    "The same stored array of 100 MB is fetched again and again.",
    goals=(Goal("minray[loky]", times=3),),
)
RETURN_LARGE = Row(
    "task returning 100 MB",
    "GB/s",
    "A task makes an array of 100 MB (np.ones); the driver fetches it.",
    goals=(Goal("minray[loky]", times=2.5),),
)
PASS_LARGE = Row(
    "task with a 100 MB argument",
    "/s",
    "A task is given an array of 100 MB, as a reference to a stored one where there is such a thing, and returns its "
    "length, one after another.",
    goals=(Goal("minray[loky]", times=20),),
)


def large() -> Any:
    """The array; also the task that makes it."""
    import numpy as np

    return np.ones(LENGTH)


def length(array: Any) -> int:
    """The task that reads it."""
    return len(array)


@PUT_SMALL.on(*RAY_API)
def _(ray: Any) -> float:
    return rate(lambda: ray.put(1))


@PUT_SMALL.on(DASK)
def _(client: Any) -> float:
    return rate(lambda: client.scatter(1, hash=False))


@GET_SMALL.on(*RAY_API)
def _(ray: Any) -> float:
    ref = ray.put(1)
    return rate(lambda: ray.get(ref))


@GET_SMALL.on(DASK)
def _(client: Any) -> float:
    return rate(client.scatter(1, hash=False).result)


@PUT_LARGE.on(*RAY_API)
def _(ray: Any) -> float:
    array = large()
    return rate(lambda: ray.put(array), GIGABYTES)


@PUT_LARGE.on(DASK)
def _(client: Any) -> float:
    array = large()
    return rate(lambda: client.scatter(array, hash=False), GIGABYTES)


@PUT_LARGE.on(MACHINE)
def _(_: None) -> float:
    array, copy = large(), large()

    def step() -> None:
        copy[:] = array

    return rate(step, GIGABYTES)


@GET_LARGE.on(*RAY_API)
def _(ray: Any) -> float:
    ref = ray.put(large())
    return rate(lambda: expect(len(ray.get(ref)), LENGTH))


@GET_LARGE.on(DASK)
def _(client: Any) -> float:
    future = client.scatter(large(), hash=False)
    return rate(lambda: expect(len(future.result()), LENGTH))


@RETURN_LARGE.on(*RAY_API)
def _(ray: Any) -> float:
    task = ray.remote(large)
    return rate(lambda: expect(len(ray.get(task.remote())), LENGTH), GIGABYTES)


@RETURN_LARGE.on(*EXECUTORS)
def _(executor: Any) -> float:
    return rate(lambda: expect(len(executor.submit(large).result()), LENGTH), GIGABYTES)


@RETURN_LARGE.on(POOL)
def _(pool: Any) -> float:
    return rate(lambda: expect(len(pool.apply(large)), LENGTH), GIGABYTES)


@RETURN_LARGE.on(DASK)
def _(client: Any) -> float:
    return rate(lambda: expect(len(client.submit(large, pure=False).result()), LENGTH), GIGABYTES)


@PASS_LARGE.on(*RAY_API)
def _(ray: Any) -> float:
    task, ref = ray.remote(length), ray.put(large())
    return rate(lambda: expect(ray.get(task.remote(ref)), LENGTH))


@PASS_LARGE.on(*EXECUTORS)
def _(executor: Any) -> float:
    array = large()
    return rate(lambda: expect(executor.submit(length, array).result(), LENGTH))


@PASS_LARGE.on(POOL)
def _(pool: Any) -> float:
    array = large()
    return rate(lambda: expect(pool.apply(length, (array,)), LENGTH))


@PASS_LARGE.on(DASK)
def _(client: Any) -> float:
    future = client.scatter(large(), hash=False)
    return rate(lambda: expect(client.submit(length, future, pure=False).result(), LENGTH))
