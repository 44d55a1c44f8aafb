"""Each program of the catalogue has its bug, and its twin has not."""

from __future__ import annotations

import importlib
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from minray.testing import find

RACES = Path(__file__).parents[2] / "benchmarks" / "races"


def _catalogue() -> dict[str, Any]:
    """The catalogue, filled; the directory of benchmarks is no place for modules to be found by name."""
    sys.path.insert(0, str(RACES.parent))
    try:
        for name in ("state", "order", "names", "failing"):
            importlib.import_module(f"races.{name}")
        found: dict[str, Any] = importlib.import_module("races.catalogue").CATALOGUE
    finally:
        sys.path.remove(str(RACES.parent))
    return found


CATALOGUE = _catalogue()


def test_there_are_many() -> None:
    assert len(CATALOGUE) >= 30
    assert all(race.about and race.depth >= 1 for race in CATALOGUE.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_the_bug_is_found(name: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("MINRAY_REPLAYS", str(tmp_path))
    race = CATALOGUE[name]
    failure = find(partial(race.program, False), faults=race.faults, runs=3000)
    assert failure is not None
    assert failure.faults <= 1


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(CATALOGUE))
def test_the_twin_survives(name: str) -> None:
    race = CATALOGUE[name]
    for strategy in ("random", "pct"):
        assert find(partial(race.program, True), faults=race.faults, runs=50, strategy=strategy, shrink=False) is None
