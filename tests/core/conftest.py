"""What tests of the core start from: a run, and that no task makes a step that is not in the table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from minray.core.tasks import TRANSITIONS, Task
from tests.core import profiles
from tests.core.simulation import Simulation

profiles.load()


@pytest.fixture(autouse=True)
def _every_step_is_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """Watch every change of a task's state."""
    slot: Any = Task.__dict__["state"]

    def change(task: Task, state: str) -> None:
        try:
            before = slot.__get__(task)
        except AttributeError:  # it is being made
            before = None
        assert before is None or state in TRANSITIONS[before], f"{task} cannot become {state}"
        slot.__set__(task, state)

    monkeypatch.setattr(Task, "state", property(slot.__get__, change))


@pytest.fixture
def sim() -> Iterator[Simulation]:
    """A run on a node with two CPUs, and a worker for each that is up. Whatever was submitted ends with the test."""
    sim = Simulation(warm=2, CPU=2)
    sim.run()
    yield sim
    sim.join(99, CPU=1000, GPU=1000, R=1000)  # for what found no room
    sim.run()
    assert sim.ended.keys() == sim.submitted
