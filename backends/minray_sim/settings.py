"""What a run is to be like: from `init`, from the environment, or from who explores."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from minray_sim import strategies
from minray_sim.simulation import MAX_STEPS
from minray_sim.strategies import Strategy

if TYPE_CHECKING:
    from minray_sim.faults import Faults
    from minray_sim.fibers import Hosts
    from minray_sim.pool import SimPool
    from minray_sim.world import World


def _nothing(pool: SimPool) -> None:
    """Nobody wants to know."""


@dataclass
class Settings:
    """How one run chooses, and what it may break."""

    seed: int = 0
    strategy: Strategy = field(default_factory=strategies.Fifo)
    faults: Faults | None = None
    max_steps: int = MAX_STEPS
    hosts: Hosts | None = None  #: threads to use; None: some of the run's own
    opened: Callable[[SimPool], None] = _nothing  #: told of the pool
    world: World | None = None  #: patches that are there already; None: the run makes its own

    def begin(self) -> Strategy:
        """The strategy, at the start of a run."""
        self.strategy.begin(self.seed)
        return self.strategy


#: Those of who explores: they go before whatever `init` is told.
current: Settings | None = None


def settings_of(options: Mapping[str, Any]) -> Settings:
    """From the keywords of `init`, else from MINRAY_SEED, MINRAY_STRATEGY and MINRAY_REPLAY. ValueError, TypeError."""
    if current is not None:
        return current
    path = os.environ.get("MINRAY_REPLAY")
    if path:
        return _replay(path)
    seed = options.get("seed")
    if seed is None:
        seed = _number(os.environ.get("MINRAY_SEED") or "0", "MINRAY_SEED")
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise TypeError(f"seed must be an int, got: {seed!r}.")
    max_steps = options.get("max_steps")
    if max_steps is None:
        max_steps = MAX_STEPS
    if isinstance(max_steps, bool) or not isinstance(max_steps, int) or max_steps < 1:
        raise ValueError(f"max_steps must be an int above 0, got: {max_steps!r}.")
    chosen = options.get("strategy")
    strategy = strategies.make(chosen if chosen is not None else os.environ.get("MINRAY_STRATEGY") or "random")
    return Settings(seed, strategy, _faults(options.get("faults")), max_steps)


def _number(text: str, name: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{name} must be a whole number, got: {text!r}.") from None


def _faults(asked: Any) -> Faults | None:
    if not asked:
        return None
    from minray_sim.faults import Faults

    return Faults.of(asked)


def _replay(path: str) -> Settings:
    from minray_sim.replay import load

    return load(path)
