"""The systems of the table: how each is started, given a task without arguments, and stopped.

A system's package is imported by `load`, in the child alone: the parent and the other systems' children never see it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rows.base import DASK, MACHINE, POOL
from rows.tasks import nothing, pause

Wait = Callable[[], Any]


@dataclass(frozen=True)
class System:
    """One column.

    `start(module, cpus)` returns what the rows, `submit` and `stop` are given. `distribution` is what pip installs;
    empty for the standard library.
    """

    name: str
    module: str
    distribution: str
    start: Callable[[Any, int], Any]
    submit: Callable[[Any, Callable[[], None]], Wait]
    stop: Callable[[Any], object]

    def load(self) -> Any:
        return importlib.import_module(self.module)

    def version(self) -> str | None:
        """Its version; "" for the standard library; None if it is not installed."""
        from importlib import metadata, util  # here: a child does without, and is weighed

        try:
            return metadata.version(self.distribution) if self.distribution else ""
        except metadata.PackageNotFoundError:
            # A checkout on PYTHONPATH has no metadata, but can be measured all the same.
            return "checkout" if util.find_spec(self.module) else None

    def first_result(self, handle: Any) -> None:
        self.submit(handle, nothing)()

    def warm_up(self, handle: Any, cpus: int) -> None:
        """Have every worker run something: some systems start a worker only when there is work for it."""
        for wait in [self.submit(handle, pause) for _ in range(2 * cpus)]:
            wait()


def _start_ray(ray: Any, cpus: int) -> Any:
    ray.init(num_cpus=cpus, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    return ray


def _minray(backend: str) -> Callable[[Any, int], Any]:
    def start(minray: Any, cpus: int) -> Any:
        minray.init(backend=backend, num_cpus=cpus)
        return minray

    return start


def _ray_submit(ray: Any, task: Callable[[], None]) -> Wait:
    ref = ray.remote(task).remote()
    return lambda: ray.get(ref)


def _submit(executor: Any, task: Callable[[], None]) -> Wait:
    result: Wait = executor.submit(task).result
    return result


def _start_dask(distributed: Any, cpus: int) -> Any:
    # One thread a worker, as in the other systems of processes.
    return distributed.Client(
        n_workers=cpus, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs="ERROR"
    )


def _stop_pool(pool: Any) -> None:
    pool.close()
    pool.join()


SYSTEMS: list[System] = [
    System("ray", "ray", "ray", _start_ray, _ray_submit, lambda ray: ray.shutdown()),
    System("minray[threads]", "minray", "minray", _minray("threads"), _ray_submit, lambda minray: minray.shutdown()),
    System("minray[loky]", "minray", "minray", _minray("loky"), _ray_submit, lambda minray: minray.shutdown()),
    System(
        "loky",
        "loky",
        "loky",
        lambda loky, cpus: loky.get_reusable_executor(max_workers=cpus),
        _submit,
        lambda executor: executor.shutdown(),
    ),
    System(
        "ProcessPoolExecutor",
        "concurrent.futures.process",
        "",
        lambda process, cpus: process.ProcessPoolExecutor(cpus),
        _submit,
        lambda executor: executor.shutdown(),
    ),
    System(
        "ThreadPoolExecutor",
        "concurrent.futures.thread",
        "",
        lambda thread, cpus: thread.ThreadPoolExecutor(cpus),
        _submit,
        lambda executor: executor.shutdown(),
    ),
    System(
        POOL,
        "multiprocessing.pool",
        "",
        lambda pool, cpus: pool.Pool(cpus),
        lambda pool, task: pool.apply_async(task).get,
        _stop_pool,
    ),
    System(
        DASK,
        "distributed",
        "distributed",
        _start_dask,
        lambda client, task: client.submit(task, pure=False).result,
        lambda client: client.close(),
    ),
    # Nothing to start, nothing to stop: it has rows alone.
    System(MACHINE, "os", "", lambda os, cpus: None, lambda handle, task: lambda: None, lambda handle: None),
]
