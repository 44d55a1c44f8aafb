"""Large values that many calls share are stored once, for the libraries that make those calls."""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import minray
from minray import ObjectRef

#: Values of this many bytes and more are stored once; below, to send them again costs less than to look them up.
LARGE = 100_000


class Stored:
    """Large values that have been stored, by identity. They are kept, so that no other gets the same id."""

    def __init__(self) -> None:
        self._found: dict[int, tuple[Any, ObjectRef[Any]]] = {}

    def ref_to(self, value: Any) -> Any:
        """A ref to `value` if it is large, else `value` itself."""
        if isinstance(value, ObjectRef) or size_of(value) < LARGE:
            return value
        found = self._found.get(id(value))
        if found is None:
            found = self._found[id(value)] = value, minray.put(value)
        return found[1]


def size_of(value: Any) -> int:
    """About how many bytes `value` has; of a sparse matrix, its data."""
    for owner in (value, getattr(value, "data", None)):
        nbytes = getattr(owner, "nbytes", None)
        if isinstance(nbytes, int):
            return nbytes
    with contextlib.suppress(TypeError):
        return sys.getsizeof(value)
    return 0
