"""Several actors: calls between them, and actors that come and go."""

from __future__ import annotations

from typing import Any

from rows.actors import Counter
from rows.base import RAY_API, Goal, Row, expect, rate

CALLS = 500

N_TO_N = Row(
    "n:n actor calls",
    "/s",
    f"As many actors as there are CPUs call {CALLS} methods of each of as many others and fetch the results, all at "
    "the same time.",
    goals=(Goal("minray[loky]", times=5),),
)
LIVES = Row(
    "actors created, called, killed",
    "/s",
    "An actor is created, one result fetched from it, and it is killed, one after another.",
    goals=(Goal("minray[loky]", times=25),),
)


@N_TO_N.on(*RAY_API)
def _(ray: Any) -> float:
    class Caller:
        def call(self, others: list[Any]) -> int:
            return len(ray.get([other.add.remote() for other in others for _ in range(CALLS)]))

    cpus = int(ray.cluster_resources()["CPU"])
    counters = [ray.remote(num_cpus=0)(Counter).remote() for _ in range(cpus)]
    callers = [ray.remote(num_cpus=0)(Caller).remote() for _ in range(cpus)]
    done = 0

    def step() -> None:
        nonlocal done
        expect(ray.get([caller.call.remote(counters) for caller in callers]), [CALLS * cpus] * cpus)
        done += 1

    try:
        value = rate(step, CALLS * cpus * cpus)
        expect(ray.get([counter.add.remote() for counter in counters]), [CALLS * cpus * done + 1] * cpus)
        return value
    finally:
        for actor in counters + callers:
            ray.kill(actor)


@LIVES.on(*RAY_API)
def _(ray: Any) -> float:
    cls = ray.remote(Counter)

    def step() -> None:
        actor = cls.remote()
        expect(ray.get(actor.add.remote()), 1)
        ray.kill(actor)

    return rate(step)
