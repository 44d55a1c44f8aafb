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
from typing import TYPE_CHECKING, Any

from minray.exceptions import DeadlockError, LivelockError
from minray_sim.events import FAULT, RESUME, THREAD, TIMED, TIMEOUT, TURN, WAKE, Event
from minray_sim.fibers import Ended, Fiber, Hosts
from minray_sim.outside import Outside
from minray_sim.turns import Turns

if TYPE_CHECKING:
    from minray_sim.faults import Faults
    from minray_sim.strategies import Strategy

#: Steps after which a run is taken for one that never ends.
MAX_STEPS = 100_000
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


class Simulation(Turns):
    """One run's events and clock, and its fibers."""

    def __init__(self, strategy: Strategy, seed: int, hosts: Hosts, faults: Faults | None, max_steps: int) -> None:
        super().__init__(hosts)
        self.strategy = strategy
        self.seed = seed
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
        self.outside = Outside()
        self.explain: Callable[[], str] = str
        self.dropped: Sequence[Any] = ()  # references that the driver has dropped, and that nobody has given back yet
        self.settle: Callable[[], None] = _nothing  # gives them back

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

    def spawn(self, label: str, place: Any, function: Callable[[Event], None]) -> Event:
        """A thread of the user's, or of a concurrent actor, can begin."""
        event = Event(THREAD, self.number(), label)
        event.act, event.place, event.fresh = function, place, True
        self.add(event)
        return event

    # -- waiting --------------------------------------------------------------------------------------------------

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
            self.yield_(me)
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
            self.yield_(me)
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

    # -- what happens next ---------------------------------------------------------------------------------------

    def pick(self) -> Event:
        """What happens next."""
        if self.closed or self.crash is not None:
            error, self.crash = self.crash or Ended(), None
            return self._stop(error)
        self.steps += 1
        if self.steps > self.max_steps:
            return self._stop(self._livelock())
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
                return self.pick()
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

    def _livelock(self) -> LivelockError:
        self.max_steps += MAX_STEPS  # so that what is left to do after that can be done
        return LivelockError(
            f"After {self.steps} steps the program has not ended. The last ones were:\n"
            + "\n".join(f"  {event.label}" for event in self.trace[-20:])
        )

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

    def close(self) -> None:
        """End all fibers. The driver."""
        self.closed = True
        self.ready.clear()
        self.end_all()
        self.explain, self.settle, self.dropped, self.faults = str, _nothing, (), None

    def log(self) -> str:
        """The events of the run, one a line: the same for the same seed and program."""
        return "".join(f"{step} {event.label}\n" for step, event in enumerate(self.trace, 1))


def _nothing() -> None:
    pass
