"""What a worker runs: it takes calls from its link in order, runs them, and sends back what they return.

      link ──receive──> todo: [RUN, RUN, CALL ...] ──main thread──> running.py: the user's code ──outbox──> link
                          ^                             └─> or concurrency.py, where an actor runs several at once
                          recall() takes back from here what has not been begun (any thread)

In a process of its own (loky) or in a thread (threads), the code is the same; the pool gives it a `Link`.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from minray.backend import Link, Store
from minray.client import Client
from minray.exceptions import RuntimeEnvSetupError
from minray.interrupts import protect
from minray.reading import Waiting
from minray.running import Calls, ExitActor
from minray.session import set_driver, set_thread
from minray.stopping import ByException, BySignal
from minray.wire import messages as m
from minray.wire.messages import Message
from minray.yielding import Quota

if TYPE_CHECKING:
    from minray.concurrency import Concurrency


#: How long an actor that ends waits for each of its threads, which may be busy (s).
LEAVE_SECONDS = 0.1


class Worker:
    """One worker, from its hello to its end."""

    session: type[Client] = Client

    def __init__(
        self,
        number: int,
        link: Link,
        store: Store | None,
        isolate: bool = True,
        in_process: bool = False,
        label: Callable[[str], None] | None = None,
    ) -> None:
        """`label` is told the name of what runs, for the lines it prints."""
        self.client = self.session(number, link, store, isolate, in_process)
        self._link = link
        self._store = store
        self._todo: deque[Message] = deque()
        self._work = Waiting()
        self._calls = Calls(self.client, label)
        self._several: Concurrency | None = None  # of an actor that runs several calls at once
        self._moving = False  # the main thread has a message in hand
        self._stalled = False  # nothing is begun: what was sent by now is sent again
        self._exiting = False
        self._ending: BaseException | None = None  # raised on another thread than the main one
        self._calls.stall = self._stall
        self.client.on_work(self._take)

    def run(self, own_process: bool = False) -> None:
        """Serve until told to stop or the owner is gone.

        `own_process`: the process is this worker's alone, so that threads which user code starts are served too.
        """
        self._enter()
        cancelled = self._calls.cancelled
        self.client.is_cancelled = self._calls.is_cancelled
        if own_process:
            set_driver(self.client)
            protect(type(self._link).__module__)
            self._calls.interruptible = BySignal(cancelled)
        else:
            self._calls.interruptible = ByException(cancelled, self.client.break_wait)
        try:
            self.client.post((m.HELLO, os.getpid()))
            self.client.flush()
            while not self._exiting:
                self._step()
            self._end_calls()
            self._end_actor()
        except (EOFError, OSError):
            pass  # the owner is gone, and with it everybody who could care
        except SystemExit:
            if self._ending is None:
                raise
        finally:
            if self._several is not None:
                self._several.close()
            self._calls.producers.close()
            set_thread(None)
        if self._ending is not None:
            raise self._ending

    def _step(self) -> None:
        todo = self._todo
        self._moving = True
        try:
            message = todo.popleft()
        except IndexError:
            self._moving = self._work.done = False
            if self._several is None:
                self._calls.cancelled.clear()  # these came when their calls were over
            self.client.flush()
            if todo or self._exiting:
                return
            if self._several is not None and self._several.reader:
                self._work.sleep()
            else:
                self.client.reader.wait(self._work)
            return
        op = message[0]
        if op == m.RUN or op == m.CALL:
            if not self._stalled:
                self._run(message)
        elif op == m.RESUME:
            self._stalled = False
        elif op == m.ENV:
            self._dress(message)
        elif op == m.CREATE:
            self._create(message)
        elif op == m.STOP:
            self.client.flush()
            self._exiting = True

    def _take(self, messages: list[Message]) -> None:
        """Sort what came in: called by whichever thread reads."""
        todo = self._todo
        several = self._several
        waking = several is None or not several.reader  # the main thread
        for message in messages:
            # Not before those that the main thread is about to add: they begin in the order in which they came.
            if message[0] == m.CALL and several is not None and several.reader and not (todo or self._moving):
                several.add(message)
            elif message[0] == m.RECALL:
                self.recall()
            elif message[0] == m.CODE:  # at once: in the queue a recall could put it behind the call that needs it
                self._calls.learn(message[1], message[2], message[3])
            elif message[0] == m.FREE:
                assert self._store is not None
                (self._store.lost if message[2] else self._store.free)(message[1])
            elif message[0] == m.ROOM:
                self._room(message[1])
            elif message[0] == m.CANCEL:
                self._cancel(message[1])
            elif message[0] == m.WHERE:
                self.client.locate(message[1])
            elif message[0] == m.TAKEN:
                self._calls.producers.taken(message[1], message[2])
            else:
                todo.append(message)
                waking = True
        if waking:
            self._work.finish()

    def _room(self, amount: int) -> None:
        """More memory for values, or a request for what is not used."""
        assert self._store is not None
        if amount > 0:
            self._store.grant(amount)
        else:
            self.client.post((m.GAVE, self._store.trim(-amount), True))
            self.client.flush()

    def recall(self) -> None:
        """Hand back every task that has not been begun, and send the results that wait. Any thread."""
        back = []
        kept = []
        # An actor's calls stay: while they were out of the queue, the main thread could take a later one for the next.
        has_tasks = any(message[0] == m.RUN for message in tuple(self._todo))
        while has_tasks:
            try:
                message = self._todo.pop()
            except IndexError:
                break
            if message[0] == m.RUN:
                back.append(message[1])
            else:
                kept.append(message)
        # In front of what another thread has appended meanwhile: a call must not overtake its code.
        self._todo.extendleft(kept)
        self._work.finish()
        back.reverse()
        self.client.post((m.RETURNED, tuple(back)))
        self.client.flush()

    def _cancel(self, id: int) -> None:
        """Hand back a call that has not been begun, or interrupt it. Any thread."""
        self._calls.cancelled.add(id)  # first: it may be about to begin
        self._calls.producers.look_again()
        for message in tuple(self._todo):
            if message[0] in (m.RUN, m.CALL) and message[1] == id:
                try:
                    self._todo.remove(message)
                except ValueError:  # the main thread has just taken it
                    break
                self._give_back(id)
                return
        if self._several is not None:
            if self._several.cancel(id):
                self._give_back(id)
        else:
            assert self._calls.interruptible is not None
            self._calls.interruptible.interrupt(id)

    def _give_back(self, id: int) -> None:
        """A call that was cancelled will not begin here. Any thread."""
        self._calls.cancelled.discard(id)
        self.client.post((m.RETURNED, (id,)))
        self.client.flush()

    def drain(self) -> None:
        """Read what has come although the main thread is busy with a call. Any thread (the interrupt's)."""
        self.client.reader.drain()

    def _dress(self, message: Message) -> None:
        """Take on the runtime environment. If that fails, so does every call."""
        _, self.client.env, self.client.runtime_env, directory = message
        if self.client.in_process:
            return  # the driver has done so
        from minray.environments import put_on

        try:
            put_on(self.client.runtime_env, directory)
        except RuntimeEnvSetupError as error:
            self._run = partial(self._calls.refuse, str(error))  # type: ignore[method-assign]
            self._create = self._run  # type: ignore[method-assign]

    # -- calls ----------------------------------------------------------------------------------------------------

    def _run(self, message: Message) -> None:
        if self._several is not None:
            self._several.add(message)
            self._moving = False
            return
        try:
            self._calls.run(message)
        except ExitActor:
            self._exit_actor()

    def _stall(self) -> None:
        # Where several calls run at once, none is behind another.
        self._stalled = self._several is None

    def _create(self, message: Message) -> None:
        extra = message[8]
        if extra is not None and "max_unread" in extra:
            self._calls.producers.shared = Quota(extra["max_unread"])
        try:
            if extra is None or "limits" not in extra:
                created = self._calls.create(message)
            else:
                self._several = self._start_several(extra)
                created = self._several.create(message)
                if self._several.reader:
                    self.client.always_read = False
                    self.client.reading_loop = self._several.reader
        except ExitActor:
            self._exit_actor()
        else:
            self._exiting = not created

    def _exit_actor(self) -> None:
        """The actor ends itself: this call and those that wait fail with its death."""
        self.client.post((m.EXIT,))
        self.client.flush()
        self._exiting = True

    def _end_calls(self) -> None:
        """Let the threads that run calls end: each may still have the actor in hand."""
        if self._several is not None and self._ending is None:
            self._several.close()
            for thread in self._several.threads():
                thread.join(LEAVE_SECONDS)

    def _end_actor(self) -> None:
        """An actor that has ended as it should is told so. The owner has given the worker up, and hears no more."""
        if self._ending is None:
            self.client.given_up = True
            self._calls.end_actor()

    # -- several calls at once ------------------------------------------------------------------------------------

    def _start_several(self, extra: Mapping[str, Any]) -> Concurrency:
        """What runs the calls of an actor whose template has these extras: `limits` by group, and if it is `async`."""
        self.client.always_read = True
        if extra["async"]:
            from minray.looping import Loops  # asyncio takes 20 ms to import

            watch = partial(self._link.watch, readable=self.client.reader.pump)
            loops = Loops(
                extra["limits"], self._calls, self._enter, self._ended, self._give_back, watch, self._unwatched
            )
            self.client.locate_future = loops.locate
            return loops
        self.client.alone = False
        from minray.concurrency import Threads

        return Threads(extra["limits"], self._calls, self._enter, self._ended)

    def _unwatched(self) -> None:
        """The event loop that has read the channel is gone: the main thread does again."""
        self.client.always_read = True
        self.client.reading_loop = 0
        self._work.finish()

    def _enter(self) -> None:
        """A thread begins to run calls."""
        set_thread(self.client)
        self.client.runners.add(threading.get_ident())

    def _ended(self, error: BaseException) -> None:
        """A call on such a thread ends the actor, or (SystemExit) the worker: the main thread has to know."""
        if isinstance(error, ExitActor):
            self._exit_actor()  # the owner answers with STOP
        else:
            self._ending = error
            self._exiting = True
            self._work.finish()
            self._link.wake()

    def threads(self) -> list[threading.Thread]:
        """Those that run calls beside the main one."""
        return [] if self._several is None else self._several.threads()
