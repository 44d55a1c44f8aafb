"""Passing the turn on: of all threads of a run one runs at a time, until it has to wait or ends.

      driver ──has to wait──> picks the next event ──┬─ a fiber that sleeps: wakes it, sleeps
                                                     ├─ a fresh call: gives it to an idle host, sleeps
                                                     └─ a message: deals with it here, picks again
      host   ──a call's code, to its end or until that waits──> picks the next event ── ... the same

Who gives up its turn picks the next event itself, on its own stack, and wakes exactly one thread. So calls that run to
their end follow each other on one host without a switch, which costs 6 to 20 us.
"""

from __future__ import annotations

import _thread
from contextvars import Context
from threading import get_ident
from typing import Any

from minray.stepping import leave
from minray_sim.events import THREAD, Event
from minray_sim.fibers import Ended, Fiber, Host, Hosts

#: How long (s, real ones) who is interrupted waits for the thread that runs to come to its next step.
STUCK_SECONDS = 2.0


class Turns:
    """The fibers of one run, and whose turn it is. Which event is next a subclass decides."""

    def __init__(self, hosts: Hosts) -> None:
        self.hosts = hosts
        self.closed = False
        self.stuck = False  # a thread was left behind where it waits for something outside
        self.crash: BaseException | None = None  # to be raised in the driver
        gate: Any = _thread.allocate_lock()
        gate.acquire()
        self.main = Fiber(self, "main", gate)
        self.main.ident = get_ident()
        self.running: Fiber | None = self.main
        self.fibers: dict[int, Fiber] = {self.main.ident: self.main}

    def pick(self) -> Event:
        """The event that happens next. Never raises: what ends the run is raised in the driver."""
        raise NotImplementedError

    def enable(self, fiber: Fiber) -> None:
        """What the fiber waits for is there."""
        raise NotImplementedError

    def me(self) -> Fiber | None:
        """The calling thread's fiber, None if it is none of this run's. SystemExit: it has ended."""
        fiber = self.fibers.get(get_ident())
        if fiber is not None and (self.closed or (fiber.place is not None and fiber.place.gone)):
            if fiber is self.main:
                return None
            raise Ended
        return fiber

    def _next(self) -> Event:
        """The next event for which somebody has to get the turn. Those before it are dealt with here."""
        while True:
            event = self.pick()
            act = event.act
            if act is None or event.fresh:
                return event
            event.act = None  # it may hold what holds the event
            act(event)

    def yield_(self, me: Fiber) -> None:
        """Let others go on until it is the turn of `me`."""
        event = self._next()
        fiber = event.fiber
        if fiber is not me:
            if fiber is not None:
                self._switch(fiber)
            else:
                host = self.hosts.take()
                host.job = (self, event)
                host.gate.release()
            self._sleep(me)
        self.running = me

    def _sleep(self, me: Fiber) -> None:
        """Until it is the turn of `me`."""
        try:
            me.gate.acquire()
        except BaseException as error:  # Ctrl-C, say: another thread is running, and passes this on when it stops
            self.crash = error
            if not me.gate.acquire(timeout=STUCK_SECONDS):
                self.closed = self.stuck = True  # it waits for something outside, and may do so for ever
                raise

    def _switch(self, fiber: Fiber) -> None:
        self.running = fiber
        fiber.gate.release()

    def serve(self, host: Host, event: Event) -> None:
        """Run fresh calls on this host, until it is the turn of a fiber that sleeps elsewhere."""
        while True:
            self._run(host, event)
            event = self._next()
            if event.fiber is not None:
                self.hosts.idle.append(host)
                self._switch(event.fiber)
                return

    def _run(self, host: Host, event: Event) -> None:
        """One call, or thread, from its beginning to its end."""
        fiber = Fiber(self, event, host.gate, event.place)
        fiber.ident = host.ident
        self.fibers[host.ident] = self.running = fiber
        act, event.act = event.act, None
        assert act is not None
        try:
            Context().run(act, event)  # where no context variable of earlier calls is set
        except Ended:
            pass
        except BaseException as error:  # a mistake of minray's own, or what a thread of the user's raises to the last
            if event.kind == THREAD:
                if not isinstance(error, SystemExit):
                    _report(error)
            elif self.crash is None:
                self.crash = error
        finally:
            if event.kind == THREAD:
                leave()
            fiber.end()
            del self.fibers[host.ident]

    def end_all(self) -> None:
        """End all fibers. The driver."""
        self.closed = True
        for fiber in list(self.fibers.values()):
            if fiber is not self.main and not self.stuck:
                fiber.error = Ended()
                self._switch(fiber)
                self.main.gate.acquire()  # until its host is idle
        self.main.error = None
        self.main.end()
        self.running = None
        self.fibers.clear()


def _report(error: BaseException) -> None:
    import threading

    threading.excepthook(threading.ExceptHookArgs((type(error), error, error.__traceback__, None)))
