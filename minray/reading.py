"""Who reads the channel: leader and followers.

      user thread A ──wait()──> leads: receive(), receive(), ... until A's own wait is over ──> hands over
      user thread B ──wait()──> follows: sleeps on its gate until its wait is over, or the lead comes to it
      service thread ─serve()─> leads only while nobody else has for BACK_OFF seconds; steps down when asked

The thread that waits reads for itself, because a thread that reads for another costs a switch each time: 8,000 calls
one after another where the waiting reader does 13,000.

A thread that is in here and wants to wait once more, from a `__del__` say, is told so (RuntimeError): nobody but itself
could end that wait (see `minray.reentry`).
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from threading import get_ident
from time import monotonic, sleep

from minray.interrupts import interruptible
from minray.reentry import NEVER, would_wait

#: How long the service thread leaves the channel alone after somebody else has read it.
BACK_OFF = 0.002
#: While the service thread leads, how long a thread of the driver that computes may keep the interpreter from it (s).
#: It needs it five times for a nested task, once after each system call: with CPython's 5 ms each took 25 ms or more.
TURN_SECONDS = 0.001


class Waiting:
    """One thread's wait. `done` says that it is over; `gate` is what its thread sleeps on while another leads."""

    __slots__ = ("broken", "done", "gate", "promoted", "reply", "thread")

    def __init__(self) -> None:
        self.done = False
        self.promoted = False  # the lead was laid down for this one, which has not taken it up yet
        self.gate: threading.Lock | None = None
        self.reply: object = None
        self.thread = 0  # whose wait it is, if that may have to be broken off
        self.broken = False  # it is: KeyboardInterrupt

    def sleep(self) -> None:
        """Wait without reading: others do."""
        gate = self.gate = threading.Lock()
        gate.acquire()
        try:
            if not self.done:
                _sleep(gate, -1)
        finally:
            self.gate = None

    def finish(self) -> None:
        """It is over. Called by whoever reads, once or more."""
        self.done = True
        self.nudge()

    def nudge(self) -> None:
        """Wake the thread, to look again."""
        gate = self.gate
        if gate is not None:
            try:
                gate.release()
            except RuntimeError:  # somebody else has woken it
                return


@interruptible
def _sleep(gate: threading.Lock, timeout: float) -> bool:
    return gate.acquire(timeout=timeout)


