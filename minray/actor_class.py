"""`ActorClass`, `ActorHandle` and `ActorMethod`: what `@minray.remote` makes of a class.

`A.remote(...)` asks the session for an actor and returns a handle. A handle is an actor's id, the template it was made
from and the session: it can be pickled, passed to tasks, and is counted as an `ObjectRef` is. `handle.m` is an
`ActorMethod`, and `handle.m.remote(...)` queues a call behind the caller's earlier ones.
"""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Literal, Protocol, TypeAlias, overload
from weakref import WeakKeyDictionary

from typing_extensions import Never, ParamSpec, TypeVar, Unpack

from minray import interrupts
from minray import options as _options
from minray.exceptions import PendingCallsLimitExceeded
from minray.generators import ObjectRefGenerator
from minray.hints import meant
from minray.ids import ActorID
from minray.ids import actor_id as as_actor_id
from minray.refs import ObjectRef
from minray.returns import keeps_group_size, number_of_returns
from minray.session import Session, current, ensure
from minray.signature import Remote, Signature
from minray.wire.pickling import reducers

if TYPE_CHECKING:
    from minray.core.template import ActorTemplate, MethodTemplate
    from minray.dag.nodes import ClassNode

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


class ActorHandle(Generic[T]):
    """A counted reference to an actor. The actor ends when no process holds one any more (unless it is detached)."""

    def __init__(self, actor_id: int, template: ActorTemplate, session: Session, counted: bool = True) -> None:
        """Adopt one count of `actor_id` that `session` has already taken.

        Not `counted`: a handle that was looked up by name, which does not keep the actor alive (as in Ray).
        """
        self._minray_id = actor_id
        self._template = template
        self._session = session
        self._counted = counted

    @property
    def _actor_id(self) -> ActorID:
        """The actor's id as Ray shows it, for programs that ask a handle for it."""
        return as_actor_id(self._minray_id)

    _ray_actor_id = _actor_id

    def __getattr__(self, name: str) -> Any:
        # Called once for each method: from then on the ActorMethod is an attribute of this handle.
        own = self.__dict__
        if "_template" not in own or name not in own["_template"].methods:
            there_is = _what_there_is(own.get("_template"), name)
            raise AttributeError(f"'ActorHandle' object has no attribute '{name}'{there_is}")
        own[name] = found = ActorMethod(self._minray_id, self._template, self._session, name, self._counted)
        return found

    def __del__(self) -> None:
        try:
            if self._counted:
                self._session.release(self._minray_id)
        except Exception:  # see ObjectRef.__del__
            return

    def __dir__(self) -> list[str]:
        return sorted(self._template.methods)

    def __hash__(self) -> int:
        return hash(self._minray_id)

    def __eq__(self, other: object) -> bool:
        return self._minray_id == other._minray_id if isinstance(other, ActorHandle) else NotImplemented

    def __repr__(self) -> str:
        return f"Actor({self._template.name}, {self._actor_id.hex()})"

    def __reduce__(self) -> tuple[Any, ...]:
        self._session.pin(self._minray_id)  # see ObjectRef.__reduce__
        return _reduce_handle(self, [])

    def __copy__(self) -> ActorHandle[T]:
        if self._counted:
            self._session.retain(self._minray_id)
        return ActorHandle(self._minray_id, self._template, self._session, self._counted)

    def __deepcopy__(self, memo: dict[int, Any]) -> ActorHandle[T]:
        return self.__copy__()


if TYPE_CHECKING:

    class _TypedHandle(ActorHandle[T]):
        def __getattr__(self, name: str) -> Never: ...


#: The type of a handle, as Ray names it. To a type checker ``handle.m`` is looked up in the class: it is an
#: `ActorMethod` if `m` is declared with `@method`. Handles of unknown type (`get_actor`, or annotated
#: ``ActorHandle[Any]``) allow everything.
ActorProxy: TypeAlias = "_TypedHandle[T] | type[T]"


