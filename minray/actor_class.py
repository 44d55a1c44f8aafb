"""`ActorClass`: what `@minray.remote` makes of a class, and `@method` of one of its methods.

`A.remote(...)` asks the session for an actor and returns a handle (`minray.actor_handle`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Literal, Protocol, overload
from weakref import WeakKeyDictionary

from typing_extensions import Never, ParamSpec, TypeVar, Unpack

from minray import options as _options
from minray.actor_handle import ActorHandle, ActorMethod, find_actor
from minray.refs import ObjectRef
from minray.returns import number_of_returns
from minray.session import Session, ensure
from minray.signature import Remote, Signature
from minray.templates import actor_template

if TYPE_CHECKING:
    from minray.actor_handle import ActorProxy  # noqa: F401  # a string below has it
    from minray.core.template import ActorTemplate
    from minray.dag.class_node import ClassNode

T = TypeVar("T", default=Any)
P = ParamSpec("P", default=...)
R = TypeVar("R", default=Any)
Out = TypeVar("Out", default=Any)
#: What makes an instance, for its parameters. ``ActorClass[A]`` alone says nothing about them.
C_co = TypeVar("C_co", covariant=True, default=Callable[..., Any])

_NO_PARAMETERS = Signature(())

#: Methods that every actor has, with their options: Ray's names for "are you there", "run this on yourself" and "end".
EVERY_ACTOR: dict[str, dict[str, Any]] = {
    "__ray_ready__": {"num_returns": 1, "signature": _NO_PARAMETERS},
    "__ray_call__": {
        "num_returns": 1,
        "signature": Signature((("fn", 0, False), ("args", 2, False), ("kwargs", 4, False))),
    },
    "__ray_terminate__": {"num_returns": 1, "signature": _NO_PARAMETERS},
}

_OPTIONS_OF_METHOD = "__minray_method_options__"


if TYPE_CHECKING:

    class _Method(Generic[P, R, Out]):
        """What `@method` makes of a method, to a type checker: on ``self`` a method, on a handle an `ActorMethod`."""

        @overload
        def __get__(self, instance: None, owner: Any) -> ActorMethod[P, Out]: ...
        @overload
        def __get__(self, instance: object, owner: Any) -> Callable[P, R]: ...
        def __get__(self, instance: Any, owner: Any) -> Any: ...

    class _MethodDecorator(Protocol):
        @overload
        def __call__(
            self, function: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]]
        ) -> _Method[P, Coroutine[Any, Any, R], ObjectRef[R]]: ...
        @overload
        def __call__(self, function: Callable[Concatenate[Any, P], R]) -> _Method[P, R, ObjectRef[R]]: ...

    class _MethodDecoratorTo(Protocol[Out]):
        def __call__(self, function: Callable[Concatenate[Any, P], R]) -> _Method[P, R, Out]: ...


@overload
def method(
    function: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /
) -> _Method[P, Coroutine[Any, Any, R], ObjectRef[R]]: ...
@overload
def method(function: Callable[Concatenate[Any, P], R], /) -> _Method[P, R, ObjectRef[R]]: ...
@overload
def method(  # type: ignore[overload-overlap]
    *, num_returns: Literal[1] | None = None, **options: Unpack[_options.CommonMethodOptions]
) -> _MethodDecorator: ...
@overload
def method(*, num_returns: Literal[0], **options: Unpack[_options.CommonMethodOptions]) -> _MethodDecoratorTo[None]: ...  # type: ignore[overload-overlap]
@overload
def method(
    *, num_returns: int, **options: Unpack[_options.CommonMethodOptions]
) -> _MethodDecoratorTo[list[ObjectRef[Any]]]: ...
def method(*args: Any, **options: Any) -> Any:
    """Give one method of an actor class its own options: ``@method(num_returns=2)``. Bare, it tells type checkers of
    the method.

    Options: `num_returns`, `max_task_retries`, `retry_exceptions`, `concurrency_group`, `enable_task_events`.
    """
    usage = (
        "The @method decorator must be applied using no arguments or at least one of the arguments in the list "
        f"{list(_options.METHOD_OPTIONS)}, for example '@method(num_returns=2)'."
    )
    if len(args) == 1 and callable(args[0]) and not options:
        return args[0]
    if args:
        raise AssertionError(usage)  # Ray's type
    for name in options:
        if name not in _options.METHOD_OPTIONS:
            raise AssertionError(f"Unexpected keyword argument to @method: '{name}'. {usage}")
    _options.check_method(options)

    def annotate(function: Any) -> Any:
        number_of_returns(options.get("num_returns"), _is_generator(function), function.__name__)
        setattr(function, _OPTIONS_OF_METHOD, options)
        return function

    return annotate


def _is_generator(function: Any) -> bool:
    """Whether a method is one, perhaps below decorators."""
    function = inspect.unwrap(function)
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def _methods_of(cls: type) -> dict[str, dict[str, Any]]:
    """What may be called on an actor of `cls`: name -> its options, its signature, and what kind of function it is."""
    found: dict[str, dict[str, Any]] = dict(EVERY_ACTOR)
    for name, member in inspect.getmembers(cls, inspect.isroutine):
        if not (inspect.isfunction(member) or inspect.ismethod(member)):
            continue  # what object and C types define
        bound = inspect.ismethod(member) or isinstance(inspect.getattr_static(cls, name), staticmethod)
        chosen = {**getattr(member, _OPTIONS_OF_METHOD, {})}
        if _is_generator(member):
            chosen["kind"] = "generator"
        elif inspect.iscoroutinefunction(member):
            chosen["kind"] = "async"
        found[name] = {**chosen, "signature": Signature.of(member, skip_first=not bound)}
    return found


def has_coroutines(cls: type) -> bool:
    """Whether actors of `cls` are async: some method, perhaps of a base, is a coroutine function or async generator."""
    return any(
        inspect.iscoroutinefunction(member) or inspect.isasyncgenfunction(member)
        for _, member in inspect.getmembers(cls, inspect.isroutine)
    )


class ActorClassInheritanceException(TypeError):
    """Somebody derives a class from an actor class."""


class ActorClass(Remote[[Never], "ActorProxy[T]"], Generic[T, C_co]):
    """A class whose instances live elsewhere: ``A.remote(1)`` makes one and returns an `ActorHandle`."""

    __name__: str
    __qualname__: str

    def __init__(self, cls: type[T], options: dict[str, Any]) -> None:
        """Wrap `cls`; `options` have been checked."""
        self._class: Any = cls
        self._options = options
        self._prepare()

    def _prepare(self) -> None:
        for attribute in ("__module__", "__name__", "__qualname__", "__doc__"):
            self.__dict__[attribute] = getattr(self._class, attribute)
        self._methods: dict[str, dict[str, Any]] | None = None  # found out at the first need, as is the next
        self._is_async = False
        self._templates: WeakKeyDictionary[Session, ActorTemplate] = WeakKeyDictionary()

    @property
    def __wrapped__(self) -> C_co:
        """The class itself, to make an instance here and now."""
        wrapped: C_co = self._class
        return wrapped

    @property
    def __ray_actor_class__(self) -> Any:
        """The class itself, under Ray's name for it."""
        return self._class

    def _submit(self, /, *args: Any, **kwargs: Any) -> ActorHandle[T]:
        """Create an actor, with these arguments for its `__init__`, and return its handle at once.

        Raises TypeError if the arguments do not fit or cannot be pickled, ValueError if the actor's name is taken. An
        error in `__init__` itself reaches whoever calls a method.
        """
        name, namespace = self._options.get("name"), self._options.get("namespace")
        if name == "":
            raise ValueError("Actor name cannot be an empty string. Leave it out for an actor without a name.")
        check_namespace(namespace)
        session = ensure()
        if self._options.get("get_if_exists"):
            return self._get_or_create(session, name, namespace, args, kwargs)
        return self._create(session, args, kwargs)

    if not TYPE_CHECKING:  # to a type checker, `remote` is what `Remote` says
        remote = _submit

    def _create(self, session: Session, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ActorHandle[T]:
        template = self._templates.get(session)
        if template is None:
            if self._methods is None:
                self._methods, self._is_async = _methods_of(self._class), has_coroutines(self._class)
            code = session.code(self._class, f"{self.__module__}.{self.__qualname__}")
            template = actor_template(session, code, self.__name__, self._methods, self._options, self._is_async)
            self._templates[session] = template
        init = template.methods.get("__init__")  # missing if it is object's
        (init["signature"] if init else _NO_PARAMETERS).check(args, kwargs)
        return ActorHandle(session.create_actor(template, args, kwargs), template, session)

    def _get_or_create(
        self, session: Session, name: Any, namespace: str | None, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> ActorHandle[T]:
        try:
            return find_actor(session, name, namespace)
        except ValueError:
            try:
                return self._create(session, args, kwargs)
            except ValueError:  # somebody else was faster
                return find_actor(session, name, namespace)

    def options(self, **options: Unpack[_options.CommonActorOptions]) -> ActorClass[T, C_co]:
        """The same class with other options; the original keeps its own."""
        merged: dict[str, Any] = {**self._options, **options}
        _options.check_actor(merged, later=options)
        return ActorClass(self._class, merged)

    def bind(self, *args: Any, **kwargs: Any) -> ClassNode:
        """Write the making of an actor down as a node of a graph: see `minray.dag`."""
        from minray.dag.class_node import ClassNode

        return ClassNode(self, args, kwargs, self._options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        name = self.__name__
        raise TypeError(f"Actors cannot be instantiated directly. Instead of '{name}()', use '{name}.remote()'.")

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        actor = self.__name__

        class Refused:
            def __init_subclass__(cls) -> None:
                raise ActorClassInheritanceException(
                    f"Attempted to define subclass '{cls.__name__}' of actor class '{actor}'. Inheriting from actor "
                    "classes is not currently supported. Inherit from a class without @remote, and decorate the "
                    "derived class."
                )

        return (Refused,)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._class, name)

    def __repr__(self) -> str:
        return f"<ActorClass {self.__module__}.{self.__qualname__}>"

    def __getstate__(self) -> tuple[Any, Any]:
        return self._class, self._options

    def __setstate__(self, state: tuple[Any, Any]) -> None:
        self._class, self._options = state
        self._prepare()


def check_namespace(namespace: Any) -> None:
    """Raise what Ray raises for a namespace that is none."""
    if namespace is not None and not isinstance(namespace, str):
        raise TypeError(f"namespace must be None or a string, got: {namespace!r}.")
    if namespace == "":
        raise ValueError('"" is not a valid namespace. Pass None to not specify a namespace.')
