"""From what `init` was told to a run: the configuration of its pool, and its runtime."""

from __future__ import annotations

import sys
from typing import Any

from minray.backend import PoolConfig
from minray.runtime import Runtime

#: Modules that change what others mean: where the driver has them, workers get them first of all.
PRELOAD_IF_LOADED = ("minray.as_ray.installed",)


def start(
    backend: Any,
    *,
    num_cpus: int | None,
    num_gpus: int | None,
    resources: dict[str, float] | None,
    namespace: str | None,
    options: dict[str, Any],
) -> Runtime:
    """Start a run on `backend`, a class from the registry that makes a `WorkerPool`."""
    options = dict(options)
    labels = options.pop("labels", None) or {}
    runtime_env = options.pop("runtime_env", None)
    config = PoolConfig(
        num_cpus=num_cpus,
        num_gpus=num_gpus,
        memory=options.pop("memory", None),
        object_store_memory=options.pop("object_store_memory", None),
        spill_directory=options.pop("spill_directory", None),
        disk_threshold=options.pop("disk_threshold", 1.0),
        memory_threshold=options.pop("memory_threshold", 1.0),
        memory_refresh=options.pop("memory_refresh", 0.0),
        resources=resources or {},
        isolate=options.pop("isolate", True),
        log_to_driver=options.pop("log_to_driver", True),
        preload=[name for name in PRELOAD_IF_LOADED if name in sys.modules],
        address=options.pop("address", None),
        options=options,
    )
    pool = backend()
    kind: type[Runtime] = getattr(pool, "runtime", Runtime)
    return kind(pool, config, namespace, labels, runtime_env)
