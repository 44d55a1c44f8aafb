"""A worker's line to the owner: messages, and requests with replies.

post, flush ──────────────────────> owner       what has no answer
_request ──(op, number, ...)──────> owner       the thread waits, and reads meanwhile (reading.py)
_notice  ──(op, number, ...)──────> owner       nobody waits: whoever reads the reply calls back
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from threading import get_ident
from typing import Any, cast

from minray.backend import Link
from minray.counts import Counts
from minray.exceptions import ActorAlreadyExistsError, DeadlockError, RaySystemError
from minray.measures import Outgoing
from minray.reading import Reader, Waiting
from minray.reentry import ReentrantLock, owner_of, would_wait
from minray.wire import messages as m
from minray.wire.messages import Message

#: What the answer to a question may raise.
ERRORS: dict[str, type[Exception]] = {
    kind.__name__: kind
    for kind in (ActorAlreadyExistsError, DeadlockError, KeyError, RuntimeError, TypeError, ValueError)
}


class _Notice:
    """A request that nobody waits for: whoever reads the answer calls back."""

    __slots__ = ("_callback", "_flush", "reply")

    def __init__(self, callback: Callable[[Message], None], flush: Callable[[], None]) -> None:
        self._callback: Callable[[Message], None] | None = callback
        self._flush = flush
        self.reply: Message = ()

    def finish(self) -> None:
        callback, self._callback = self._callback, None
        assert callback is not None
        callback(self.reply)
        # Who is called back may be done with the value before this thread lets go of it here.
        del callback
        self._flush()


def _nothing() -> None:
    """Nobody serves in a worker, so nobody has to be woken."""


class Exchange:
    """The worker's end. Any thread may use it.

    Where the owner is gone SystemExit is raised: user code that waits, or catches errors, is to end too, silently.
    """

    #: Some thread of the worker reads the channel at all times.
    always_read = False
    #: The owner has given the worker up: it hears nothing more, and answers nothing.
    given_up = False
    #: The thread whose event loop reads it whenever the loop is idle; 0: none.
    reading_loop = 0

    def __init__(self, link: Link) -> None:
        self._link = link
        self._outbox: deque[Message] = deque()
        self._sending = ReentrantLock()
        self._is_sending = owner_of(self._sending)  # the calling thread, that is
        self._numbers = count(1)  # of requests
        self._requests: dict[int, Waiting | _Notice] = {}
        self._pending: set[int] = set()  # notices that have not come
        self._hearing: dict[int, Waiting] = {}  # 0: the wait of a thread that reads while notices are pending
        self._measured: Outgoing | None = None  # since something was
        self._on_work: Callable[[list[Message]], None] = list.clear
        self.counts = Counts()
        self.reader = self._make_reader()

    def _make_reader(self) -> Reader:
        return Reader(self._receive, _nothing)

    def on_work(self, handle: Callable[[list[Message]], None]) -> None:
        """What to do with messages that are no replies."""
        self._on_work = handle

    def post(self, message: Message) -> None:
        """Send with the next `flush`."""
        self._outbox.append(message)

    def flush(self) -> None:
        """Send what was posted, and the references given back. Any thread."""
        if self._is_sending():
            return  # further out this thread is at it, and goes on until all is sent
        while True:
            with self._sending:
                # Counted before the outbox is taken, and sent after it: what was posted before a reference was dropped,
                # a result or a call with it, must reach the owner before the reference is given back.
                back = self.counts.settle()
                outbox = [self._outbox.popleft() for _ in range(len(self._outbox))]
                if back:
                    outbox.append((m.RELEASE, back))
                if self._measured is not None and (sums := self._measured.take()):
                    outbox.insert(0, (m.MEASURED, sums))  # before the results of the calls that have counted it
                if outbox:
                    try:
                        self._link.send(outbox)
                    except TimeoutError:  # of the user's own, from a signal handler: what fits the socket has been sent
                        raise
                    except (EOFError, OSError):
                        raise SystemExit from None
            if not self._outbox:
                return

    def _send(self, message: Message) -> None:
        self._outbox.append(message)
        self.flush()

    def _receive(self, timeout: float | None) -> None:
        try:
            messages = self._link.receive(timeout)
        except TimeoutError:  # of the user's own, from a signal handler
            raise
        except (EOFError, OSError):
            raise SystemExit from None
        self.hear(messages)

    def hear(self, messages: list[Message]) -> None:
        """Deal with what has come. Whoever reads."""
        work = []
        for message in messages:
            if message[0] == m.VALUES or message[0] == m.ANSWER:
                waiting = self._requests.pop(message[1], None)
                if waiting is not None:
                    waiting.reply = message
                    waiting.finish()
            else:
                work.append(message)
        if work:
            self._on_work(work)

    def _request(
        self,
        op: int,
        *rest: Any,
        timeout: float | None = None,
        give_back: Callable[[Message], None] | None = None,
    ) -> tuple[Message, bool]:
        """Ask and wait; the answer, and whether it came in time. After `timeout` the owner answers with what it has.

        `give_back`: gets the answer where the call that asked was interrupted.
        """
        if self._inside():
            raise would_wait()
        if self.given_up:
            raise RaySystemError("this actor has ended: nobody answers what it asks in __ray_shutdown__ or __del__.")
        waiting = Waiting()
        waiting.thread = get_ident()
        number = next(self._numbers)
        self._requests[number] = waiting
        try:
            self._send((op, number, *rest))
            in_time = self.reader.wait(waiting, timeout)
            if not in_time:
                self._send((m.FORGET, number))
                self.reader.wait(waiting)
        except BaseException:  # whatever a signal handler raises
            self._abandon(number, waiting, give_back or self._give_back)
            raise
        reply: Any = waiting.reply
        if reply[0] == m.ANSWER and reply[2] is not None:
            raise ERRORS[reply[2]](reply[3])
        return reply, in_time

    def _give_back(self, reply: Message) -> None:
        """Nobody reads this reply any more: what was counted for it goes back."""
        raise NotImplementedError

    def _abandon(self, number: int, waiting: Waiting, give_back: Callable[[Message], None]) -> None:
        """The call that asked was interrupted. What comes all the same is given back."""
        self._requests[number] = _Notice(give_back, self.flush)
        if waiting.reply is None:
            self._send((m.FORGET, number))
        else:
            del self._requests[number]
            give_back(cast(Message, waiting.reply))

    def break_wait(self, thread: int) -> bool:
        """If that thread waits for an answer, make it raise KeyboardInterrupt. Any thread of this process."""
        for waiting in list(self._requests.values()):
            if isinstance(waiting, Waiting) and waiting.thread == thread and not waiting.done:
                waiting.broken = True
                waiting.nudge()
                self._link.wake()
                return True
        return False

    def _inside(self) -> bool:
        """Whether the calling thread is sending or reading already, further out."""
        return self._is_sending() or not self.reader.may_wait(get_ident())

    # -- requests that nobody waits for ---------------------------------------------------------------------------

    def _number(self) -> int:
        """Of the next request."""
        return next(self._numbers)

    def _notice(self, number: int, callback: Callable[[Message], None], on_loop: bool, op: int, *rest: Any) -> None:
        """Ask, and call back with the answer on the thread that reads it. `on_loop`: nobody but the calling thread's
        event loop needs it, and only when that is idle."""
        self._requests[number] = _Notice(partial(self._noticed, callback), self.flush)
        self._pending.add(number)
        self._send((op, number, *rest))
        if not (on_loop and self.reading_loop == get_ident()):
            self._hear()

    def _hear(self) -> None:
        """Have some thread read: that of this process may be busy running a call."""
        if not self.always_read:
            hearing = Waiting()
            if self._hearing.setdefault(0, hearing) is hearing:
                threading.Thread(target=self._listen, args=(hearing,), name="minray-futures", daemon=True).start()

    def _listen(self, hearing: Waiting) -> None:
        with suppress(SystemExit):  # the owner is gone, or the worker was killed
            self.reader.wait(hearing)

    def _noticed(self, callback: Callable[[Message], None], reply: Message) -> None:
        """An answer has come that no thread waits for. The thread that reads."""
        self._pending.discard(reply[1])
        if not self._pending:
            hearing = self._hearing.pop(0, None)
            if hearing is not None:
                hearing.finish()
                if self._pending:  # since a moment ago, and it has found somebody who reads
                    self._hear()
        callback(reply)
