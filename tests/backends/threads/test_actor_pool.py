"""`ActorPool` where Ray has no answer: to ignore a late result out of order is an UnboundLocalError there."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from minray.util import ActorPool


def test_ignoring_a_late_result_out_of_order_drops_that_of_the_oldest_call(ray: Any, tmp_path: Path) -> None:
    go = tmp_path / "go"

    @ray.remote
    class Worker:
        def wait(self, number: int) -> int:
            while not go.exists():
                time.sleep(0.005)
            return number

    pool: ActorPool[Any] = ActorPool([Worker.remote(), Worker.remote()])
    for number in range(2):
        pool.submit(lambda actor, number: actor.wait.remote(number), number)
    with pytest.raises(TimeoutError, match="has been ignored"):
        pool.get_next_unordered(timeout=0.01, ignore_if_timedout=True)
    go.touch()
    assert pool.get_next_unordered() == 1
    assert not pool.has_next()
