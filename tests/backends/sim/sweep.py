"""What many runs of rich programs come to, as a digest for each program: ``python -m tests.backends.sim.sweep 40``.

A digest stands for the events and the results under all strategies, with and without faults, of so many seeds. It is
the same in every process, whatever the hashes of strings are there, and on every Python.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from typing import Any

from minray.testing.runs import Runner, simulator
from tests.backends.sim.programs import PROGRAMS as FIRST
from tests.backends.sim.rich_programs import PROGRAMS as RICH

PROGRAMS: list[Callable[[], Any]] = [*FIRST, *RICH]
STRATEGIES = ("fifo", "random", "pct", "pctcp", "pos")
FAULTS = {"death": 1, "reply": 1, "object": 1, "timeout": 1, "cancel": 1}
MAX_STEPS = 20_000


def digest(program: Callable[[], Any], seeds: range) -> str:
    """Of all runs of one program."""
    sim = simulator()
    found = hashlib.sha256()
    with Runner(program, None, MAX_STEPS) as runner:
        for strategy in STRATEGIES:
            for seed in seeds:
                for faults in (None, sim.Faults.of(FAULTS)):
                    run = runner.run(seed, sim.make(strategy), faults)
                    error = type(run.error).__name__ if run.error is not None else ""
                    found.update(f"{run.log}{run.result!r}{error}".encode())
    return found.hexdigest()[:16]


def sweep(number: int) -> dict[str, str]:
    """The digests of all programs, by name, for so many seeds."""
    return {program.__name__: digest(program, range(number)) for program in PROGRAMS}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(sweep(int(sys.argv[1])), indent=4) + "\n")
