"""The functions of `minray`: check what the user gave, then delegate to the session of the calling thread.

All of them work in a driver and inside tasks alike, because they only ask `minray.session.current()`. `init` and
`shutdown` are in `minray.starting`.
"""

from __future__ import annotations

import inspect
import threading
import types
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, Literal, Protocol, TypeVar, overload

from typing_extensions import ParamSpec, Unpack

from minray import options as _options
from minray.actor_class import ActorClass, check_namespace
from minray.actor_handle import ActorHandle, find_actor
from minray.generators import DynamicObjectRefGenerator, ObjectRefGenerator
from minray.refs import ObjectRef, id_of, ids_of
from minray.remote_function import RemoteFunction
from minray.session import asked_about, ensure

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Ref = TypeVar("Ref", bound="ObjectRef[Any] | ObjectRefGenerator[Any]")

#: So many of a list are looked for one by one.
FEW = 4

# --- Remote functions and classes --------------------------------------------------------------------------------


class _Class(Protocol[P, T_co]):
    """A class and its constructor, to mypy. Pyright finds constructors in ``type[T]``, where mypy does not look."""

    @property
    def __mro__(self) -> tuple[type, ...]: ...
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T_co: ...


class _Decorator(Protocol):
    @overload
    def __call__(self, target: _Class[P, T]) -> ActorClass[T, Callable[P, T]]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, target: type[T]) -> ActorClass[T, type[T]]: ...  # type: ignore[overload-overlap]
    @overload
    def __call__(self, target: Callable[P, R]) -> RemoteFunction[P, R]: ...


class _DecoratorTo(Protocol[T]):
    def __call__(self, target: Callable[P, R]) -> RemoteFunction[P, R, T]: ...


class _StreamDecorator(Protocol):
    def __call__(self, target: Callable[P, Iterable[T]]) -> RemoteFunction[P, Iterable[T], ObjectRefGenerator[T]]: ...


class _DynamicDecorator(Protocol):
    def __call__(
        self, target: Callable[P, Iterable[T]]
    ) -> RemoteFunction[P, Iterable[T], ObjectRef[DynamicObjectRefGenerator[T]]]: ...


@overload
def remote(target: _Class[P, T], /) -> ActorClass[T, Callable[P, T]]: ...  # type: ignore[overload-overlap]
@overload
def remote(target: type[T], /) -> ActorClass[T, type[T]]: ...  # type: ignore[overload-overlap]
@overload
def remote(target: Callable[P, R], /) -> RemoteFunction[P, R]: ...
@overload
def remote(*, num_returns: Literal["streaming"], **options: Unpack[_options.CommonTaskOptions]) -> _StreamDecorator: ...
@overload
def remote(*, num_returns: Literal["dynamic"], **options: Unpack[_options.CommonTaskOptions]) -> _DynamicDecorator: ...
@overload
def remote(  # type: ignore[overload-overlap]
    *, num_returns: Literal[1] | None = None, **options: Unpack[_options.CommonOptions]
) -> _Decorator: ...
@overload
def remote(  # type: ignore[overload-overlap]
    *, num_returns: Literal[0], **options: Unpack[_options.CommonTaskOptions]
) -> _DecoratorTo[None]: ...
@overload
def remote(
    *, num_returns: int, **options: Unpack[_options.CommonTaskOptions]
) -> _DecoratorTo[list[ObjectRef[Any]]]: ...
def remote(*args: Any, **options: Any) -> Any:
    """Make a function a `RemoteFunction` and a class an `ActorClass`: ``@remote``, or ``@remote(num_cpus=2, ...)``.

    Raises TypeError for anything that is neither, ValueError and TypeError for wrong options.
    """
    if len(args) == 1 and not options and callable(args[0]):
        return _make_remote(args[0], {})
    if args or not options:
        raise AssertionError(  # Ray's type
            "The @minray.remote decorator must be applied either with no arguments and no parentheses, for example "
            "'@minray.remote', or it must be applied using some of the arguments in the list "
            f"{sorted({*_options.TASK_OPTIONS, *_options.ACTOR_OPTIONS})}, for example "
            "'@minray.remote(num_returns=2, resources={\"CustomResource\": 1})'."
        )
    return lambda target: _make_remote(target, options)


def _make_remote(target: Any, options: dict[str, Any]) -> Any:
    if isinstance(target, type):
        _options.check_actor(options)
        if inspect.isabstract(target):
            missing = ", ".join(sorted(getattr(target, "__abstractmethods__", ())))
            raise TypeError(f"Can't instantiate abstract class {target.__name__} with abstract methods {missing}")
        return ActorClass(target, options)
    if not isinstance(target, types.FunctionType):
        raise TypeError(
            f"The @minray.remote decorator must be applied to either a function or a class, not to {target!r}. "
            "Wrap it in a function: @minray.remote def f(...): ..."
        )
    if target.__code__.co_flags & inspect.CO_COROUTINE:
        raise ValueError(
            "'async def' should not be used for remote tasks. Wrap it in a function that calls asyncio.run(f()), or "
            "make it a method of an actor."
        )
    _options.check_task(options)
    if (options.get("num_gpus") or 0) > 0 and options.get("max_calls") is None:
        options = {**options, "max_calls": 1}  # libraries keep a GPU's memory for as long as their process lives
    return RemoteFunction(target, options)


