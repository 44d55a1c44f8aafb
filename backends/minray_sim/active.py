"""The run that is on in this process, for functions that stand in for those of the standard library."""

from __future__ import annotations

from threading import get_ident
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minray_sim.fibers import Fiber
    from minray_sim.pool import SimPool
    from minray_sim.simulation import Simulation

simulation: Simulation | None = None
pool: SimPool | None = None


def caller() -> Simulation | None:
    """The simulation, if the calling thread is one of it."""
    now = simulation
    return now if now is not None and get_ident() in now.fibers else None


def fiber() -> Fiber | None:
    """The calling thread's."""
    now = simulation
    return None if now is None else now.fibers.get(get_ident())
