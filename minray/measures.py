"""What programs count and measure (`minray.util.metrics`), added up on its way to whoever exports it.

      worker: inc() ─> Measures ──(MEASURED, sums: with its next messages)──> driver: Measures <── collect()

In a worker sums are kept until its client sends something, which it does when a call ends at the latest: whoever has
a call's result finds what the call has counted. The driver has one `Measures` for its process, as Prometheus has: it
goes on when a run ends and another begins.
"""

from __future__ import annotations

import _thread
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, Protocol

from minray.reentry import ReentrantLock

COUNTER, GAUGE, HISTOGRAM = "counter", "gauge", "histogram"
#: How many values are noted at most before they are added up, though nobody asks for the sums.
_NOTED = 1000

#: What a value belongs to: a kind, a name, and sorted pairs of tag and value.
Key = tuple[str, str, tuple[tuple[str, str], ...]]
#: A key, the description, the boundaries (of a histogram), and a value: one number, or of a histogram the sum of what
#: was observed and, for each bucket, how much of it fell there. All plain, for `marshal`.
Sum = tuple[Key, str, tuple[float, ...], Any]


class Kind(NamedTuple):
    """What is constant about the values of one metric."""

    kind: str
    name: str
    description: str
    boundaries: tuple[float, ...]  #: upper ends of a histogram's buckets, in order, without infinity


class Measured(Protocol):
    """Where values are noted."""

    def note(self, metric: Kind, tags: tuple[tuple[str, str], ...], value: float) -> None:
        """Something was counted, set or observed. `tags` are sorted. Any thread, also within a `__del__`."""
        ...


class Measures:
    """Values of one process, added up by metric and tags."""

    def __init__(self) -> None:
        self._noted: deque[tuple[Kind, tuple[tuple[str, str], ...], float]] = deque()
        self._sums: dict[Key, Sum] = {}
        self._lock = ReentrantLock()
        self._adding = False
        #: The TCP port of this machine at which somebody exports these; 0 for none.
        self.port = 0

    def note(self, metric: Kind, tags: tuple[tuple[str, str], ...], value: float) -> None:
        """As in `Measured`."""
        self._noted.append((metric, tags, value))
        if len(self._noted) >= _NOTED:
            self._add_up()

    def merge(self, sums: list[Sum]) -> None:
        """Add what another process has added up."""
        with self._lock:
            self._add_up()
            for found in sums:
                self._add(found)

    def take(self) -> list[Sum]:
        """The sums since the last time."""
        if not self._noted and not self._sums:
            return []
        with self._lock:
            self._add_up()
            sums, self._sums = list(self._sums.values()), {}
        return sums

    def sums(self) -> list[Sum]:
        """The sums of all that has come, those of one metric together."""
        with self._lock:
            self._add_up()
            return sorted(self._sums.values(), key=lambda found: found[0])

    def _add_up(self) -> None:
        with self._lock:
            if self._adding:
                return  # further out this thread is at it, and goes on until nothing is left
            self._adding = True
            try:
                while self._noted:
                    metric, tags, value = self._noted.popleft()
                    self._add(_one(metric, tags, value))
            finally:
                self._adding = False

    def _add(self, new: Sum) -> None:
        key, _, boundaries, value = new
        old = self._sums.get(key)
        if old is not None and key[0] == COUNTER:
            value = old[3] + value
        elif old is not None and key[0] == HISTOGRAM and old[2] == boundaries:  # with others it begins anew
            value = tuple([a + b for a, b in zip(old[3], value)])
        self._sums[key] = (key, new[1], boundaries, value)


def _one(metric: Kind, tags: tuple[tuple[str, str], ...], value: float) -> Sum:
    """The sum that a single value is."""
    kind, name, description, boundaries = metric
    if kind != HISTOGRAM:
        return (kind, name, tags), description, (), value
    buckets = [0] * (len(boundaries) + 1)
    buckets[bisect_left(boundaries, value)] = 1
    return (kind, name, tags), description, boundaries, (value, *buckets)


#: Those of this process, if it is a driver: also of its workers.
OWN = Measures()


class Outgoing:
    """What is noted in a worker: goes along with whatever it sends next, and is sent on its own a moment later."""

    #: That moment, in seconds.
    LATER = 0.02

    def __init__(self, flush: Callable[[], None]) -> None:
        self._measures = Measures()
        self._flush = flush
        self._waiting = False

    def note(self, metric: Kind, tags: tuple[tuple[str, str], ...], value: float) -> None:
        """As in `Measured`."""
        self._measures.note(metric, tags, value)
        if not self._waiting:
            # Not a threading.Timer: its locks may be those that this thread holds right now, if this is a `__del__`.
            with suppress(RuntimeError):  # the interpreter is exiting
                _thread.start_new_thread(self._send, ())
                self._waiting = True

    def _send(self) -> None:
        time.sleep(self.LATER)
        self._waiting = False
        self._flush()

    def take(self) -> list[Sum]:
        """The sums that have not been sent."""
        return self._measures.take()
