"""Threads of which one runs at a time: each hands its turn to the next, and sleeps until it is given it back.

      driver ──block──> picks the next event ──┬─ a fiber that sleeps: wakes it, sleeps
                                               ├─ a fresh call: gives it to an idle host, sleeps
                                               └─ a message: deals with it here, picks again
      host   ──the call's code, to its end or until it blocks──> picks the next event ── ... the same

Who gives up its turn picks the next event itself, on its own stack, and wakes exactly one thread. So calls that run to
their end follow each other on one host without a switch, which costs 10 to 20 us.
"""

from __future__ import annotations

import _thread
import contextvars
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from minray_sim import active
from minray_sim.events import Event
from minray_sim.outside import HOST

if TYPE_CHECKING:
    from minray_sim.simulation import Simulation


class Ended(SystemExit):
    """Leaves the code of a thread whose worker was ended, or whose run is over."""


class Fiber:
    """One flow of control: the driver's, that of a call, or a thread's."""

    ident = 0
    event: Event | None = None  # it can go on
    deadline: float | None = None
    timer = ""
    timed_out = False
    call = 0  # what it runs, if that can be interrupted
    interrupted = False
    error: BaseException | None = None  # to be raised when it goes on
    wants: tuple[str, tuple[int, ...]] | None = None
    in_lock = False  # it waits for a lock of the user's, which any thread may release
    resumed = 0
    done = False

    def __init__(self, simulation: Simulation, name: Event | str, gate: Any, place: Any = None) -> None:
        self.simulation = simulation
        self._name = name  # or the event in which it has begun
        self.gate = gate  # its thread sleeps on it
        self.place = place  # the worker that it belongs to

    @property
    def label(self) -> str:
        """What it runs."""
        name = self._name
        if not isinstance(name, str):
            name = self._name = name.label.partition(" ")[2]
        return name

    def release(self) -> None:
        """What it waits for is there. So called because a `Waiting` takes it for a lock (`Waiting.gate`)."""
        self.simulation.enable(self)

    def __repr__(self) -> str:
        return f"<Fiber {self.label}>"


class Host:
    """A thread that runs fibers, one after another, and is kept for more."""

    def __init__(self) -> None:
        self.gate = _thread.allocate_lock()
        self.gate.acquire()
        self.job: tuple[Simulation, Event] | None = None
        self.thread = threading.Thread(target=self._serve, name=HOST, daemon=True)
        self.thread.start()
        self.ident = self.thread.ident or 0

    def _serve(self) -> None:
        while True:
            self.gate.acquire()
            if self.job is None:
                return
            (simulation, event), self.job = self.job, None
            simulation.serve(self, event)
            del simulation, event

    def end(self) -> None:
        self.job = None
        self.gate.release()
        self.thread.join()


class Hosts:
    """Idle hosts, and those that there are. They may outlive a run and serve the next."""

    def __init__(self) -> None:
        self.idle: list[Host] = []

    def take(self) -> Host:
        if self.idle:
            return self.idle.pop()
        simulation, active.simulation = active.simulation, None  # its thread is a real one, with real locks
        try:
            return Host()
        finally:
            active.simulation = simulation

    def close(self) -> None:
        while self.idle:
            self.idle.pop().end()


def in_own_context(function: Callable[[], None]) -> None:
    """Call `function` where no context variable of earlier calls is set."""
    contextvars.Context().run(function)
