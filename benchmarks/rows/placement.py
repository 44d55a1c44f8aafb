"""Placement groups: resources reserved and given back."""

from __future__ import annotations

from typing import Any

from rows.base import RAY_API, Goal, Row, expect, rate

GROUPS = Row(
    "placement groups",
    "/s",
    "A group of one bundle is made, waited for and removed, one after another.",
    goals=(Goal("minray[loky]", times=20), Goal("minray[threads]", times=20)),
)


@GROUPS.on(*RAY_API)
def _(ray: Any) -> float:
    def step() -> None:
        group = ray.util.placement_group([{"CPU": 0.01}])
        expect(group.wait(10), True)
        ray.util.remove_placement_group(group)

    return rate(step)
