"""`RayBackend`: joblib's batches of calls, run by the actors of a `Pool`.

joblib calls `configure` when a `Parallel` begins, `submit` for each batch (the first ones from the user's thread, each
of the others when one is done) and `terminate` in the end. A large argument that many calls share is stored once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from joblib.parallel import (
    AutoBatchingMixin,
    BatchedCalls,
    FallbackToBackend,
    ParallelBackendBase,
    SequentialBackend,
    parallel_config,
)

import minray
from minray import ObjectRef
from minray.util.multiprocessing.pool import Pool
from minray.util.multiprocessing.results import AsyncResult, PoolTaskError
from minray.util.sharing import Stored


class RayBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]  # joblib has no types
    """The backend that `register_ray` registers.

    Args:
        nesting_level: joblib's.
        ray_remote_args: Options of the actors; by default they take no CPU. `joblib.Parallel` takes it too.
    """

    supports_retrieve_callback = True
    uses_threads = False
    supports_sharedmem = False

    def __init__(
        self, nesting_level: int | None = None, ray_remote_args: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(nesting_level=nesting_level, **kwargs)
        self.ray_remote_args = ray_remote_args
        self._pool: Pool | None = None
        self._stored = Stored()

    def configure(  # pyright: ignore[reportIncompatibleMethodOverride]  # joblib's returns nothing
        self,
        n_jobs: int | None = 1,
        parallel: Any = None,
        prefer: str | None = None,
        require: str | None = None,
        ray_remote_args: dict[str, Any] | None = None,
        **_about_memmaps: Any,
    ) -> int:
        """Start the actors; return how many. ValueError: there are fewer CPUs."""
        count = self.effective_n_jobs(n_jobs)
        if count == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        self.parallel = parallel
        self._pool = Pool(count, ray_remote_args=ray_remote_args or self.ray_remote_args)
        return count

    def effective_n_jobs(self, n_jobs: int | None) -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        """How many jobs run at a time: -1 means one for each CPU of the run, which is started if there is none."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            return 1
        if n_jobs > 0:
            return n_jobs
        return max(int(minray.cluster_resources().get("CPU", 1)) + 1 + n_jobs, 1)

    def submit(self, func: Any, callback: Callable[[Any], Any] | None = None) -> AsyncResult:
        """Run a batch in one of the actors. `callback` gets its results, or the error."""
        assert self._pool is not None, "joblib calls configure before submit"
        if isinstance(func, BatchedCalls):
            func = _Batch(func, self._stored)
        return self._pool.apply_async(func, callback=callback, error_callback=callback)

    def retrieve_result_callback(self, out: Any) -> Any:
        """The results that a callback was given; the error is raised."""
        if isinstance(out, PoolTaskError):
            raise out.underlying from out
        if isinstance(out, Exception):
            raise out
        return out

    def terminate(self) -> None:
        """End the actors."""
        if self._pool is not None:
            self._pool.terminate()
            self._pool = None
        self._stored = Stored()
        self.reset_batch_stats()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """End what runs, because a call has failed; with new actors if there is more to do."""
        self.terminate()
        if ensure_ready:
            self.configure(n_jobs=self.parallel.n_jobs, parallel=self.parallel, **self.parallel._backend_kwargs)


class _Batch:
    """joblib's `BatchedCalls`, with refs instead of large arguments."""

    def __init__(self, batch: Any, stored: Stored) -> None:
        self._nested = batch._backend, batch._n_jobs
        #: The refs that are ours: one that the user has passed arrives as a ref.
        self._given: set[ObjectRef[Any]] = set()
        self._calls = [
            (
                function,
                [self._put(arg, stored) for arg in args],
                {k: self._put(arg, stored) for k, arg in kwargs.items()},
            )
            for function, args, kwargs in batch.items
        ]

    def _put(self, arg: Any, stored: Stored) -> Any:
        ref = stored.ref_to(arg)
        if ref is not arg:
            self._given.add(ref)
        return ref

    def __call__(self) -> list[Any]:
        backend, n_jobs = self._nested
        with parallel_config(backend=backend, n_jobs=n_jobs):
            return [
                function(*map(self._value, args), **{name: self._value(arg) for name, arg in kwargs.items()})
                for function, args, kwargs in self._calls
            ]

    def _value(self, arg: Any) -> Any:
        return minray.get(arg) if isinstance(arg, ObjectRef) and arg in self._given else arg
