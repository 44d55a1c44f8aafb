"""Which int stands for an object.

    call t                 t               the call itself, and its first result
    its result number i    t + i * NEXT    (from 0)
    item number i          t + (i + 1) * NEXT, of a generator, whose own result has its call's id
    a stream's handle      t + 1
    bytes of object o      o | IN_STORE or o | ON_DISK (`minray.core.value`)

Calls, actors and what is put are numbered by whoever makes them, below `minray.core.value.ON_DISK`.
"""

from __future__ import annotations

from collections.abc import Sequence

#: From one object of a call to the next.
NEXT = 1 << 64


def results_of(call: int, number: int) -> Sequence[int]:
    """The ids of its results."""
    return (call,) if number == 1 else range(call, call + number * NEXT, NEXT)


def counted_for(call: int, number: int, streams: bool) -> Sequence[int]:
    """What is counted for whoever makes a call: its results, or (`streams`) its own one and its stream's handle."""
    return (call, call + 1) if streams else results_of(call, number)


def call_of(id: int) -> int:
    """The call that makes an object; of what was put, and of an actor, the id itself."""
    return id % NEXT
