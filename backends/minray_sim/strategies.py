"""Who goes next: strategies, each with its source.

Asked only where there is a choice. The events come in the order in which they became possible; a sleep that could be
over is behind those, and faults are at the very end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from random import Random
from typing import Any, Protocol

from minray_sim.events import CALL, END, Event

#: How probable a random strategy makes a fault at each choice where one is possible.
FAULT_SHARE = 0.05
#: The depth of a bug that priority-based strategies look for, where nothing else is said: so many events have to
#: happen in a certain order (one less than that many changes of priority).
DEPTH = 3
#: How many choices a run is expected to have, where nothing is known.
LENGTH = 100


class Strategy(Protocol):
    """Chooses among events. Deterministic, but for the seed.

    One that has a method ``observe(event, step)`` is told of every event that happens, also where there is no choice.
    """

    def begin(self, seed: int) -> None:
        """A run begins."""
        ...

    def choose(self, events: Sequence[Event], usual: int) -> int:
        """Which of `events` happens, by its index. Those from `usual` on are faults."""
        ...


class Fifo:
    """First in, first out: who runs goes on, and what was possible first happens first. Never a fault."""

    def begin(self, seed: int) -> None:
        """Nothing is random."""

    def choose(self, events: Sequence[Event], usual: int) -> int:
        return 0


class RandomWalk:
    """Every event with the same probability, at every step."""

    def begin(self, seed: int) -> None:
        self._random = Random(f"walk {seed}")

    def choose(self, events: Sequence[Event], usual: int) -> int:
        random = self._random.random
        if usual < len(events) and random() < FAULT_SHARE:
            return usual + int(random() * (len(events) - usual))
        return int(random() * usual)


class Pct:
    """Probabilistic concurrency testing: agents have random priorities, the highest goes on, and at `depth` - 1 random
    steps the priority of who would go on falls below all others.

    Finds a bug of depth d among n agents in k choices with a probability of at least 1 / (n k^(d-1)) a run (Burckhardt,
    Kothari, Musuvathi, Nagarakatte: A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs, ASPLOS 2010).
    """

    def __init__(self, depth: int = DEPTH, length: int = LENGTH) -> None:
        """`length`: how many choices a run has, as far as known."""
        self.depth = depth
        self.length = length

    def begin(self, seed: int) -> None:
        self._random = random = Random(f"{type(self).__name__} {self.depth} {seed}")
        self._priorities: dict[Any, float] = {}
        self._choices = 0
        # Those at the same step count once, as in the paper they are drawn independently.
        self._changes = {random.randrange(1, self.length + 1): -float(i) for i in range(1, self.depth)}

    def agent(self, event: Event) -> Any:
        """Whose priority counts."""
        return event.agent

    def choose(self, events: Sequence[Event], usual: int) -> int:
        self._choices += 1
        random = self._random.random
        if usual < len(events) and random() < FAULT_SHARE:
            return usual + int(random() * (len(events) - usual))
        priorities = self._priorities
        agents = []
        for event in events[:usual]:
            agent = self.agent(event)
            agents.append(agent)
            if agent not in priorities:
                priorities[agent] = random()
        change = self._changes.pop(self._choices, None)
        best = _highest(agents, priorities)
        if change is not None:
            priorities[agents[best]] = change
            best = _highest(agents, priorities)
        return best


def _highest(agents: list[Any], priorities: dict[Any, float]) -> int:
    best = 0
    for i in range(1, len(agents)):
        if priorities[agents[i]] > priorities[agents[best]]:
            best = i
    return best


class PctCp(Pct):
    """PCT for message-passing programs: what has a priority is a chain of events, each caused by the one before.

    Chains are made while the program runs: an event continues the chain whose last event is its cause, or begins one
    (Ozkan, Majumdar, Niksic, Befrouei, Weissenbacher: Randomized Testing of Distributed Systems with Probabilistic
    Guarantees, OOPSLA 2018). A bug of depth d among n events in at most w concurrent chains is found with a probability
    of at least 1 / (w^2 n^(d-1)) a run.
    """

    def begin(self, seed: int) -> None:
        super().begin(seed)
        self._chains: dict[int, int] = {}  # of each event that was seen, by its number
        self._ends: dict[int, int] = {}  # of the step in which a chain's last event was: the chain
        self._last = 0

    def agent(self, event: Event) -> Any:
        if event.number <= 0:  # a turn, or a sleep: it goes on what its fiber has done
            return event.agent
        chain = self._chains.get(event.number)
        if chain is None:
            chain = self._ends.pop(event.cause, 0)
            if not chain:
                chain = self._last = self._last + 1
            self._chains[event.number] = chain
        return chain

    def observe(self, event: Event, step: int) -> None:
        if event.number > 0:
            self._ends[step] = self.agent(event)


class Pos:
    """Partial order sampling: every event has a random priority, which is drawn anew when another one that it races
    with happens first (Yuan, Yang, Gu: Partial Order Aware Concurrency Sampling, CAV 2018).

    Calls of one actor race with each other, and so do answers that reach the owner and whatever asks it.
    """

    def begin(self, seed: int) -> None:
        self._random = Random(f"pos {seed}")
        self._priorities: dict[Any, float] = {}

    def choose(self, events: Sequence[Event], usual: int) -> int:
        random = self._random.random
        if usual < len(events) and random() < FAULT_SHARE:
            return usual + int(random() * (len(events) - usual))
        priorities = self._priorities
        keys: list[Any] = [event.number or event.agent for event in events[:usual]]
        for key in keys:
            if key not in priorities:
                priorities[key] = random()
        best = _highest(keys, priorities)
        chosen = events[best]
        for event, key in zip(events, keys):
            if event is not chosen and _race(event, chosen):
                priorities[key] = random()
        priorities.pop(keys[best], None)
        return best


def _race(one: Event, other: Event) -> bool:
    if one.kind == CALL and other.kind == CALL:
        return one.place is other.place
    return one.kind not in (CALL,) and other.kind not in (CALL,) and (one.kind == END or other.kind == END)


class DelayBounded:
    """All schedules that differ from first-in-first-out by at most `delays`: each time the first event, or the first
    two ..., are passed over, at the cost of one delay each (Emmi, Qadeer, Rakamaric: Delay-Bounded Scheduling, POPL
    2011). A fault costs one.

    It goes through them run by run, those with fewer delays first; `exhausted` says that there are no more.
    """

    def __init__(self, delays: int = 2, flat: bool = False) -> None:
        """`flat`: to pass over several events at once costs one, too."""
        self.delays = delays
        self._flat = flat
        self.exhausted = False
        self._plans: deque[tuple[tuple[tuple[int, int], ...], int]] = deque([((), 0)])
        self._plan: dict[int, int] = {}
        self._begun = False
        self._sizes: list[tuple[int, int]] = []

    def begin(self, seed: int) -> None:
        if self._begun:
            self._expand()
        self._begun = True
        if not self._plans:
            self.exhausted = True
            self._present: tuple[tuple[tuple[int, int], ...], int] = ((), self.delays)
        else:
            self._present = self._plans.popleft()
        self._plan = dict(self._present[0])
        self._sizes = []

    def _expand(self) -> None:
        """The plans that go on where the last run's ended."""
        plan, cost = self._present
        after = plan[-1][0] if plan else -1
        for at in range(after + 1, len(self._sizes)):
            total, usual = self._sizes[at]
            for index in range(1, total):
                price = cost + (index if index < usual and not self._flat else 1)
                if price <= self.delays:
                    self._plans.append(((*plan, (at, index)), price))
        self._sizes = []

    def done(self) -> bool:
        """Whether the run that is over was the last one."""
        self._expand()
        self._begun = False
        self.exhausted = not self._plans
        return self.exhausted

    def choose(self, events: Sequence[Event], usual: int) -> int:
        at = len(self._sizes)
        self._sizes.append((len(events), usual))
        index = self._plan.get(at, 0)
        return index if index < len(events) else 0


