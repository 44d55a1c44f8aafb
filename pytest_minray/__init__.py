"""The pytest plugin that comes with minray: the fixture `minray_session`, and a check of what a test leaves behind.

pytest imports it wherever minray is installed, so it stands outside of the package `minray`, which is imported when a
test asks for it. ``-p no:minray`` does without. docs/testing.md says how it is used.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("minray").addoption(
        "--minray-backend",
        metavar="NAME",
        help="the backend of the fixture minray_session. Default: the environment variable MINRAY_BACKEND, or threads",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "minray(leaks=True, **options): keywords of minray.init for the run of `minray_session`; leaks=False: the test "
        "may leave threads, processes and files behind",
    )


def pytest_pycollect_makeitem(collector: Any, name: str, obj: object) -> Any:
    """A subclass of `BackendConformance` stands for the conformance suite."""
    conformance = sys.modules.get("minray.testing.conformance")
    return conformance.collected(collector, name, obj) if conformance is not None else None


@pytest.fixture
def minray_session(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The module `minray` with a run of the test's own, on two CPUs, shut down after the test.

    The test fails if threads, processes or files are left then that were not there before.
    """
    import minray
    from minray.testing.leaks import Footprint

    marker = request.node.get_closest_marker("minray")
    options = {"num_cpus": 2, **(marker.kwargs if marker is not None else {})}
    check = options.pop("leaks", True)
    backend = request.config.getoption("--minray-backend") or os.environ.get("MINRAY_BACKEND") or "threads"
    if minray.is_initialized():
        pytest.fail(
            "A run of minray is alive already: a test before this one, or an import, has left it.", pytrace=False
        )
    before = Footprint() if check else None
    minray.init(backend=backend, **options)
    try:
        yield minray
    finally:
        minray.shutdown()
    left = before.left() if before is not None else ""
    if left:
        pytest.fail(
            f"{request.node.nodeid} has left behind, on {backend}: {left}. (A task that does not end, or what it has "
            "started? @pytest.mark.minray(leaks=False) allows it.)",
            pytrace=False,
        )
