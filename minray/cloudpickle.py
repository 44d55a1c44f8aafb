"""cloudpickle, as `ray.cloudpickle` offers it: for functions, classes and values that are pickled by hand.

It is the package of that name, but for values of types that `minray.util.register_serializer` knows. A ref that is
pickled by hand keeps its object until the run ends, as nobody knows how many refs will come out of the bytes.
"""

from __future__ import annotations

import io
from collections import ChainMap
from typing import IO, Any, ClassVar, cast

import cloudpickle as _package
from cloudpickle import (
    DEFAULT_PROTOCOL,
    list_registry_pickle_by_value,
    load,
    loads,
    register_pickle_by_value,
    unregister_pickle_by_value,
)

from minray.wire.pickling import custom

__all__ = [
    "DEFAULT_PROTOCOL",
    "CloudPickler",
    "Pickler",
    "dump",
    "dumps",
    "list_registry_pickle_by_value",
    "load",
    "loads",
    "register_pickle_by_value",
    "unregister_pickle_by_value",
]


class CloudPickler(_package.CloudPickler):  # type: ignore[misc]
    """cloudpickle's own, and it knows of the serializers that were registered."""

    dispatch_table: ClassVar[Any] = ChainMap(custom, cast(Any, _package.CloudPickler.dispatch_table))
    dispatch: ClassVar[Any] = dispatch_table


Pickler = CloudPickler


def dump(obj: Any, file: IO[bytes], protocol: int | None = None, buffer_callback: Any = None) -> None:
    """Pickle `obj` into a file. What it takes, raises and does is what `cloudpickle.dump` does."""
    CloudPickler(file, protocol=protocol, buffer_callback=buffer_callback).dump(obj)


def dumps(obj: Any, protocol: int | None = None, buffer_callback: Any = None) -> bytes:
    """`obj` as bytes, for `loads` or `pickle.loads`."""
    file = io.BytesIO()
    dump(obj, file, protocol, buffer_callback)
    return file.getvalue()


def __getattr__(name: str) -> Any:
    return getattr(_package, name)
