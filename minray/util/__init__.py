"""Libraries on minray's public API, under Ray's names: ``from minray.util import ActorPool``.

A name is imported when it is first asked for, so that `import minray` pays for none of them.

`actor_pool`: `ActorPool`. `helpers`: `as_completed`, `map_unordered`.

These files know nothing of minray but what is in `minray.__all__`: they would run on Ray as they are.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minray.util.actor_pool import ActorPool
    from minray.util.helpers import as_completed, map_unordered

#: name -> the module that has it
_WHERE = {
    "ActorPool": "minray.util.actor_pool",
    "as_completed": "minray.util.helpers",
    "map_unordered": "minray.util.helpers",
}
#: Modules that can be used as attributes, without an import of their own.
_MODULES = ("actor_pool", "helpers")

__all__ = [
    "ActorPool",
    "as_completed",
    "map_unordered",
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
