"""What the steps of an iterator share: `MetricsContext`. Ray's `ray.util.iter_metrics`, which Ray deprecates."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from typing import Any


class MetricsContext:
    """A place for numbers, one for each chain of iterators: `LocalIterator.get_metrics()` inside a step."""

    def __init__(self) -> None:
        self.counters: defaultdict[str, int] = defaultdict(int)
        self.timers: defaultdict[str, _Timer] = defaultdict(_Timer)
        self.info: dict[str, Any] = {}
        #: The handle of the actor that the present item comes from; `ParallelIterator.gather_async` sets it.
        self.current_actor: Any = None

    def save(self) -> dict[str, Any]:
        """A copy that can be pickled, without the timers."""
        return {"counters": dict(self.counters), "info": dict(self.info), "timers": None}

    def restore(self, values: Mapping[str, Any]) -> None:
        """Put back what `save` returned."""
        self.counters.clear()
        self.counters.update(values["counters"])
        self.timers.clear()
        self.info = values["info"]


class SharedMetrics:
    """The context of a chain; of several chains from where they are united."""

    def __init__(self, metrics: MetricsContext | None = None, parents: Sequence[SharedMetrics] = ()) -> None:
        self.parents = list(parents)
        self.set(metrics or MetricsContext())

    def set(self, metrics: MetricsContext) -> None:
        """Use `metrics` from here on, and have the parents use it."""
        self.metrics = metrics
        for parent in self.parents:
            parent.set(metrics)

    def get(self) -> MetricsContext:
        """The context."""
        return self.metrics


class _Timer:
    """Times blocks of code: ``with timer: ...``. Averages are those of the latest `window_size` blocks."""

    def __init__(self, window_size: int = 10) -> None:
        self.count = 0
        self._seconds: deque[float] = deque(maxlen=window_size)
        self._units: deque[float] = deque(maxlen=window_size)
        self._begun = 0.0

    def __enter__(self) -> None:
        self._begun = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        self.push(time.perf_counter() - self._begun)

    def push(self, seconds: float) -> None:
        """A block took so long."""
        self._seconds.append(seconds)
        self.count += 1

    def push_units_processed(self, number: float) -> None:
        """A block has processed so many."""
        self._units.append(number)

    def has_units_processed(self) -> bool:
        """Whether `push_units_processed` was called."""
        return bool(self._units)

    @property
    def mean(self) -> float:
        """Seconds for a block."""
        return sum(self._seconds) / len(self._seconds) if self._seconds else 0.0

    @property
    def mean_units_processed(self) -> float:
        """Units in a block."""
        return sum(self._units) / len(self._units) if self._units else 0.0

    @property
    def mean_throughput(self) -> float:
        """Units in a second."""
        seconds = sum(self._seconds)
        return sum(self._units) / seconds if seconds else 0.0
