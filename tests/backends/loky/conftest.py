from __future__ import annotations

import pytest


@pytest.fixture
def backend() -> str:
    return "loky"
