"""`persist` leaves values in the object store, if the scheduler is ours: a collection then holds refs to them.

Dask has no way for a scheduler to tell `persist` from `compute`, so `dask.persist` is replaced by a function that does.
"""

from __future__ import annotations

import functools
from typing import Any

import dask
import dask.base

from minray.util.dask.scheduler import ray_dask_get, ray_dask_get_sync

_dask: Any = dask
_mixin: Any = dask.base.DaskMethodsMixin
_persist = _dask.persist
_method = _mixin.persist


@functools.wraps(_persist)
def ray_dask_persist(*args: Any, **kwargs: Any) -> Any:
    """`dask.persist`; under `ray_dask_get` the values stay in the object store."""
    return _persist(*args, **_marked(kwargs))


@functools.wraps(_method)
def _ray_method(self: Any, **kwargs: Any) -> Any:
    return _method(self, **_marked(kwargs))


def _marked(kwargs: dict[str, Any]) -> dict[str, Any]:
    scheduler = dask.base.get_scheduler(scheduler=kwargs.get("scheduler"))
    return {**kwargs, "ray_persist": True} if scheduler in (ray_dask_get, ray_dask_get_sync) else kwargs


def replace_persist() -> None:
    """Make `dask.persist` and the method `persist` of collections those of this module."""
    _dask.persist = ray_dask_persist
    _mixin.persist = _ray_method
