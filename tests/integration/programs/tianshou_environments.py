"""Tianshou's vector of environments that live in Ray's actors, beside one of plain objects."""

from functools import partial
from typing import Any

import gymnasium
import numpy as np
from tianshou.env import DummyVectorEnv, RayVectorEnv


class Count(gymnasium.Env[Any, Any]):
    """Counts its steps, and adds noise of its own."""

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (3,))
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, number: int) -> None:
        self.number = number
        self.steps = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return self._observe(), {}

    def _observe(self) -> Any:
        return np.array([self.number, self.steps, self.np_random.random()], dtype=np.float32)

    def step(self, action: Any) -> Any:
        self.steps += 1
        return self._observe(), float(action * self.number), self.steps >= 5, False, {"number": self.number}


def record(kind: Any) -> list[Any]:
    environments = kind([partial(Count, number) for number in range(4)])
    environments.seed(7)
    seen = [environments.reset()[0]]
    for _ in range(5):
        seen += environments.step(np.array([1, 0, 1, 0]))[:3]
    seen.append(np.array(environments.get_env_attr("number")))
    environments.set_env_attr("number", 9)
    seen.append(np.array(environments.get_env_attr("number")))
    environments.close()
    return seen


def main() -> None:
    for ours, plain in zip(record(RayVectorEnv), record(DummyVectorEnv), strict=True):
        np.testing.assert_array_equal(ours, plain)
    environments = RayVectorEnv([partial(Count, number) for number in range(4)], wait_num=2)
    environments.reset()
    observations, *_ = environments.step(np.array([1, 1, 1, 1]), id=[0, 1, 2, 3])
    assert 2 <= len(observations) <= 4
    print("agree")


if __name__ == "__main__":
    main()
