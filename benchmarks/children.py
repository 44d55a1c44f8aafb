"""Runs one child (child.py), keeps its time, weighs it, and leaves none of its processes behind."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rows import ROWS, life
from rows.base import MACHINE
from systems import System

try:
    import psutil
except ImportError:  # then nothing is weighed, and the table says so
    psutil = None

CHILD = Path(__file__).with_name("child.py")
#: Bytecode is kept, as it is for an installed package: else each import of a checkout would compile it again.
ENVIRONMENT = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
ENVIRONMENT.pop("PYTHONDONTWRITEBYTECODE", None)
#: How long a child, and then whatever it started, may take to end after its last word.
EXIT_SECONDS = 5.0
#: What every system goes through, whether it is measured or not.
LIFE = (life.START.name, life.MEMORY.name, life.SHARED_MEMORY.name, life.SHUTDOWN.name)

#: Told of each outcome as it comes: a number, or the words that stand for it.
Told = Callable[[str, "float | str"], None]


def run(system: System, wanted: list[str], cpus: int, seconds: float, limit: float, told: Told) -> None:
    """Take the rows `wanted`, of those that `system` has.

    A row that takes over `limit` seconds, or ends its process, is given up; the rows after it get a new child.
    """
    lives = system.name != MACHINE
    if lives and life.IMPORT.name in wanted:
        told(life.IMPORT.name, import_seconds(system.module))
    names = [
        row.name
        for row in ROWS
        if row.name in wanted and (system.name in row.implementations or (lives and row.name in LIFE))
    ]
    while names:
        child = Child(system.name, names, cpus, seconds)
        try:
            failed = child.follow(limit, told)
        finally:
            left = child.end()
        if failed is None and left:
            told(life.SHUTDOWN.name, f"left behind: {', '.join(left)}")
        if failed not in names or failed in LIFE:
            return  # done, or it cannot even start
        names = names[names.index(failed) + 1 :]


def import_seconds(module: str) -> float | str:
    """How long a fresh interpreter takes to import `module`."""
    program = f"from time import perf_counter as now; began = now(); import {module}; print(now() - began)"
    done = subprocess.run([sys.executable, "-c", program], env=ENVIRONMENT, capture_output=True, text=True)
    return float(done.stdout) if done.returncode == 0 else _last_line(done.stderr)


class Child:
    """A running child, and every process that was ever seen below it."""

    def __init__(self, system: str, names: list[str], cpus: int, seconds: float) -> None:
        reader, writer = os.pipe()
        arguments = {"name": system, "names": names, "cpus": cpus, "seconds": seconds, "pipe": writer}
        self.output = tempfile.TemporaryFile("w+", errors="replace")
        self.process = subprocess.Popen(
            [sys.executable, str(CHILD), json.dumps(arguments)],
            stdin=subprocess.PIPE,
            stdout=self.output,
            stderr=subprocess.STDOUT,
            pass_fds=[writer],
            start_new_session=True,
            env=ENVIRONMENT,
        )
        os.close(writer)
        self.reader = reader
        self.below: set[Any] = set()

    def follow(self, limit: float, told: Told) -> str | None:
        """Pass on what the child says; return the row that it did not survive, if any."""
        begun = LIFE[0]
        try:
            for message in self._messages(limit):
                self._look()
                if "begin" in message:
                    begun = message["begin"]
                elif "row" in message:
                    told(message["row"], message["value"] if "value" in message else message["error"])
                elif "idle" in message:
                    self._weigh(told)
                elif "end" in message:
                    return None
        except TimeoutError:
            self._look()
            told(begun, f"given up after {limit:g} s")
            return begun
        self.output.seek(0)
        told(begun, f"process ended{self._status()}: {_last_line(self.output.read())}")
        return begun

    def end(self) -> list[str]:
        """See to it that nothing of it is left; return the names of those that had to be killed after it had ended."""
        ended = True
        try:
            self.process.wait(EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            ended = False
            self.process.kill()
            self.process.wait()
        left: list[str] = []
        if psutil is not None:
            _, alive = psutil.wait_procs(self.below, timeout=EXIT_SECONDS if ended else 0)
            for process in alive:
                try:
                    left.append(process.name())
                    process.kill()
                except psutil.NoSuchProcess:
                    continue
            psutil.wait_procs(alive, timeout=EXIT_SECONDS)
        else:
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        os.close(self.reader)
        self.output.close()
        return left if ended else []

    def _messages(self, limit: float) -> Iterator[dict[str, Any]]:
        """The child's messages until it ends; TimeoutError if none comes for `limit` seconds."""
        rest = b""
        deadline = time.monotonic() + limit
        with selectors.DefaultSelector() as selector:
            selector.register(self.reader, selectors.EVENT_READ)
            while time.monotonic() < deadline:
                # A worker that outlives the child keeps the pipe open, so its end is not enough to go by.
                ended = self.process.poll() is not None
                if not selector.select(0.2):
                    if ended:
                        return
                    continue
                data = os.read(self.reader, 65536)
                if not data:
                    return
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    yield json.loads(line)
                deadline = time.monotonic() + limit
        raise TimeoutError

    def _status(self) -> str:
        try:
            return f" with status {self.process.wait(EXIT_SECONDS)}"
        except subprocess.TimeoutExpired:
            return " its report, but goes on"

    def _look(self) -> None:
        if psutil is not None and self.process.poll() is None:
            try:
                self.below.update(psutil.Process(self.process.pid).children(recursive=True))
            except psutil.NoSuchProcess:
                pass

    def _weigh(self, told: Told) -> None:
        if psutil is None:
            told(life.MEMORY.name, "psutil is not installed")
        else:
            top = psutil.Process(self.process.pid)
            parts = []
            for process in [top, *top.children(recursive=True)]:
                try:
                    parts.append(process.memory_full_info())
                except psutil.NoSuchProcess:
                    continue
            told(life.MEMORY.name, sum(part.uss for part in parts) / 1e6)
            told(life.SHARED_MEMORY.name, sum(part.pss for part in parts) / 1e6)
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1][:200] if lines else "without a word"
