"""The measurements behind docs/performance.md run, and say what they see. What the numbers are is not tested."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(BENCHMARKS / script), *arguments], capture_output=True, text=True)


@pytest.fixture
def scaling(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("scaling")


@pytest.mark.parametrize(("power", "expected"), [(1, 1.0), (2, 2.0), (0, 0.0)])
def test_the_exponent_is_the_power_with_which_time_grows(scaling: Any, power: int, expected: float) -> None:
    assert scaling.exponent([(size, 0.01 * size**power) for size in (1, 10, 100)]) == pytest.approx(expected)


def test_what_is_worse_than_linear_or_jumps_is_marked(scaling: Any) -> None:
    linear = [(size, 0.01 * size) for size in (1, 10, 100)]

    assert scaling.verdict(linear, 3, "") == "linear or better"
    assert "worse than linear" in scaling.verdict([(size, 0.01 * size**1.3) for size in (1, 10, 100)], 3, "")
    assert "cliff" in scaling.verdict([*linear, (1000, 50.0)], 4, "")
    assert "given up" in scaling.verdict(linear, 3, "given up after 60 s")


def test_a_series_that_was_cut_short_says_so(scaling: Any) -> None:
    assert "too long" in scaling.verdict([(1, 0.01), (10, 0.1)], 3, "")


@pytest.mark.slow
def test_every_series_has_points_on_threads() -> None:
    done = run("scaling.py", "--quick", "--backends=threads")

    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if "| threads |" in line]
    assert len(rows) == 6 and not any("stopped" in row for row in rows), done.stdout


@pytest.mark.slow
def test_the_stages_of_a_call_on_loky_add_up() -> None:
    done = run("stages.py", "--seconds=0.1", "--backends=loky")

    assert done.returncode == 0 and "any more" not in done.stderr, done.stderr
    cells = [line.strip("| ").split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")]
    times = {name: float(sync) for name, sync, *_ in cells[1:] if not name.startswith("*limit")}
    for stage in ("driver: submit: graph", "driver: write", "driver: unframe", "worker: unframe", "worker: write"):
        assert 0 < times[stage] < times["**a call, with timers**"], stage
