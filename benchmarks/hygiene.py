"""What minray and its neighbours do when something goes wrong, and what they leave. See README.md.

python benchmarks/hygiene.py --write             everything, and HYGIENE.md
python benchmarks/hygiene.py --only dies --systems 'minray[loky],ray'
python benchmarks/hygiene.py --check             exit status 1 if minray has a bad cell
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import report
from scenarios import SCENARIOS, Cell, Scenario, observer
from scenarios.pools import POOLS, WORKERS, Pool

RESULTS = Path(__file__).with_name("HYGIENE.md")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", default=[], metavar="WORD", help="scenarios with it in their names")
    parser.add_argument("--systems", default="", metavar="A,B", help="the columns; all that are installed by default")
    parser.add_argument("--times", type=int, default=1000, help="re-inits; 1,000 by default")
    parser.add_argument("--limit", type=float, default=200.0, help="seconds after which there are no more of them")
    parser.add_argument("--write", action="store_true", help=f"also write {RESULTS.name}")
    parser.add_argument("--check", action="store_true", help="exit with status 1 if minray has a bad cell")
    options = parser.parse_args()
    names = [pool.name for pool in POOLS]
    for name in options.systems.split(",") if options.systems else []:
        if name not in names:
            parser.error(f"no system {name!r}; there are: {', '.join(names)}")
    for word in options.only:
        if not any(word in scenario.name for scenario in SCENARIOS):
            parser.error(f"no scenario has {word!r} in its name; there are: {', '.join(s.name for s in SCENARIOS)}")
    return options


def main() -> int:
    options = arguments()
    wanted = options.systems.split(",") if options.systems else [pool.name for pool in POOLS]
    pools = [pool for pool in POOLS if pool.name in wanted and pool.version() is not None]
    absent = [pool for pool in POOLS if pool.name in wanted and pool not in pools]
    scenarios = [s for s in SCENARIOS if not options.only or any(word in s.name for word in options.only)]
    description = report.machine(pools, WORKERS)
    cells = {
        (scenario.name, pool.name): look(scenario, pool, options.times, options.limit)
        for scenario in scenarios
        for pool in pools
    }
    text = page(scenarios, pools, absent, cells, description)
    print(text)
    if options.write:
        RESULTS.write_text(text, encoding="utf-8")
    return int(options.check and any(cell.bad for (_, pool), cell in cells.items() if pool.startswith("minray")))


def look(scenario: Scenario, pool: Pool, times: int, limit: float) -> Cell:
    """One cell. Progress goes to stderr, the table to stdout."""
    if not scenario.runs_on(pool):
        return Cell("no processes", bad=False)
    if scenario.small_memory and not observer.namespaces_work():
        return Cell("not run: no mount namespaces here", bad=False)
    options = {"times": times, "limit": limit} if scenario.repeated else {}
    seen = observer.observe(pool.name, scenario.program, small=scenario.small_memory, **options)
    cell = scenario.cell(seen)
    print(f"{scenario.name:22} {pool.name:20} {cell.text}", file=sys.stderr, flush=True)
    if cell.bad and pool.name.startswith("minray"):
        print(seen, file=sys.stderr, flush=True)
    return cell


def page(
    scenarios: list[Scenario],
    pools: list[Pool],
    absent: list[Pool],
    cells: dict[tuple[str, str], Cell],
    description: str,
) -> str:
    """The table stands on its side, a line for each system: cells are long."""
    how = (
        "What happens when something goes wrong, by `benchmarks/hygiene.py`: the same programs on each system, with "
        "two workers and its defaults. **Bold**: what nobody wants. What is left is counted when all processes have "
        f"ended, or {observer.GRACE_SECONDS:.0f} s after the program has. Files are those in the temporary directory; "
        "Ray's are the logs of its sessions, which it keeps on purpose."
    )
    parts = ["# Hygiene", how]
    for scenario in scenarios:
        lines = [f"| {pool.name} | {cells[scenario.name, pool.name].text} |" for pool in pools]
        parts += [f"## {scenario.name[0].upper()}{scenario.name[1:]}", scenario.what]
        parts.append("\n".join(["| system | what it does |", "|---|---|", *lines]))
    if absent:
        parts += [
            "## Not there",
            "\n".join(f"- {pool.name}: `{pool.distribution}` is not installed" for pool in absent),
        ]
    parts += ["## Machine", description]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    sys.exit(main())