# --- Objects -----------------------------------------------------------------------------------------------------


@overload
def get(object_refs: ObjectRef[T], *, timeout: float | None = None) -> T: ...
@overload
def get(object_refs: list[ObjectRef[T]], *, timeout: float | None = None) -> list[T]: ...
def get(object_refs: Any, *, timeout: float | None = None) -> Any:
    """The value of a ref, or the list of values of a list of refs. Waits until they are there.

    Args:
        object_refs: An `ObjectRef` or a list of them.
        timeout: How many seconds to wait at most. None (or a negative number) means: for ever. 0 only looks.

    Raises:
        The error of the task that computes a value (see `minray.exceptions.RayTaskError`), of the first such ref.
        GetTimeoutError: A value was not there in time.
        ValueError: `object_refs` is neither a ref nor a list, or `timeout` is not a number.
        TypeError: The list holds something else than refs.
    """
    if timeout is not None:
        timeout = _seconds(timeout)
    if isinstance(object_refs, ObjectRef):
        id = id_of(object_refs)
        return asked_about(object_refs._session).get([id], timeout)[0]
    if isinstance(object_refs, ObjectRefGenerator):
        return object_refs  # as in Ray: what stands for many values has none of its own
    if not isinstance(object_refs, list):
        raise ValueError(
            f"Invalid type of object refs, {type(object_refs)}, is given. 'object_refs' must either be an ObjectRef or "
            "a list of ObjectRefs."
        )
    ids = ids_of(object_refs) or [_id_of(ref) for ref in object_refs]
    return (asked_about(object_refs[0]._session) if ids else ensure()).get(ids, timeout)


def _seconds(timeout: float) -> float | None:
    """A time-out; None, for ever, if it is negative, or longer than clocks count (292 years)."""
    try:
        if 0 <= timeout <= threading.TIMEOUT_MAX:
            return timeout
    except TypeError:
        raise TypeError(f"The 'timeout' argument must be a number of seconds, got: {timeout!r}.") from None
    if timeout != timeout:
        raise ValueError(f"The 'timeout' argument must be a number of seconds. Received {timeout}")
    return None


def _id_of(ref: Any) -> int:
    if not isinstance(ref, ObjectRef):
        raise TypeError(f"Attempting to call `get` on the value {ref!r}, which is not an ray.ObjectRef.")
    return id_of(ref)


def put(value: T, *, _owner: None = None) -> ObjectRef[T]:
    """Store a value once, for many tasks to read. Returns its `ObjectRef`.

    TypeError: it is a ref, or unpicklable. ValueError: it is to belong to an actor (`_owner`), as once in Ray.
    """
    if _owner is not None:
        raise ValueError("The experimental `_owner` argument to `ray.put` has been removed in Ray 2.56.")
    if isinstance(value, ObjectRef):
        raise TypeError(
            "Calling 'put' on an ray.ObjectRef is not allowed. If you really want to do this, you can wrap the "
            "ray.ObjectRef in a list and call 'put' on it."
        )
    session = ensure()
    return ObjectRef(session.put(value), session)


def wait(
    ray_waitables: list[Ref], *, num_returns: int = 1, timeout: float | None = None, fetch_local: bool = True
) -> tuple[list[Ref], list[Ref]]:
    """Wait until `num_returns` of the refs are ready, or until `timeout` seconds are over.

    Returns ``(ready, others)``, both in the order given. `ready` never has more than `num_returns` refs, even if more
    are ready; it has fewer after a time-out. A task that failed is ready. Which of several ready refs come first is not
    promised.

    Args:
        ray_waitables: A list of `ObjectRef`, none of them twice. An `ObjectRefGenerator` in it is ready if its `next`
            would not wait.
        num_returns: How many to wait for, from 1 to the length of the list.
        timeout: None means: for ever. 0 only looks.
        fetch_local: Accepted for Ray's sake; values are fetched by `get`.

    Raises:
        TypeError: It is not a list of refs. ValueError: A ref is there twice, or a number is out of range.
    """
    given: Any = ray_waitables
    if not isinstance(given, list):
        single = isinstance(given, (ObjectRef, ObjectRefGenerator))
        got = f"a single ray.ObjectRef or ray.ObjectRefGenerator {given}" if single else str(type(given))
        raise TypeError(
            f"wait() expected a list of ray.ObjectRef or ray.ObjectRefGenerator, got {got}. "
            "Write wait([ref]) for one ref."
        )
    if timeout is not None:
        given_timeout, timeout = timeout, _seconds(timeout)
        if given_timeout < 0:
            raise ValueError(f"The 'timeout' argument must be nonnegative. Received {given_timeout}")
    if not isinstance(num_returns, (int, float)):
        raise TypeError(f"The 'num_returns' argument must be a number of refs, got: {num_returns!r}.")
    ids = ids_of(given)
    if ids is None:
        for ref in given:
            if not isinstance(ref, (ObjectRef, ObjectRefGenerator)):
                raise TypeError(
                    "wait() expected a list of ray.ObjectRef or ray.ObjectRefGenerator, "
                    f"got list containing {type(ref)}"
                )
        if not given:
            return [], []
        ids = [id_of(ref) if isinstance(ref, ObjectRef) else ref._peek() for ref in given]
    if len(set(ids)) != len(ids):
        raise ValueError(
            "Wait requires a list of unique ray_waitables. Remove the duplicates: list(dict.fromkeys(refs))."
        )
    if num_returns <= 0:
        raise ValueError(f"Invalid number of objects to return {num_returns}: num_returns must be at least 1.")
    if num_returns > len(ids):
        raise ValueError(
            "num_returns cannot be greater than the number of ray_waitables provided to ray.wait. "
            f"{num_returns} > {len(ids)}. Use num_returns=min(n, len(refs))."
        )
    ready = asked_about(given[0]._session).wait(ids, int(num_returns), timeout)
    if len(ready) > num_returns:
        ready = set(islice((id for id in ids if id in ready), int(num_returns)))
    if len(ready) == len(ids):
        return list(given), []
    if len(ready) <= FEW:  # of a long list, often: who waits for one after another
        places = sorted(map(ids.index, ready))
        others = list(given)
        for place in reversed(places):
            del others[place]
        return [given[place] for place in places], others
    first = [ref for ref, id in zip(given, ids) if id in ready]
    return first, [ref for ref, id in zip(given, ids) if id not in ready]


