"""What random programs run on: one run for each backend, which all of them share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import minray
from tests.core import profiles

profiles.load()


@pytest.fixture(scope="module", params=["threads", "loky", "sim"])
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of a backend that a run is alive on."""
    minray.shutdown()  # that of the conformance suite is alive until the last test
    minray.init(backend=request.param, num_cpus=2)
    yield request.param
    minray.shutdown()