class ActorClass(Remote[[Never], "_TypedHandle[T] | type[T]"], Generic[T, C_co]):
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

    def _remote(self, /, *args: Any, **kwargs: Any) -> ActorHandle[T]:
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
        remote = _remote

    def _create(self, session: Session, args: tuple[Any, ...], kwargs: dict[str, Any]) -> ActorHandle[T]:
        template = self._templates.get(session)
        if template is None:
            if self._methods is None:
                self._methods, self._is_async = _methods_of(self._class), has_coroutines(self._class)
            code = session.code(self._class, f"{self.__module__}.{self.__qualname__}")
            template = _options.actor_template(
                session, code, self.__name__, self._methods, self._options, self._is_async
            )
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
        from minray.dag.nodes import ClassNode

        return ClassNode(self, args, kwargs, self._options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        name = self.__name__
        raise TypeError(f"Actors cannot be instantiated directly. Instead of '{name}()', use '{name}.remote()'.")

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        raise TypeError(
            f"Attempted to define a subclass of actor class '{self.__name__}'. Inheriting from actor classes is not "
            "supported. Inherit from a class without @remote, and decorate the derived class."
        )

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


def _reduce_handle(handle: ActorHandle[Any], refs: list[int]) -> tuple[Any, ...]:
    """Pickle a handle inside a value, whose references are counted."""
    refs.append(handle._minray_id)
    template = handle._template
    if template.packed is None:
        from minray.code import pack_for_handles  # here: a program without actors in its values does without

        pack_for_handles(template)
    return restore_handle, (handle._minray_id, template.key, template.packed)


reducers[ActorHandle] = _reduce_handle

#: Templates of the handles that have arrived in this process.
_arrived: dict[bytes, ActorTemplate] = {}


def restore_handle(actor_id: int, key: bytes, packed: bytes) -> ActorHandle[Any]:
    """Unpickle a handle in the process, and in the session, that it arrived in."""
    template = _arrived.get(key)
    if template is None:
        template = _arrived[key] = pickle.loads(packed)
    session = current()
    if session is None:
        raise RuntimeError(
            "An actor handle was unpickled where minray is not running. Call minray.init() first; a handle is only of "
            "use in the session that its actor lives in."
        )
    session.retain(actor_id)
    return ActorHandle(actor_id, template, session)


def _what_there_is(template: ActorTemplate | None, name: str) -> str:
    """What an error says where a handle has no `name`."""
    if template is None or name.startswith("__"):  # looked for by pickle, numpy and others, who know what to do
        return ""
    methods = sorted(method for method in template.methods if not method.startswith("__"))
    return (
        f". It has the methods of {template.name}: {', '.join(methods) or 'none'}.{meant(name, methods)} "
        "What else the actor has, only its methods can read."
    )


class ActorMethod(Remote[P, Out]):
    """One method of one actor: call it with `.remote(...)`.

    It counts a reference to the actor of its own, not through the handle: so a handle can keep its methods (making one
    takes longer than calling it) and is still collected as soon as it is dropped.
    """

    if TYPE_CHECKING:

        @property
        def __wrapped__(self) -> Callable[P, Any]: ...

    __slots__ = ("_actor_id", "_call", "_counted", "_name", "_options", "_session", "_signature", "_template")

    def __init__(
        self,
        actor_id: int,
        template: ActorTemplate,
        session: Session,
        name: str,
        counted: bool,
        options: dict[str, Any] | None = None,
    ) -> None:
        if counted:
            session.retain(actor_id)
        self._counted = counted
        self._actor_id = actor_id
        self._template = template
        self._session = session
        self._name = name
        self._options = options or template.methods[name]
        self._signature: Signature = self._options["signature"]
        self._call: MethodTemplate | None = None

    def _remote(self, /, *args: Any, **kwargs: Any) -> Any:
        """Queue a call. Returns an `ObjectRef`, for num_returns=n a list of n of them, for num_returns=0 None, and of a
        generator method an `ObjectRefGenerator`.

        Calls of one caller run in the order in which they were made. Raises TypeError if the arguments do not fit the
        method, or cannot be pickled.
        """
        if interrupts.put_off:
            interrupts.deliver()
        signature = self._signature
        if kwargs or not signature.low <= len(args) <= signature.high:
            signature.check(args, kwargs)
        session = self._session
        call = self._call
        if call is None:
            call = self._call = _options.method_template(session, self._template, self._name, self._options)
        if self._template.max_pending_calls > 0:
            first = self._call_if_few(call, args, kwargs)
        else:
            first = session.call(self._actor_id, call, args, kwargs)
        count = call.num_returns
        if count == 1:
            ref: ObjectRef[Any] = ObjectRef(first, session)
            return ref if call.stream is None else ObjectRefGenerator(ref, session)
        return [ObjectRef(id, session) for id in range(first, first + count)] if count else None

    def _call_if_few(self, call: MethodTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        session = self._session
        if not session.ask("reserve", self._actor_id):
            handle = f"Actor({self._template.name}, {as_actor_id(self._actor_id).hex()})"
            raise PendingCallsLimitExceeded(
                f"The task {self._name} could not be submitted to {handle} because more than "
                f"{self._template.max_pending_calls} tasks are queued on the actor. This limit can be adjusted with "
                "the `max_pending_calls` actor option."
            )
        try:
            return session.call(self._actor_id, call, args, kwargs)
        except BaseException:
            session.ask("unreserve", self._actor_id)
            raise

    if not TYPE_CHECKING:  # to a type checker, `remote` is what `Remote` says
        remote = _remote

    @overload
    def options(self, **options: Unpack[_options.CallOptions]) -> ActorMethod[P, Out]: ...
    @overload
    def options(self, *, num_returns: int | None, **options: Unpack[_options.CallOptions]) -> ActorMethod[P, Any]: ...
    def options(self, **options: Any) -> Any:
        """The same method with other options; `name` is what errors and listings call it."""
        for option in options:
            if option != "name" and option not in _options.METHOD_OPTIONS:
                raise TypeError(
                    f"ActorMethod.options() got an unexpected keyword argument '{option}'."
                    f"{meant(option, _options.METHOD_OPTIONS)} It takes {['name', *_options.METHOD_OPTIONS]}."
                )
        _options.check_method(options)
        keeps_group_size(self._options, options)
        chosen = {name: value for name, value in options.items() if value is not None and value != ""}
        merged = {**self._options, **chosen}
        number_of_returns(merged.get("num_returns"), merged.get("kind") == "generator", self._name)
        return ActorMethod(self._actor_id, self._template, self._session, self._name, self._counted, merged)

    def bind(self, *args: Any, **kwargs: Any) -> Any:
        """Write a call down as a node of a graph (several, one for each result): see `minray.dag`.

        Raises TypeError if the arguments do not fit the method.
        """
        from minray.dag.nodes import bind_method

        self._signature.check(args, kwargs)
        if self._counted:
            self._session.retain(self._actor_id)
        handle = ActorHandle(self._actor_id, self._template, self._session, self._counted)
        options = {name: value for name, value in self._options.items() if name in _options.METHOD_OPTIONS}
        return bind_method(handle, self._name, self, args, kwargs, options)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            f"Actor methods cannot be called directly. Instead of running 'object.{self._name}()', "
            f"try 'object.{self._name}.remote()'."
        )

    def __del__(self) -> None:
        try:
            if self._counted:
                self._session.release(self._actor_id)
        except Exception:  # see ObjectRef.__del__
            return

    def __repr__(self) -> str:
        return f"<ActorMethod {self._template.name}.{self._name}>"

    def __reduce__(self) -> tuple[Any, ...]:
        self._session.retain(self._actor_id)
        return getattr, (ActorHandle(self._actor_id, self._template, self._session), self._name)


def find_actor(session: Session, name: str, namespace: str | None) -> ActorHandle[Any]:
    """A handle to a named actor. ValueError: there is none."""
    actor_id, template = session.find_actor(name, namespace)
    return ActorHandle(actor_id, template, session, counted=False)


def check_namespace(namespace: Any) -> None:
    """Raise what Ray raises for a namespace that is none."""
    if namespace is not None and not isinstance(namespace, str):
        raise TypeError(f"namespace must be None or a string, got: {namespace!r}.")
    if namespace == "":
        raise ValueError('"" is not a valid namespace. Pass None to not specify a namespace.')
