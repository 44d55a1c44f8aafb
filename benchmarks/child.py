"""One system, once through its life, in a process of its own: start, rows, shutdown. Reports as it goes.

Run by children.py, which gives it the arguments of `main` as JSON. It imports little, for all of it is weighed.

Every message is a line of JSON on a pipe of its own (tasks may print what they like on stdout):

    {"begin": row}                  what comes next; the parent's clock for it starts
    {"row": row, "value": number}   a result
    {"row": row, "error": text}     what became of it instead
    {"idle": true}                  all workers are up and have nothing to do: weigh us, then answer on our stdin
    {"end": true}                   the last message
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import IO, Any

import rows
from rows import life
from rows.base import set_seconds, set_workers
from systems import SYSTEMS, System

#: Enough for workers that were just started to finish what they do after their first task.
SETTLE_SECONDS = 1.0


class Report:
    """The child's end of the pipe, and the rows that are asked for."""

    def __init__(self, pipe: IO[str], wanted: list[str]) -> None:
        self.pipe = pipe
        self.wanted = wanted

    def send(self, **message: Any) -> None:
        self.pipe.write(json.dumps(message) + "\n")
        self.pipe.flush()

    def take(self, name: str, measure: Callable[[], float]) -> None:
        """Run `measure`, and report what it returns or raises if row `name` is wanted."""
        self.send(begin=name)
        try:
            outcome: dict[str, Any] = {"value": measure()}
        except Exception as error:  # whatever a system raises is its result in this row
            lines = str(error).strip().splitlines()
            outcome = {"error": f"{type(error).__name__}: {lines[-1] if lines else ''}"[:200]}
        if name in self.wanted:
            self.send(row=name, **outcome)


def main(name: str, names: list[str], cpus: int, seconds: float, pipe: int) -> None:
    """Take the rows called `names`, of those that system `name` has, and report through the file descriptor `pipe`."""
    os.set_inheritable(pipe, False)
    set_seconds(seconds)
    set_workers(cpus)
    with open(pipe, "w", encoding="utf-8") as end:
        live(next(system for system in SYSTEMS if system.name == name), names, cpus, Report(end, names))


def live(system: System, names: list[str], cpus: int, report: Report) -> None:

    report.send(begin=life.START.name)
    module = system.load()
    began = time.perf_counter()
    handle = system.start(module, cpus)
    system.first_result(handle)
    first = time.perf_counter() - began
    if life.START.name in names:
        report.send(row=life.START.name, value=first)

    report.send(begin=life.MEMORY.name)
    system.warm_up(handle, cpus)
    if life.MEMORY.name in names or life.SHARED_MEMORY.name in names:
        time.sleep(SETTLE_SECONDS)
        report.send(idle=True)
        sys.stdin.readline()

    for row in rows.ROWS:
        if row.name in names and system.name in row.implementations:
            implementation = row.implementations[system.name]
            report.take(row.name, lambda: implementation(handle))  # noqa: B023 - called at once

    def stop() -> float:
        began = time.perf_counter()
        system.stop(handle)
        return time.perf_counter() - began

    report.take(life.SHUTDOWN.name, stop)
    report.send(end=True)


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
