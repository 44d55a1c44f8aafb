"""Event loops of simulated code: virtual time, and whoever waits for a callback lets others run.

There is no input and output: `add_reader`, sockets and subprocesses raise NotImplementedError.
"""

from __future__ import annotations

import asyncio
import asyncio.events
from typing import Any

from minray_sim import active
from minray_sim.coroutines import Numbered
from minray_sim.fibers import Fiber

#: After so many rounds in which the loop had work of its own, others get a turn.
ROUNDS = 64

_Policy: Any = getattr(asyncio.events, "BaseDefaultEventLoopPolicy", None) or asyncio.events._BaseDefaultEventLoopPolicy  # type: ignore[attr-defined]
_new_event_loop = _Policy.new_event_loop


class _Selector:
    """Where the loop waits."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop
        self._rounds = 0

    def select(self, timeout: float | None) -> list[Any]:
        simulation = active.caller()
        if simulation is None:
            return []
        if timeout == 0:
            self._rounds += 1
            if self._rounds >= ROUNDS:
                self._rounds = 0
                simulation.turn("the next round of its loop", polls=True)
            return []
        self._rounds = 0
        self._loop.wait(timeout)
        return []

    def get_map(self) -> dict[int, Any]:
        return {}

    def close(self) -> None:
        """Nothing is open."""


class SimLoop(Numbered, asyncio.BaseEventLoop):
    """An event loop of the simulation."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = _Selector(self)
        self._woken = False
        self._sleeper: Fiber | None = None

    def __del__(self) -> None:
        """A run that ends, and a worker that is killed, leave it as it is, and asyncio warns of those that are not
        closed: this one holds nothing."""

    def time(self) -> float:
        simulation = active.simulation
        return 0.0 if simulation is None else simulation.now

    def wait(self, timeout: float | None) -> None:
        """Until somebody calls from outside, or `timeout` seconds are over."""
        simulation = active.simulation
        me = None if simulation is None else simulation.me()
        if simulation is None or me is None or self._woken:
            self._woken = False
            return
        self._sleeper = me
        try:
            simulation.doze(timeout)
        finally:
            self._sleeper = None
            self._woken = False

    def _write_to_self(self) -> None:
        self._woken = True
        if self._sleeper is not None:
            if active.caller() is None and active.simulation is not None:
                active.simulation.outside.ring(self)
            else:
                self.hand_on()

    def hand_on(self) -> None:
        """Whoever sleeps in it can go on."""
        if self._sleeper is not None:
            self._sleeper.release()

    def _process_events(self, event_list: Any) -> None:
        """There are none."""


def new_event_loop(self: Any) -> Any:
    """`asyncio.new_event_loop`."""
    return _new_event_loop(self) if active.caller() is None else SimLoop()


_PATCHES: list[tuple[Any, str, Any]] = [(_Policy, "new_event_loop", new_event_loop)]


def patches() -> list[tuple[Any, str, Any]]:
    return _PATCHES
