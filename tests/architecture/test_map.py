"""docs/architecture.md is a true map: every file is in it, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
MAP = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
#: Where each module is named by itself; what lies deeper belongs to its package's line.
ROOMS = [
    "minray",
    "minray/core",
    "minray/wire",
    *(str(path.relative_to(ROOT)) for path in (ROOT / "backends").iterdir()),
]


def modules() -> set[str]:
    return {
        path.relative_to(ROOT).as_posix()
        for room in ROOMS
        for path in (ROOT / room).glob("*.py")
        if not path.name.startswith("__init__")
    }


def packages() -> set[str]:
    return {path.parent.name for path in (ROOT / "minray").glob("*/__init__.py")}


def test_every_module_and_package_is_in_it() -> None:
    named = set(re.findall(r"[\w/]+\.py\b", MAP))
    names = {name.rpartition("/")[2] for name in named}
    assert not sorted(path for path in modules() if path.rpartition("/")[2] not in names)
    assert not [name for name in packages() if f"{name}/" not in MAP]


def test_what_it_names_is_there() -> None:
    there = {
        path.name
        for room in ("minray", "backends", "pytest_minray", "tests", "benchmarks")
        for path in (ROOT / room).rglob("*.py")
    }
    assert not [name for name in re.findall(r"[\w/]+\.py\b", MAP) if name.rpartition("/")[2] not in there]
