"""The sim backend: the unmodified program in one process, under a scheduler that decides everything, from a seed.

Exactly one task or actor step runs at a time. Which one is next, when a message arrives, when a sleep is over and what
breaks is chosen by a strategy (`minray_sim.strategies`); the same choices give the same run, to the letter. See
docs/testing.md, and `minray.testing` for searching, shrinking and replaying.
"""

from __future__ import annotations

from minray_sim.faults import Faults
from minray_sim.fibers import Hosts
from minray_sim.pool import SimPool
from minray_sim.replay import load, save
from minray_sim.settings import Settings
from minray_sim.strategies import STRATEGIES, DelayBounded, Deviations, Fifo, Pct, PctCp, Pos, RandomWalk, make
from minray_sim.world import World

__all__ = [
    "STRATEGIES",
    "DelayBounded",
    "Deviations",
    "Faults",
    "Fifo",
    "Hosts",
    "Pct",
    "PctCp",
    "Pos",
    "RandomWalk",
    "Settings",
    "SimPool",
    "World",
    "load",
    "make",
    "save",
]
