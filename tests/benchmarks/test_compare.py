"""The benchmark runs, so that it still does when somebody needs a number. What the numbers are is not tested."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

COMPARE = Path(__file__).parents[2] / "benchmarks" / "compare.py"


def compare(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command from elsewhere, as a user would."""
    return subprocess.run([sys.executable, str(COMPARE), *arguments], capture_output=True, text=True)


@pytest.mark.slow
def test_a_quick_round_gives_every_system_a_number_in_every_row_it_has() -> None:
    systems = ["minray[threads]", "minray[loky]", "ThreadPoolExecutor", "machine"]
    rows = ["start to first result", "memory, idle, USS", "sync tasks", "sync actor calls"]

    done = compare(
        "--quick",
        "--seconds=0.01",
        f"--systems={','.join(systems)}",
        *(word for row in rows for word in ("--only", row)),
    )

    assert done.returncode == 0, done.stderr
    assert "left behind" not in done.stdout, done.stdout
    table = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    assert [cells[0].partition(" (")[0] for cells in table] == ["work", *rows]
    assert table[0][1:] == systems
    for cells in table[1:]:
        assert all(float(cell.replace(",", "")) > 0 for cell in cells[1:3]), cells


def test_an_unknown_row_or_system_is_an_error_that_names_it() -> None:
    assert "no row has 'nonsense'" in compare("--only", "nonsense").stderr
    assert "no system 'nonsense'" in compare("--systems", "ray,nonsense").stderr
