"""The programs of the hygiene table run, and what is wrong with them is seen. The table itself is not tested."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HYGIENE = Path(__file__).parents[2] / "benchmarks" / "hygiene.py"


def hygiene(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command from elsewhere, as a user would."""
    return subprocess.run([sys.executable, str(HYGIENE), *arguments], capture_output=True, text=True)


def cells(page: str) -> dict[str, str]:
    """What stands beside each system, of a page with one scenario."""
    rows = [line.strip("| ").partition(" | ") for line in page.splitlines() if line.startswith("| ")]
    return {system: text for system, _, text in rows[1:]}


@pytest.mark.slow
def test_it_tells_good_from_bad() -> None:
    done = hygiene("--only=unpicklable", "--systems=minray[loky],minray[threads],ProcessPoolExecutor", "--check")
    assert done.returncode == 0, done.stderr
    assert all("TypeError" in cell and "**" not in cell for cell in cells(done.stdout).values()), done.stdout

    done = hygiene("--only=worker", "--systems=minray[loky],minray[threads],ProcessPoolExecutor", "--check")
    assert done.returncode == 0, done.stderr
    found = cells(done.stdout)
    assert found["minray[loky]"].startswith("WorkerCrashedError")
    assert "**" not in found["minray[loky]"]
    assert found["minray[threads]"] == "no processes"
    assert "**of no use afterwards: BrokenProcessPool**" in found["ProcessPoolExecutor"]


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["at exit", "nested", "SIGKILL", "/dev/shm", "re-inits"])
def test_minray_has_no_bad_cell(scenario: str) -> None:
    done = hygiene(f"--only={scenario}", "--systems=minray[loky],minray[threads]", "--times=25", "--check")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(cells(done.stdout)) == 2


def test_unknown_words_are_errors_that_name_what_there_is() -> None:
    assert "no scenario has 'nonsense' in its name; there are: a worker dies," in hygiene("--only=nonsense").stderr
    assert "no system 'nonsense'; there are: minray[loky]," in hygiene("--systems=nonsense").stderr