class Reader:
    """Lets any number of threads wait for what one channel brings.

    `receive(timeout)` reads once and deals with what came, which finishes waits; it returns early after `wake()`.
    """

    def __init__(self, receive: Callable[[float | None], None], wake: Callable[[], None]) -> None:
        self._receive = receive
        self._wake = wake
        self._lead = threading.Lock()
        self._inside: set[int] = set()  # the threads that lead or follow
        self._followers: deque[Waiting] = deque()
        self._stints = 0  # how often the lead has been laid down by somebody who waited
        self._serving = False  # the service thread leads
        self._wanted = False  # it is asked to step down
        self._parked: threading.Lock | None = None  # it sleeps until the present leader goes
        self._undrained = False  # somebody wants what is there to be read, and could not do so
        self._closed = False

    def wait(self, waiting: Waiting, timeout: float | None = None) -> bool:
        """Block until `waiting` is done; False if `timeout` seconds were not enough, or after `close`.

        RuntimeError: the calling thread is in here already.
        """
        me = get_ident()
        if me in self._inside or me in NEVER:
            if timeout == 0:
                return waiting.done
            raise would_wait()
        deadline = None if timeout is None else monotonic() + timeout
        lead = self._lead
        self._inside.add(me)
        try:
            while not waiting.done:
                if waiting.broken:
                    raise KeyboardInterrupt
                if lead.acquire(False):
                    waiting.promoted = False
                    try:
                        while not waiting.done:
                            if waiting.broken:
                                raise KeyboardInterrupt
                            left = None if deadline is None else deadline - monotonic()
                            if self._closed or (left is not None and left <= 0):
                                return False
                            self._receive(left)
                    finally:
                        self._stints += 1
                        lead.release()
                        self._hand_over()
                elif not self._follow(waiting, deadline):
                    return waiting.done
            return True
        finally:
            if waiting.promoted:  # and done, or out of time, before it could lead: the lead is for the next one
                waiting.promoted = False
                self._hand_over()
            self._inside.discard(me)

    def may_wait(self, thread: int) -> bool:
        """Whether `wait` may be called by this thread."""
        return thread not in self._inside and thread not in NEVER

    def _follow(self, waiting: Waiting, deadline: float | None) -> bool:
        """Sleep until done, promoted or out of time (False)."""
        gate = threading.Lock()
        gate.acquire()
        waiting.gate = gate
        self._followers.append(waiting)
        try:
            if self._serving:
                self._wanted = True
                self._wake()
            # The leader may have gone before it could see this follower: then nobody would ever wake it.
            if waiting.done or not self._lead.locked():
                return True
            return _sleep(gate, -1 if deadline is None else max(0.0, deadline - monotonic()))
        finally:
            waiting.gate = None
            try:
                self._followers.remove(waiting)
            except ValueError:
                waiting.promoted = True

    def _hand_over(self) -> None:
        """Somebody must lead while anybody waits."""
        if self._undrained:
            self.drain()
        try:
            self._followers.popleft().nudge()
        except IndexError:
            parked, self._parked = self._parked, None
            if parked is not None:
                parked.release()

    def pump(self) -> None:
        """Read what is there, if nobody else does, and go on: for a thread that has much to submit."""
        me = get_ident()
        if not self.may_wait(me):
            return
        self._inside.add(me)
        try:
            if self._lead.acquire(False):
                try:
                    self._receive(0)
                finally:
                    self._stints += 1
                    self._lead.release()
                    self._hand_over()
            elif self._serving:
                self._wanted = True
                self._wake()
        finally:
            self._inside.discard(me)

    def drain(self) -> None:
        """Read what is there. If another thread reads, it does so once more before it turns to something else."""
        me = get_ident()
        reads = me in self._inside  # it has just laid the lead down
        self._undrained = True
        self._inside.add(me)
        try:
            if self._lead.acquire(False):
                try:
                    self._undrained = False
                    self._receive(0)
                finally:
                    self._lead.release()
                    self._hand_over()
        finally:
            if not reads:
                self._inside.discard(me)

    def serve(self) -> None:
        """Read while nobody waits. The service thread's whole life."""
        me = get_ident()
        while not self._closed:
            seen = self._stints
            self._inside.add(me)
            try:
                if self._lead.acquire(False):
                    seen = -1
                    self._serve_until_wanted()
            finally:
                self._inside.discard(me)
            sleep(BACK_OFF)
            while self._stints != seen and not self._closed:
                seen = self._stints
                sleep(BACK_OFF)
            if self._lead.locked() and not self._closed:  # one long wait: sleep until it is over
                parked = threading.Lock()
                parked.acquire()
                self._parked = parked
                if self._lead.locked():
                    parked.acquire()

    def _serve_until_wanted(self) -> None:
        """Lead until somebody else wants to."""
        self._serving = True
        before = sys.getswitchinterval()
        sys.setswitchinterval(min(before, TURN_SECONDS))
        try:
            while not (self._wanted or self._closed):
                self._receive(None)
        finally:
            if sys.getswitchinterval() < before:
                sys.setswitchinterval(before)
            self._serving = self._wanted = False
            self._lead.release()
            self._hand_over()

    @property
    def serving(self) -> bool:
        """Whether the service thread leads, and so sleeps until something comes or wakes it."""
        return self._serving

    def lock(self) -> AbstractContextManager[None]:
        """A lock for what those who read change as well."""
        return Apart(self._inside)

    def close(self) -> None:
        """Let `serve` return, and every `wait`: the leader sees it, and hands over to the next, which sees it too."""
        self._closed = True
        parked, self._parked = self._parked, None
        if parked is not None:
            parked.release()
        self._wake()


class Apart:
    """A lock whose owner does not read meanwhile: what comes would be dealt with by whoever wants this very lock."""

    def __init__(self, inside: set[int]) -> None:
        self._inside = inside
        self._lock = threading.Lock()
        self._reads = False  # its owner reads anyway, and has come here with what it has read

    def __enter__(self) -> None:
        me = get_ident()
        reads = me in self._inside
        self._inside.add(me)
        self._lock.acquire()
        self._reads = reads

    def __exit__(self, *error: object) -> None:
        reads = self._reads
        self._lock.release()
        if not reads:
            self._inside.discard(get_ident())
