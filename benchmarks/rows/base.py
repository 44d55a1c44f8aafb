"""What a row of the table is, and how a rate is taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

#: Systems that speak Ray's API share one implementation of a row; so do those with `submit` and `result`.
RAY_API = ("ray", "minray[threads]", "minray[loky]")
EXECUTORS = ("loky", "ProcessPoolExecutor", "ThreadPoolExecutor")
POOL = "multiprocessing.Pool"
DASK = "dask"
#: Not a system but what the machine itself can do: the limit to compare with.
MACHINE = "machine"

#: Given what a system's `start` returned, measure; the result is in the row's unit.
Implementation = Callable[[Any], float]


@dataclass(frozen=True)
class Goal:
    """What a system has to reach in a row: a bound in the row's own unit, or a ratio to another system, Ray unless
    `than` says otherwise, in the same row unless `in_row` names another."""

    system: str
    times: float = 0.0
    than: str = "ray"
    in_row: str = ""
    at_most: float = float("inf")
    at_least: float = 0.0

    def met(self, value: float, ratio: float | None) -> bool:
        if self.times:
            return ratio is not None and ratio >= self.times
        return self.at_least <= value <= self.at_most

    def __str__(self) -> str:
        if self.times:
            whose = "its own" if self.than == self.system else f"that of {self.than}"
            where = f" in {self.in_row!r}" if self.in_row else ""
            return f"{self.system} at least {self.times:g} times {whose}{where}"
        if self.at_least:
            return f"{self.system} at least {self.at_least:g}"
        return f"{self.system} at most {self.at_most:g}"


@dataclass(frozen=True)
class Row:
    """One line of the table: the same piece of work, put as each system would have it.

    A row without implementations is taken by the child itself as it starts and stops a system (child.py).
    """

    name: str
    unit: str
    what: str
    goals: tuple[Goal, ...] = ()
    smaller_is_better: bool = False
    implementations: dict[str, Implementation] = field(default_factory=dict)

    def on(self, *systems: str) -> Callable[[Implementation], Implementation]:
        """Register the decorated function as this row's work on `systems`."""

        def register(implementation: Implementation) -> Implementation:
            self.implementations.update(dict.fromkeys(systems, implementation))
            return implementation

        return register

    def ratio(self, value: float, ray: float) -> float:
        """How many times better than Ray: above 1 is better, whatever the unit."""
        return ray / value if self.smaller_is_better else value / ray


_seconds = 1.0
_workers = 1


def set_seconds(seconds: float) -> None:
    """Let every `rate` of this process take that long, and a quarter more to warm up."""
    global _seconds
    _seconds = seconds


def set_workers(count: int) -> None:
    """Let the rows of this process know how many workers their system has."""
    global _workers
    _workers = count


def workers() -> int:
    """How many workers the system has."""
    return _workers


def rate(step: Callable[[], Any], amount: float = 1.0) -> float:
    """Call `step` again and again, at least once to warm up and once more; return `amount` per call and second."""
    _repeat(step, _seconds / 4)
    calls, elapsed = _repeat(step, _seconds)
    return calls * amount / elapsed


def once(step: Callable[[], Any], amount: float = 1.0) -> float:
    """Call `step` once, which is long enough to be measured: `amount` per second."""
    start = perf_counter()
    step()
    return amount / (perf_counter() - start)


def _repeat(step: Callable[[], Any], seconds: float) -> tuple[int, float]:
    calls = 0
    start = perf_counter()
    while True:
        step()
        calls += 1
        elapsed = perf_counter() - start
        if elapsed >= seconds:
            return calls, elapsed


def expect(value: object, expected: object) -> None:
    """A benchmark of wrong results is worth nothing."""
    if value != expected:
        raise AssertionError(f"expected {expected!r}, got {value!r}")
