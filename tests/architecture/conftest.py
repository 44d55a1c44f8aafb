"""Names, at the end of the run, the files that have grown past the soft ceiling: usually two ideas in one."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOFT_CEILING = 400


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    long = []
    for folder in ("minray", "backends", "tests", "examples", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            length = len(path.read_text().splitlines())
            if length > SOFT_CEILING:
                long.append(f"{path.relative_to(ROOT)}: {length} lines")
    if long:
        terminalreporter.section(f"over the soft ceiling of {SOFT_CEILING} lines")
        for line in long:
            terminalreporter.line(line)
