"""`Serial`: the API of tasks, actors and objects, carried out on the spot. The answer that every backend has to give.

A call runs when it is made, in the caller's thread, and what it returns is there when `.remote` returns. There is no
scheduler, no worker, no message and no count of references: nothing of minray but its exceptions. What is left is what
Ray's API means where order does not matter: arguments and results are copies, refs at the top level of arguments stand
for their values, errors surface at `get` as instances of the cause's type, retries start over, handles reach one actor.

    def program(ray):            # any function of the module `ray`
        ...

    program(Serial())

What needs two things to happen at once cannot run here: a call that waits for one that is made after it. Nor are there
resources, placement, time-outs that expire, or runtime contexts; asking for one of these is an AttributeError. Options
that say where and when a call runs are accepted and mean nothing.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import copy
import inspect
import threading
import weakref
from collections.abc import Callable, Generator, Iterator
from typing import Any

from minray import exceptions

#: How often a task whose exceptions are to be retried is retried, if nothing is said: Ray's number.
_MAX_RETRIES = 3


class Ref:
    """The value or the error of a call, or what was `put`."""

    def __init__(self, value: Any = None, error: exceptions.RayError | None = None) -> None:
        self._value = value
        self._error = error

    def _get(self) -> Any:
        if isinstance(self._error, exceptions.RayTaskError):
            raise self._error.as_instanceof_cause()
        if self._error is not None:
            raise self._error
        return copy.deepcopy(self._value)

    def future(self) -> concurrent.futures.Future[Any]:
        """A future that is done."""
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        try:
            future.set_result(self._get())
        except exceptions.RayError as error:
            future.set_exception(error)
        return future

    def __await__(self) -> Generator[Any, None, Any]:
        yield from ()
        return self._get()

    def __deepcopy__(self, memo: dict[int, Any]) -> Ref:
        return self


class Stream:
    """The refs to what a generator yielded: it has run to its end when it is returned."""

    def __init__(self, refs: list[Ref], error: exceptions.RayError | None) -> None:
        self._refs = iter(refs)
        self._completed = Ref(None, error)

    def __iter__(self) -> Iterator[Ref]:
        return self

    def __next__(self) -> Ref:
        return next(self._refs)

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> Ref:
        for ref in self._refs:
            return ref
        raise StopAsyncIteration

    def completed(self) -> Ref:
        """A ref that is ready when the generator has ended."""
        return self._completed


class _Function:
    """What `remote` makes of a function."""

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]) -> None:
        self._function = function
        self._options = options

    def options(self, **options: Any) -> _Function:
        return _Function(self._function, {**self._options, **options})

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        default = "streaming" if inspect.isgeneratorfunction(self._function) else 1
        return _call(self._function.__name__, self._function, args, kwargs, {"num_returns": default, **self._options})


class _Actor:
    """An actor: its state, or why it is dead."""

    def __init__(self, cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.name = cls.__name__
        self.cls = cls
        self.death: exceptions.RayError | None = None
        try:
            args, kwargs = _resolved(args, kwargs)
            self.state = cls(*args, **kwargs)
        except Exception as error:
            cause = error if isinstance(error, exceptions.RayTaskError) else _failed(f"{self.name}.__init__", error)
            self.death = exceptions.ActorDiedError(str(cause))


class Handle:
    """Reaches an actor. All handles of one actor are equally good."""

    def __init__(self, actor: _Actor) -> None:
        self._actor = actor

    def __getattr__(self, name: str) -> _Method:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Method(self._actor, name, {})

    def __deepcopy__(self, memo: dict[int, Any]) -> Handle:
        return self


class _Method:
    def __init__(self, actor: _Actor, name: str, options: dict[str, Any]) -> None:
        self._actor = actor
        self._name = name
        self._options = options

    def options(self, **options: Any) -> _Method:
        return _Method(self._actor, self._name, {**self._options, **options})

    def remote(self, *args: Any, **kwargs: Any) -> Any:
        actor = self._actor
        method = getattr(actor.cls, self._name)
        generates = inspect.isgeneratorfunction(method) or inspect.isasyncgenfunction(method)
        options = {"num_returns": "streaming" if generates else 1, "max_retries": 0}
        options.update(getattr(method, "_serial_options", {}))
        options.update(self._options)
        options["max_retries"] = options.pop("max_task_retries", options["max_retries"])
        if actor.death is not None:
            return _results(options["num_returns"], [], actor.death)
        method = getattr(actor.state, self._name)
        return _call(f"{actor.name}.{self._name}", method, args, kwargs, options)


class _Class:
    """What `remote` makes of a class."""

    def __init__(self, cls: type, options: dict[str, Any], serial: Serial) -> None:
        self._cls = cls
        self._options = options
        self._serial = serial

    def options(self, **options: Any) -> _Class:
        return _Class(self._cls, {**self._options, **options}, self._serial)

    def remote(self, *args: Any, **kwargs: Any) -> Handle:
        name, named = self._options.get("name"), self._serial._named
        if name is not None and name in named:
            if self._options.get("get_if_exists"):
                return Handle(named[name])
            raise ValueError(f"The name {name!r} is taken.")
        actor = _Actor(self._cls, args, kwargs)
        if name is not None and actor.death is None:
            named[name] = actor
        if self._options.get("lifetime") == "detached":
            self._serial._detached.append(actor)
        return Handle(actor)


class Serial:
    """Stands in for the module `ray` (or `minray`) in a program that takes it as an argument."""

    ObjectRef = Ref
    ObjectRefGenerator = Stream
    exceptions = exceptions

    def __init__(self) -> None:
        self._named: weakref.WeakValueDictionary[str, _Actor] = weakref.WeakValueDictionary()
        self._detached: list[_Actor] = []

    def remote(self, *args: Any, **options: Any) -> Any:
        """``@remote`` or ``@remote(num_returns=2, ...)``, for functions and classes."""
        if not args:
            return lambda target: self._make(target, options)
        return self._make(args[0], {})

    def _make(self, target: Any, options: dict[str, Any]) -> Any:
        return _Class(target, options, self) if isinstance(target, type) else _Function(target, options)

    def method(self, **options: Any) -> Callable[[Any], Any]:
        """``@method(num_returns=2, ...)``: options of an actor's method."""

        def mark(method: Any) -> Any:
            method._serial_options = options
            return method

        return mark

    def get(self, refs: Any, *, timeout: float | None = None) -> Any:
        """The value of a ref, or the list of values of a list of refs; raises the first error."""
        return [ref._get() for ref in refs] if isinstance(refs, list) else refs._get()

    def put(self, value: Any) -> Ref:
        """A ref to a copy of the value."""
        return Ref(copy.deepcopy(value))

    def wait(
        self, refs: list[Ref], *, num_returns: int = 1, timeout: float | None = None, fetch_local: bool = True
    ) -> tuple[list[Ref], list[Ref]]:
        """All refs are ready, so the first `num_returns` are returned as that."""
        return refs[:num_returns], refs[num_returns:]

    def cancel(self, ref: Any, *, force: bool = False, recursive: bool = True) -> None:
        """Too late: what could be cancelled has ended."""

    def get_actor(self, name: str) -> Handle:
        """A handle to the actor of that name. ValueError: there is none."""
        if name not in self._named:
            raise ValueError(f"There is no actor {name!r}.")
        return Handle(self._named[name])

    def kill(self, handle: Handle, *, no_restart: bool = True) -> None:
        """The actor is dead from now on."""
        actor = handle._actor
        actor.death = actor.death or exceptions.ActorDiedError("The actor was killed.")
        for name in [name for name, other in self._named.items() if other is actor]:
            del self._named[name]


