"""What `.remote(...)` accepts: to a type checker (`Remote`), and when it is called (`Signature`).

A wrong call should fail where it is written, not later in a worker. `inspect.Signature.bind` answers in some 5 us
whether arguments fit, which is a tenth of a whole call; comparing two ints answers it for nearly every call that is
right. So a signature is kept as plain data, which also travels with an actor's handle, and `inspect` only words the
error.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Protocol, overload

from typing_extensions import ParamSpec, TypeVar

from minray.refs import ObjectRef

Q = ParamSpec("Q")
Out = TypeVar("Out", default=Any)
P = ParamSpec("P")
F_co = TypeVar("F_co", covariant=True)
A1 = TypeVar("A1")
A2 = TypeVar("A2")
A3 = TypeVar("A3")
A4 = TypeVar("A4")
A5 = TypeVar("A5")
A6 = TypeVar("A6")
A7 = TypeVar("A7")
A8 = TypeVar("A8")


class _Wraps(Protocol[F_co]):
    @property
    def __wrapped__(self) -> F_co: ...


class Remote(Generic[P, Out]):
    """The type of whatever has a `.remote` that takes what its `__wrapped__` takes, and gives an `Out`.

    A value may be given as it is or as an `ObjectRef` of it. The overloads say that for up to eight positional
    arguments; those after them, and keywords, are typed as values. (The parameters are taken from `__wrapped__` through
    a protocol, because that is the one way in which both mypy and pyright infer them with names and defaults kept.)
    """

    __slots__ = ()

    if TYPE_CHECKING:

        @overload
        def remote(self, *args: P.args, **kwargs: P.kwargs) -> Out: ...
        @overload
        def remote(self: _Wraps[Callable[Q, Any]], *args: Q.args, **kwargs: Q.kwargs) -> Out: ...
        @overload
        def remote(
            self: _Wraps[Callable[Concatenate[A1, Q], Any]],
            a1: A1 | ObjectRef[A1],
            /,
            *args: Q.args,
            **kwargs: Q.kwargs,
        ) -> Out: ...
        @overload
        def remote(
            self: _Wraps[Callable[Concatenate[A1, A2, Q], Any]],
            a1: A1 | ObjectRef[A1],
            a2: A2 | ObjectRef[A2],
            /,
            *args: Q.args,
            **kwargs: Q.kwargs,
        ) -> Out: ...
        @overload
        def remote(
            self: _Wraps[Callable[Concatenate[A1, A2, A3, Q], Any]],
            a1: A1 | ObjectRef[A1],
            a2: A2 | ObjectRef[A2],
            a3: A3 | ObjectRef[A3],
            /,
            *args: Q.args,
            **kwargs: Q.kwargs,
        ) -> Out: ...
        @overload
        def remote(
            self: _Wraps[Callable[Concatenate[A1, A2, A3, A4, Q], Any]],
            a1: A1 | ObjectRef[A1],
            a2: A2 | ObjectRef[A2],
            a3: A3 | ObjectRef[A3],
            a4: A4 | ObjectRef[A4],
            /,
            *args: Q.args,
            **kwargs: Q.kwargs,
        ) -> Out: ...
        @overload
        def remote(
            self: _Wraps[Callable[Concatenate[A1, A2, A3, A4, A5, Q], Any]],
            a1: A1 | ObjectRef[A1],
            a2: A2 | ObjectRef[A2],
            a3: A3 | ObjectRef[A3],
            a4: A4 | ObjectRef[A4],
            a5: A5 | ObjectRef[A5],
            /,
            *args: Q.args,
            **kwargs: Q.kwargs,
        ) -> Out: ...
        @overload
        def remote(
            self: _Wraps[Callable[Concatenate[A1, A2, A3, A4, A5, A6, Q], Any]],
            a1: A1 | ObjectRef[A1],
            a2: A2 | ObjectRef[A2],
            a3: A3 | ObjectRef[A3],
            a4: A4 | ObjectRef[A4],
            a5: A5 | ObjectRef[A5],
            a6: A6 | ObjectRef[A6],
            /,
            *args: Q.args,
            **kwargs: Q.kwargs,
        ) -> Out: ...
        @overload
        def remote(
            self: _Wraps[Callable[Concatenate[A1, A2, A3, A4, A5, A6, A7, Q], Any]],
            a1: A1 | ObjectRef[A1],
            a2: A2 | ObjectRef[A2],
            a3: A3 | ObjectRef[A3],
            a4: A4 | ObjectRef[A4],
            a5: A5 | ObjectRef[A5],
            a6: A6 | ObjectRef[A6],
            a7: A7 | ObjectRef[A7],
            /,
            *args: Q.args,
            **kwargs: Q.kwargs,
        ) -> Out: ...
        @overload
        def remote(
            self: _Wraps[Callable[Concatenate[A1, A2, A3, A4, A5, A6, A7, A8, Q], Any]],
            a1: A1 | ObjectRef[A1],
            a2: A2 | ObjectRef[A2],
            a3: A3 | ObjectRef[A3],
            a4: A4 | ObjectRef[A4],
            a5: A5 | ObjectRef[A5],
            a6: A6 | ObjectRef[A6],
            a7: A7 | ObjectRef[A7],
            a8: A8 | ObjectRef[A8],
            /,
            *args: Q.args,
            **kwargs: Q.kwargs,
        ) -> Out: ...
        def remote(self, *args: Any, **kwargs: Any) -> Any: ...  # type: ignore[misc]  # mypy wants each `self` here

    def _remote(self, args: Any = (), kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """``options(...).remote(...)`` in one, as libraries write it that know Ray from within."""
        of: Any = self
        return (of.options(**options) if options else of).remote(*(args or ()), **(kwargs or {}))


#: (name, kind as in inspect.Parameter, has a default) for each parameter.
Parameters = tuple[tuple[str, int, bool], ...]

_POSITIONAL_ONLY, _EITHER, _VAR_POSITIONAL, _KEYWORD_ONLY, _VAR_KEYWORD = range(5)


class _Default:
    """Stands for a default value, which is not known here."""

    def __repr__(self) -> str:
        return "..."


_DEFAULT = _Default()


class Signature:
    """The parameters of one function. Calls without keywords and with `low` to `high` arguments are right."""

    __slots__ = ("_most", "_named", "_open", "_required", "high", "low", "parameters")

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        kinds = [kind for _, kind, _ in parameters]
        positional = [one for one in parameters if one[1] in (_POSITIONAL_ONLY, _EITHER)]
        self.low = sum(not default for _, _, default in positional)
        self._most = 1_000_000 if _VAR_POSITIONAL in kinds else len(positional)
        #: What can be named, with the position that names it too.
        self._named = {
            name: place for place, (name, kind, _) in enumerate(parameters) if kind in (_EITHER, _KEYWORD_ONLY)
        }
        self._open = _VAR_KEYWORD in kinds
        self._required = {name for name, kind, default in parameters if kind == _KEYWORD_ONLY and not default}
        self.high = -1 if self._required else self._most  # -1: no call without keywords can be right

    @classmethod
    def of(cls, function: Callable[..., Any], skip_first: bool = False) -> Signature:
        """The signature of `function`, without its first parameter (``self``) if asked so."""
        found = [
            (p.name, int(p.kind), p.default is not p.empty) for p in inspect.signature(function).parameters.values()
        ]
        if skip_first and found and found[0][1] in (_POSITIONAL_ONLY, _EITHER):
            del found[0]
        return cls(tuple(found))

    def check(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Raise the TypeError that a direct call with these arguments would raise."""
        given = len(args)
        if self.low <= given <= self.high and not kwargs:
            return
        if not self._open and given <= self._most and kwargs.keys() >= self._required:
            # Each keyword names a parameter that no argument has filled, and together they fill what is needed.
            named = self._named
            places = [named.get(name, -1) for name in kwargs]
            if min(places, default=given) >= given and given + sum(place < self.low for place in places) >= self.low:
                return
        self._bind(args, kwargs)

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        kinds = list(inspect._ParameterKind)
        parameters = [
            inspect.Parameter(name, kinds[kind], default=_DEFAULT if default else inspect.Parameter.empty)
            for name, kind, default in self.parameters
        ]
        signature = inspect.Signature(parameters)
        try:
            signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{error}. The parameters are {signature}.") from None

    def __reduce__(self) -> tuple[Any, ...]:
        return Signature, (self.parameters,)
