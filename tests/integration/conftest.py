"""Programs that use other people's libraries on Ray, unchanged, on minray: each in a process of its own.

The programs are in programs/; what they compute they compare with what the library does without Ray. A library that is
not installed is skipped; `tox -e NAME` has each (see tox.ini). With MINRAY_ORACLE=1 they run on real Ray.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAMS = Path(__file__).parent / "programs"
#: pandas and torch take long to import where much else is running.
SECONDS = 150


@pytest.fixture(params=["threads", "loky"])
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if os.environ.get("MINRAY_ORACLE") and name != "loky":
        pytest.skip("real Ray has no threads")
    return name


@pytest.fixture
def run(backend: str, tmp_path: Path) -> Callable[[str], str]:
    """Runs a program that imports ray, on minray; returns what it prints."""

    def start(name: str) -> str:
        place = [] if os.environ.get("MINRAY_ORACLE") else ["-m", "minray", "run"]
        done = subprocess.run(
            [sys.executable, *place, str(PROGRAMS / name)],
            cwd=tmp_path,
            env={**os.environ, "MINRAY_BACKEND": backend, "PYTHONWARNINGS": "ignore"},
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    return start
