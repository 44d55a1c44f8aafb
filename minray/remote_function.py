"""`RemoteFunction`: what `@minray.remote` makes of a function.

The way of a call: `f.remote(*args)` checks the arguments against the signature, finds the template (the function,
pickled at the first call in a session, and its options) and gives both to the session of the calling thread, which
answers with an id; the caller gets an `ObjectRef`. Nothing runs in the caller.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Generic, Literal, overload
from weakref import WeakKeyDictionary

from typing_extensions import ParamSpec, TypeVar, Unpack

from minray import interrupts
from minray import options as _options
from minray.core.numbering import results_of
from minray.generators import ObjectRefGenerator
from minray.refs import ObjectRef
from minray.returns import DYNAMIC, keeps_group_size, number_of_returns
from minray.session import Session, current, ensure
from minray.signature import Remote, Signature
from minray.templates import task_template

if TYPE_CHECKING:
    from collections.abc import Callable

    from minray.core.template import TaskTemplate
    from minray.dag.function_node import FunctionNode

P = ParamSpec("P", default=...)
R = TypeVar("R", default=Any)
#: What `.remote(...)` gives: `ObjectRef[R]`, unless num_returns says something else.
Out = TypeVar("Out", default=ObjectRef[R])


class RemoteFunction(Remote[P, Out], Generic[P, R, Out]):
    """A function whose calls run elsewhere: ``f.remote(1)`` returns an `ObjectRef` of its result."""

    __name__: str
    __qualname__: str

    def __init__(self, function: Callable[P, R], options: dict[str, Any]) -> None:
        """Wrap `function`; `options` have been checked."""
        self._function = function
        self._options = options
        self._prepare()

    def _prepare(self) -> None:
        function: Any = self._function
        for attribute in ("__module__", "__name__", "__qualname__", "__doc__"):
            self.__dict__[attribute] = getattr(function, attribute)
        generator = bool(function.__code__.co_flags & (inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR))
        self._num_returns = number_of_returns(self._options.get("num_returns"), generator, self.__name__)
        self._templates: WeakKeyDictionary[Session, TaskTemplate] = WeakKeyDictionary()
        #: The session, template and signature of the last call: nearly always those of the next one too.
        self._last: tuple[Session | None, Any, Any] = (None, None, None)

    @property
    def _function_name(self) -> str:
        """What libraries that know Ray from within ask for."""
        return f"{self.__module__}.{self.__name__}"

    @property
    def __wrapped__(self) -> Callable[P, R]:
        """The function itself, to be called here and now."""
        return self._function

    def _submit(self, /, *args: Any, **kwargs: Any) -> Any:
        """Submit a call. Returns an `ObjectRef`, for num_returns=n a list of n of them, for num_returns=0 None, and of
        a generator function an `ObjectRefGenerator`.

        An `ObjectRef` given as an argument stands for its value; one inside a list or dict arrives as a ref.
        Raises TypeError if the arguments do not fit the function, or cannot be pickled.
        """
        if interrupts.put_off:
            interrupts.deliver()
        session, template, signature = self._last
        if session is None or session is not current():
            session, template, signature = self._enter()
        if kwargs or not signature.low <= len(args) <= signature.high:
            signature.check(args, kwargs)
        first = session.submit(template, args, kwargs)
        count = self._num_returns
        if count == 1:
            return ObjectRef(first, session)
        if count < 0:
            ref: ObjectRef[Any] = ObjectRef(first, session)
            return ref if count == DYNAMIC else ObjectRefGenerator(ref, session)
        return [ObjectRef(id, session) for id in results_of(first, count)] if count else None

    if not TYPE_CHECKING:  # to a type checker, `remote` is what `Remote` says
        remote = _submit

    def _enter(self) -> tuple[Session, TaskTemplate, Signature]:
        """Look up or make what a call needs in the calling thread's session, which is started if there is none."""
        session = ensure()
        signature = self._last[2] or Signature.of(self._function)
        template = self._templates.get(session)
        if template is None:
            code = session.code(self._function, f"{self.__module__}.{self.__qualname__}")
            template = task_template(session, code, self.__name__, self._options, self._num_returns)
            self._templates[session] = template
        # Another thread, in another session, may change `_last` before this one has returned it.
        last = self._last = session, template, signature
        return last

    @overload
    def options(self, **options: Unpack[_options.CommonTaskOptions]) -> RemoteFunction[P, R, Out]: ...
    @overload
    def options(  # type: ignore[overload-overlap]
        self, *, num_returns: Literal[1] | None, **options: Unpack[_options.CommonTaskOptions]
    ) -> RemoteFunction[P, R, ObjectRef[R]]: ...
    @overload
    def options(  # type: ignore[overload-overlap]
        self, *, num_returns: Literal[0], **options: Unpack[_options.CommonTaskOptions]
    ) -> RemoteFunction[P, R, None]: ...
    @overload
    def options(
        self, *, num_returns: int, **options: Unpack[_options.CommonTaskOptions]
    ) -> RemoteFunction[P, R, list[ObjectRef[Any]]]: ...
    def options(self, **options: Any) -> Any:
        """The same function with other options; the original keeps its own."""
        _options.check_task(options, in_options=True)
        keeps_group_size(self._options, options)
        return RemoteFunction(self._function, {**self._options, **options})

    def bind(self, *args: Any, **kwargs: Any) -> FunctionNode:
        """Write a call down as a node of a graph, to be run later: see `minray.dag`."""
        from minray.dag.function_node import FunctionNode

        return FunctionNode(self, args, kwargs, self._options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        name = self._function_name
        raise TypeError(
            f"Remote functions cannot be called directly. Instead of running '{name}()', try '{name}.remote()'."
        )

    def __repr__(self) -> str:
        return f"<RemoteFunction {self.__module__}.{self.__qualname__}>"

    def __getstate__(self) -> tuple[Any, Any]:
        return self._function, self._options

    def __setstate__(self, state: tuple[Any, Any]) -> None:
        self._function, self._options = state
        self._prepare()
