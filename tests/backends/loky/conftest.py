from __future__ import annotations

import glob
import os
from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def backend() -> str:
    return "loky"


@pytest.fixture
def lose(ray: Any) -> Callable[[], None]:
    """Removes all files of the store. (Whoever has read from one of them before still can.)"""

    def remove() -> None:
        for path in glob.glob(f"/dev/shm/minray-{os.getpid()}-*/w*-*"):
            os.unlink(path)

    return remove
