"""How well each strategy finds the bugs of the catalogue: ``python benchmarks/races/run.py`` writes RESULTS.md.

For every program and strategy: in how many of N runs the bug shows, against what is promised where something is (PCT:
at least 1 / (n k^(d-1)) a run, for n agents, k choices and a bug of depth d); the run in which it first shows; how many
deviations from first-in-first-out are left when the schedule is shrunk. And whether the twin without it survives.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from minray.testing import find
from minray.testing.runs import Runner, simulator
from races import failing, names, order, state
from races.catalogue import CATALOGUE, Race

STRATEGIES = ("random", "pct", "pctcp", "pos")
#: Deviations from first-in-first-out that the exhaustive search may make.
DELAYS = 2
MAX_STEPS = 20_000
#: Runs that tell how long the program's runs are.
PROBES = 20
MODULES = (failing, names, order, state)


@dataclass
class Row:
    """What was measured of one program."""

    race: Race
    agents: int = 0
    choices: int = 0
    first_run: bool = False  #: it shows first-in-first-out
    rates: dict[str, float] = field(default_factory=dict)
    firsts: dict[str, float] = field(default_factory=dict)
    delay: str = ""
    shrunk: str = ""
    survived: int = 0
    broke: str = ""

    @property
    def bound(self) -> float:
        """What PCT promises."""
        return 1 / (max(1, self.agents) * max(1, self.choices) ** (self.race.depth - 1))


def measure(race: Race, runs: int, twin_runs: int) -> Row:
    """Everything about one program."""
    row = Row(race)
    sim = simulator()
    faults = sim.Faults.of(race.faults) if race.faults else None
    with Runner(partial(race.program, False), None, MAX_STEPS) as runner:
        probes = [runner.run(0, sim.Fifo(), faults)]
        row.first_run = probes[0].error is not None
        walk = sim.RandomWalk()
        probes += [runner.run(seed, walk, faults) for seed in range(PROBES - 1)]
        row.choices = max(run.choices for run in probes)
        row.agents = max(len({event.agent for event in run.pool.simulation.trace}) for run in probes)
        for name in STRATEGIES:
            strategy = chosen(sim, name, row)
            hits = [runner.run(seed, strategy, faults).error is not None for seed in range(1, runs + 1)]
            row.rates[name] = sum(hits) / runs
            row.firsts[name] = _until_first(hits)
        row.delay = _exhaust(sim, runner, faults, runs)
    failure = find(partial(race.program, False), faults=race.faults, runs=20 * runs, max_steps=MAX_STEPS)
    if failure is not None:
        row.shrunk = f"{failure.found} → {len(failure.pairs)}"
    with Runner(partial(race.program, True), None, MAX_STEPS) as runner:
        for number in range(twin_runs):
            strategy = chosen(sim, STRATEGIES[number % len(STRATEGIES)], row)
            run = runner.run(number, strategy, faults)
            if run.error is not None:
                row.broke = f"{type(run.error).__name__} in run {number}"
                break
            row.survived += 1
    return row


def chosen(sim: Any, name: str, row: Row) -> Any:
    """A strategy that knows the program's length and the bug's depth."""
    if name in ("pct", "pctcp"):
        return sim.STRATEGIES[name](row.race.depth, max(1, row.choices))
    return sim.make(name)


def _until_first(hits: list[bool]) -> float:
    """The median of how many runs it takes from any run on until the bug shows; infinite if it never does."""
    lengths = []
    since = 0
    for hit in hits:
        since += 1
        if hit:
            lengths.append(since)
            since = 0
    return median(lengths) if lengths else float("inf")


def _exhaust(sim: Any, runner: Runner, faults: Any, runs: int) -> str:
    """The run in which the exhaustive search finds the bug, and how many there were."""
    strategy = sim.DelayBounded(DELAYS)
    for number in range(1, 4 * runs + 1):
        if runner.run(0, strategy, faults).error is not None:
            return str(number)
        if strategy.done():
            return f"not in all {number}"
    return f"> {4 * runs}"


def report(rows: list[Row], runs: int) -> str:
    """RESULTS.md."""
    lines = [
        "# How races are found",
        "",
        f"Made by `python benchmarks/races/run.py --runs {runs}`. Each program of the catalogue has one known bug of",
        "the depth given: how many events must happen in a certain order for it to show. *n* agents, *k* choices are",
        f"the most that were seen in {PROBES} runs. A rate is the share of runs, each with a seed of its own, in which",
        "the bug showed; in brackets, the median number of runs until it does. PCT promises a rate of at least",
        "1 / (n k^(d-1)) for bugs that need no fault (faults are drawn apart, with a probability of 0.05 a choice),",
        "which the measured rate keeps if it is not lower by more than two standard errors.",
        f"*Delay* is the run in which the exhaustive search with at most {DELAYS} delays finds it.",
        "*Shrunk* is how many deviations from first-in-first-out (faults included) the first schedule found had, and",
        "has when it is shrunk. *Twin* is how many schedules the fixed program has survived, by turns under the four",
        "random strategies.",
        "",
        "| program | bug | d | faults | n | k | FIFO | random | PCT | ≥ bound | PCTCP | POS | delay | shrunk | twin |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        rates = {name: f"{row.rates[name]:.3f} ({row.firsts[name]:g})" for name in STRATEGIES}
        kept = f"{row.bound:.2g}: {'yes' if keeps(row, runs) else '**no**'}"
        cells = [
            row.race.name,
            row.race.about,
            row.race.depth,
            row.race.faults or "",
            row.agents,
            row.choices,
            "shows" if row.first_run else "",
            rates["random"],
            rates["pct"],
            "" if row.race.faults else kept,
            rates["pctcp"],
            rates["pos"],
            row.delay,
            row.shrunk or "not found",
            row.broke or f"{row.survived:,}",
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    found = sum(bool(row.shrunk) for row in rows)
    lines += ["", f"{found} of {len(rows)} bugs were found by the random walk; {_kept(rows, runs)}."]
    return "\n".join(lines) + "\n"


def keeps(row: Row, runs: int) -> bool:
    """Whether PCT's rate is what is promised, give or take two standard errors of so many runs."""
    return row.rates["pct"] >= row.bound - 2 * (row.bound * (1 - row.bound) / runs) ** 0.5


def _kept(rows: list[Row], runs: int) -> str:
    promised = [row for row in rows if not row.race.faults]
    kept = sum(keeps(row, runs) for row in promised)
    return f"PCT kept its promise for {kept} of the {len(promised)} to which it applies"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, help="runs for each program and strategy")
    parser.add_argument("--twin-runs", type=int, default=10_000, help="schedules that the twin has to survive")
    parser.add_argument("--only", action="append", help="a program's name")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "RESULTS.md")
    options = parser.parse_args()
    rows = []
    for race in CATALOGUE.values():
        if not options.only or race.name in options.only:
            rows.append(measure(race, options.runs, options.twin_runs))
            last = rows[-1]
            sys.stderr.write(f"{race.name}: {last.rates}, shrunk {last.shrunk}, twin {last.broke or last.survived}\n")
    options.out.write_text(report(rows, options.runs), encoding="utf-8")


if __name__ == "__main__":
    main()
