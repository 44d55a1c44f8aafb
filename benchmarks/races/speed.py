"""How many runs a second the simulator does, on one core: ``python benchmarks/races/speed.py``.

Two programs of about 50 steps: in one every step runs to its end, in the other most wait for others. The best of many
short measurements counts, as other work on the machine can only slow it down. Each has one garbage collection in it, as
any so many runs have.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import minray
from minray.testing.runs import COLLECT_EVERY, Runner, simulator

ray: Any = minray
#: Measurements of each program, and runs in each.
TIMES = 20
RUNS = COLLECT_EVERY


@ray.remote
class Adder:
    def add(self) -> int:
        return 1


@ray.remote
def relay(adder: Any) -> int:
    return int(ray.get(adder.add.remote()))


def runs_to_completion() -> int:
    adder = Adder.remote()
    return sum(ray.get([adder.add.remote() for _ in range(24)]))


def blocks() -> int:
    adder = Adder.remote()
    return sum(ray.get([relay.remote(adder) for _ in range(9)]))


def rate(program: Callable[[], int]) -> tuple[float, int]:
    """Runs a second under the random walk, and the steps of one."""
    sim = simulator()
    strategy = sim.RandomWalk()
    best = float("inf")
    with Runner(program, None, 10_000) as runner:
        steps = runner.run(0, strategy).steps
        for _ in range(TIMES):
            begun = time.perf_counter()
            for seed in range(RUNS):
                runner.run(seed, strategy)
            best = min(best, (time.perf_counter() - begun) / RUNS)
    return 1 / best, steps


def main() -> None:
    if hasattr(os, "sched_setaffinity"):  # one thread runs at a time, and on another core it would first have to wake
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    for program in (runs_to_completion, blocks):
        runs, steps = rate(program)
        sys.stdout.write(f"{program.__name__}: {runs:,.0f} runs/s of {steps} steps\n")


if __name__ == "__main__":
    main()
