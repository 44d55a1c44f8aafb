"""`ActorHandle` and `ActorMethod`: what a program holds of an actor.

A handle is an actor's id, the template it was made from and the session: it can be pickled, passed to tasks, and is
counted as an `ObjectRef` is. `handle.m` is an `ActorMethod`, and `handle.m.remote(...)` queues a call behind the
caller's earlier ones.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, overload

from typing_extensions import Never, ParamSpec, TypeVar, Unpack

from minray import interrupts
from minray import options as _options
from minray.core.numbering import results_of
from minray.exceptions import PendingCallsLimitExceeded
from minray.generators import ObjectRefGenerator
from minray.hints import meant
from minray.ids import ActorID
from minray.ids import actor_id as as_actor_id
from minray.refs import ObjectRef
from minray.returns import keeps_group_size, number_of_returns
from minray.session import Session, current
from minray.signature import Remote, Signature
from minray.templates import method_template
from minray.wire.pickling import reducers

if TYPE_CHECKING:
    from minray.core.template import ActorTemplate, MethodTemplate

T = TypeVar("T", default=Any)
P = ParamSpec("P", default=...)
R = TypeVar("R", default=Any)
Out = TypeVar("Out", default=Any)


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


def _reduce_handle(handle: ActorHandle[Any], refs: list[int]) -> tuple[Any, ...]:
    """Pickle a handle inside a value, whose references are counted."""
    # Of an earlier run: its actor is gone, and in the simulator another one may have its number.
    id = 0 if handle._session.closed else handle._minray_id
    refs.append(id)
    template = handle._template
    if template.packed is None:
        from minray.code import pack_for_handles  # here: a program without actors in its values does without

        pack_for_handles(template)
    return restore_handle, (id, template.key, template.packed)


reducers[ActorHandle] = _reduce_handle

#: Templates of the handles that have arrived in this process. A program may make classes for ever, so now and then all
#: are forgotten.
_arrived: dict[bytes, ActorTemplate] = {}
_MOST_ARRIVED = 256


def restore_handle(actor_id: int, key: bytes, packed: bytes) -> ActorHandle[Any]:
    """Unpickle a handle in the process, and in the session, that it arrived in."""
    template = _arrived.get(key)
    if template is None:
        if len(_arrived) >= _MOST_ARRIVED:
            _arrived.clear()
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

    def _submit(self, /, *args: Any, **kwargs: Any) -> Any:
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
            call = self._call = method_template(session, self._template, self._name, self._options)
        if self._template.max_pending_calls > 0:
            first = self._call_if_few(call, args, kwargs)
        else:
            first = session.call(self._actor_id, call, args, kwargs)
        count = call.num_returns
        if count == 1:
            ref: ObjectRef[Any] = ObjectRef(first, session)
            return ref if call.stream is None else ObjectRefGenerator(ref, session)
        return [ObjectRef(id, session) for id in results_of(first, count)] if count else None

    def _call_if_few(self, call: MethodTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        session = self._session
        if session.closed:
            return session.call(self._actor_id, call, args, kwargs)  # which says so
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
        remote = _submit

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
        from minray.dag.class_node import bind_method

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
