"""Async actors: an event loop, in a thread of its own, for each concurrency group.

    main thread: add ──inbox──> _admit, on the loop ──> one asyncio.Task for each call, up to the group's limit

The loop of an actor that has one alone also reads the channel, whenever it is idle: to be handed each call by another
thread took half of the time of a short one.

All code of the actor runs on a loop, `__init__` and methods that are no coroutines too (as in Ray), so that nothing of
a group runs in parallel to the rest of it.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from time import perf_counter
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any

from minray.calling import Gone
from minray.concurrency import DEFAULT, Turnout, group_of
from minray.current_call import current_call
from minray.running import Calls, ExitActor, cancelled, ends_well
from minray.wire import messages as m
from minray.wire.messages import Message

if TYPE_CHECKING:
    from minray.awaiting import Found

#: How often an ended actor's coroutines are asked to leave, if that is interrupted.
CANCEL_TRIES = 3


class Loops:
    """A `minray.concurrency.Concurrency` of event loops; made as `Threads` is."""

    def __init__(
        self,
        limits: Mapping[str, int],
        calls: Calls,
        enter: Callable[[], None],
        ended: Callable[[BaseException], None],
        give_back: Callable[[int], None],
        watch: Callable[[asyncio.AbstractEventLoop], bool],
        unwatched: Callable[[], None],
    ) -> None:
        """As `Threads`; `give_back` is told of a call that was cancelled before it began. `watch` has a loop read the
        channel (False: it cannot), and `unwatched` is called when it does so no more."""
        self.reader = 0
        self._watch = watch
        self._unwatched = unwatched
        self._calls = calls
        turnout = Turnout(ended)
        self._loops = {
            name: _Loop(name, limit, calls, enter, give_back, turnout, self._stopped) for name, limit in limits.items()
        }

    def create(self, message: Message) -> bool:
        made: Future[bool] = Future()
        default = self._loops[DEFAULT]

        def create() -> None:
            try:
                created = self._calls.create(message)
                if created and len(self._loops) == 1 and self._watch(default.loop):
                    self.reader = threading.get_ident()
                made.set_result(created)
            except BaseException as error:  # ExitActor and SystemExit too: they are the main thread's
                made.set_exception(error)

        default.loop.call_soon_threadsafe(create)
        return made.result()

    def _stopped(self) -> None:
        """A loop has ended: with the actor, or because the user's code has stopped it."""
        if self.reader:
            self.reader = 0
            self._unwatched()

    def add(self, message: Message) -> None:
        self._loops[group_of(message)].add(message)

    def cancel(self, id: int) -> bool:
        for loop in self._loops.values():
            loop.cancel(id)
        return False  # the loops will say

    def locate(self, call: int, tell: Callable[[Found | None], None]) -> None:
        """As `Client.locate_future`, which tells it on the loop. Where there are several loops one may end another's
        waits."""
        if len(self._loops) > 1:
            tell(None)
        else:
            self._loops[DEFAULT].locate(call, tell)

    def threads(self) -> list[threading.Thread]:
        return [loop.thread for loop in self._loops.values()]

    def close(self) -> None:
        for loop in self._loops.values():
            loop.close()


