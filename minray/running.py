"""Running calls: from a RUN, CALL or CREATE to the user's code, and from what that returns or raises to the answer.

    message ──open──> function, arguments ──> user's code ──answer──> DONE
                                                          └─fail────> FAILED

A worker runs one call at a time on its main thread (`run`). Some actors run several at once: on threads, which call
`run` too (concurrency.py), or in an event loop, which goes through the same steps (looping.py).
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from time import perf_counter
from types import GeneratorType
from typing import Any, NoReturn

from minray.calling import Gone
from minray.client import Client
from minray.core.template import Code
from minray.core.value import ERROR, NONE, STORED, Value, fault
from minray.current_call import current_call
from minray.exceptions import ActorDiedError, AsyncioActorExit, RayTaskError, TaskCancelledError
from minray.ids import actor_id, task_id
from minray.stopping import Interruptible
from minray.wire import messages as m
from minray.wire.messages import Message
from minray.yielding import Missing, Producers, draw, dynamic

#: CUDA's variable of the GPUs that a process may use.
_VISIBLE = "CUDA_VISIBLE_DEVICES"


def _nothing() -> None:
    """Nobody has calls that could begin."""


class ExitActor(BaseException):
    """Raised, when a call is over that has called `exit_actor`, to whoever ran it: the actor is to end."""


class Calls:
    """Runs the calls of one worker, and keeps what they need: functions by key, and the actor if it has become one."""

    def __init__(self, client: Client, label: Callable[[str], None] | None) -> None:
        self.client = client
        self.codec = client.codec
        self._label = label
        self._pid = os.getpid()
        self._codes: dict[bytes, Any] = {}
        self._blobs: dict[bytes, tuple[bytes, str]] = {}  # with the names, until they are needed
        self._loading = threading.Lock()
        self.producers = Producers(client)
        self._visible = None if client.in_process else os.environ.get(_VISIBLE)
        self.actor: Any = None
        self.is_async = False
        self._actor_id = 0
        self.interruptible: Interruptible | None = None  # calls the functions of tasks
        self.cancelled: set[int] = set()  # calls that somebody has cancelled, from then until they are over
        self.stall: Callable[[], None] = _nothing  # have no more calls begin until the owner says so
        self.leaving: set[int] = set()  # calls that have ended the actor, whatever they return or raise now

    def learn(self, key: bytes, blob: bytes, name: str) -> None:
        """Code that will be used."""
        self._blobs[key] = blob, name

    def give(self, extra: Mapping[str, Any] | None) -> None:
        """Note what a task, or the actor for its life, has got beyond arguments."""
        self.client.given = extra
        if self.client.in_process:
            return  # the environment is everybody's
        gpus = extra.get("gpus") if extra is not None else None
        if gpus:
            os.environ[_VISIBLE] = ",".join(map(str, gpus))
        elif self._visible is None:
            os.environ.pop(_VISIBLE, None)
        else:
            os.environ[_VISIBLE] = self._visible

    # -- calls ----------------------------------------------------------------------------------------------------

    def run(self, message: Message) -> None:
        """Run a call to its end on this thread, and answer. ExitActor: it ended the actor. SystemExit: the process."""
        op, id, target, args, where, ids, deps, num_returns, name, retry, extra = message
        if op == m.RUN:
            if self._label is not None:
                self._label(name)
            if extra is not self.client.given:
                self.give(extra)
        held = self.hold(args, ids, deps)
        begun = perf_counter()
        try:
            if op == m.RUN:
                function = self._codes.get(target) or self._load(target)
            else:
                function = self.method(target)
            current_call.set((id, name, function, target if op == m.CALL else ""))
            arguments = self.client.arguments if op == m.RUN else self.codec.arguments
            positional, keywords = arguments(args, where, ids, deps)
            del message, args, deps  # what the user drops inside the call is gone
            if op == m.RUN and self.interruptible is not None:
                result = self.interruptible.run(id, function, positional, keywords)
            else:
                if self.cancelled and id in self.cancelled:  # since it left the queue
                    raise KeyboardInterrupt
                result = function(*positional, **keywords)
            if extra is not None and "yields" in extra:
                result = self._draw(op, id, self._yielded, (id, result, extra["yields"], name, retry))
            elif type(result) is GeneratorType:
                result = self._draw(op, id, self.drawn, (result, num_returns, name, retry))
            values = self.results(result, num_returns, name)
            if self.leaving:
                self.leave_if_asked(id)
            if self.cancelled and op == m.CALL and id in self.cancelled:
                self.cancelled.discard(id)
                self.client.post((m.FAILED, id, self._too_late(id), False, perf_counter() - begun))
                self.over(held)
                return
            # Posted before the result goes: it must reach the owner before the references in it are given back.
            self.client.post((m.DONE, id, values, perf_counter() - begun))
            del result, positional, keywords
        except ExitActor:
            raise
        except Gone as gone:
            self.stalled(id, gone)
        except SystemExit as end:
            self.leave_if_asked(id)
            if op == m.CALL and ends_well(end):
                raise ExitActor from None
            raise
        except BaseException as error:
            self.leave_if_asked(id)
            self.failed(id, error, name, retry, begun)
            result = positional = keywords = None  # noqa: F841 (gone before the flush)
        self.over(held)

    def _draw(self, op: int, id: int, draw: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        """Run a generator, which has only been made so far."""
        if op == m.RUN and self.interruptible is not None:
            return self.interruptible.run(id, draw, args, {})
        return draw(*args)

    def _too_late(self, id: int) -> Value:
        """The result of a call that was cancelled while it ran, and could not be interrupted."""
        return fault("Cancelled", id, self._actor_id, True)

    def hold(self, args: Value, ids: tuple[int, ...], deps: list[Value]) -> list[int]:
        """Count the references that came with a call, until its arguments are unpickled and it is over."""
        held: list[int] = []
        if args[2]:
            held += self.client.hold(0, args)
        for id, value in zip(ids, deps):
            if value[0] >= STORED or value[2]:
                held += self.client.hold(id, value)
        return held

    def stalled(self, id: int, gone: Gone) -> None:
        """An actor's call cannot begin, as an argument is gone, which this very actor may have to make again."""
        self.stall()
        self.client.post((m.GONE, gone.id, gone.location))
        self.client.post((m.STALLED, id))

    def over(self, held: list[int]) -> None:
        """The call is over: let go what came with it, and send what was posted."""
        if held:
            for inner in held:
                self.client.counts.drop(inner)
        # At once, not with the next call's: should that one end the process, this one has been done all the same.
        self.client.flush()

    def _load(self, key: bytes) -> Any:
        with self._loading:
            function = self._codes.get(key)
            if function is None:
                blob, name = self._blobs[key]
                function = self._codes[key] = pickle.loads(blob)  # which may raise, each time
                self.client.came[id(function)] = Code(key, blob, name)
                del self._blobs[key]
        return function

    def method(self, name: str) -> Any:
        """A method of the actor's class, or one of those that every actor has."""
        if name == "__ray_ready__":
            return lambda: True
        if name == "__ray_call__":
            return lambda function, *args, **kwargs: function(self.actor, *args, **kwargs)
        if name == "__ray_terminate__":
            return self.exit_actor
        return getattr(self.actor, name)

    def exit_actor(self) -> NoReturn:
        """Leave the method, and end the actor once it is left, even if the exception is caught on the way."""
        call = current_call.get()
        self.leaving.add(call[0] if call is not None else 0)
        # On a loop SystemExit would end the loop at once, under the other calls.
        raise AsyncioActorExit("exit_actor() is called.") if self.is_async else SystemExit(0)

    def is_cancelled(self) -> bool:
        """Whether somebody has cancelled the calling thread's call. RuntimeError: in an async actor."""
        if self.is_async:
            raise RuntimeError("This method is not supported in an async actor.")
        call = current_call.get()
        return call is not None and call[0] in self.cancelled

    def leave_if_asked(self, id: int) -> None:
        """Raise ExitActor if the call has called `exit_actor`."""
        if id in self.leaving:
            raise ExitActor

    # -- results --------------------------------------------------------------------------------------------------

    def results(self, result: Any, num_returns: int, name: str) -> tuple[Value, ...]:
        """What was returned, as one value for each of the call's objects. ValueError: it is not as many."""
        if num_returns == 1:
            if result is None:
                return (NONE,)
            return (self.codec.value(result, f"the return value of {name}"),)
        if num_returns == 0:
            return ()
        try:
            returned = len(result)
        except TypeError as error:
            raise TypeError(
                f"{error}: with num_returns={num_returns} every call of {name} has to return as many values, in a list "
                "or another collection."
            ) from None
        if returned != num_returns:
            raise ValueError(
                f"Task returned {returned} objects, but num_returns={num_returns}: every call of {name} has to "
                "return as many."
            )
        return tuple(
            [
                self._error(one.error, name)
                if type(one) is Missing
                else self.codec.value(one, f"return value {i} of {name}")
                for i, one in enumerate(result)
            ]
        )

    def drawn(self, items: Any, num_returns: int, name: str, retry: Any) -> Any:
        """What a generator returns that says how many items it yields."""
        return draw(items, num_returns, name, lambda error: self._retries(error, retry))

    def _yielded(self, id: int, items: Any, how: dict[str, Any], name: str, retry: Any) -> Any:
        """Send on what a generator yields; returns what the call itself returns."""
        if how["stream"] is not None:
            self.producers.stream(id, items, how, name)
            return None
        return self.dynamic(items, name, retry)

    def dynamic(self, items: Any, name: str, retry: Any) -> Any:
        """What a call with ``num_returns="dynamic"`` returns."""

        def fail(error: BaseException) -> Value:
            if self._retries(error, retry):
                raise error
            return self._error(error, name)

        return dynamic(self.client, items, name, fail)

    def failed(self, id: int, error: BaseException, name: str, retry: Any, begun: float) -> None:
        """Answer that the call raised."""
        self.cancelled.discard(id)
        if isinstance(error, KeyboardInterrupt):
            error = cancelled(id, error)
        wrapped, again = self._error(error, name), self._retries(error, retry)
        self.client.post((m.FAILED, id, wrapped, again, perf_counter() - begun))

    def _error(self, error: BaseException, name: str) -> Value:
        return (ERROR, pickle.dumps(self._wrapped(error, name)), ())

    def _wrapped(self, error: BaseException, name: str) -> RayTaskError:
        about = (
            {"actor_repr": safe_repr(self.actor), "actor_id": actor_id(self._actor_id).hex()} if self._actor_id else {}
        )
        return RayTaskError.from_exception(name, error, self._pid, **about)

    def _retries(self, error: BaseException, retry: Any) -> bool:
        """Whether the call's options ask to run it again after `error`: all exceptions, or the types in some code."""
        if isinstance(retry, bytes):
            return isinstance(error, self._codes.get(retry) or self._load(retry))
        return bool(retry)

    def refuse(self, why: str, message: Message) -> None:
        """Answer a RUN or CREATE, in a worker without the runtime environment that it was to have."""
        error = fault("RuntimeEnvSetup", why)
        if message[0] == m.CREATE:
            self.client.post((m.CREATED, message[1], error, "", 0.0))
        else:
            self.client.post((m.FAILED, message[1], error, False, 0.0))
        self.client.flush()

    # -- becoming an actor ----------------------------------------------------------------------------------------

    def create(self, message: Message) -> bool:
        """Make the actor, and answer; False if its `__init__` raised. ExitActor: that called `exit_actor`."""
        _, id, key, args, where, ids, deps, name, extra = message
        self._actor_id = id
        self.is_async = bool(extra and extra.get("async"))
        self.client.leave = self.exit_actor
        self.producers.cancelled = self.cancelled
        self.give(extra)
        if self._label is not None:
            self._label(name)
        held = self.hold(args, ids, deps)
        error: Value | None = None
        shown = ""
        begun = perf_counter()
        try:
            cls = self._load(key)
            self.client.resident = (id, cls)
            current_call.set((0, f"{name}.__init__", cls, "__init__"))
            positional, keywords = self.client.arguments(args, where, ids, deps)
            self.actor = cls(*positional, **keywords)
            if cls.__repr__ is not object.__repr__:
                shown = safe_repr(self.actor)
                if self._label is not None:
                    self._label(shown)
            self.leave_if_asked(0)
        except SystemExit:
            self.leave_if_asked(0)
            raise
        except Exception as failure:
            self.leave_if_asked(0)
            wrapped = self._wrapped(failure, f"{name}.__init__")
            error = (ERROR, pickle.dumps(wrapped), ())
            # Whoever calls a method gets the error, but perhaps nobody ever does.
            sys.stderr.write(f"Exception raised in creation task: {ActorDiedError(wrapped)}\n")
        for inner in held:
            self.client.counts.drop(inner)
        self.client.post((m.CREATED, id, error, shown, perf_counter() - begun))
        self.client.flush()
        return error is None

    def end_actor(self) -> None:
        """The actor ends, and nobody has killed it: it is told (`__ray_shutdown__`), and dropped (`__del__`)."""
        told = getattr(self.actor, "__ray_shutdown__", None)
        if callable(told):
            try:
                told()
            except Exception:  # whatever the user's code raises: there is nobody to hand it to
                traceback.print_exc()
        current_call.set(None)  # it has the last method
        self.actor = told = None


def cancelled(id: int, error: BaseException) -> TaskCancelledError:
    """What the caller gets for a call that was interrupted by `error`, or that cancelled itself."""
    return TaskCancelledError(task_id(id)).with_traceback(error.__traceback__)


def ends_well(end: SystemExit) -> bool:
    """Whether a method that is left by this has ended its actor on purpose, for good: ``sys.exit(0)``."""
    return end.code == 0


def safe_repr(obj: Any) -> str:
    """`repr`, or `object`'s if the user's raises."""
    try:
        return repr(obj)
    except Exception:  # the user's __repr__ may raise anything
        return object.__repr__(obj)
