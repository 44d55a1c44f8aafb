"""minray side by side with Ray, Dask, loky and the standard library: the same work, in one run. See README.md.

    python benchmarks/compare.py --write             everything, three rounds, and RESULTS.md
    python benchmarks/compare.py --quick             one short round
    python benchmarks/compare.py --only "sync tasks" --systems ray,minray[loky]
    python benchmarks/compare.py --list              the names of rows and systems

A round gives each system a process of its own, one system after another; rounds repeat that, beginning with another
system each time, so that a busy minute of the machine hits all of them alike. The table shows medians.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import children
import report
from rows import ROWS
from rows.base import Row
from systems import SYSTEMS, System

RESULTS = Path(__file__).with_name("RESULTS.md")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], metavar="ROW", help="a row, or a part of names of rows")
    parser.add_argument("--systems", default="", metavar="A,B", help="the columns; all that are installed by default")
    parser.add_argument("--rounds", type=int, help="3 by default, 1 with --quick")
    parser.add_argument("--seconds", type=float, help="for each row and round: 1.5 by default, 0.2 with --quick")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds after which a row is given up")
    parser.add_argument("--cpus", type=int, default=len(os.sched_getaffinity(0)), help="workers of each system")
    parser.add_argument("--quick", action="store_true", help="one round of short rows: does it all work?")
    parser.add_argument("--write", action="store_true", help=f"also write {RESULTS.name}")
    parser.add_argument("--check", action="store_true", help="exit with status 1 if a goal was missed")
    parser.add_argument("--list", action="store_true", help="list rows and systems, and do nothing")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.seconds = options.seconds or (0.2 if options.quick else 1.5)
    names = [system.name for system in SYSTEMS]
    unknown = [name for name in options.systems.split(",") if name and name not in names]
    if unknown:
        parser.error(f"no system {unknown[0]!r}; there are: {', '.join(names)}")
    for word in options.only:
        if not chosen_rows([word]):
            parser.error(f"no row has {word!r} in its name; --list lists them")
    return options


def chosen_rows(only: list[str]) -> list[Row]:
    """All rows, or those that `only` names: a word that is no row's name stands for all that have it in theirs."""
    names = {row.name for row in ROWS}
    return [
        row
        for row in ROWS
        if not only or any(row.name == word or (word not in names and word in row.name) for word in only)
    ]


def main() -> int:
    options = arguments()
    rows = chosen_rows(options.only)
    wanted = options.systems.split(",") if options.systems else [system.name for system in SYSTEMS]
    systems = [system for system in SYSTEMS if system.name in wanted and system.version() is not None]
    absent = [system for system in SYSTEMS if system.name in wanted and system not in systems]
    if options.list:
        print("rows:", *(f"{row.name:32} {row.unit:5} {row.what}" for row in rows), sep="\n  ")
        print("systems:", *(f"{system.name:32} {system.version()}" for system in systems), sep="\n  ")
        return 0

    description = report.machine(systems, options.cpus)
    results = report.Results()
    for turn in range(options.rounds):
        measure(systems[turn % len(systems) :] + systems[: turn % len(systems)], rows, options, turn, results)

    text = page(results, rows, systems, absent, description, options)
    print(text)
    if options.write:
        RESULTS.write_text(text, encoding="utf-8")
    return int(options.check and "MISSED" in report.goals(results, rows))


def measure(
    systems: list[System], rows: list[Row], options: argparse.Namespace, turn: int, results: report.Results
) -> None:
    """One round. Progress goes to stderr, the table to stdout."""
    names = [row.name for row in rows]
    for system in systems:
        began = time.monotonic()

        def told(row: str, outcome: float | str, name: str = system.name) -> None:
            if row in names:
                results.add(name, row, outcome)
            shown = outcome if isinstance(outcome, str) else report.number(outcome)
            print(f"  {row:32} {shown}", file=sys.stderr, flush=True)

        print(f"round {turn + 1}, {system.name}", file=sys.stderr, flush=True)
        children.run(system, names, options.cpus, options.seconds, options.limit, told)
        print(f"  {time.monotonic() - began:.0f} s in all", file=sys.stderr, flush=True)


def page(
    results: report.Results,
    rows: list[Row],
    systems: list[System],
    absent: list[System],
    description: str,
    options: argparse.Namespace,
) -> str:
    rounds = "One round" if options.rounds == 1 else f"Medians of {options.rounds} rounds"
    how = (
        f"{rounds}, {options.seconds:g} s a row, by `benchmarks/compare.py`. In brackets: how many times better than "
        "Ray in the same run (more calls, or less time or memory). Empty: the system has no such thing. What each row "
        "and column is: [README.md](README.md)."
    )
    parts = ["# Results", how, report.table(results, rows, systems)]
    for title, text in (
        ("Goals", report.goals(results, rows)),
        ("Without a number", report.notes(results, absent)),
        ("Machine", description),
    ):
        if text:
            parts += [f"## {title}", text]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.exit(main())