# --- Actors ------------------------------------------------------------------------------------------------------


def get_actor(name: str, namespace: str | None = None) -> ActorHandle[Any]:
    """A handle to the living actor of this name. ValueError: there is none in this namespace."""
    if not name:
        raise ValueError("Please supply a non-empty value to get_actor")
    if not isinstance(name, str):
        raise TypeError(f"The name of an actor must be a string, got: {name!r}.")
    check_namespace(namespace)
    return find_actor(ensure(), name, namespace)


def kill(actor: ActorHandle[Any] | type[Any], *, no_restart: bool = True) -> None:
    """End an actor at once, in the middle of whatever it does. Its calls that have not finished fail.

    With ``no_restart=False`` an actor that has restarts left starts anew. Killing a dead actor does nothing.
    """
    if not isinstance(actor, ActorHandle):
        raise ValueError(
            f"minray.kill() only supported for actors. For tasks, try minray.cancel(). Got: {type(actor)}."
        )
    ensure().kill(actor._minray_id, no_restart)


def cancel(
    ray_waitable: ObjectRef[Any] | ObjectRefGenerator[Any], *, force: bool = False, recursive: bool = True
) -> None:
    """Cancel the task, or the actor's call, that a ref is a result of. Does not wait. A finished one stays as it is.

    1. What has not begun never will: `get` raises `TaskCancelledError`.
    2. A running task is interrupted: KeyboardInterrupt in its code, which it may catch (then its result counts). In
       processes that ends a sleep or a wait for a lock, too; code in C, and on the threads backend all waits, go on to
       their ends first.
    3. With `force` the worker of a running task is ended. ValueError for actors' calls: use `minray.kill(actor)`.
    4. A running call of an async actor is cancelled as an `asyncio.Task` is. Other actors go on; the call can ask
       ``get_runtime_context().is_canceled()``, and its result is a `TaskCancelledError`.

    With `recursive` so are the calls that it has made, and theirs. Nothing that was cancelled is retried. Not promised:
    that the cancelled call has no effect, or that it comes in time.

    Raises TypeError if it is neither a ref nor a generator of refs.
    """
    if isinstance(ray_waitable, ObjectRefGenerator):
        ray_waitable = ray_waitable._generator_ref
    if not isinstance(ray_waitable, ObjectRef):
        raise TypeError(
            f"minray.cancel() only supported for object refs. For actors, try minray.kill(). Got: {type(ray_waitable)}."
        )
    ensure().ask("cancel", id_of(ray_waitable), force, recursive)


# --- The run -----------------------------------------------------------------------------------------------------


def cluster_resources() -> dict[str, float]:
    """All resources of the run, by name."""
    return dict(ensure().ask("resources", False))


def available_resources() -> dict[str, float]:
    """The resources that nobody holds at this moment, by name."""
    return dict(ensure().ask("resources", True))


def nodes() -> list[dict[str, Any]]:
    """The machines of the run, each as a dict with Ray's keys: ``"NodeID"``, ``"Resources"``, ``"Labels"`` ..."""
    return list(ensure().ask("nodes"))


def get_gpu_ids() -> list[int] | list[str]:
    """Which GPUs the calling task or actor may use: those that it has got for its `num_gpus`. None of them in a driver.

    Numbers; names, where CUDA_VISIBLE_DEVICES of the driver has names.
    """
    given = ensure().given
    return list(given.get("gpus", ())) if given is not None else []