def _call(
    name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], options: dict[str, Any]
) -> Any:
    """Run a call, as often as its options allow; what `.remote` returns."""
    num_returns = options.get("num_returns")
    if num_returns is None:
        num_returns = 1
    try:
        args, kwargs = _resolved(args, kwargs)
    except exceptions.RayError as error:
        base = error.for_dependant(name) if isinstance(error, exceptions.RayTaskError) else error
        return Ref(error=base) if num_returns == "dynamic" else _results(num_returns, [], base)
    retried = options.get("retry_exceptions") or ()
    kinds = (Exception,) if retried is True else tuple(retried)
    left = options.get("max_retries", _MAX_RETRIES) if kinds else 0
    while True:
        items: list[Any] = []
        try:
            # Each run has copies of its own: what an earlier one did to its arguments is not seen.
            result = _run(function, copy.deepcopy(args), copy.deepcopy(kwargs))
            if num_returns in ("streaming", "dynamic"):
                _collect(result, items)
            else:
                items = _parts(name, result, num_returns)
            return _results(num_returns, items, None)
        except Exception as error:
            if left and _retried(error, kinds):
                left -= 1
                continue
            return _results(num_returns, items, _failed(name, error))


def _run(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    result = function(*args, **kwargs)
    return _awaited(result) if inspect.iscoroutine(result) else result


def _awaited(coroutine: Any) -> Any:
    """Run a coroutine to its end, in a loop of its own: this may be a call within another coroutine."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.extend([asyncio.run(coroutine), None])
        except BaseException as error:
            outcome.extend([None, error])

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    value, error = outcome
    if error is not None:
        raise error
    return value


def _collect(result: Any, items: list[Any]) -> None:
    """Add to `items` what a generator yields, one by one: those before an error count."""
    if inspect.isasyncgen(result):

        async def collect() -> None:
            async for item in result:
                items.append(copy.deepcopy(item))  # noqa: PERF401 (what comes before an error counts)

        _awaited(collect())
    else:
        for item in result:
            items.append(copy.deepcopy(item))  # noqa: PERF401


def _parts(name: str, result: Any, num_returns: int) -> list[Any]:
    result = copy.deepcopy(result)
    if num_returns == 1:
        return [result]
    if num_returns == 0:
        return []
    parts = list(result)
    if len(parts) != num_returns:
        raise ValueError(f"{name} returned {len(parts)} values, not {num_returns}.")
    return parts


def _results(num_returns: Any, items: list[Any], error: exceptions.RayError | None) -> Any:
    """What `.remote` returns for a call that came to `items`, and then maybe to `error`."""
    if num_returns in ("streaming", "dynamic"):
        refs = [Ref(item) for item in items] + ([Ref(error=error)] if error is not None else [])
        return Ref(refs) if num_returns == "dynamic" else Stream(refs, error)
    refs = [Ref(error=error) for _ in range(num_returns)] if error is not None else [Ref(item) for item in items]
    return None if num_returns == 0 else refs[0] if num_returns == 1 else refs


def _resolved(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Copies of the arguments, with the values of refs in their places."""

    def value(arg: Any) -> Any:
        return arg._get() if isinstance(arg, Ref) else copy.deepcopy(arg)

    return tuple([value(arg) for arg in args]), {name: value(arg) for name, arg in kwargs.items()}


def _retried(error: Exception, kinds: tuple[type[BaseException], ...]) -> bool:
    return isinstance(error, kinds) or (isinstance(error, exceptions.RayTaskError) and isinstance(error.cause, kinds))


def _failed(name: str, error: Exception) -> exceptions.RayError:
    return exceptions.RayTaskError.from_exception(name, error)
