"""Calls of minray by a thread that is in the middle of minray's own work already.

      f.remote() ──> with lock: graph.submitted(...) ──[gc]──> Owner.__del__ ──> g.remote()     the same thread, again

Python runs a user's code anywhere: `__del__` and weakref callbacks when the garbage collector comes by or a last
reference goes, signal handlers between two bytecodes. Four rules keep such a call from breaking the outer one, or from
waiting for it:

1. Ids come from a counter that needs no lock (`take`).
2. A thread that has a lock already does not take it again: it notes what it asks for, and the outer call, or the next
   one, carries it out when the data under the lock are whole again.
3. What is to be sent is left to the outer call, if that one is sending.
4. Who would have to wait gets a RuntimeError (`would_wait`): what could end the wait is the outer call.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

__all__ = ["NEVER", "ReentrantLock", "never_waiting", "owner_of", "take", "would_wait"]

#: `threading.RLock`, of which nothing but `acquire`, `release` and `owner_of` is used.
ReentrantLock: Any = threading.RLock

#: Threads that must not wait for minray, since others wait for them. By identifier; see `never_waiting`.
NEVER: set[int] = set()


def owner_of(lock: Any) -> Callable[[], bool]:
    """A function that says whether the calling thread has `lock`, a `ReentrantLock`. Costs some tens of ns."""
    owned: Callable[[], bool] = lock._is_owned  # what threading.Condition asks, too
    return owned


def take(ids: count[int], number: int) -> int:
    """The first of `number` consecutive ids. Any thread, also one that is in here already."""
    first = last = next(ids)
    while last - first < number - 1:
        id = next(ids)
        if id != last + 1:  # somebody else has drawn one in between
            first = id
        last = id
    return first


def would_wait() -> RuntimeError:
    """What who asks for something that is not there yet is told, where waiting would never end."""
    return RuntimeError(
        "minray would have to wait here, in the middle of its own work: the call comes from a __del__ method, a "
        "weakref callback, a signal handler or a future's callback that Python runs in a thread which is inside "
        "minray. Waiting would never end. Get what is ready (minray.wait(refs, timeout=0) tells), or wait in another "
        "thread."
    )


@contextmanager
def never_waiting() -> Iterator[None]:
    """Inside, the calling thread must not wait for minray: others wait for it."""
    me = threading.get_ident()
    inside = me in NEVER
    NEVER.add(me)
    try:
        yield
    finally:
        if not inside:
            NEVER.discard(me)
