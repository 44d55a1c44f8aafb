"""Seeded randomness: each call has a stream of its own, whatever the schedule."""

from __future__ import annotations

import random
import uuid
from random import randint
from typing import Any

import numpy as np
import pytest

import minray

ray: Any = minray


def drawing() -> Any:
    @ray.remote
    def draw() -> Any:
        generator = np.random.default_rng()
        return random.random(), randint(0, 10**9), float(np.random.rand()), float(generator.random()), str(uuid.uuid4())

    @ray.remote
    class Actor:
        def draw(self) -> float:
            return random.random()

    actor = Actor.remote()
    return random.random(), ray.get([draw.remote() for _ in range(3)]), ray.get([actor.draw.remote() for _ in range(2)])


def test_a_call_draws_the_same_under_any_schedule(simulate: Any) -> None:
    expected = simulate(drawing, seed=5)[0]
    assert simulate(drawing, seed=5, strategy="random")[0] == expected
    assert simulate(drawing, seed=5, strategy="pct")[0] == expected
    assert simulate(drawing, seed=6)[0] != expected


def test_no_two_calls_draw_the_same(simulate: Any) -> None:
    mine, tasks, calls = simulate(drawing)[0]
    drawn = [mine, *calls, *(value for task in tasks for value in task)]
    assert len(set(drawn)) == len(drawn)


def test_a_call_may_seed_itself_and_does_not_disturb_others(simulate: Any) -> None:
    def program() -> Any:
        @ray.remote
        def seeded() -> float:
            random.seed(1)
            np.random.seed(1)
            return random.random() + float(np.random.rand())

        @ray.remote
        def free() -> float:
            return random.random()

        return ray.get([seeded.remote(), free.remote(), seeded.remote()])

    one, other, again = simulate(program)[0]
    assert one == again == random.Random(1).random() + np.random.RandomState(1).rand()
    assert one != other


def test_the_drivers_generators_are_as_they_were_afterwards(simulate: Any) -> None:
    random.seed(3)
    expected = random.Random(3).random()
    simulate(drawing)
    assert random.random() == pytest.approx(expected)
    assert random.random.__self__ is random._inst
