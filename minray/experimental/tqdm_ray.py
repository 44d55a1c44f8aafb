"""`tqdm`: progress bars of tasks and actors, drawn once, in the driver. Ray's `ray.experimental.tqdm_ray`.

    task: bar.update ──the bar's state, once a second──> owner ──inbox──> a thread of the driver, which has tqdm's bars

What a task does is not held up by the drawing.
"""

from __future__ import annotations

import os
import queue
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from typing import Any

from minray.session import current

_lock = threading.Lock()
_inbox: queue.SimpleQueue[tuple[Any, ...]] | None = None
_drawing: threading.Thread | None = None


class tqdm:  # noqa: N801  # the name is tqdm's
    """A progress bar with tqdm's methods: iterate over it, or call `update`.

    Args:
        iterable: What to iterate over.
        desc: Text before the bar. A bar of a worker has its pid there too.
        total: The value of `n` at the end. Default: the length of `iterable`, or unknown.
        unit: What is counted. Default: "it".
        position: Accepted for Ray's sake: bars stand in the order in which they appear.
        flush_interval_s: After how many seconds the driver is told again. Default: 1.
    """

    def __init__(
        self,
        iterable: Iterable[Any] | None = None,
        desc: str | None = None,
        total: int | None = None,
        unit: str | None = None,
        position: int | None = None,
        flush_interval_s: float | None = None,
    ) -> None:
        if total is None and iterable is not None:
            try:
                total = len(iterable)  # type: ignore[arg-type]
            except TypeError:
                total = None
        self.n = 0
        self.total = total
        self._iterable = iterable
        self._desc = desc or ""
        self._unit = unit or "it"
        self._id = uuid.uuid4().hex
        self._interval = 1.0 if flush_interval_s is None else flush_interval_s
        self._told = 0.0
        self._closed = False

    def update(self, n: float = 1) -> None:
        """Count `n` more."""
        self.n += n  # type: ignore[assignment]
        self.refresh()

    def set_description(self, desc: str) -> None:
        """Change the text before the bar."""
        self._desc = desc
        self.refresh()

    def refresh(self) -> None:
        """Tell the driver, if it is time."""
        now = time.monotonic()
        if now - self._told >= self._interval:
            self._told = now
            self._tell()

    def close(self) -> None:
        """Leave the bar as it is. A second time does nothing."""
        if not self._closed:
            self._closed = True
            self._tell()

    def __iter__(self) -> Iterator[Any]:
        if self._iterable is None:
            raise ValueError("No iterable provided")
        for item in self._iterable:
            yield item
            self.update()
        self.close()

    def _tell(self) -> None:
        state = (self._id, os.getpid(), self._desc, self.n, self.total, self._unit, self._closed)
        session = current()
        if session is None or session.closed:  # a driver without a run
            show(*state)
        else:
            session.ask("bar", *state)


def show(*state: Any) -> None:
    """Have a bar drawn, some time: its id, its process, text, count, total, unit, and whether it is closed."""
    global _inbox, _drawing
    with _lock:
        # A simulated thread is gone with its run, whatever it had left to draw.
        if _inbox is None or _drawing is None or not _drawing.is_alive():
            _inbox = queue.SimpleQueue()
            _drawing = threading.Thread(target=_draw, args=(_inbox,), name="minray-bars", daemon=True)
            _drawing.start()
        _inbox.put(state)


def _draw(inbox: queue.SimpleQueue[tuple[Any, ...]]) -> None:
    """The drawing thread's life, until all bars are closed. As they are all its own, tqdm finds a line for each."""
    from tqdm.auto import tqdm as bar_class

    class Bar(bar_class):  # type: ignore[misc]  # tqdm has no types
        monitor_interval = 0  # no thread that looks after bars that are seldom drawn: each is drawn when it changes

    global _inbox
    bars: dict[str, Any] = {}
    while True:
        id, pid, desc, count, total, unit, closed = inbox.get()
        if pid != os.getpid():
            desc = f"(pid={pid}) {desc}"
        bar = bars.get(id)
        if bar is None:
            bar = bars[id] = Bar(total=total, unit=unit, desc=desc, dynamic_ncols=True, unit_scale=True)
        bar.total = total
        bar.n = count
        bar.set_description(desc)  # draws
        if closed:
            bars.pop(id).close()
            with _lock:
                if not bars and inbox.empty():
                    _inbox = None
                    return


def safe_print(*args: Any, **kwargs: Any) -> None:
    """`print`, above the bars instead of into them."""
    from tqdm.auto import tqdm as bar_class

    with bar_class.external_write_mode():
        print(*args, **kwargs)  # noqa: T201  # what it is for
