"""What a worker runs: it takes calls from its link in order, runs them, and sends back what they return.

      link ──receive──> todo: [RUN, RUN, CALL ...] ──main thread──> user's function ──> DONE ──outbox──> link
                          ^ recall() takes back from here what has not been begun (any thread)

In a process of its own (loky) or in a thread (threads), the code is the same; the pool gives it a `Link`.
"""

from __future__ import annotations

import os
import pickle
from collections import deque
from collections.abc import Callable
from itertools import islice
from time import perf_counter
from types import GeneratorType
from typing import Any

from minray.backend import Link, Store
from minray.client import Client
from minray.core.value import ERROR, NONE, Value
from minray.exceptions import RayTaskError, TaskCancelledError
from minray.reading import Waiting
from minray.session import set_driver, set_thread
from minray.wire import messages as m
from minray.wire.messages import Message


class Worker:
    """One worker, from its hello to its end."""

    def __init__(
        self,
        number: int,
        link: Link,
        store: Store | None,
        isolate: bool = True,
        in_process: bool = False,
        label: Callable[[str], None] | None = None,
    ) -> None:
        self.client = Client(number, link, store, isolate, in_process)
        self._codec = self.client.codec
        self._store = store
        self._todo: deque[Message] = deque()
        self._work = Waiting()
        self._codes: dict[bytes, Any] = {}
        self._blobs: dict[bytes, bytes] = {}
        self._label = label  # told the name of what runs, for the lines it prints
        self._pid = os.getpid()
        self._actor: Any = None
        self._actor_class = ""
        self._actor_id = 0
        self._exiting = False
        self.client.on_work(self._take)

    def run(self, own_process: bool = False) -> None:
        """Serve until told to stop or the owner is gone.

        `own_process`: the process is this worker's alone, so that threads which user code starts are served too.
        """
        set_thread(self.client)
        if own_process:
            set_driver(self.client)
        try:
            self.client.post((m.HELLO, self._pid))
            self.client.flush()
            while not self._exiting:
                self._step()
        except (EOFError, OSError):
            return  # the owner is gone, and with it everybody who could care
        finally:
            set_thread(None)

    def _step(self) -> None:
        todo = self._todo
        try:
            message = todo.popleft()
        except IndexError:
            self._work.done = False
            self.client.flush()
            if not todo:
                self.client.reader.wait(self._work)
            return
        op = message[0]
        if op == m.RUN or op == m.CALL:
            self._run(message)
        elif op == m.CODE:
            self._blobs[message[1]] = message[2]
        elif op == m.CREATE:
            self._create(message)
        elif op == m.STOP:
            self.client.flush()
            self._exiting = True

    def _take(self, messages: list[Message]) -> None:
        """Sort what came in: called by whichever thread reads."""
        todo = self._todo
        for message in messages:
            if message[0] == m.RECALL:
                self.recall()
            elif message[0] == m.FREE:
                assert self._store is not None
                self._store.free(message[1])
            else:
                todo.append(message)
        self._work.finish()

    def recall(self) -> None:
        """Hand back every task that has not been begun, and send the results that wait. Any thread."""
        back = []
        kept = []
        while True:
            try:
                message = self._todo.pop()
            except IndexError:
                break
            if message[0] == m.RUN:
                back.append(message[1])
            else:
                kept.append(message)
        self._todo.extend(reversed(kept))
        self._work.finish()
        back.reverse()
        self.client.post((m.RETURNED, tuple(back)))
        self.client.flush()

    def drain(self) -> None:
        """Read what has come although the main thread is busy with a call. Any thread (the interrupt's)."""
        self.client.reader.pump()

    # -- running --------------------------------------------------------------------------------------------------

    def _run(self, message: Message) -> None:
        op, id, target, args, where, ids, deps, num_returns, name, retry, _extra = message
        if self._label is not None and op == m.RUN:
            self._label(name)
        held = self._hold(args, ids, deps)
        begun = perf_counter()
        try:
            if op == m.RUN:
                function = self._codes.get(target) or self._load(target)
            else:
                function = self._method(target)
            positional, keywords = self._codec.arguments(args, where, ids, deps)
            del message, args, deps  # what the user drops inside the call is gone
            result = function(*positional, **keywords)
            values = self._results(result, num_returns, name)
            # Posted before the result goes: it must reach the owner before the references in it are given back.
            self.client.post((m.DONE, id, values, perf_counter() - begun))
            del result, positional, keywords
        except _ExitActor:
            self._exit_actor()
            return
        except SystemExit:
            raise  # the user ends the process: for the owner a crash, as in Ray
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                error = TaskCancelledError(error_message=f"Task: {name} was interrupted.")
            wrapped, again = self._error(error, name), self._retries(error, retry)
            self.client.post((m.FAILED, id, wrapped, again, perf_counter() - begun))
        if held:
            for inner in held:
                self.client.counts.drop(inner)
        # At once, not with the next call's: should that one end the process, this one has been done all the same.
        self.client.flush()

    def _hold(self, args: Value, ids: tuple[int, ...], deps: list[Value]) -> list[int]:
        """Count the references that came with a call, until its arguments are unpickled and it is over."""
        held: list[int] = []
        if args[2]:
            held += self.client.hold(0, args)
        for id, value in zip(ids, deps):
            if value[0] >= 3 or value[2]:
                held += self.client.hold(id, value)
        return held

    def _results(self, result: Any, num_returns: int, name: str) -> tuple[Value, ...]:
        if type(result) is GeneratorType:
            # As many as were declared are taken; a surplus is never computed (as in Ray).
            result = list(islice(result, num_returns))
            if num_returns == 1:
                if not result:
                    raise ValueError(f"Task returned 0 objects, but num_returns=1: {name} has to yield a value.")
                (result,) = result
        if num_returns == 1:
            if result is None:
                return (NONE,)
            return (self._codec.value(result, f"the return value of {name}"),)
        if num_returns == 0:
            return ()
        if len(result) != num_returns:
            raise ValueError(
                f"Task returned {len(result)} objects, but num_returns={num_returns}: every call of {name} has to "
                "return as many."
            )
        return tuple([self._codec.value(one, f"return value {i} of {name}") for i, one in enumerate(result)])

    def _load(self, key: bytes) -> Any:
        function = self._codes[key] = pickle.loads(self._blobs.pop(key))
        return function

    def _error(self, error: BaseException, name: str) -> Value:
        about = {"actor_repr": _safe_repr(self._actor), "actor_id": f"{self._actor_id:x}"} if self._actor_id else {}
        wrapped = RayTaskError.from_exception(name, error, self._pid, **about)
        return (ERROR, pickle.dumps(wrapped), ())

    def _retries(self, error: BaseException, retry: Any) -> bool:
        """Whether the call's options ask to run it again after `error`: all exceptions, or the types in some code."""
        if isinstance(retry, bytes):
            return isinstance(error, self._codes.get(retry) or self._load(retry))
        return bool(retry)

    # -- actors ---------------------------------------------------------------------------------------------------

    def _create(self, message: Message) -> None:
        _, id, key, args, where, ids, deps, name, _extra = message
        self._actor_id = id
        self._actor_class = name
        if self._label is not None:
            self._label(name)
        held = self._hold(args, ids, deps)
        error: Value | None = None
        try:
            cls = self._load(key)
            positional, keywords = self._codec.arguments(args, where, ids, deps)
            self._actor = cls(*positional, **keywords)
            if self._label is not None and cls.__repr__ is not object.__repr__:
                self._label(_safe_repr(self._actor))
        except _ExitActor:
            self._exit_actor()
            return
        except Exception as failure:
            error = self._error(failure, f"{name}.__init__")
            self._exiting = True
        for inner in held:
            self.client.counts.drop(inner)
        self.client.post((m.CREATED, id, error))
        self.client.flush()

    def _method(self, name: str) -> Any:
        """A method of the actor's class, or one of those that every actor has."""
        if name == "__ray_ready__":
            return lambda: True
        if name == "__ray_call__":
            return lambda function, *args, **kwargs: function(self._actor, *args, **kwargs)
        if name == "__ray_terminate__":
            return _exit_actor
        return getattr(self._actor, name)

    def _exit_actor(self) -> None:
        """The actor ends itself: this call and those that wait fail with its death."""
        self.client.post((m.EXIT,))
        self.client.flush()
        self._exiting = True


class _ExitActor(BaseException):
    """Raised to leave the method and end the actor."""


def _exit_actor() -> None:
    raise _ExitActor


def _safe_repr(obj: Any) -> str:
    try:
        return repr(obj)
    except Exception:  # the user's __repr__ may raise anything
        return object.__repr__(obj)
