"""Simulator actors: learn to balance a pole when you may look only at every fourth moment.

Each simulator is an actor around gymnasium's CartPole-v1. The controller sees where cart and pole are, decides on the
next 4 pushes, and sends them as 4 `step` calls without waiting for any; an actor carries out its calls in order.
Several simulators run side by side. They try out controllers in the neighbourhood of the best one so far, until one
of them keeps the pole up to the end of the episode (500 steps); that one has to prove itself from new starting points.

    pip install "minray[examples]"
    python examples/simulator.py
    python examples/simulator.py --simulators 8 --seed 7
"""

import argparse
import time
from typing import Any

import gymnasium
import numpy as np

import minray as ray

LEFT, RIGHT = 0, 1
FULL_EPISODE = 500

# The 4 pushes for each strength of a decision, from "all to the left" to "all to the right".
PLANS = [
    (LEFT, LEFT, LEFT, LEFT),
    (LEFT, LEFT, RIGHT, LEFT),
    (LEFT, RIGHT, LEFT, RIGHT),
    (RIGHT, RIGHT, LEFT, RIGHT),
    (RIGHT, RIGHT, RIGHT, RIGHT),
]


@ray.remote
class Simulator:
    """One environment. An episode that is over stays over, whatever is still to come, until the next `reset`."""

    def __init__(self) -> None:
        self.environment = gymnasium.make("CartPole-v1")
        self.observation = np.zeros(4, dtype=np.float32)
        self.over = True

    @ray.method
    def reset(self, seed: int) -> np.ndarray:
        """Start an episode; return position and velocity of the cart, angle and angular velocity of the pole."""
        self.observation, _ = self.environment.reset(seed=seed)
        self.over = False
        return self.observation

    @ray.method
    def step(self, push: int) -> tuple[np.ndarray, float, bool]:
        """Push the cart once; return what is seen then, the reward (1 for each step), and whether it is over."""
        if self.over:
            return self.observation, 0.0, True
        self.observation, reward, fallen, out_of_time, _ = self.environment.step(push)
        self.over = fallen or out_of_time
        return self.observation, float(reward), self.over


def plan(controller: np.ndarray, observation: np.ndarray) -> tuple[int, ...]:
    """The next 4 pushes: a linear controller, rounded to one of five strengths."""
    strength = round(float(controller @ observation))
    return PLANS[min(max(strength, -2), 2) + 2]


def play(simulators: list[Any], controllers: list[np.ndarray], seeds: list[int]) -> list[int]:
    """One episode on each simulator, all side by side; return how many steps each lasted."""
    observations = ray.get([simulator.reset.remote(seed) for simulator, seed in zip(simulators, seeds, strict=True)])
    steps = [0] * len(simulators)
    running = set(range(len(simulators)))
    while running:
        calls = {
            number: [simulators[number].step.remote(push) for push in plan(controllers[number], observations[number])]
            for number in running
        }
        for number, refs in calls.items():
            results = ray.get(refs)
            steps[number] += int(sum(reward for _, reward, _ in results))
            observations[number], _, over = results[-1]
            if over:
                running.remove(number)
    return steps


def main(argv: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--simulators", type=int, default=4, help="how many run side by side")
    parser.add_argument("--rounds", type=int, default=50, help="give up after that many")
    parser.add_argument("--seed", type=int, default=2, help="of the controllers and of the starting points")
    options = parser.parse_args(argv)

    random = np.random.default_rng(options.seed)
    simulators = [Simulator.remote() for _ in range(options.simulators)]  # type: ignore[attr-defined]

    def new_seeds() -> list[int]:
        return [int(seed) for seed in random.integers(2**31, size=options.simulators)]

    started = time.perf_counter()
    best, best_steps = np.zeros(4), 0
    rounds: list[list[int]] = []
    total = 0
    while best_steps < FULL_EPISODE and len(rounds) < options.rounds:
        candidates = [best + random.normal(0, 4, size=4) for _ in simulators]
        steps = play(simulators, candidates, new_seeds())
        total += sum(steps)
        longest = int(np.argmax(steps))
        if steps[longest] > best_steps:
            best, best_steps = candidates[longest], steps[longest]
        rounds.append(steps)
        print(f"round {len(rounds):2}: " + "".join(f"{count:5}" for count in steps) + f"   best so far {best_steps:3}")
    proof = play(simulators, [best] * len(simulators), new_seeds())
    total += sum(proof)
    seconds = time.perf_counter() - started
    for simulator in simulators:
        ray.kill(simulator)

    names = ("position", "velocity", "angle", "angular velocity")
    print("\nThe best controller pushes to the right by")
    print("  " + " ".join(f"{weight:+.2f} * {name}" for name, weight in zip(names, best, strict=True)))
    print(f"From {len(proof)} new starting points it lasts {', '.join(map(str, proof))} steps of {FULL_EPISODE}.")
    print(f"\n{total} steps: {seconds:.2f} s, {total / seconds:.0f} steps per second.")
    return {"rounds": rounds, "controller": best.tolist(), "proof": proof, "steps": total}


if __name__ == "__main__":
    main()
