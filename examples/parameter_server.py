"""A parameter server: an actor keeps a model, and long-running worker tasks train it together.

The model is a logistic regression (softmax) that reads handwritten digits. Each worker has its share of the images. In
a loop it gets the parameters from the server, works out on a few images in which direction they should change, and
sends the change back without waiting for it to be applied. Nobody takes turns: a change is often worked out from
parameters that others have changed since, and the training has to bear it. The server takes a snapshot now and then,
from which the accuracy on images that were never trained on is drawn.

    pip install "minray[examples]"
    python examples/parameter_server.py
    python examples/parameter_server.py --workers 8 --updates 4000
"""

import argparse
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

import minray as ray

KEYS = ["weights", "bias"]
Array = NDArray[np.float64]
Digits = NDArray[np.int_]
Values = list[Array]


@ray.remote
class ParameterServer:
    """Arrays by key. Calls are carried out one after another, so an update is never seen half done."""

    def __init__(self, keys: list[str], values: Values, updates_per_snapshot: int) -> None:
        self.parameters = dict(zip(keys, values, strict=True))
        self.updates = 0
        self.updates_per_snapshot = updates_per_snapshot
        self.snapshots = [(0, dict(self.parameters))]

    @ray.method
    def get(self, keys: list[str]) -> Values:
        return [self.parameters[key] for key in keys]

    @ray.method
    def update(self, keys: list[str], changes: Values) -> None:
        """Add a change to each of some arrays. Makes new arrays: snapshots and readers keep the old ones."""
        for key, change in zip(keys, changes, strict=True):
            self.parameters[key] = self.parameters[key] + change
        self.updates += 1
        if self.updates % self.updates_per_snapshot == 0:
            self.snapshots.append((self.updates, dict(self.parameters)))

    @ray.method
    def snapshots_since(self, number: int) -> list[tuple[int, dict[str, Array]]]:
        """(updates so far, parameters) for each snapshot but the first `number`."""
        return self.snapshots[number:]


def digit_scores(images: Array, weights: Array, bias: Array) -> Array:
    return images @ weights + bias


def changes(images: Array, digits: Digits, values: Values, rate: float) -> Values:
    """One step of gradient descent on the cross-entropy of the softmax."""
    scores = digit_scores(images, *values)
    chances = np.exp(scores - scores.max(axis=1, keepdims=True))
    chances /= chances.sum(axis=1, keepdims=True)
    chances[np.arange(len(digits)), digits] -= 1
    step = -rate * chances / len(digits)
    return [images.T @ step, step.sum(axis=0)]


@ray.remote
def train(server: Any, images: Array, digits: Digits, loops: int, rate: float, seed: int) -> int:
    """Improve the parameters `loops` times. `server` is the handle of the actor, passed like any other argument."""
    random = np.random.default_rng(seed)
    updates = []
    for _ in range(loops):
        batch = random.choice(len(images), size=min(32, len(images)), replace=False)
        values = ray.get(server.get.remote(KEYS))
        updates.append(server.update.remote(KEYS, changes(images[batch], digits[batch], values, rate)))
    ray.get(updates)  # a worker is done when its last change is applied; an update that failed fails it, too
    return len(updates)


def main(argv: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--workers", type=int, default=4, help="how many train at the same time")
    parser.add_argument("--updates", type=int, default=2000, help="of the parameters, by all workers together")
    parser.add_argument("--rate", type=float, default=0.1, help="learning rate")
    parser.add_argument("--target", type=float, default=0.93, help="the accuracy to reach on the test images")
    parser.add_argument("--seed", type=int, default=1, help="of the choice of images")
    options = parser.parse_args(argv)
    if not 1 <= options.workers <= options.updates:
        parser.error("there must be a worker, and an update for each")

    from sklearn.datasets import load_digits  # here, because workers need none of it, and it is slow to import

    images, digits = load_digits(return_X_y=True)
    order = np.random.default_rng(options.seed).permutation(len(images))
    images, digits = images[order] / 16, digits[order]
    test_images, test_digits = images[:500], digits[:500]

    def accuracy(parameters: dict[str, Array]) -> float:
        scores = digit_scores(test_images, parameters["weights"], parameters["bias"])
        return float(np.mean(scores.argmax(axis=1) == test_digits))

    ray.init()
    started = time.perf_counter()
    first_values = [np.zeros((images.shape[1], 10)), np.zeros(10)]
    between = max(1, options.updates // 10)
    server = ParameterServer.remote(KEYS, first_values, between)  # type: ignore[attr-defined]
    training_images = np.array_split(images[500:], options.workers)
    training_digits = np.array_split(digits[500:], options.workers)
    training = [
        train.remote(
            server,
            training_images[worker],
            training_digits[worker],
            options.updates // options.workers,
            options.rate,
            options.seed + worker,
        )
        for worker in range(options.workers)
    ]

    print(f"{options.workers} workers, {len(images) - 500} training images, {len(test_images)} test images\n")
    curve: list[tuple[int, float]] = []
    unfinished = training
    while unfinished:
        _, unfinished = ray.wait(unfinished, num_returns=len(unfinished), timeout=0.2)
        for updates, parameters in ray.get(server.snapshots_since.remote(len(curve))):
            curve.append((updates, accuracy(parameters)))
            print(f"after {updates:5} updates  {curve[-1][1]:6.1%}  {'#' * round(50 * curve[-1][1])}", flush=True)

    total = sum(ray.get(training))
    final = accuracy(dict(zip(KEYS, ray.get(server.get.remote(KEYS)), strict=True)))
    seconds = time.perf_counter() - started
    ray.shutdown()

    reached = final >= options.target
    print(f"\nThe trained model reads {final:.1%} of the test images correctly.")
    print(f"The target of {options.target:.1%} is {'reached' if reached else 'MISSED'}.")
    print(f"{total} updates: {seconds:.2f} s, {total / seconds:.0f} updates per second.")
    return {"curve": curve, "accuracy": final, "reached": reached, "updates": total}


if __name__ == "__main__":
    main()
