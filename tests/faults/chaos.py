"""What goes wrong while a program runs, drawn from a seed.

    program (main thread)          chaos (a thread): every few milliseconds one of
                                     kill a worker that runs tasks, or an actor's; kill the template;
                                     remove a file of the store; fill the store, so that values go to disk;
                                     stop a worker, so that its replies are late

Only what the program can survive: it is to give the very result that it gives when it is left in peace.
"""

from __future__ import annotations

import glob
import os
import random
import signal
import threading
from collections import Counter
from contextlib import suppress
from typing import Any

import psutil

import minray

#: What `fill` puts: together they are more than the store may hold.
FILLING = 10
FILLING_BYTES = 16_000_000
STORE_BYTES = 80_000_000


class Chaos:
    """``with Chaos(seed, kills) as chaos:`` until `kills` workers were killed, or the block is left."""

    def __init__(self, seed: int, kills: int, kinds: dict[str, int], pause: float = 0.02) -> None:
        """`kinds`: how often each of the methods below is chosen, relative to the others."""
        self._random = random.Random(seed)
        self._kills = kills
        self._kinds = kinds
        self._pause = pause
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.done: Counter[str] = Counter()
        self._me = psutil.Process()
        self._filling: list[Any] = []

    def __enter__(self) -> Chaos:
        self._thread.start()
        return self

    def __exit__(self, *error: Any) -> None:
        self._over.set()
        self._thread.join()
        self._filling.clear()

    @property
    def over(self) -> bool:
        """Enough was killed."""
        return self.done["kill"] + self.done["kill_all"] >= self._kills

    def _run(self) -> None:
        names, weights = list(self._kinds), list(self._kinds.values())
        while not self._over.wait(self._pause * self._random.random() * 2) and not self.over:
            (name,) = self._random.choices(names, weights)
            with suppress(psutil.Error, OSError):
                self.done[name] += bool(getattr(self, name)())

    def _template(self) -> psutil.Process | None:
        for child in self._me.children():
            if child.status() != psutil.STATUS_ZOMBIE and "minray-template" in child.cmdline():
                return child
        return None

    def _worker(self) -> psutil.Process | None:
        template = self._template()
        forked = sorted(template.children(), key=lambda one: one.pid) if template is not None else []
        workers = [one for one in forked if os.getpgid(one.pid) == one.pid != os.getsid(one.pid)]  # or it is a tracker
        return self._random.choice(workers) if workers else None

    def kill(self) -> bool:
        """One worker, whatever it is doing."""
        worker = self._worker()
        if worker is None:
            return False
        worker.send_signal(self._random.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV]))
        return True

    def kill_all(self) -> bool:
        """The template, and with it all of its workers; not one that starts: twice in a row that is no accident."""
        template = self._template()
        if template is None or self._worker() is None:
            return False
        template.kill()
        return True

    def remove(self) -> bool:
        """A file that some worker has written values to."""
        files = sorted(glob.glob(f"/dev/shm/minray-{os.getpid()}-*/w*"))
        if not files:
            return False
        os.unlink(self._random.choice(files))
        return True

    def fill(self) -> bool:
        """More is put than the store may hold (`STORE_BYTES`), and kept until the next time."""
        self._filling.clear()
        self._filling += [minray.put(bytes(FILLING_BYTES)) for _ in range(FILLING)]
        return True

    def delay(self) -> bool:
        """A worker stands still for a moment."""
        worker = self._worker()
        if worker is None:
            return False
        worker.suspend()
        self._over.wait(0.01)
        worker.resume()
        return True
