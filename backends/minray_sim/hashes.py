"""Objects of the standard library that programs keep in sets: by their hashes, which are addresses, they come out in
another order each time. Those that simulated code makes are numbered, and hashed by that.
"""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable
from typing import Any

from minray_sim import active


def _numbered(cls: type) -> list[tuple[Any, str, Any]]:
    """Patches of a class: the number is there before anything can ask for the hash."""
    init: Callable[..., None] = cls.__init__  # type: ignore[misc]

    def begin(self: Any, *args: Any, **kwargs: Any) -> None:
        simulation = active.caller()
        if simulation is not None:
            self.__dict__["_minray_number"] = simulation.count("hashes")
        init(self, *args, **kwargs)

    def number(self: Any) -> int:
        own: int | None = self.__dict__.get("_minray_number")
        return object.__hash__(self) if own is None else own

    return [(cls, "__init__", begin), (cls, "__hash__", number)]


_PATCHES = _numbered(threading.Thread) + _numbered(concurrent.futures.Future)


def patches() -> list[tuple[Any, str, Any]]:
    return _PATCHES
