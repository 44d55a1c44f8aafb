"""How long the reader may leave alone what has come, while calls are sent ahead.

      worker 1:  call  call  call  call        each has calls behind the one it runs, and more wait for a CPU:
      worker 2:  call  call  call  call        nobody can go on sooner because a reply is read at once
      reader:    nap ........... 4 replies     4 wakes of the reader, on a CPU that a worker wants, become one

A wake costs 40 us, a twenty-fifth of a call of 1 ms. Nobody naps while workers ask for something, and wait for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import sleep

from minray.core.scheduler import Scheduler
from minray.interrupts import interruptible
from minray.wire import messages as m
from minray.wire.messages import Message

#: How often the reader looks whether something is stuck, where that can be (s).
TICK_SECONDS = 0.005
#: The longest nap (s): so much later a thread may learn that what it waits for is there.
NAP_SECONDS = 0.002
#: The share of the known work ahead of the least busy worker that may be slept through.
SHARE = 0.4
#: A nap has to be long enough for so many replies.
WORTH_REPLIES = 2
#: And this long (s): where calls are so short that less is left, workers would run out of them before it is over.
SHORTEST_SECONDS = 0.0005
#: So often in a row nothing but results must have come before the reader naps.
CALM_READS = 20
#: What a worker sends last when it does not wait for an answer.
_RESULTS = frozenset({m.DONE, m.FAILED, m.RELEASE})


class Naps:
    """When the reader naps, and for how long."""

    __slots__ = ("_calm", "_scheduler")

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._calm = 0  # reads in a row that brought only results

    def before(self, timeout: float | None) -> float:
        """Perhaps sleep; return for how long the reader may wait after that, if it would wait for `timeout` (s)."""
        due = self._scheduler.due
        tick = max(TICK_SECONDS, due - self._scheduler.now)
        if timeout is None or timeout > tick:
            timeout = tick
        if due and self._calm >= CALM_READS:
            seconds = min(NAP_SECONDS, SHARE * self._scheduler.cushion, timeout)
            if seconds >= SHORTEST_SECONDS and seconds * self._scheduler.rate >= WORTH_REPLIES:
                _sleep(seconds)
        return timeout

    def heard(self, batches: Sequence[tuple[int, list[Message]]]) -> None:
        """What was read. Results of actors' calls do not stand in a queue: somebody may go on with each at once."""
        if not self._scheduler.cushion:
            return
        for id, messages in batches:
            worker = self._scheduler.workers.get(id)
            if messages[-1][0] not in _RESULTS or worker is None or worker.actor is not None:
                self._calm = 0
                return
        self._calm += 1


@interruptible
def _sleep(seconds: float) -> None:
    sleep(seconds)
