"""Python objects to values (`minray.core.value`) and back: the one place where something is serialised."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

from minray.core.value import BUFFERED, ERROR, FAULT, MISSING, PICKLED, PLAIN, RAW, SPILLED, STORED, Value, bytes_of
from minray.exceptions import RayError
from minray.wire.faults import to_exception
from minray.wire.pickling import dumps, is_atom

#: Bytes up to which a value travels inside messages. Beyond it is written to the pool's store, if it has one:
#: mapping costs about 20 us, which is what copying this much through two sockets costs.
INLINE_BYTES = 64 * 1024
#: An atom longer than this is not worth sending as it is.
_ATOM_BYTES = 4096

#: Writes buffers to the store: (pickle, buffers, total bytes) -> location. Reads: (id of the bytes, location) ->
#: (pickle, buffers).
Write = Callable[[bytes, Sequence[pickle.PickleBuffer], int], Any]
Read = Callable[[int, Any], tuple[Any, list[Any]]]


def encode(obj: Any, write: Write | None) -> Value:
    """`obj` as a value: small ones inline, large ones through `write` (None: the pool has no store, all inline)."""
    if is_atom(obj):
        size = len(obj) if isinstance(obj, (str, bytes)) else 0
        if size <= _ATOM_BYTES:
            return (PLAIN, obj, ())
    if isinstance(obj, RayError):
        return encode_error(obj)
    return _encode(write, obj)


def encode_error(error: RayError) -> Value:
    """An error as what a call has come to: `get` raises it, and calls that are given it fail. (In Ray that is so for
    every such exception, also one that a task returns or that was put.)"""
    import cloudpickle  # it may be of a class of the program's own; 15 ms, for what is rare

    return (ERROR, cloudpickle.dumps(error), ())


def _encode(write: Write | None, *objs: Any) -> Value:
    body, buffers, refs = dumps(*objs)
    if not buffers and (write is None or len(body) <= INLINE_BYTES):
        return (PICKLED, body, tuple(refs))
    total = len(body)
    for buffer in buffers:
        total += buffer.raw().nbytes
    if write is not None and total > INLINE_BYTES:
        return (STORED, write(body, buffers, total), tuple(refs))
    return (BUFFERED, (body, [bytes(buffer.raw()) for buffer in buffers]), tuple(refs))


def encode_arguments(args: tuple[Any, ...], kwargs: dict[str, Any], write: Write | None) -> Value:
    """The arguments of a call as one value, from which each comes out as an object of its own, as in Ray: given the
    same list twice, the call has two."""
    several = False
    for arg in (*args, *kwargs.values()) if kwargs else args:
        if not is_atom(arg):
            if several:
                return _encode(write, (len(args), tuple(kwargs)), *args, *kwargs.values())
            several = True
    return _encode(write, (args, kwargs))


def decode_arguments(value: Value, id: int, read: Read | None) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What `encode_arguments` was given, as fresh copies."""
    kind, data, _ = value
    if kind == PICKLED:
        body, buffers = data, []
    elif kind == BUFFERED:
        body, buffers = data
    elif kind in (STORED, SPILLED):
        assert read is not None
        body, buffers = read(bytes_of(id, kind), data)
    else:
        args, kwargs = decode(value, id, read)
        return args, kwargs
    first, second = pickle.loads(body, buffers=buffers)
    if type(first) is tuple:
        return first, second
    stream, rest = BytesIO(body), iter(buffers)
    pickle.load(stream)
    args = tuple([pickle.load(stream, buffers=rest) for _ in range(first)])
    return args, {key: pickle.load(stream, buffers=rest) for key in second}


def share(obj: Any) -> Value:
    """`obj` as a value that is not copied (`isolate=False`)."""
    return (RAW, obj, ())


def decode(value: Value, id: int, read: Read | None) -> Any:
    """A fresh copy of the object behind `value`. An error or a fault is returned as an exception, not raised."""
    kind, data, _ = value
    if kind in (PLAIN, RAW):
        return data
    if kind == PICKLED:
        return pickle.loads(data)
    if kind == BUFFERED:
        return pickle.loads(data[0], buffers=data[1])
    if kind in (STORED, SPILLED):
        assert read is not None
        body, buffers = read(bytes_of(id, kind), data)
        return pickle.loads(body, buffers=buffers)
    if kind == ERROR:
        return pickle.loads(data)
    if kind == MISSING:
        assert read is not None
        read(id, None)
    if kind == FAULT:
        return to_exception(data[0], data[1], lambda inner: decode(inner, id, read))
    raise ValueError(f"unknown kind of value: {kind}")
