"""Arguments to calls and values to objects, the same way in the driver and in every worker."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from minray.backend import Store
from minray.core.value import PLAIN, STORED, Value, object_of
from minray.exceptions import RayError, RaySystemError
from minray.interrupts import interruptible
from minray.refs import ObjectRef, id_of, restore_ref
from minray.wire.culprit import find_culprit
from minray.wire.pickling import reducers
from minray.wire.values import Read, decode, decode_arguments, encode, encode_arguments, encode_error, share

_ATOMS = frozenset({type(None), bool, int, float, complex})
_APART = (ObjectRef, RayError)  # arguments that become dependencies
_NO_CALL: tuple[Value, tuple[Any, ...], tuple[int, ...]] = ((PLAIN, (), ()), (), ())


def _reduce_ref(ref: ObjectRef[Any], refs: list[int]) -> Any:
    refs.append(id_of(ref))
    return restore_ref, (ref._id,)


reducers[ObjectRef] = _reduce_ref

#: An encoded call: the value of its arguments, where its dependencies go, and which these are.
EncodedCall = tuple[Value, tuple[int | str, ...], tuple[int, ...]]


class Gone(Exception):
    """The bytes of a stored object are not where they should be: the owner may be able to make it again."""

    def __init__(self, id: int, location: Any) -> None:
        super().__init__(id, location)
        self.id = id
        self.location = location


class Codec:
    """Encodes and decodes for one session.

    `retain(id)` and `release(id)` keep the bytes of a stored object for as long as something in this process is built
    on them.
    """

    def __init__(
        self, store: Store | None, isolate: bool, retain: Callable[[int], None], release: Callable[[int], None]
    ) -> None:
        self._store = store
        self._retain = retain
        self.release = release
        self._isolate = isolate
        self._write = None if store is None else self._write_stored

    def value(self, obj: Any, what: str) -> Value:
        """`obj` as a value. TypeError: it cannot be pickled; `what` names it, and the message the path to the culprit.

        What else the object's own pickling raises is the user's, and passes.
        """
        if not self._isolate:
            return encode_error(obj) if isinstance(obj, RayError) else share(obj)
        try:
            return encode(obj, self._write)
        except TypeError as error:
            raise unpicklable(obj, what, error) from error

    @interruptible
    def call(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], name: str, put: Callable[[Value], int]
    ) -> EncodedCall:
        """The arguments of a call. Top-level references become dependencies; what is too large for a message is stored
        as an object of their own through `put`, which returns its id (counted for the call alone), and so is an error,
        with which the call fails."""
        if not kwargs:
            if not args:
                return _NO_CALL
            for arg in args:
                if type(arg) not in _ATOMS:
                    break
            else:
                return (PLAIN, args, ()), (), ()
        where: tuple[int | str, ...] = ()
        deps: tuple[int, ...] = ()
        places = [place for place, arg in enumerate(args) if isinstance(arg, _APART)]
        if places:
            where = tuple(places)
            deps = tuple([_dependency(args[place], put) for place in places])
            args = tuple([None if isinstance(arg, _APART) else arg for arg in args])
        if kwargs:
            refs = {key: _dependency(arg, put) for key, arg in kwargs.items() if isinstance(arg, _APART)}
            if refs:
                where += tuple(map(str, refs))  # exactly str: of a subclass (numpy.str_) marshal makes bytes
                deps += tuple(refs.values())
                kwargs = {key: None if key in refs else arg for key, arg in kwargs.items()}  # in the caller's order
        elif deps:
            for arg in args:
                if type(arg) not in _ATOMS:
                    break
            else:
                return (PLAIN, args, ()), where, deps
        if not self._isolate:
            return share((args, kwargs)), where, deps
        try:
            value = encode_arguments(args, kwargs, self._write)
        except TypeError as error:
            culprit = next((arg for arg in (*args, *kwargs.values()) if not _can_encode(arg)), (args, kwargs))
            raise unpicklable(culprit, f"an argument for the task or actor {name}", error) from error
        if value[0] == STORED:
            return _NO_CALL[0], ("*", *where), (put(value), *deps)
        return value, where, deps

    @interruptible
    def arguments(
        self, value: Value, where: tuple[int | str, ...], ids: tuple[int, ...], values: list[Value]
    ) -> tuple[Any, Any]:
        """What `call` encoded, with the dependencies' values filled in: positional and keyword arguments."""
        args: Any
        kwargs: dict[str, Any]
        if value[0] == PLAIN:
            args, kwargs = value[1], {}
        else:
            args, kwargs = self._read(decode_arguments, value, 0)
        if where:
            args = list(args)
            for place, id, dep in zip(where, ids, values):
                if place == "*":
                    args, kwargs = self._read(decode_arguments, dep, id)
                    args = list(args)
                elif type(place) is int:
                    args[place] = self.decode(dep, id)
                else:
                    kwargs = {**kwargs, str(place): self.decode(dep, id)}
        return args, kwargs

    @interruptible
    def decode(self, value: Value, id: int) -> Any:
        """A fresh copy of what `value` holds; an error comes back as an exception, not raised.

        RaySystemError: it cannot be unpickled here. Gone: its bytes are not where they should be.
        """
        return self._read(decode, value, id)

    def _read(self, decode: Callable[[Value, int, Read], Any], value: Value, id: int) -> Any:
        try:
            return decode(value, id, self.read)
        except Gone:
            raise
        except Exception as error:
            import traceback  # 9 ms, for what rarely happens

            raise RaySystemError(error, traceback.format_exc()) from error

    def read(self, id: int, location: Any) -> tuple[Any, list[Any]]:
        """Map the bytes `id` of a stored object; they are retained until the last view is gone."""
        assert self._store is not None
        if location is None:
            raise Gone(object_of(id), None)
        self._retain(id)
        try:
            parts = self._store.read(location, partial(self.release, id))
        except (FileNotFoundError, ValueError) as error:
            self.release(id)
            raise Gone(object_of(id), location) from error
        return parts[0], parts[1:]

    def _write_stored(self, body: bytes, buffers: Any, total: int) -> Any:
        assert self._store is not None
        return self._store.write([body, *[buffer.raw() for buffer in buffers]], total)


def _dependency(arg: ObjectRef[Any] | RayError, put: Callable[[Value], int]) -> int:
    return id_of(arg) if isinstance(arg, ObjectRef) else put(encode_error(arg))


def _can_encode(obj: Any) -> bool:
    try:
        encode(obj, None)
    except Exception:
        return False
    return True


def unpicklable(obj: Any, what: str, error: Exception) -> TypeError:
    """The error that Ray raises, with the path to what cannot be pickled."""
    path, culprit, reason = find_culprit(obj, _can_encode)
    return TypeError(
        f"Could not serialize {what}, {obj!r:.200}: {error}\n"
        f"The culprit is {path or 'the object itself'}: {culprit!r:.200}\n"
        f"  ({reason})\n"
        "Remove it, create it inside the task or actor, or give its class a __reduce__ method."
    )
