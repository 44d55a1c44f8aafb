"""Who writes a backend runs the conformance suite on it by subclassing `BackendConformance`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.testing.conftest import Pytest


@pytest.fixture
def third_party(tmp_path: Path) -> None:
    """An installed distribution with a backend "mine" that is minray's threads, but has its own name."""
    (tmp_path / "mine.py").write_text(
        "from minray_threads import ThreadPool\nclass MyPool(ThreadPool):\n    name = 'mine'\n"
    )
    info = tmp_path / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[minray.backends]\nmine = mine:MyPool\n")


@pytest.mark.slow
@pytest.mark.usefixtures("third_party")
def test_a_subclass_stands_for_the_suite_on_its_backend(run_pytest: Pytest) -> None:
    said = run_pytest("""
from minray.testing import BackendConformance

class TestMine(BackendConformance):
    backend = "mine"
    files = ("test_init", "test_wait", "test_isolation", "test_serialization")

class TestAgain(BackendConformance):
    backend = "mine"
    options = {"isolate": True}
    files = ("test_get",)

def test_of_its_own():
    import minray
    assert not minray.is_initialized()
""")

    summary = said.splitlines()[-1]
    assert " passed" in summary and "failed" not in summary and "error" not in summary, said
    assert "test_wait.py::test_a_failed_task_is_ready[mine] PASSED" in said
    assert "test_of_its_own PASSED" in said
    assert "mine has no processes" in said


@pytest.mark.slow
def test_what_a_subclass_says_wrong_is_an_error_that_names_it(run_pytest: Pytest) -> None:
    said = run_pytest("""
from minray.testing import BackendConformance

class TestNone(BackendConformance):
    pass

class TestSkills(BackendConformance):
    backend = "threads"
    capabilities = {"telepathy"}

class TestFiles(BackendConformance):
    backend = "threads"
    files = ("test_nothing",)
""")

    assert "TestNone does not say which backend to test" in said
    assert "TestSkills.capabilities has telepathy. There are: processes." in said
    assert "TestFiles.files names what is not in the suite: test_nothing" in said
