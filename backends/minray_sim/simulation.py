"""The schedule of a run: what can happen next, and who is asked which of it does.

The rules:

1. One thread runs at a time, from one event to the next. Who has to wait picks the next event and passes its turn on.
2. All that is not determined by the program is asked of the strategy, by `choose`: among events in the order in which
   they became possible. The first of them is what first-in-first-out would do.
3. Time stands still while anything runs. It jumps, from one end of a sleep or of a wait to the next: for a wait that
   has a time-out when nothing else can happen (or as a fault), for a sleep also before that, but never by so much that
   something which can happen would be late by more than `LATE_SECONDS`.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Sequence
from threading import get_ident
from typing import TYPE_CHECKING, Any

from minray.exceptions import DeadlockError, LivelockError
from minray.stepping import leave
from minray_sim.events import FAULT, FRESH, RESUME, THREAD, TIMED, TIMEOUT, TURN, WAKE, Event
from minray_sim.fibers import Ended, Fiber, Host, Hosts, in_own_context
from minray_sim.outside import Outside

if TYPE_CHECKING:
    from minray_sim.faults import Faults
    from minray_sim.strategies import Strategy

#: Steps after which a run is taken for one that never ends.
MAX_STEPS = 100_000
#: How long (s, real ones) who is interrupted waits for the thread that runs to come to its next step.
STUCK_SECONDS = 2.0
#: So often in a row one agent may go on while others could: then they are let, lest who polls keeps them from it.
PATIENCE = 64
#: How long anything that can happen may be put off by events that take time: no computer is slower than that.
LATE_SECONDS = 1.0
#: After so many looks at the clock in one step somebody waits for time to pass: from then on it does.
LOOKS = 1000
LOOK_SECONDS = 1e-3
#: Where time begins: 2024-01-01 for `time.time`, and a second for the clocks that only measure.
EPOCH = 1_704_067_200.0
START_SECONDS = 1.0
#: How much later it is each time that somebody looks: so that nobody divides by zero.
GLANCE_SECONDS = 1e-6


def _number(event: Event) -> int:
    return event.number


class Simulation:
    """One run's fibers, events and clock."""

    def __init__(self, strategy: Strategy, seed: int, hosts: Hosts, faults: Faults | None, max_steps: int) -> None:
        self.strategy = strategy
        self.seed = seed
        self.hosts = hosts
        self.faults = faults
        self.max_steps = max_steps
        self.now = START_SECONDS
        self.steps = 0
        self.choices = 0  # steps in which there was one
        self._observe: Callable[[Event, int], None] | None = getattr(strategy, "observe", None)
        self.trace: list[Event] = []
        self.chosen: list[tuple[int, Event, Event]] = []  # where it was not the first: step, the first, the chosen
        self.ready: list[Event] = []
        self.timers: list[Fiber] = []
        self._last_number = 0
        self._counts: dict[str, int] = {}
        self._last: Fiber | None = None  # who has gone on, and how often in a row
        self._repeats = 0
        self._looked_in = self._looks = 0
        self.closed = False
        self.stuck = False  # a thread was left behind where it waits for something outside
        self.crash: BaseException | None = None
        self.outside = Outside()
        self.explain: Callable[[], str] = str
        self.dropped: Sequence[Any] = ()  # references that the driver has dropped, and that nobody has given back yet
        self.settle: Callable[[], None] = lambda: None  # gives them back
        gate: Any = _new_gate()
        self.main = Fiber(self, "main", gate)
        self.main.ident = get_ident()
        self.running: Fiber | None = self.main
        self.fibers: dict[int, Fiber] = {self.main.ident: self.main}

    # -- the clock ------------------------------------------------------------------------------------------------

    def glance(self) -> float:
        """The time (s) since the start, and a moment passes."""
        if self.steps != self._looked_in:
            self._looked_in, self._looks = self.steps, 0
        self._looks += 1
        if self._looks < LOOKS:
            self.now += GLANCE_SECONDS
        else:
            self.now += LOOK_SECONDS
            looks = self._looks
            self.turn("look at the clock", polls=True)
            self._looked_in, self._looks = self.steps, looks
        return self.now

    def sleep(self, seconds: float) -> None:
        """The calling fiber sleeps."""
        me = self.me()
        if me is not None:
            self._pause(me, max(seconds, 0.0), WAKE)

    # -- events ---------------------------------------------------------------------------------------------------

    def number(self) -> int:
        self._last_number += 1
        return self._last_number

    def add(self, event: Event) -> None:
        """It can happen from now on (or, with an older number, again)."""
        event.cause = event.cause or self.steps
        event.since = self.now
        ready = self.ready
        if not ready or event.number > ready[-1].number:
            ready.append(event)
        else:
            insort(ready, event, key=_number)

    def remove(self, event: Event) -> None:
        """It cannot any more."""
        self.ready.remove(event)

    def enable(self, fiber: Fiber) -> None:
        """What the fiber waits for is there."""
        if fiber.event is None and not fiber.done and (fiber.place is None or not fiber.place.gone):
            fiber.resumed += 1
            fiber.event = Event(RESUME, self.number(), f"{fiber.label} #{fiber.resumed}", fiber)
            self.add(fiber.event)

    def interrupt(self, fiber: Fiber) -> None:
        """Have the fiber raise KeyboardInterrupt when it goes on, which it can now."""
        fiber.interrupted = True
        if fiber is not self.running:
            self.enable(fiber)

    def count(self, what: str) -> int:
        """How often this was asked of `what`."""
        self._counts[what] = number = self._counts.get(what, 0) + 1
        return number

    def spawn(self, label: str, place: Any, function: Callable[[], None]) -> Event:
        """A thread of the user's, or of a concurrent actor, can begin."""
        event = Event(THREAD, self.number(), label)
        event.act, event.place = function, place
        self.add(event)
        return event

    # -- waiting --------------------------------------------------------------------------------------------------

    def me(self) -> Fiber | None:
        """The calling thread's fiber, None if it is none of this run's. SystemExit: it has ended."""
        fiber = self.fibers.get(get_ident())
        if fiber is not None and (self.closed or (fiber.place is not None and fiber.place.gone)):
            if fiber is self.main:
                return None
            raise Ended
        return fiber

    def turn(self, what: str, polls: bool = False) -> None:
        """The calling fiber is about to do `what`: others may go first."""
        me = self.me()
        if me is None:
            return
        if self.ready or self.timers or self.faults is not None or self.steps >= self.max_steps:
            number = self.number()
            if not (polls or (self._last is me and self._repeats > PATIENCE)):
                number = -number  # before all others
            me.resumed += 1
            me.event = Event(TURN, number, f"{me.label} #{me.resumed}: {what}", me)
            self.add(me.event)
            self._yield(me)
        else:
            self.steps += 1
        self._check(me)

    def pause(self, timeout: float | None) -> bool:
        """The calling fiber waits until it is enabled: False if the time-out was over before that."""
        me = self.me()
        if me is None:
            return False
        self._pause(me, timeout, TIMEOUT)
        return not me.timed_out

    def doze(self, timeout: float | None) -> None:
        """The calling fiber waits until it is enabled, or a sleep is over."""
        me = self.me()
        if me is not None:
            self._pause(me, timeout, WAKE)

    def _pause(self, me: Fiber, timeout: float | None, timer: str) -> None:
        me.timed_out = False
        me.deadline = None if timeout is None else self.now + timeout
        if me.deadline is not None:
            me.timer = timer
            self.timers.append(me)
        try:
            self._yield(me)
        finally:
            if me.deadline is not None:
                me.deadline = None
                self.timers.remove(me)
        self._check(me)

    def _check(self, me: Fiber) -> None:
        if me.error is not None:
            error, me.error = me.error, None
            raise error
        if me.interrupted:
            me.interrupted = False
            raise KeyboardInterrupt
        if self.closed and me is not self.main:
            raise Ended

    # -- passing the turn on --------------------------------------------------------------------------------------

    def _yield(self, me: Fiber) -> None:
        """Let others go on until it is the turn of `me`."""
        while True:
            event = self._next()
            fiber = event.fiber
            if fiber is me:
                self.running = me
                return
            if fiber is not None:
                self._switch(fiber)
            elif event.kind in FRESH:
                host = self.hosts.take()
                host.job = (self, event)
                host.gate.release()
            else:
                assert event.act is not None
                event.act()
                continue
            self._sleep(me)
            self.running = me
            return

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
            while True:
                event = self._next()
                if event.kind in FRESH:
                    break
                fiber = event.fiber
                if fiber is not None:
                    self.hosts.idle.append(host)
                    self._switch(fiber)
                    return
                assert event.act is not None
                event.act()

    def _run(self, host: Host, event: Event) -> None:
        """One call, or thread, from its beginning to its end."""
        fiber = Fiber(self, event, host.gate, event.place)
        fiber.ident = host.ident
        self.fibers[host.ident] = self.running = fiber
        assert event.act is not None
        try:
            in_own_context(event.act)
        except Ended:
            pass
        except BaseException as error:  # a mistake of minray's own, or what a thread of the user's raises to the last
            if event.kind == THREAD:
                if not isinstance(error, SystemExit):
                    _report(error)
            elif self.crash is None:
                self.crash = error
        finally:
            leave()
            fiber.done = True
            del self.fibers[host.ident]

    def _count(self) -> None:
        self.steps += 1
        if self.steps > self.max_steps:
            self.max_steps += MAX_STEPS  # so that what is left to do after that can be done
            raise LivelockError(
                f"After {self.steps} steps the program has not ended. The last ones were:\n"
                + "\n".join(f"  {event.label}" for event in self.trace[-20:])
            )

    def _next(self) -> Event:
        """What happens next. Never raises: what ends the run is raised in the driver."""
        if self._ends():
            error, self.crash = self.crash or Ended(), None
            return self._stop(error)
        try:
            self._count()
        except LivelockError as error:
            return self._stop(error)
        if self.dropped:
            self.settle()
        if self.outside.released:
            self.outside.come_in()
        events = self.ready
        if self.timers:
            first = self._first()
            if first is not None:
                assert first.deadline is not None
                if not events or (first.timer == WAKE and first.deadline <= self._latest(events)):
                    label = f"{first.label} #{first.resumed + 1}"
                    events = [*events, Event(first.timer, 0, label, first)]
        if not events:
            if self.outside.wait(self.fibers, self._ends) or self._ends():
                return self._next()
            return self._stop(DeadlockError(self.explain()))
        usual = len(events)
        if self.faults is not None:
            events = events + self.faults.possible(self)
        event = events[0] if len(events) == 1 else self._choose(events, usual)
        fiber = event.fiber
        if event.kind in TIMED:
            assert fiber is not None and fiber.deadline is not None
            self.now = max(self.now, fiber.deadline)
            fiber.timed_out = True
            fiber.resumed += 1
        elif event.kind != FAULT:
            self.ready.remove(event)
        if fiber is not None:
            fiber.event = None
            if fiber is self._last:
                self._repeats += 1
            else:
                self._last, self._repeats = fiber, 0
        self.trace.append(event)
        if self._observe is not None:
            self._observe(event, self.steps)
        return event

    def _ends(self) -> bool:
        return self.closed or self.crash is not None

    def _choose(self, events: list[Event], usual: int) -> Event:
        """Ask the strategy; the first `usual` of the events are no faults."""
        if self._repeats > PATIENCE:
            others = [event for event in events[:usual] if event.fiber is not self._last]
            if others:
                events, usual = others, len(others)
        if len(events) == 1:
            return events[0]
        self.choices += 1
        index = self.strategy.choose(events, usual)
        chosen = events[index]
        if index >= usual and self.faults is not None:
            self.faults.spent(chosen)
        if chosen is not events[0]:
            self.chosen.append((self.steps, events[0], chosen))
        return chosen

    def _first(self) -> Fiber | None:
        """Whose time is over first."""
        first = None
        for fiber in self.timers:
            assert fiber.deadline is not None
            if fiber.event is None and (fiber.place is None or not fiber.place.gone):
                if first is None or first.deadline is None or fiber.deadline < first.deadline:
                    first = fiber
        return first

    @staticmethod
    def _latest(events: list[Event]) -> float:
        """Until when the events have to have happened."""
        return min(event.since for event in events) + LATE_SECONDS

    def _stop(self, error: BaseException) -> Event:
        """Have the driver raise it."""
        self.main.error = error
        event, self.main.event = self.main.event, None
        if event is not None and event in self.ready:
            self.ready.remove(event)
        return Event(RESUME, 0, "main, as it ends", self.main)

    # -- the end --------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End all fibers. The driver."""
        self.closed = True
        self.ready.clear()
        for fiber in list(self.fibers.values()):
            if fiber is not self.main and not self.stuck:
                fiber.error = Ended()
                self._switch(fiber)
                self.main.gate.acquire()  # until its host is idle
        self.main.error = None
        self.running = None
        self.fibers.clear()

    def log(self) -> str:
        """The events of the run, one a line: the same for the same seed and program."""
        return "".join(f"{step} {event.label}\n" for step, event in enumerate(self.trace, 1))


def _new_gate() -> Any:
    import _thread

    gate = _thread.allocate_lock()
    gate.acquire()
    return gate


def _report(error: BaseException) -> None:
    import threading

    threading.excepthook(threading.ExceptHookArgs((type(error), error, error.__traceback__, None)))
