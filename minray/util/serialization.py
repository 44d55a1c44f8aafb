"""Serializers of one's own, for types that cannot be pickled, or not well."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from minray.wire.pickling import custom

T = TypeVar("T")


def register_serializer(cls: type[T], *, serializer: Callable[[T], Any], deserializer: Callable[[Any], T]) -> None:
    """Have instances of `cls` (not of its subclasses) travel as what `serializer` makes of them.

    1. Wherever such an instance is pickled in this process, be it an argument, a value or something that a function
       closes over, ``serializer(instance)`` is pickled in its place, with `deserializer`, which must be picklable.
    2. Whoever unpickles it gets ``deserializer(that)``. Nothing needs to be registered there.

    A worker that makes such instances itself has to register the type too. (On the threads backend workers are in this
    process, so they know of it.) To register a type again replaces what was there.
    """
    custom[cls] = lambda instance: (deserializer, (serializer(instance),))


def deregister_serializer(cls: type) -> None:
    """Pickle instances of `cls` as usual again. Does nothing if it was not registered."""
    custom.pop(cls, None)
