"""The programs of hygiene.py, of which a child (hygiene_child.py) runs one. Each tells what it finds as it goes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scenarios import work
from scenarios.pools import Pool, Wait

#: How long a result is waited for before that counts as for ever (s).
PATIENCE_SECONDS = 20.0
#: Re-inits before the first count of what is held: they import, and fill caches.
WARM_UP = 10
ARRAY_LENGTH = 12_500_000  # of float64: 100 MB

#: Tells the observer something.
Tell = Callable[..., None]


def outcome(wait: Wait) -> tuple[str, Any]:
    """What comes of it: ("value", it), ("error", its type) or ("hangs", None)."""
    found: list[tuple[str, Any]] = []

    def follow() -> None:
        try:
            found.append(("value", wait()))
        except BaseException as error:
            found.append(("error", type(error).__name__))

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    thread.join(PATIENCE_SECONDS)
    return found[0] if found else ("hangs", None)


def ask(pool: Pool, function: Callable[[Any], Any], item: Any) -> tuple[str, Any]:
    """What comes of one call, its submission included."""
    return outcome(lambda: pool.begin(function, [item])[0]())


def stop(pool: Pool, tell: Tell) -> None:
    tell(stopped=outcome(pool.stop)[0])


def worker_dies(pool: Pool, tell: Tell) -> None:
    pool.start()
    began = time.monotonic()
    outcomes = [outcome(wait) for wait in pool.begin(work.square_or_die, range(8))]
    tell(outcomes=outcomes, seconds=time.monotonic() - began)
    tell(after=ask(pool, work.square, 3))
    stop(pool, tell)


def exception_at_exit(pool: Pool, tell: Tell) -> None:
    _run_long(pool)
    tell(leaving=True)
    raise ValueError("the program's own")


def nested_use(pool: Pool, tell: Tell) -> None:
    pool.start(nested=True)
    began = time.monotonic()
    # More parents than workers: each waits for its own tasks, which need workers, too.
    outcomes = [outcome(wait) for wait in pool.begin(work.sum_of_squares, [pool.name] * 4)]
    tell(outcomes=outcomes, seconds=time.monotonic() - began)
    stop(pool, tell)


def killed(pool: Pool, tell: Tell) -> None:
    waits = _run_long(pool)
    tell(kill=True)
    time.sleep(work.LONG_SECONDS)
    del waits


def small_memory(pool: Pool, tell: Tell) -> None:
    import numpy as np

    pool.start()
    began = time.monotonic()
    outcomes = []
    for value in range(3):
        kind, array = ask(pool, work.add_one, np.full(ARRAY_LENGTH, float(value)))
        outcomes.append((kind, float(array.sum()) / ARRAY_LENGTH if kind == "value" else array))
    tell(outcomes=outcomes, seconds=time.monotonic() - began)
    stop(pool, tell)


def unpicklable_result(pool: Pool, tell: Tell) -> None:
    pool.start()
    began = time.monotonic()
    tell(outcomes=[ask(pool, work.unpicklable, 0)], seconds=time.monotonic() - began)
    tell(after=ask(pool, work.square, 3))
    stop(pool, tell)


def again_and_again(pool: Pool, tell: Tell, times: int, limit: float) -> None:
    """Start, one task, stop: `times` times, or as often as `limit` seconds allow."""
    began = time.monotonic()
    count = 0
    held = _held()
    while count < times and time.monotonic() - began < limit:
        pool.start()
        result = ask(pool, work.square, 3)
        if result != ("value", 9):
            tell(failed=result, count=count)
            return
        pool.stop()
        count += 1
        tell(alive=count)
        if count == WARM_UP:
            held = _held()
    seconds = time.monotonic() - began
    growth = [after - before for before, after in zip(held, _held())]
    tell(count=count, seconds=seconds, growth=growth, since=count - WARM_UP)


def _run_long(pool: Pool) -> list[Wait]:
    """Two tasks that are running, for much longer than this program."""
    pool.start()
    flags = [os.path.join(os.environ["HYGIENE_FLAGS"], str(i)) for i in range(2)]
    waits = pool.begin(work.run_long, flags)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not all(Path(flag).exists() for flag in flags) and time.monotonic() < deadline:
        time.sleep(0.01)
    return waits


def _held() -> tuple[int, int, int]:
    """File descriptors, threads, and bytes of this process."""
    import psutil

    me = psutil.Process()
    return me.num_fds(), threading.active_count(), me.memory_full_info().uss
