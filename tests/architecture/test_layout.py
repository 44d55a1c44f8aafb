"""The listing is the architecture: what the folders hold, what is shipped, how long a file may grow."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import files
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ["minray", *sorted(path.parent.name for path in (ROOT / "backends").glob("*/__init__.py"))]

#: Past the soft ceiling a file is named at the end of the run (conftest.py); past this one the test fails.
HARD_CEILING = 800


def test_there_are_backends() -> None:
    assert {"minray_threads", "minray_loky"} <= set(PACKAGES)


def test_neither_backends_nor_tests_is_a_package() -> None:
    assert not (ROOT / "backends" / "__init__.py").exists()
    assert list((ROOT / "tests").rglob("__init__.py")) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_says_that_it_is_typed(package: str) -> None:
    assert (files(package) / "py.typed").is_file()


def test_every_backend_is_shipped_and_found_through_its_entry_point() -> None:
    try:
        minray = distribution("minray")
    except PackageNotFoundError:
        pytest.skip("minray is not installed: a bare checkout has no entry points")

    points = [point for point in minray.entry_points if point.group == "minray.backends"]

    assert sorted(point.module for point in points) == PACKAGES[1:]
    assert all(point.name == point.module.removeprefix("minray_") for point in points)
    assert all(isinstance(point.load(), type) for point in points)


@pytest.mark.parametrize("folder", ["minray", "backends", "tests", "examples", "benchmarks"])
def test_no_file_is_twice_as_long_as_the_soft_ceiling(folder: str) -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in (ROOT / folder).rglob("*.py")
    }

    assert {path: length for path, length in lengths.items() if length > HARD_CEILING} == {}
