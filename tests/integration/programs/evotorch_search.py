"""Searches of EvoTorch, whose populations are evaluated by Ray's actors."""

from typing import Any

import ray
import torch
from evotorch import Problem
from evotorch.algorithms import PGPE, SNES


def sphere(points: Any) -> Any:
    return torch.sum(points**2, dim=-1)


def problem() -> Any:
    return Problem("min", sphere, solution_length=10, initial_bounds=(-3, 3), vectorized=True, num_actors=2)


def main() -> None:
    ray.init(num_cpus=2)
    torch.manual_seed(1)
    search = SNES(problem(), stdev_init=2.0, popsize=40)
    search.run(40)
    assert float(search.status["best_eval"]) < 2
    gradients = PGPE(
        problem(), popsize=40, center_learning_rate=0.3, stdev_learning_rate=0.1, stdev_init=1.0, distributed=True
    )
    gradients.run(10)
    assert float(gradients.status["mean_eval"]) < 40
    gradients.problem.kill_actors()
    print("found the minimum")


if __name__ == "__main__":
    main()
