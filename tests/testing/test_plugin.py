"""What pytest gets where minray is installed: a run for each test, which leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.testing.conftest import Pytest

PROGRAM = """
import threading, time
import pytest

def test_runs(minray_session):
    print("on", minray_session.init(ignore_reinit_error=True)["backend"])
    assert minray_session.get(minray_session.put(1)) == 1
    assert minray_session.cluster_resources()["CPU"] == 2

@pytest.mark.minray(num_cpus=7)
def test_options(minray_session):
    assert minray_session.cluster_resources()["CPU"] == 7

def test_none():
    import minray
    assert not minray.is_initialized()
"""


@pytest.mark.slow
def test_each_test_has_a_run_of_its_own_on_threads(run_pytest: Pytest) -> None:
    said = run_pytest(PROGRAM, "-s")

    assert "3 passed" in said and "on threads" in said, said


@pytest.mark.slow
def test_another_backend_may_be_chosen(run_pytest: Pytest) -> None:
    said = run_pytest(PROGRAM, "-s", "--minray-backend=loky", MINRAY_BACKEND="threads")

    assert "3 passed" in said and "on loky" in said, said


@pytest.mark.slow
def test_what_a_test_leaves_behind_fails_it_by_name(run_pytest: Pytest) -> None:
    said = run_pytest("""
import threading
import pytest
from minray.testing import leaks
leaks.PATIENCE = 0.1
stop = threading.Event()

def leave(ray):
    @ray.remote
    def start():
        threading.Thread(target=stop.wait, name="left-over", daemon=True).start()
    ray.get(start.remote())

def test_leaves(minray_session):
    leave(minray_session)

@pytest.mark.minray(leaks=False)
def test_may_leave(minray_session):
    leave(minray_session)

def test_comes_next(minray_session):
    stop.set()
""")

    assert "test_mine.py::test_leaves has left behind, on threads: thread left-over." in said
    assert "3 passed, 1 error" in said, said


@pytest.mark.slow
def test_a_run_that_is_alive_already_is_an_error(run_pytest: Pytest) -> None:
    said = run_pytest("""
import minray

def test_starts_one():
    minray.init(backend="threads")

def test_wants_one(minray_session):
    pass
""")

    assert "A run of minray is alive already" in said and "1 passed, 1 error" in said, said


def test_the_plugin_does_not_import_minray() -> None:
    program = "import sys, pytest_minray; print(*[name for name in sys.modules if name.split('.')[0] == 'minray'])"

    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "\n"
