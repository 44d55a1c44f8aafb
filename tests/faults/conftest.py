"""The chaos harness: real programs, while something keeps killing, removing and delaying; and the leak check after."""

from __future__ import annotations

import pytest

import minray
from tests.backends.conftest import eventually, flags, nothing_left

__all__ = ["eventually", "flags", "nothing_left"]


@pytest.fixture(scope="session", autouse=True)
def no_run_of_others() -> None:
    """The suites that were run before may have left theirs."""
    minray.shutdown()
