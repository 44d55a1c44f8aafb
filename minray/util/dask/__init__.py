"""Dask on minray: ``with enable_dask_on_ray(): collection.compute()``. Ray's `ray.util.dask`; needs Dask 2024.12.1.

`scheduler`: Dask's graphs become tasks. `callbacks`: hooks into that. `persisting`: `persist` keeps values in the
object store. Importing this package replaces `dask.persist`, as Ray's does; under other schedulers nothing changes.
"""

from minray.util.dask.callbacks import RayCallback, RayDaskCallback, local_ray_callbacks
from minray.util.dask.persisting import ray_dask_persist, replace_persist
from minray.util.dask.progress import ProgressBarCallback
from minray.util.dask.scheduler import disable_dask_on_ray, enable_dask_on_ray, ray_dask_get, ray_dask_get_sync

__all__ = [
    "ProgressBarCallback",
    "RayCallback",
    "RayDaskCallback",
    "disable_dask_on_ray",
    "enable_dask_on_ray",
    "local_ray_callbacks",
    "ray_dask_get",
    "ray_dask_get_sync",
    "ray_dask_persist",
]

replace_persist()
