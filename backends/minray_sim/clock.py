"""Virtual time: sleeping costs nothing, and clocks show the time of the simulation.

`datetime` is written in C and shows the real time.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from minray_sim import active
from minray_sim.simulation import EPOCH

_sleep = time.sleep


def _stand_in(real: Callable[[], Any], virtual: Callable[[float], Any]) -> Callable[[], Any]:
    def clock() -> Any:
        simulation = active.caller()
        return real() if simulation is None else virtual(simulation.glance())

    clock.__name__ = real.__name__
    return clock


def sleep(seconds: float) -> None:
    """`time.sleep`."""
    simulation = active.caller()
    if simulation is None or simulation.closed:
        _sleep(seconds)
    else:
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        simulation.sleep(seconds)


def _nanoseconds(seconds: float) -> int:
    return int(seconds * 1e9)


_PATCHES: list[tuple[Any, str, Any]] = [
    (time, "sleep", sleep),
    (time, "time", _stand_in(time.time, lambda now: EPOCH + now)),
    (time, "time_ns", _stand_in(time.time_ns, lambda now: _nanoseconds(EPOCH + now))),
    (time, "monotonic", _stand_in(time.monotonic, float)),
    (time, "monotonic_ns", _stand_in(time.monotonic_ns, _nanoseconds)),
    (time, "perf_counter", _stand_in(time.perf_counter, float)),
    (time, "perf_counter_ns", _stand_in(time.perf_counter_ns, _nanoseconds)),
]
_PATCHES.append((threading, "_time", _PATCHES[3][2]))
_PATCHES.append((queue, "time", _PATCHES[3][2]))


def patches() -> list[tuple[Any, str, Any]]:
    return _PATCHES
