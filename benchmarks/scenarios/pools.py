"""The systems of hygiene.py, each behind the same four methods, used as its documentation says."""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

Wait = Callable[[], Any]
Function = Callable[[Any], Any]

#: Workers of each system.
WORKERS = 2


class Pool:
    """One column. `distribution` is what pip installs; empty for the standard library."""

    name: str
    distribution: str
    #: Whether tasks run in processes other than the program's.
    processes = True

    def start(self, nested: bool = False) -> None:
        """Start the workers. `nested`: tasks are going to use the system, too."""
        raise NotImplementedError

    def begin(self, function: Function, items: Sequence[Any]) -> list[Wait]:
        """Have `function` called with each item; what waits for the results, in their order."""
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError

    def inside(self, function: Function, items: Sequence[Any]) -> list[Any]:
        """The same in a task, to the end. Who does not share the program's workers there starts others."""
        self.start()
        try:
            return [wait() for wait in self.begin(function, items)]
        finally:
            self.stop()

    def version(self) -> str | None:
        """Its version; "" for the standard library; None if it is not installed."""
        try:
            return importlib.metadata.version(self.distribution) if self.distribution else ""
        except importlib.metadata.PackageNotFoundError:
            return None


class RayApi(Pool):
    """Ray, and what has its API."""

    def __init__(self, name: str, distribution: str, processes: bool = True, **options: Any) -> None:
        self.name = name
        self.distribution = distribution
        self.processes = processes
        self._options = options

    def start(self, nested: bool = False) -> None:
        importlib.import_module(self.distribution).init(num_cpus=WORKERS, **self._options)

    def begin(self, function: Function, items: Sequence[Any]) -> list[Wait]:
        ray = importlib.import_module(self.distribution)
        remote = ray.remote(function)
        return [partial(ray.get, remote.remote(item)) for item in items]

    def stop(self) -> None:
        importlib.import_module(self.distribution).shutdown()

    def inside(self, function: Function, items: Sequence[Any]) -> list[Any]:
        return [wait() for wait in self.begin(function, items)]


class Executor(Pool):
    """What has `submit` and `result`."""

    def __init__(self, name: str, distribution: str, start: Callable[[], Any]) -> None:
        self.name = name
        self.distribution = distribution
        self._start = start

    def start(self, nested: bool = False) -> None:
        self._executor = self._start()

    def begin(self, function: Function, items: Sequence[Any]) -> list[Wait]:
        return [self._executor.submit(function, item).result for item in items]

    def stop(self) -> None:
        self._executor.shutdown()


class StandardPool(Pool):
    name = "multiprocessing.Pool"
    distribution = ""

    def start(self, nested: bool = False) -> None:
        self._pool = importlib.import_module("multiprocessing").Pool(WORKERS)

    def begin(self, function: Function, items: Sequence[Any]) -> list[Wait]:
        return [self._pool.apply_async(function, (item,)).get for item in items]

    def stop(self) -> None:
        self._pool.close()
        self._pool.join()


class Joblib(Pool):
    name = "joblib"
    distribution = "joblib"

    def start(self, nested: bool = False) -> None:
        """Its workers start with the first call, and are kept for the next."""

    def begin(self, function: Function, items: Sequence[Any]) -> list[Wait]:
        joblib = importlib.import_module("joblib")
        parallel = joblib.Parallel(n_jobs=WORKERS, return_as="generator")
        results = parallel(joblib.delayed(function)(item) for item in items)
        failed: list[BaseException] = []

        def wait() -> Any:
            if failed:  # one error is all that it has to say
                raise failed[0]
            try:
                return next(results)
            except BaseException as error:
                failed.append(error)
                raise

        return [wait] * len(items)

    def stop(self) -> None:
        """There is nothing to call: idle workers end by themselves."""


class Mpire(Pool):
    name = "mpire"
    distribution = "mpire"

    def start(self, nested: bool = False) -> None:
        self._pool = importlib.import_module("mpire").WorkerPool(n_jobs=WORKERS, daemon=not nested)

    def begin(self, function: Function, items: Sequence[Any]) -> list[Wait]:
        return [self._pool.apply_async(function, (item,)).get for item in items]

    def stop(self) -> None:
        self._pool.stop_and_join()


class Dask(Pool):
    name = "dask"
    distribution = "distributed"

    def start(self, nested: bool = False) -> None:
        self._client = importlib.import_module("distributed").Client(
            n_workers=WORKERS, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs="ERROR"
        )

    def begin(self, function: Function, items: Sequence[Any]) -> list[Wait]:
        return [self._client.submit(function, item, pure=False).result for item in items]

    def stop(self) -> None:
        self._client.close()

    def inside(self, function: Function, items: Sequence[Any]) -> list[Any]:
        with importlib.import_module("distributed").worker_client() as client:
            gathered: list[Any] = client.gather(client.map(function, items, pure=False))
        return gathered


def _loky() -> Any:
    return importlib.import_module("loky").get_reusable_executor(max_workers=WORKERS)


def _standard_executor() -> Any:
    return importlib.import_module("concurrent.futures").ProcessPoolExecutor(WORKERS)


POOLS: list[Pool] = [
    RayApi("minray[loky]", "minray", backend="loky"),
    RayApi("minray[threads]", "minray", processes=False, backend="threads"),
    RayApi("ray", "ray", include_dashboard=False, logging_level="ERROR"),
    Executor("loky", "loky", _loky),
    Joblib(),
    Executor("ProcessPoolExecutor", "", _standard_executor),
    StandardPool(),
    Dask(),
    Mpire(),
]


def find(name: str) -> Pool:
    return next(pool for pool in POOLS if pool.name == name)
