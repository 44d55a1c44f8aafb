"""One run of a program on the sim backend, and what there is to know of it."""

from __future__ import annotations

import gc
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from typing_extensions import Self

import minray
from minray import interrupts, registry, starting

#: A program is called without arguments, and uses minray as any driver does.
ProgramFunction = Callable[[], Any]
#: What has happened instead of what first-in-first-out would have done, as pairs of labels.
Pairs = list[tuple[str, str]]

#: So many runs leave no more garbage than can wait.
COLLECT_EVERY = 50


def simulator() -> Any:
    """The package of the sim backend. ImportError: it is not installed."""
    return import_module(registry.load("sim").__module__.partition(".")[0])


@dataclass
class Run:
    """What has become of one run."""

    result: Any = None
    error: BaseException | None = None  #: what the program, or the invariant, has raised
    pairs: Pairs = field(default_factory=list)  #: where it differs from first-in-first-out
    steps: int = 0
    choices: int = 0  #: steps in which there was a choice
    agents: int = 0  #: how many agents there were
    pool: Any = None  #: the simulation's; None: the program never started a run

    @property
    def log(self) -> str:
        """Its events, one a line: byte for byte the same for the same seed and program."""
        return "" if self.pool is None else str(self.pool.simulation.log())


class Runner:
    """Runs a program again and again, on threads that it keeps. A context manager."""

    def __init__(self, program: ProgramFunction, invariant: Callable[[Any], Any] | None, max_steps: int) -> None:
        self._program = program
        self._invariant = invariant
        self._max_steps = max_steps
        self._sim = simulator()
        self._hosts = self._sim.Hosts()
        self._world = self._sim.World()
        self.number = 0  # of runs so far

    def __enter__(self) -> Self:
        if minray.is_initialized():
            raise RuntimeError("Call minray.shutdown() first: the program that is explored starts runs of its own.")
        self._backend = os.environ.get("MINRAY_BACKEND")
        os.environ["MINRAY_BACKEND"] = "sim"
        self._chance = random.getstate()
        self._world.enter()
        interrupts.guard(self._sim.__name__)
        interrupts.kept = True
        # What a run leaves is gone without it, but for circles; in the middle of a run's end it would find all alive.
        self._collects = gc.isenabled()
        gc.disable()
        return self

    def __exit__(self, *error: object) -> None:
        self._sim.SimPool.given(None)
        self._world.leave()
        if self._backend is None:
            del os.environ["MINRAY_BACKEND"]
        else:
            os.environ["MINRAY_BACKEND"] = self._backend
        if self._collects:
            gc.enable()
        random.setstate(self._chance)
        self._hosts.close()
        interrupts.kept = False
        interrupts.unguard()

    def run(self, seed: int, strategy: Any, faults: Any = None) -> Run:
        """Run the program once. KeyboardInterrupt passes; all else that is raised is in the answer."""
        run = Run()
        self.number += 1
        if self.number % COLLECT_EVERY == 0:
            gc.collect(1)

        def opened(pool: Any) -> None:
            run.pool = pool

        sim = self._sim
        settings = sim.Settings(seed, strategy, faults, self._max_steps, self._hosts, opened, self._world)
        sim.SimPool.given(settings)
        random.seed(seed)  # what the program does before it starts its run is seeded too
        try:
            # By the class, so that nobody has to look for it. From here on locks and threads are the simulation's.
            minray.init(backend=sim.SimPool)
            starting.provisional = True
            run.result = self._program()
            if self._invariant is not None and self._invariant(run.result) is False:
                raise AssertionError(f"The invariant does not hold for the result {run.result!r}.")
        except Exception as error:
            run.error = error
        finally:
            minray.shutdown()
        if run.pool is not None:
            simulation = run.pool.simulation
            run.pairs = [(usual.label, chosen.label) for _, usual, chosen in simulation.chosen]
            run.steps, run.choices = simulation.steps, simulation.choices
        return run