class _Loop:
    """One group: its event loop, the calls that run there, and those that wait."""

    def __init__(
        self,
        group: str,
        limit: int,
        calls: Calls,
        enter: Callable[[], None],
        give_back: Callable[[int], None],
        turnout: Turnout,
        stopped: Callable[[], None],
    ) -> None:
        self._limit = limit
        self._calls = calls
        self._enter = enter
        self._give_back = give_back
        self._turnout = turnout
        self._stopped = stopped
        self._inbox: deque[Message] = deque()
        self._running: dict[int, asyncio.Task[Any] | Message] = {}  # the message, until it begins
        self._tasks: set[asyncio.Task[Any]] = set()  # the loop itself does not keep them alive
        self._ended = False
        self.loop = asyncio.new_event_loop()
        name = f"AsyncIO Thread: {group or 'default'}"  # Ray's name
        self.thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self.thread.start()

    def add(self, message: Message) -> None:
        self._inbox.append(message)
        if threading.get_ident() == self.thread.ident:
            self._admit()
        elif len(self._inbox) == 1:  # else somebody is about to look, or nothing can begin now
            self._call(self._admit)

    def cancel(self, id: int) -> None:
        self._call(partial(self._cancel, id))

    def locate(self, call: int, tell: Callable[[Found | None], None]) -> None:
        from minray.awaiting import in_loop

        def look() -> None:
            task, client = self._running.get(call), self._calls.client
            if isinstance(task, asyncio.Task):
                signals = not client.in_process
                tell(in_loop(self.loop, task, client.futures(), signals=signals, read=client.reader.pump))
            else:
                tell(None)

        # A turn later: in this one the loop still has to read what has woken it.
        self._call(lambda: self.loop.call_soon(look))

    def close(self) -> None:
        self._call(self.loop.stop)

    def _call(self, function: Callable[[], object]) -> None:
        with suppress(RuntimeError):  # the loop has ended, and with it the actor
            self.loop.call_soon_threadsafe(function)

    def _serve(self) -> None:
        """The thread's whole life."""
        try:
            self._enter()
            asyncio.set_event_loop(self.loop)
            self.loop.run_forever()
        except (KeyboardInterrupt, SystemExit) as error:  # raised in a task or a callback of the user's own
            self._turnout.crash(SystemExit(1) if isinstance(error, KeyboardInterrupt) else error)
        finally:
            try:
                self._cancel_all()
            finally:
                self.loop.close()
                self._stopped()

    def _cancel_all(self) -> None:
        """The actor has ended: let its coroutines leave their blocks, unheard."""
        self._ended = True
        for _ in range(CANCEL_TRIES):  # on threads this one may be told to end again, anywhere in here
            with suppress(BaseException):  # what they raise now is of no interest
                self._inbox.clear()  # or each that leaves would let another one begin
                while tasks := asyncio.all_tasks(self.loop):
                    for task in tasks:
                        task.cancel()
                    self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
                return

    # -- on the loop ----------------------------------------------------------------------------------------------

    def _admit(self) -> None:
        inbox = self._inbox
        while inbox and len(self._running) < self._limit and self._turnout.enter():
            message = inbox.popleft()
            self._running[message[1]] = message
            self._tasks.add(task := self.loop.create_task(self._run(message), name=message[8]))
            task.add_done_callback(partial(self._done, message))

    def _done(self, message: Message, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        # Another message of that id is the same call once more: a retry may come before its first run has quite ended.
        if self._running.get(message[1]) is message and not self._ended:  # cancelled by the actor's own code, unbegun
            calls = self._calls
            _op, id, _target, args, _where, ids, deps, _num_returns, name, _retry, _extra = message
            held = calls.hold(args, ids, deps)
            calls.failed(id, cancelled(id, asyncio.CancelledError()), name, False, perf_counter())
            calls.over(held)
            self._leave(id, False)

    def _cancel(self, id: int) -> None:
        if id in self._running:
            task = self._running[id]
            if isinstance(task, asyncio.Task):  # else it will see for itself
                task.cancel()
            return
        for message in tuple(self._inbox):
            if message[1] == id:
                self._inbox.remove(message)
                self._give_back(id)
                return

    async def _run(self, message: Message) -> None:
        id = message[1]
        task = asyncio.current_task()
        assert task is not None
        self._running[id] = task
        ends = False
        try:
            await self._answer(message)
        except ExitActor:
            ends = True
        except SystemExit as error:
            self._turnout.crash(error)
        finally:
            self._leave(id, ends)

    def _leave(self, id: int, ends: bool) -> None:
        """A call is over: the next one may begin, unless this one `ends` the actor."""
        del self._running[id]
        self._turnout.leave(ends)
        if self._inbox:
            self._admit()

    async def _answer(self, message: Message) -> None:
        """As `Calls.run`, but a coroutine function is awaited."""
        _op, id, target, args, where, ids, deps, num_returns, name, retry, extra = message
        calls = self._calls
        held = calls.hold(args, ids, deps)
        begun = perf_counter()
        try:
            if id in calls.cancelled:
                raise asyncio.CancelledError
            function = calls.method(target)
            current_call.set((id, name, function, target))
            positional, keywords = calls.codec.arguments(args, where, ids, deps)
            del message, args, deps
            if not inspect.iscoroutinefunction(function):
                function = _as_coroutine(function)
            result = await function(*positional, **keywords)
            if extra is not None and "yields" in extra:
                if extra["yields"]["stream"] is None:
                    result = calls.dynamic(result, name, retry)
                else:
                    await calls.producers.stream_async(id, result, extra["yields"], name)
                    result = None
            elif isinstance(result, (GeneratorType, AsyncGeneratorType)):
                result = calls.drawn(iter(result), num_returns, name, retry)  # type: ignore[arg-type]
            values = calls.results(result, num_returns, name)
            calls.leave_if_asked(id)
            if id in calls.cancelled:  # the coroutine has caught it: in Ray it counts all the same
                raise asyncio.CancelledError
            calls.client.post((m.DONE, id, values, perf_counter() - begun))
            del result, positional, keywords
        except ExitActor:
            raise
        except SystemExit as end:
            if ends_well(end):
                raise ExitActor from None
            raise
        except Gone as gone:
            calls.stalled(id, gone)
        except BaseException as error:
            calls.leave_if_asked(id)
            if isinstance(error, asyncio.CancelledError):
                error = cancelled(id, error)
            calls.failed(id, error, name, retry, begun)
            result = positional = keywords = None  # noqa: F841 (gone before the flush)
        calls.over(held)


def _as_coroutine(function: Callable[..., Any]) -> Callable[..., Any]:
    async def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return call
