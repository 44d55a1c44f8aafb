from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import minray
from minray_sim import active


@pytest.fixture
def backend() -> str:
    return "sim"


@pytest.fixture
def simulate() -> Callable[..., tuple[Any, str]]:
    """Runs a program once; its result and the log of its events."""

    def simulate(program: Callable[[], Any], **options: Any) -> tuple[Any, str]:
        options = {"strategy": "fifo", **options}
        minray.init(backend="sim", **options)
        pool = active.pool
        assert pool is not None
        try:
            return program(), pool.simulation.log()
        finally:
            minray.shutdown()

    return simulate
