"""`ProgressBarCallback`: a bar of the tasks that have run, of those that a graph has."""

from __future__ import annotations

import asyncio
from typing import Any

import minray
from minray.util.dask.callbacks import RayDaskCallback


class ProgressBarCallback(RayDaskCallback):
    """Shows a bar on stderr from the last submission until all tasks have run: ``with ProgressBarCallback(): ...``."""

    def __init__(self) -> None:
        super().__init__()
        actor_class: Any = minray.remote(_Finished)
        self._finished = actor_class.options(num_cpus=0).remote()
        self._submitted = 0

    def _ray_postsubmit(self, task: Any, key: Any, deps: Any, object_ref: Any) -> None:
        self._submitted += 1

    def _ray_posttask(self, key: Any, result: Any, pre_state: Any) -> None:
        self._finished.one_more.remote()

    def _ray_postsubmit_all(self, object_refs: Any, dsk: Any) -> None:
        from tqdm import tqdm

        results = [ref for ref in _flat(object_refs) if isinstance(ref, minray.ObjectRef)]
        with tqdm(total=self._submitted) as bar:
            while bar.n < self._submitted:
                more = self._finished.more_than.remote(bar.n)
                minray.wait([more, *results], num_returns=1)
                if minray.wait([more], timeout=0)[0]:
                    bar.update(minray.get(more) - bar.n)
                elif len(minray.wait(results, num_returns=len(results), timeout=0)[0]) == len(results):
                    break  # a task has failed, so that the others will never run
                else:
                    results = minray.wait(results, num_returns=len(results), timeout=0)[1]
        self._submitted = 0
        minray.get(self._finished.reset.remote())


class _Finished:
    """Counts the tasks that have run, and answers when there are more."""

    def __init__(self) -> None:
        self._count = 0
        self._changed = asyncio.Event()

    async def one_more(self) -> None:
        self._count += 1
        self._changed.set()

    async def more_than(self, seen: int) -> int:
        while self._count <= seen:
            self._changed.clear()
            await self._changed.wait()
        return self._count

    async def reset(self) -> None:
        self._count = 0


def _flat(found: Any) -> list[Any]:
    return [leaf for item in found for leaf in _flat(item)] if isinstance(found, (list, tuple)) else [found]
