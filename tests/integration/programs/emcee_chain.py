"""A Markov chain of emcee, whose walkers are evaluated by Ray's Pool."""

from typing import Any

import emcee
import numpy as np
from ray.util.multiprocessing import Pool


def log_probability(place: Any) -> float:
    return float(-0.5 * np.sum(place**2))


def sample(pool: Any) -> Any:
    rng = np.random.default_rng(42)
    sampler = emcee.EnsembleSampler(16, 3, log_probability, pool=pool)
    sampler.random_state = np.random.RandomState(1).get_state()
    sampler.run_mcmc(rng.normal(size=(16, 3)), 20)
    return sampler.get_chain()


def main() -> None:
    with Pool(2) as pool:
        chain = sample(pool)
    np.testing.assert_array_equal(chain, sample(None))
    print("the same chain")


if __name__ == "__main__":
    main()
