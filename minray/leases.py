"""Views of memory that say when they are gone."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, cast


class Leases:
    """The views that this process has of values in a store."""

    def __init__(self) -> None:
        self._refs: dict[int, weakref.ref[Any]] = {}  # by id: an array's weakref has no hash

    def view(self, buffer: Any, size: int, offset: int, released: Callable[[], None]) -> memoryview:
        """A view of `size` bytes of a read-only buffer, without a copy. `released` is called when it, its parts, and
        whatever was built on them are gone, in whatever thread that happens."""
        import numpy  # an array is the cheapest thing that exports a part of a buffer and can be watched

        lease = numpy.frombuffer(buffer, numpy.uint8, size, offset)

        def gone(ref: weakref.ref[Any]) -> None:
            self._refs.pop(id(ref), None)
            released()

        ref = weakref.ref(lease, gone)
        self._refs[id(ref)] = ref
        return memoryview(cast(Any, lease))

    def clear(self) -> None:
        """Tell nobody any more."""
        self._refs.clear()
