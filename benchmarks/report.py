"""What was measured, as a Markdown table with ratios to Ray, the goals, and the machine it came from."""

from __future__ import annotations

import os
import platform
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Protocol

from rows.base import Row
from systems import System

RAY = "ray"


class Results:
    """All outcomes, round after round."""

    def __init__(self) -> None:
        self.values: dict[tuple[str, str], list[float]] = defaultdict(list)
        #: What else happened, and how often; the order is that of the first time.
        self.notes: dict[tuple[str, str, str], int] = defaultdict(int)

    def add(self, system: str, row: str, outcome: float | str) -> None:
        if isinstance(outcome, str):
            self.notes[system, row, outcome] += 1
        else:
            self.values[system, row].append(outcome)

    def median(self, system: str, row: Row) -> float | None:
        values = self.values.get((system, row.name))
        return median(values) if values else None

    def ratio(self, system: str, row: Row) -> float | None:
        value, ray = self.median(system, row), self.median(RAY, row)
        return row.ratio(value, ray) if value and ray else None


def number(value: float) -> str:
    """Three digits that count: 12,345 or 123 or 1.23 or 0.0123."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def table(results: Results, rows: Iterable[Row], systems: list[System]) -> str:
    """One line a row, one column a system: the median, and how many times better than Ray it is."""
    lines = [
        "| " + " | ".join(["work", *(system.name for system in systems)]) + " |",
        "|" + "---|" * (len(systems) + 1),
    ]
    for row in rows:
        cells = [f"{row.name} ({row.unit})"]
        for system in systems:
            value, ratio = results.median(system.name, row), results.ratio(system.name, row)
            if value is None:
                failed = any(key[:2] == (system.name, row.name) for key in results.notes)
                cells.append("failed" if failed else "")
            elif ratio is None or system.name == RAY:
                cells.append(number(value))
            else:
                cells.append(f"{number(value)} ({number(ratio)}x)")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def goals(results: Results, rows: Iterable[Row]) -> str:
    """Which goals were reached, where there is something to compare."""
    rows = list(rows)
    by_name = {row.name: row for row in rows}
    lines = []
    for row in rows:
        for goal in row.goals:
            value, ratio = results.median(goal.system, row), None
            if goal.times:
                other = by_name.get(goal.in_row or row.name)
                against = results.median(goal.than, other) if other else None
                ratio = row.ratio(value, against) if value and against else None
            if value is None or (goal.times and ratio is None):
                continue
            reached = f"{number(ratio)}x" if ratio is not None else f"{number(value)} {row.unit}"
            verdict = "reached" if goal.met(value, ratio) else "MISSED"
            lines.append(f"- {row.name}: {goal}: {reached}, {verdict}")
    return "\n".join(lines)


def notes(results: Results, absent: list[System]) -> str:
    """What has no number, and why."""
    lines = [f"- {system.name}: skipped, `{system.distribution}` is not installed" for system in absent]
    for (system, row, text), times in results.notes.items():
        lines.append(f"- {system}, {row}: {text}" + (f" ({times} times)" if times > 1 else ""))
    return "\n".join(lines)


class Versioned(Protocol):
    """What is said of a system beside its numbers: what pip installs, and which of it."""

    @property
    def distribution(self) -> str: ...

    def version(self) -> str | None: ...


def machine(systems: Sequence[Versioned], cpus: int) -> str:
    """Where and with what the numbers were taken."""
    processor = _first("/proc/cpuinfo", "model name") or platform.processor()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    python = f"{platform.python_implementation()} {platform.python_version()}"
    versions = [f"{system.distribution} {system.version()}" for system in systems if system.distribution]
    lines = [
        f"{processor}, {os.cpu_count()} cores, of which each system was told to use {cpus}; {memory:.1f} GiB",
        f"{platform.system()} {platform.release()}, {python}",
        ", ".join(dict.fromkeys(versions)),
        f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC; load before the start: {os.getloadavg()[0]:.2f}",
    ]
    return "\n".join(f"- {line}" for line in lines if line)


def _first(path: str, key: str) -> str:
    """The value of the first ``key : value`` line of a file under /proc, if there is one."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")
