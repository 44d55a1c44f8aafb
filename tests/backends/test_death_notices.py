"""What the error of a dead actor says beyond what Ray's does."""

from __future__ import annotations

import sys
from typing import Any

import pytest

import minray


@pytest.mark.parametrize("backend", ["threads", pytest.param("loky", marks=pytest.mark.slow)])
def test_a_dead_actors_error_says_where_it_was_made(backend: str) -> None:
    minray.shutdown()
    minray.init(backend=backend, num_cpus=2)

    @minray.remote
    class Actor:
        def ready(self) -> None: ...

    @minray.remote
    def make() -> Any:
        return Actor.remote()

    here: Any = Actor.remote()
    line = sys._getframe().f_lineno - 1
    there = minray.get(make.remote())
    try:
        for actor, place in ((here, f"{__file__}:{line} in test_a_dead"), (there, f"{__file__}:{line - 2} in make")):
            minray.get(actor.ready.remote())
            minray.kill(actor)
            with pytest.raises(minray.exceptions.ActorDiedError) as caught:
                minray.get(actor.ready.remote())
            assert f"\tcreated at: {place}" in str(caught.value)
    finally:
        minray.shutdown()