class Deviations:
    """First-in-first-out, but for what is listed: pairs of the label of the event that would be next, and of the one
    that happens instead."""

    def __init__(self, pairs: Sequence[tuple[str, str]]) -> None:
        self.pairs = list(pairs)

    def begin(self, seed: int) -> None:
        self._instead: dict[str, deque[str]] = {}
        for usual, chosen in self.pairs:
            self._instead.setdefault(usual, deque()).append(chosen)

    def choose(self, events: Sequence[Event], usual: int) -> int:
        wanted = self._instead.get(events[0].label)
        if wanted:
            for index in range(1, len(events)):
                if events[index].label == wanted[0]:
                    wanted.popleft()
                    return index
        return 0


STRATEGIES: dict[str, type[Any]] = {
    "fifo": Fifo,
    "random": RandomWalk,
    "pct": Pct,
    "pctcp": PctCp,
    "pos": Pos,
    "delay": DelayBounded,
}


def make(strategy: Any) -> Strategy:
    """A strategy by its name, or as it is. ValueError: there is none of that name."""
    made: Strategy = strategy
    if isinstance(strategy, str):
        if strategy not in STRATEGIES:
            raise ValueError(f"There is no strategy {strategy!r}. There are: {', '.join(STRATEGIES)}.")
        made = STRATEGIES[strategy]()
    elif not hasattr(strategy, "choose") or not hasattr(strategy, "begin"):
        raise TypeError(f"strategy must be a name or have methods `begin` and `choose`, got: {strategy!r}.")
    return made
