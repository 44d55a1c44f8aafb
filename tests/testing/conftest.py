"""What the tests of `minray.testing` share: pytest in a process of its own, in a project of somebody else's."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import minray

Pytest = Callable[..., str]


@pytest.fixture(autouse=True)
def _no_run() -> None:
    """The run of the conformance suite is alive until the last test."""
    minray.shutdown()


@pytest.fixture
def run_pytest(tmp_path: Path) -> Pytest:
    """Runs pytest on a file with this text, with these arguments; returns what it prints.

    The directory, which is the project, is on its path.
    """

    def run(text: str, *args: str, **environment: str) -> str:
        (tmp_path / "test_mine.py").write_text(text)
        (tmp_path / "pytest.ini").write_text("[pytest]\n")
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-v", "-rs", *args, "test_mine.py"]
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "MINRAY_"))}
        environment = {**inherited, "PYTHONPATH": str(tmp_path), "COLUMNS": "200", **environment}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=50)
        return done.stdout + done.stderr

    return run
