"""How the cost of minray grows with the size of the work: plots, a table with the exponents. See docs/performance.md.

    python benchmarks/scaling.py                     print the table
    python benchmarks/scaling.py --write             also put table and plots into docs/performance*; with --only
                                                     the rows of that series alone
    python benchmarks/scaling.py --quick             a few small sizes: does it all work?
    python benchmarks/scaling.py --only fan-in --backends loky

Each series runs in a process of its own, in growing sizes, and ends at the last size or where the next one would take
it beyond its time. A point is the median of three runs, or of fewer if these take over six seconds.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import minray as ray

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "performance.md"
BEGIN, END = "<!-- scaling: begin -->", "<!-- scaling: end -->"
RUNS = 3
#: A point that has taken longer than this in all is not measured again (s).
POINT_SECONDS = 6.0
#: A series ends where the next size, at the growth seen so far, would make it longer than this (s).
SERIES_SECONDS = 40.0
#: Points that take less say nothing about growth: what they cost is the way there and back (s).
SMALL_SECONDS = 0.002
#: Exponents above it are worse than linear; what a busy machine adds is below.
LINEAR = 1.15
#: The cost of one unit grows by this factor from one size to the next: a cliff.
CLIFF = 2.5


class Series(NamedTuple):
    """What grows, in which sizes, and how one size is measured: `measure(size)` returns seconds."""

    name: str
    unit: str
    backends: dict[str, tuple[int, ...]]
    measure: Callable[[int], float]


def decades(first: int, last: int) -> tuple[int, ...]:
    """1, 10, 100 ... or what else the powers of ten between the two are."""
    return tuple(10**power for power in range(round(math.log10(first)), round(math.log10(last)) + 1))


def both(*sizes: int) -> dict[str, tuple[int, ...]]:
    return {"threads": sizes, "loky": sizes}


@ray.remote
def nothing(*args: Any) -> None:
    """The task."""


@ray.remote
def add_one(number: int) -> int:
    return number + 1


class Counter:
    def __init__(self) -> None:
        self.calls = 0

    def add(self) -> int:
        self.calls += 1
        return self.calls


CounterActor = ray.remote(num_cpus=0)(Counter)


@ray.remote
def content(size: int) -> Any:
    import numpy as np

    return np.ones(size, np.uint8)


def pending(size: int) -> float:
    """Tasks that do nothing: submit all, fetch all."""
    start = time.perf_counter()
    refs = [nothing.remote() for _ in range(size)]
    ray.get(refs)
    taken = time.perf_counter() - start
    del refs
    ray.get(nothing.remote())
    return taken


def objects(size: int) -> float:
    """Put and hold as many, fetch all, let all go."""
    start = time.perf_counter()
    refs = [ray.put(i) for i in range(size)]
    ray.get(refs)
    del refs
    ray.get(nothing.remote())  # whatever is counted late is counted by now
    return time.perf_counter() - start


def fan_in(size: int) -> float:
    """Results of as many tasks as arguments of one."""
    start = time.perf_counter()
    ray.get(nothing.remote(*[add_one.remote(i) for i in range(size)]))
    return time.perf_counter() - start


def actors(size: int) -> float:
    """Create, call each once, kill all."""
    start = time.perf_counter()
    made: list[Any] = [CounterActor.remote() for _ in range(size)]
    ray.get([actor.add.remote() for actor in made])
    for actor in made:
        ray.kill(actor)
    taken = time.perf_counter() - start
    del made
    time.sleep(min(1.0, 0.002 * size))  # they end by themselves
    return taken


def chain(size: int) -> float:
    """Each task's result is the next one's argument."""
    start = time.perf_counter()
    last: Any = 0
    for _ in range(size):
        last = add_one.remote(last)
    if ray.get(last) != size:
        raise AssertionError("the chain is broken")
    return time.perf_counter() - start


def result(size: int) -> float:
    """One task returns as many bytes."""
    start = time.perf_counter()
    ref = content.remote(size)
    if len(ray.get(ref)) != size:
        raise AssertionError("the result is not whole")
    return time.perf_counter() - start


SERIES = [
    Series("tasks pending", "tasks", both(*decades(1_000, 1_000_000)), pending),
    Series("objects held", "objects", both(*decades(1_000, 1_000_000)), objects),
    Series("fan-in", "arguments", both(*decades(10, 100_000)), fan_in),
    Series("actors", "actors", {"threads": decades(1, 1000), "loky": (1, 10, 50, 100, 200)}, actors),
    Series("dependency chain", "tasks", both(*decades(10, 100_000)), chain),
    Series("result", "bytes", both(*decades(1_000, 1_000_000_000)), result),
]


# -- one series, in a process of its own ---------------------------------------------------------------------------


def run_series(series: Series, backend: str, quick: bool) -> None:
    """Print a line of JSON for each point: [size, seconds]."""
    ray.init(backend=backend, num_cpus=2)
    ray.get([nothing.remote() for _ in range(100)])
    sizes = series.backends[backend][:2] if quick else series.backends[backend]
    began = time.perf_counter()
    series.measure(sizes[0])
    last: list[tuple[int, float]] = []
    for size in sizes:
        spent = time.perf_counter() - began
        if last and spent + last[-1][1] * max(1.0, size / last[-1][0]) ** 1.1 > SERIES_SECONDS:
            break
        taken: list[float] = []
        while not taken or (len(taken) < RUNS and sum(taken) < POINT_SECONDS):
            gc.collect()
            taken.append(series.measure(size))
        last.append((size, median(taken)))
        print(json.dumps(last[-1]), flush=True)
    ray.shutdown()


def measure(series: Series, backend: str, quick: bool, limit: float) -> tuple[list[tuple[int, float]], str]:
    """The points of one series, and why there are no more if it did not end by itself."""
    command = [sys.executable, __file__, "--series", series.name, "--backends", backend] + ["--quick"] * quick
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired as late:
        said_so_far: Any = late.stdout  # bytes, whatever `text` says
        output = said_so_far.decode() if said_so_far else ""
        return points(output), f"given up after {limit:g} s"
    said = [f"status {done.returncode}", *done.stderr.strip().splitlines()][-1]
    return points(done.stdout), said if done.returncode else ""


def points(output: str) -> list[tuple[int, float]]:
    return [(size, seconds) for size, seconds in (json.loads(line) for line in output.splitlines() if line[:1] == "[")]


# -- what they say -------------------------------------------------------------------------------------------------


def exponent(found: list[tuple[int, float]]) -> float | None:
    """The slope of a straight line through the points, both axes being logarithms. 1 is linear."""
    large = [(math.log(size), math.log(seconds)) for size, seconds in found if seconds >= SMALL_SECONDS]
    if len(large) < 2:
        return None
    mean_x = sum(x for x, _ in large) / len(large)
    mean_y = sum(y for _, y in large) / len(large)
    return sum((x - mean_x) * (y - mean_y) for x, y in large) / sum((x - mean_x) ** 2 for x, _ in large)


def cliff(found: list[tuple[int, float]]) -> str:
    """Where the cost of one unit jumps, if anywhere."""
    for (size, seconds), (next_size, next_seconds) in itertools.pairwise(found):
        factor = (next_seconds / next_size) / (seconds / size)
        if seconds >= SMALL_SECONDS and factor > CLIFF:
            return f"{factor:.1f} times as much for one at {next_size:,} as at {size:,}"
    return ""


def verdict(found: list[tuple[int, float]], wanted: int, stopped: str) -> str:
    slope = exponent(found)
    remarks = []
    if slope is not None and slope > LINEAR:
        remarks.append("**worse than linear**")
    if jump := cliff(found):
        remarks.append(f"**cliff**: {jump}")
    if stopped:
        remarks.append(f"**stopped**: {stopped}")
    elif len(found) < wanted:
        remarks.append("larger sizes would take too long")
    return "; ".join(remarks) or "linear or better"


def row(series: Series, backend: str, found: list[tuple[int, float]], wanted: int, stopped: str) -> str:
    slope = exponent(found)
    each = [seconds / size for size, seconds in found]
    cells = [
        series.name,
        backend,
        f"{found[0][0]:,} to {found[-1][0]:,} {series.unit}" if found else "",
        f"{slope:.2f}" if slope is not None else "",
        f"{found[0][1] * 1000:,.3g} to {found[-1][1] * 1000:,.6g}" if found else "",
        f"{each[-1] * 1e6:,.3g}" if series.unit != "bytes" and found else "",
        verdict(found, wanted, stopped),
    ]
    return "| " + " | ".join(cells) + " |"


HEADER = (
    "| what grows | backend | from, to | exponent | ms, smallest to largest | us for one, largest | verdict |\n"
    "|---|---|---|---|---|---|---|"
)


def plot(series: Series, results: dict[str, list[tuple[int, float]]], folder: Path) -> None:
    """Both axes logarithmic, beside a line of slope 1 through each last point."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(5.5, 3.6), dpi=110, layout="constrained")
    for backend, found in results.items():
        if found:
            sizes, seconds = zip(*found)
            (line,) = axes.loglog(sizes, seconds, "o-", label=f"{backend}, exponent {exponent(found) or math.nan:.2f}")
            steady = [seconds[-1] * size / sizes[-1] for size in sizes]
            axes.loglog(sizes, steady, ":", color=line.get_color(), linewidth=1)
    axes.set(xlabel=series.unit, ylabel="seconds", title=f"{series.name} (dotted: linear)")
    axes.grid(True, which="major", alpha=0.3)
    axes.legend()
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{series.name.replace(' ', '-')}.png")
    pyplot.close(figure)


