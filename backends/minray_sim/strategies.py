"""Who goes next: strategies, each with its source.

Asked only where there is a choice. The events come in the order in which they became possible; sleeps that could be over
are behind those, and faults at the very end.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any, Protocol

from minray_sim.events import Event

#: How probable a random strategy makes a fault at each choice where one is possible.
FAULT_SHARE = 0.05


class Strategy(Protocol):
    """Chooses among events. Deterministic, but for the seed."""

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


STRATEGIES: dict[str, type[Any]] = {"fifo": Fifo, "random": RandomWalk}


def make(strategy: Any) -> Strategy:
    """A strategy by its name, or as it is. ValueError: there is none of that name."""
    if isinstance(strategy, str):
        if strategy not in STRATEGIES:
            raise ValueError(f"There is no strategy {strategy!r}. There are: {', '.join(STRATEGIES)}.")
        made: Strategy = STRATEGIES[strategy]()
        return made
    if not hasattr(strategy, "choose"):
        raise TypeError(f"strategy must be a name or have a method `choose`, got: {strategy!r}.")
    made = strategy
    return made
