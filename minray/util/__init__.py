"""Libraries on minray's public API, under Ray's names: ``from minray.util import ActorPool``.

A name is imported when it is first asked for, so that `import minray` pays for none of them.

- `actor_pool`: `ActorPool`. `helpers`: `as_completed`, `map_unordered`.
- `queue`: `Queue`.
- `multiprocessing`: the standard library's `Pool`. `joblib`: joblib's backend "ray". `dask`: Dask's graphs as tasks.
- `collective`: actors that exchange arrays.
- `placement_group`: reserving resources together. `scheduling_strategies`: where tasks run.
- `state`: what tasks, actors, objects, workers there are. `named`: `list_named_actors`, `get_node_ip_address`.
- `annotations`: `PublicAPI` and its like. `check_serialize`: `inspect_serializability`. `serialization`:
  `register_serializer`.
- `metrics`: counters, gauges and histograms, for Prometheus. `iter`: iterators in actors, which Ray deprecates.
- `debug`: `log_once`. `accelerators`: their names.
- `sharing`, for these: values that many calls share.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# At once, as the frontend needs them anyway: and the function takes the name of its module, as in Ray.
from minray.util.placement_group import (
    get_current_placement_group,
    get_placement_group,
    placement_group,
    placement_group_table,
    remove_placement_group,
)

if TYPE_CHECKING:
    from minray.util.actor_pool import ActorPool
    from minray.util.check_serialize import inspect_serializability
    from minray.util.debug import disable_log_once_globally, enable_periodic_logging, log_once
    from minray.util.helpers import as_completed, map_unordered
    from minray.util.named import get_node_instance_id, get_node_ip_address, list_named_actors
    from minray.util.serialization import deregister_serializer, register_serializer

#: name -> the module that has it
_WHERE = {
    "ActorPool": "minray.util.actor_pool",
    "as_completed": "minray.util.helpers",
    "deregister_serializer": "minray.util.serialization",
    "disable_log_once_globally": "minray.util.debug",
    "enable_periodic_logging": "minray.util.debug",
    "get_node_instance_id": "minray.util.named",
    "get_node_ip_address": "minray.util.named",
    "inspect_serializability": "minray.util.check_serialize",
    "list_named_actors": "minray.util.named",
    "log_once": "minray.util.debug",
    "map_unordered": "minray.util.helpers",
    "register_serializer": "minray.util.serialization",
}
#: Modules that can be used as attributes, without an import of their own.
_MODULES = (
    "accelerators",
    "actor_pool",
    "annotations",
    "check_serialize",
    "collective",
    "dask",
    "debug",
    "helpers",
    "iter",
    "iter_metrics",
    "joblib",
    "metrics",
    "multiprocessing",
    "queue",
    "scheduling_strategies",
    "serialization",
    "state",
)

__all__ = [
    "ActorPool",
    "as_completed",
    "deregister_serializer",
    "disable_log_once_globally",
    "enable_periodic_logging",
    "get_current_placement_group",
    "get_node_instance_id",
    "get_node_ip_address",
    "get_placement_group",
    "inspect_serializability",
    "list_named_actors",
    "log_once",
    "map_unordered",
    "placement_group",
    "placement_group_table",
    "remove_placement_group",
    "register_serializer",
]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        found = getattr(importlib.import_module(_WHERE[name]), name)
    elif name in _MODULES:
        found = importlib.import_module(f"{__name__}.{name}")
    else:
        from minray.left_out import UTIL, why

        raise AttributeError(why(name, __name__, UTIL))
    globals()[name] = found  # the next look-up does not come here
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE, *_MODULES})
