"""Cancelling a call twice is cancelling it once. (No conformance test: the driver of real Ray may crash over it.)"""

from __future__ import annotations

import time
from typing import Any

import pytest

from minray.exceptions import TaskCancelledError

pytestmark = pytest.mark.parametrize("backend", ["threads", "loky"])


@pytest.fixture
def sleeper(ray: Any, flags: Any) -> Any:
    @ray.remote
    def sleep(_: object = None) -> None:
        flags.up("asleep")
        for _ in range(3000):
            time.sleep(0.01)

    return sleep


def cancel_twice(ray: Any, ref: Any) -> None:
    for _ in range(2):
        ray.cancel(ref)
    for _ in range(2):
        with pytest.raises(TaskCancelledError):
            ray.get(ref, timeout=30)
        ray.cancel(ref)


def test_a_call_that_runs(ray: Any, sleeper: Any, flags: Any) -> None:
    ref = sleeper.remote()
    flags.wait("asleep")
    cancel_twice(ray, ref)


def test_a_call_that_waits_for_its_argument(ray: Any, sleeper: Any, flags: Any) -> None:
    argument = sleeper.remote()
    flags.wait("asleep")
    cancel_twice(ray, sleeper.remote(argument))
    cancel_twice(ray, argument)
    assert flags.count("asleep") == 1
