"""Libraries on minray's public API, under Ray's names: ``from minray.util import ActorPool``.

A name is imported when it is first asked for, so that `import minray` pays for none of them.

`annotations`: `PublicAPI` and its like. `check_serialize`: `inspect_serializability`. `named`: `list_named_actors`,
`get_node_ip_address`. `state`: what tasks, actors, objects, workers there are. `metrics`: counters, gauges, histograms.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minray.util.check_serialize import inspect_serializability
    from minray.util.named import get_node_ip_address, list_named_actors

#: name -> the module that has it
_WHERE = {
    "get_node_ip_address": "minray.util.named",
    "inspect_serializability": "minray.util.check_serialize",
    "list_named_actors": "minray.util.named",
}
#: Modules that can be used as attributes, without an import of their own.
_MODULES = ("annotations", "check_serialize", "state")

__all__ = [
    "get_node_ip_address",
    "inspect_serializability",
    "list_named_actors",
]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        found = getattr(importlib.import_module(_WHERE[name]), name)
    elif name in _MODULES:
        found = importlib.import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found  # the next look-up does not come here
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_WHERE, *_MODULES})
