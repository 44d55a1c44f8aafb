"""The public API as mypy and pyright see it: the files beside this one, and minray itself, pass both."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CASES = sorted(str(path.relative_to(ROOT)) for path in HERE.glob("*.py") if not path.name.startswith("test_"))

pytestmark = [pytest.mark.typing, pytest.mark.slow, pytest.mark.timeout(300)]


def check(tool: str, *arguments: str) -> None:
    """Run a type checker with the project's configuration; its output is the failure's message."""
    if find_spec(tool) is None:
        pytest.skip(f"{tool} is not installed here: it comes with the dependency group 'lint'")
    command = [sys.executable, "-m", tool, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


def test_there_are_cases() -> None:
    assert len(CASES) >= 4


def test_mypy_infers_what_the_cases_assert_and_rejects_what_they_say_is_wrong() -> None:
    check("mypy", "--strict", "--warn-unused-ignores", *CASES)


def test_pyright_infers_what_the_cases_assert_and_rejects_what_they_say_is_wrong() -> None:
    check("pyright", *CASES)
