"""A user's exception, as the cause of a `RayTaskError`: how it is pickled, and how an error becomes one of its type.

Exceptions are harder to copy than they look. Many have an `__init__` that pickle cannot call again; those made in C
keep state outside of `__dict__`; a type may forbid to be derived from.
"""

from __future__ import annotations

import builtins
import types
from typing import Any, TypeVar
from weakref import WeakValueDictionary

E = TypeVar("E", bound=BaseException)

# --- Pickling ----------------------------------------------------------------------------------------------------


def pack(cause: BaseException) -> bytes:
    """Pickle a cause, in a way that can be undone even where Python's own cannot.

    Python rebuilds an exception as ``type(*args)``, which fails for every type whose `__init__` takes something else
    than it gives to ``super().__init__``. Those are taken apart here, and rebuilt without a call of `__init__`.
    """
    import cloudpickle

    parts = None
    reduced: tuple[Any, ...] = cause.__reduce__()  # type: ignore[assignment]  # an exception's is never a string
    make, args = reduced[:2]
    if make is type(cause):
        try:
            make(*args)
        except Exception:  # the user's __init__ may raise anything
            parts = type(cause), args, [*_native_attributes(cause), *cause.__dict__.items()]
    packed: bytes = cloudpickle.dumps((_Whole(reduced), None) if parts is None else (None, parts))
    return packed


class _Whole:
    """Pickled, an exception as its own type says. Libraries (tblib, which Dask uses) tell pickle something else for all
    exceptions of a process, by which those that are hard to rebuild are lost."""

    def __init__(self, reduced: tuple[Any, ...]) -> None:
        self._reduced = reduced

    def __reduce__(self) -> tuple[Any, ...]:
        return self._reduced


def unpack(packed: bytes) -> BaseException:
    """The exception that was packed, or whatever the user's code raises when it is rebuilt."""
    import pickle

    cause: BaseException
    cause, parts = pickle.loads(packed)
    if parts is not None:
        kind, args, state = parts
        cause = _blank(kind, args)
        _set_attributes(cause, state)
    return cause


def _blank(kind: type[BaseException], args: tuple[Any, ...] = ()) -> Any:
    """An instance of an exception type, made without calling the user's `__new__` and `__init__`."""
    native: Any = kind
    while not isinstance(native.__dict__.get("__new__"), types.BuiltinMethodType):
        native = native.__base__  # not along the mro: MemoryError.__new__ makes no instances of what it is beside
    return native.__new__(kind, *args)


# --- Two exceptions in one ---------------------------------------------------------------------------------------

#: cause's type -> the type that derives from it and from the error's. It is kept for as long as somebody has it.
_combined: WeakValueDictionary[type[BaseException], type[Any]] = WeakValueDictionary()


def combine(error: E, cause: BaseException) -> E:
    """An instance of the types of both: it shows itself as `error`, and has what `cause` has.

    Raises whatever the user's type raises when it is derived from.
    """
    kind = _combined.get(type(cause))
    if kind is None:
        kind = _combined[type(cause)] = _combined_type(type(error), type(cause))
    group = isinstance(cause, getattr(builtins, "BaseExceptionGroup", ()))  # Python 3.11
    both = _blank(kind, (cause.message, cause.exceptions) if group else ())  # type: ignore[attr-defined]
    _set_attributes(both, [*_native_attributes(cause), *cause.__dict__.items(), ("cause", cause), ("_error", error)])
    result: E = both
    return result


def _combined_type(error: type[BaseException], cause: type[BaseException]) -> type[Any]:
    """The type of `combine`'s results: whatever they do not have themselves, they ask of the cause."""

    def fill(names: dict[str, Any]) -> None:
        names["__module__"] = error.__module__
        names["__doc__"] = f"A {error.__name__} that is a {cause.__name__}."
        names["__init__"] = lambda self, *args: None
        names["__str__"] = lambda self: str(self._error)
        names["__repr__"] = lambda self: f"{type(self).__name__}({self.cause!r})"
        names["__reduce__"] = lambda self: (_again, (self._error,))
        names["__reduce_ex__"] = lambda self, protocol: self.__reduce__()
        names["__getattr__"] = _attribute_of_cause
        names["args"] = property(lambda self: (self.cause,))
        names["as_instanceof_cause"] = lambda self: self

    return types.new_class(f"{error.__name__}({cause.__name__})", (error, cause), {}, fill)


def _again(error: Any) -> Any:
    return error.as_instanceof_cause()


def _attribute_of_cause(self: Any, name: str) -> Any:
    if name.startswith("__") or name in ("cause", "_error"):  # not yet set: this instance is being made
        raise AttributeError(name)
    try:
        return getattr(self.cause, name)
    except AttributeError:
        return getattr(self._error, name)


def _native_attributes(cause: BaseException) -> list[tuple[str, Any]]:
    """What an exception keeps outside of its `__dict__`: OSError.errno, StopIteration.value, slots."""
    found: dict[str, Any] = {}
    for kind in type(cause).__mro__:
        for name, member in vars(kind).items():
            if isinstance(member, (types.MemberDescriptorType, types.GetSetDescriptorType)) and name[:2] != "__":
                try:
                    found.setdefault(name, getattr(cause, name))
                except AttributeError:  # a slot that was never set
                    continue
    found.pop("args", None)
    return list(found.items())


def _set_attributes(exc: BaseException, attributes: list[tuple[str, Any]]) -> None:
    for name, value in attributes:
        try:
            object.__setattr__(exc, name, value)  # the type may have a __setattr__ of its own
        except (AttributeError, TypeError):  # read-only: __new__ has set it
            continue
