"""Nested parallelism: tasks that start tasks that start tasks, and wait for them.

The question: a shop with several tills, and customers at random times. Is it better to have one line for all tills, or
a line for each till, which the customer picks without looking? Each of the two is an experiment; an experiment
measures how long customers wait when the shop is more and more busy; and a measurement is the mean of many simulations
with different random numbers. All three are tasks, so that there are always more tasks waiting for their children
than CPUs. Queueing theory knows the answer, which is printed next to the simulated one.

    python examples/nested_experiments.py
    python examples/nested_experiments.py --tills 10 --simulations 100
"""

import argparse
import math
import os
import random
import time
from statistics import fmean, stdev
from typing import Any

import minray as ray

POLICIES = {"shared": "one line for all tills", "separate": "a line for each till"}


@ray.remote
def simulate(policy: str, tills: int, load: float, customers: int, seed: str) -> float:
    """The mean time that customers wait in one simulated shop. The unit is the mean time that serving one takes."""
    draw = random.Random(seed)
    warm_up = customers // 10  # the first ones find an empty shop; they don't count
    free_at = [0.0] * tills
    now = total = 0.0
    for customer in range(customers):
        now += draw.expovariate(load * tills)
        till = free_at.index(min(free_at)) if policy == "shared" else draw.randrange(tills)
        start = max(now, free_at[till])
        free_at[till] = start + draw.expovariate(1.0)
        if customer >= warm_up:
            total += start - now
    return total / (customers - warm_up)


@ray.remote
def measure(policy: str, tills: int, load: float, simulations: int, customers: int, seed: int) -> tuple[float, float]:
    """Run many simulations; return the mean wait and the half-width of its 95 % confidence interval."""
    seeds = [f"{seed} {policy} {load} {number}" for number in range(simulations)]
    waits = ray.get([simulate.remote(policy, tills, load, customers, seed) for seed in seeds])
    return fmean(waits), 1.96 * stdev(waits) / math.sqrt(simulations)


@ray.remote
def experiment(policy: str, tills: int, loads: list[float], *sizes_and_seed: int) -> list[tuple[float, float]]:
    """Measure one policy under every load."""
    return ray.get([measure.remote(policy, tills, load, *sizes_and_seed) for load in loads])


def theory(policy: str, tills: int, load: float) -> float:
    """The mean wait in the long run: Erlang's C formula for one line, and that of the M/M/1 queue for many."""
    if policy == "separate":
        return load / (1 - load)
    offered = tills * load
    all_busy = offered**tills / math.factorial(tills) / (1 - load)
    some_free = sum(offered**busy / math.factorial(busy) for busy in range(tills))
    return all_busy / (all_busy + some_free) / (tills * (1 - load))


def main(argv: list[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--tills", type=int, default=3, help="tills in the shop")
    parser.add_argument(
        "--loads", type=int, default=max(4, (os.cpu_count() or 1) // 2), help="measurements per experiment"
    )
    parser.add_argument("--simulations", type=int, default=25, help="simulations per measurement: 2 or more")
    parser.add_argument("--customers", type=int, default=20_000, help="customers per simulation")
    parser.add_argument("--seed", type=int, default=1, help="of all random numbers")
    options = parser.parse_args(argv)
    if options.simulations < 2:
        parser.error("a confidence interval takes at least 2 simulations")

    loads = [round(0.5 + 0.4 * number / max(1, options.loads - 1), 3) for number in range(options.loads)]
    sizes = (options.simulations, options.customers, options.seed)
    started = time.perf_counter()
    ray.init()
    results = ray.get([experiment.remote(policy, options.tills, loads, *sizes) for policy in POLICIES])
    seconds = time.perf_counter() - started
    measured = dict(zip(POLICIES, results, strict=True))
    ray.shutdown()

    print("How long a customer waits, if serving one takes 1 (± 95 % confidence, [theory])\n")
    print("  busy" + "".join(f"{title:>28}" for title in POLICIES.values()))
    inside = 0
    for number, load in enumerate(loads):
        line = f"  {load:4.0%}"
        for policy in POLICIES:
            wait, margin = measured[policy][number]
            expected = theory(policy, options.tills, load)
            inside += abs(wait - expected) <= margin
            line += f"{wait:12.3f} ± {margin:.3f} [{expected:.3f}]"
        print(line)

    parents = len(POLICIES) * (1 + len(loads))
    simulations = len(POLICIES) * len(loads) * options.simulations
    print(f"\nTheory lies inside the confidence interval in {inside} of {len(POLICIES) * len(loads)} measurements.")
    print(f"{parents} tasks waited for {simulations} simulations: {seconds:.2f} s.")
    return {"loads": loads, **measured, "inside": inside, "parents": parents, "simulations": simulations}


if __name__ == "__main__":
    main()
