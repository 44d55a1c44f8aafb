"""Which GPUs: an amount of them is given out as particular ones, whole or in parts.

A pool is what is there under one resource name: ``"GPU"``, and ``"GPU_group_..."`` for what a placement group has
reserved (see `minray.core.placement`). Of a demand all the GPU names mean the same devices.
"""

from __future__ import annotations

from minray.core.template import RESOURCE_UNIT, Demand

#: ``((device, units), ...)``
Share = tuple[tuple[int, int], ...]

_PREFIX = "GPU_group_"


def is_gpu(name: str) -> bool:
    """Whether a resource of this name is given out as particular devices."""
    return name == "GPU" or name.startswith(_PREFIX)


class Devices:
    """The GPUs of one node: for each pool how much of each device is free."""

    def __init__(self, count: int) -> None:
        self.pools: dict[str, dict[int, int]] = {"GPU": dict.fromkeys(range(count), RESOURCE_UNIT)}

    def choose(self, demand: Demand) -> Share | None:
        """Devices for what `demand` asks for; None if there are none now. Empty if it asks for no GPU."""
        names = [name for name, _ in demand if is_gpu(name)]
        if not names:
            return ()
        amount = next(amount for name, amount in demand if is_gpu(name))
        first = self.pools.get(names[0], {})
        free = {
            device: min([self.pools.get(name, {}).get(device, 0) for name in names])
            for device in first  # in the order of their numbers
        }
        if amount < RESOURCE_UNIT:
            # The fullest device that has as much left: parts share a device, so that whole ones stay free.
            fitting = [device for device, left in free.items() if left >= amount]
            return ((min(fitting, key=lambda device: free[device]), amount),) if fitting else None
        whole = [device for device, left in free.items() if left >= RESOURCE_UNIT]
        count = amount // RESOURCE_UNIT
        if amount % RESOURCE_UNIT or len(whole) < count:
            return None
        return tuple([(device, RESOURCE_UNIT) for device in whole[:count]])

    def take(self, demand: Demand, share: Share) -> None:
        """`share` is in use under all GPU names of `demand`."""
        self._change(demand, share, -1)

    def give(self, demand: Demand, share: Share) -> None:
        """It is no longer."""
        self._change(demand, share, 1)

    def _change(self, demand: Demand, share: Share, sign: int) -> None:
        for name, _ in demand:
            if is_gpu(name):
                pool = self.pools[name]
                for device, units in share:
                    pool[device] += sign * units

    def add(self, name: str, share: Share) -> None:
        """A pool gets more: parts of devices that have been reserved."""
        pool = self.pools.setdefault(name, {})
        for device, units in share:
            pool[device] = pool.get(device, 0) + units
        self.pools[name] = dict(sorted(pool.items()))

    def remove(self, name: str) -> None:
        """A pool is gone."""
        self.pools.pop(name, None)