def write(lines: list[str]) -> None:
    """Put the rows into the table between its marks in the page; those of other series stay as they are."""
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    old, _, after = rest.partition(END)
    rows = {tuple(line.split("|")[1:3]): line for line in old.splitlines() if line.startswith("| ")}
    rows.update({tuple(line.split("|")[1:3]): line for line in lines})
    head, rule = HEADER.splitlines()
    body = [line for line in rows.values() if not line.startswith("| what grows")]
    table = "\n".join([head, rule, *body])
    PAGE.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{after}", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="a series, or a part of its name")
    parser.add_argument("--backends", default="threads,loky")
    parser.add_argument("--quick", action="store_true", help="the two smallest sizes of each")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds after which a series is given up")
    parser.add_argument("--write", action="store_true", help=f"write plots and table to {DOCS.name}/")
    parser.add_argument("--plots", type=Path, help="write the plots to this folder")
    parser.add_argument("--check", action="store_true", help="exit status 1 if anything is worse than linear")
    parser.add_argument("--series", help=argparse.SUPPRESS)  # in the child: the one that it runs
    options = parser.parse_args()
    if options.series:
        run_series(next(one for one in SERIES if one.name == options.series), options.backends, options.quick)
        return 0
    chosen = [one for one in SERIES if not options.only or any(word in one.name for word in options.only)]
    if not chosen:
        parser.error(f"no series has {options.only[0]!r} in its name; there are: {', '.join(s.name for s in SERIES)}")
    lines = [HEADER]
    folder = DOCS / "performance" if options.write else options.plots
    print(HEADER, flush=True)
    for series in chosen:
        results = {}
        for backend in options.backends.split(","):
            wanted = 2 if options.quick else len(series.backends[backend])
            results[backend], stopped = measure(series, backend, options.quick, options.limit)
            lines.append(row(series, backend, results[backend], wanted, stopped))
            print(lines[-1], flush=True)
        if folder:
            plot(series, results, folder)
    if options.write:
        write(lines[1:])
    return int(options.check and any("**" in line for line in lines))


if __name__ == "__main__":
    sys.exit(main())
