"""Threads of which one runs at a time (`minray_sim.turns`), and those that are kept for them."""

from __future__ import annotations

import _thread
import threading
from typing import TYPE_CHECKING, Any

from minray_sim import active
from minray_sim.events import Event
from minray_sim.outside import HOST

if TYPE_CHECKING:
    from minray_sim.turns import Turns


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

    def __init__(self, turns: Turns, name: Event | str, gate: Any, place: Any = None) -> None:
        self._turns: Turns | None = turns
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
        if self._turns is not None:
            self._turns.enable(self)

    def end(self) -> None:
        """It has run to its end, and refers to nothing of the run."""
        self.done = True
        self._turns = None

    def __repr__(self) -> str:
        return f"<Fiber {self.label}>"


class Host:
    """A thread that runs fibers, one after another, and is kept for more."""

    def __init__(self) -> None:
        self.gate = _thread.allocate_lock()
        self.gate.acquire()
        self.job: tuple[Turns, Event] | None = None
        self.thread = threading.Thread(target=self._serve, name=HOST, daemon=True)
        self.thread.start()
        self.ident = self.thread.ident or 0

    def _serve(self) -> None:
        while True:
            self.gate.acquire()
            if self.job is None:
                return
            (turns, event), self.job = self.job, None
            turns.serve(self, event)
            del turns, event

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
