"""Where the time of a call goes: every stage of a task that does nothing, in microseconds. See docs/performance.md.

    python benchmarks/stages.py                      print the tables
    python benchmarks/stages.py --write              also put them into docs/performance.md
    python benchmarks/stages.py --backends loky --seconds 0.3

The functions of each stage are wrapped from outside, in the driver and in the worker, and each is charged with the time
that it does not spend in another wrapped one. One worker, so that what waits for what is plain. The same work is
measured before without the timers, and a bare ping-pong over a socket pair beside it.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import socket
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter, perf_counter_ns
from typing import Any, NamedTuple

PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- stages: begin -->", "<!-- stages: end -->"
AT_ONCE = 5_000
#: Of so many stretches of the same work the quietest counts: what else runs on the machine hits some of them.
STRETCHES = 10

DRIVER, WORKER = "driver", "worker"


class Stage(NamedTuple):
    """Its name, and the functions that are charged to it: ``module:Class.function``."""

    side: str
    name: str
    functions: tuple[str, ...]


#: In the order of a call's way. What is not there on a backend is left out.
STAGES = [
    Stage(DRIVER, "submit: options, signature, reference", ("minray.remote_function:RemoteFunction.remote",)),
    Stage(DRIVER, "submit: encode arguments", ("minray.calling:Codec.call",)),
    Stage(DRIVER, "submit: lock, id, notes", ("minray.runtime:Runtime.submit", "minray.runtime:Runtime._pump")),
    Stage(DRIVER, "submit: graph", ("minray.core.graph:TaskGraph.submitted",)),
    Stage(DRIVER, "carry out decisions", ("minray.carrying:Carrier.carry_out", "minray.carrying:Carrier._run")),
    Stage(DRIVER, "deliver", ("minray.delivery:Delivery.deliver", "minray_loky.pool:LokyPool.send")),
    Stage(DRIVER, "frame", ("minray_loky.channel:frame",)),
    Stage(DRIVER, "write", ("minray_loky.channel:DriverEnd.send", "minray_threads:ThreadPool.send")),
    Stage(
        DRIVER,
        "get: ids, watch, lead",
        (
            "minray.runtime:Runtime.get",
            "minray.runtime:Runtime._await",
            "minray.core.graph:TaskGraph.watched",
            "minray.reading:Reader.wait",
            "minray.reading:Reader.pump",
        ),
    ),
    Stage(
        DRIVER,
        "poll, and wait for the worker",
        ("minray_loky.channel:Poller.poll", "minray_loky.pool:LokyPool.receive", "minray_threads:ThreadPool.receive"),
    ),
    Stage(DRIVER, "read", ("minray_loky.channel:DriverEnd.read",)),
    Stage(DRIVER, "unframe", ("minray.wire.framing:Framer.feed",)),
    Stage(DRIVER, "handle messages", ("minray.owner:Owner._receive", "minray.core.graph:TaskGraph.ticked")),
    Stage(DRIVER, "graph: finished, next", ("minray.core.graph:TaskGraph.finished",)),
    Stage(DRIVER, "graph: resolve", ("minray.core.graph:TaskGraph.complete",)),
    Stage(
        DRIVER,
        "count released references",
        ("minray.owner:Owner._settle", "minray.owner:Owner.release"),
    ),
    Stage(DRIVER, "decode result", ("minray.calling:Codec.decode",)),
    Stage(
        WORKER,
        "read, and wait for the driver",
        ("minray_loky.channel:WorkerEnd.receive", "minray_threads:_Link.receive"),
    ),
    Stage(WORKER, "unframe", ("minray.wire.framing:Framer.feed",)),
    Stage(
        WORKER,
        "sort messages",
        ("minray.exchange:Exchange._receive", "minray.worker:Worker._take", "minray.reading:Reader.wait"),
    ),
    Stage(WORKER, "decode arguments", ("minray.calling:Codec.arguments",)),
    Stage(
        WORKER,
        "step, run the function",
        ("minray.worker:Worker._step", "minray.running:Calls.run", "minray.running:Calls.hold"),
    ),
    Stage(WORKER, "encode result", ("minray.running:Calls.results",)),
    Stage(WORKER, "flush", ("minray.exchange:Exchange.flush",)),
    Stage(WORKER, "frame", ("minray_loky.channel:frame",)),
    Stage(WORKER, "write", ("minray_loky.channel:WorkerEnd.send", "minray_threads:_Link.send")),
]
#: In these a side waits for the other.
WAITS = ("poll, and wait for the worker", "read, and wait for the driver")

#: Nanoseconds spent in each function, by side; one dictionary a process.
_totals: dict[tuple[str, str], int] = defaultdict(int)
_local = threading.local()
_originals: list[tuple[Any, str, Any]] = []


def timed(function: Callable[..., Any], key: str) -> Callable[..., Any]:
    """`function`, with its own time added up under `key` and the calling thread's side."""

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        entered = perf_counter_ns()
        try:
            stack = _local.stack
        except AttributeError:
            stack = _local.stack = []
            thread = threading.current_thread()
            main = thread is threading.main_thread()
            _local.side = DRIVER if main and not _in_worker else WORKER if main or "worker" in thread.name else "other"
        stack.append(0)
        start = perf_counter_ns()
        try:
            return function(*args, **kwargs)
        finally:
            taken = perf_counter_ns() - start
            _totals[_local.side, key] += taken - stack.pop()
            if stack:
                stack[-1] += perf_counter_ns() - entered  # with what the timer itself takes: nobody is charged for it

    return wrapper


_in_worker = False


def install(in_worker: bool = False) -> None:
    """Wrap the functions of all stages that this process has."""
    global _in_worker
    _in_worker = in_worker
    if _originals:
        return
    for key in dict.fromkeys(key for stage in STAGES for key in stage.functions):
        module_name, _, path = key.partition(":")
        try:
            owner: Any = importlib.import_module(module_name)
            *outer, name = path.split(".")
            for part in outer:
                owner = getattr(owner, part)
            original = getattr(owner, name)
        except (ImportError, AttributeError):
            print(f"no {key} any more: its time is its caller's", file=sys.stderr)
            continue
        _originals.append((owner, name, original))
        setattr(owner, name, timed(original, key))


def remove() -> None:
    while _originals:
        setattr(*_originals.pop())


def take() -> dict[tuple[str, str], int]:
    """What was added up since the last time."""
    taken = dict(_totals)
    _totals.clear()
    return taken


def in_worker(what: str) -> Any:
    """The task that reaches into the worker's process: this module, as the worker imports it."""
    import stages

    if what == "take":
        return stages.take()
    stages.install(in_worker=True)
    from minray.session import current

    client: Any = current()
    client.reader._receive = client._receive  # bound before they were wrapped
    client._on_work = client._on_work.__self__._take
    return None


def nothing() -> None:
    """The task that is measured."""


# -- the measurements ----------------------------------------------------------------------------------------------


def ping_pong(seconds: float) -> float:
    """Microseconds for one byte to another process and back."""
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        ours.close()
        while byte := theirs.recv(1):
            theirs.send(byte)
        os._exit(0)
    theirs.close()

    def step() -> None:
        ours.send(b"x")
        ours.recv(1)

    try:
        return min(stretch(step, seconds / STRETCHES)[0] for _ in range(STRETCHES))
    finally:
        ours.close()
        os.wait()


def stretch(step: Callable[[], Any], seconds: float, calls: int = 1) -> tuple[float, int]:
    """Microseconds of a call, where `step` makes `calls` of them; and how many were made in all."""
    made = 0
    start = now = perf_counter()
    while now < start + seconds or not made:
        step()
        made += calls
        now = perf_counter()
    return (now - start) * 1e6 / made, made


@contextmanager
def running(backend: str) -> Iterator[Any]:
    import minray

    minray.init(backend=backend, num_cpus=1)
    try:
        yield minray
    finally:
        minray.shutdown()


class Budget(NamedTuple):
    """One kind of work: microseconds a call, without timers and with, and by stage."""

    plain: float
    with_timers: float
    stages: dict[tuple[str, str], float]


def budget(backend: str, seconds: float, at_once: int) -> Budget:
    """The budget of `at_once` tasks that are submitted before the first result is fetched."""

    def work(ray: Any) -> Callable[[], Any]:
        task = ray.remote(nothing)
        ray.get([task.remote() for _ in range(1000)])
        return lambda: ray.get([task.remote() for _ in range(at_once)])

    with running(backend) as ray:
        step = work(ray)
        plain = min(stretch(step, seconds / STRETCHES, at_once)[0] for _ in range(STRETCHES))
    install()
    try:
        with running(backend) as ray:
            step, reach = work(ray), ray.remote(in_worker)
            separate = backend != "threads"
            if separate:
                ray.get(reach.remote("install"))
                step()
            found = []
            for _ in range(STRETCHES):
                if separate:
                    ray.get(reach.remote("take"))
                take()
                each, made = stretch(step, seconds / STRETCHES, at_once)
                totals = take()
                if separate:
                    there = ray.get(reach.remote("take"))
                    totals.update({key: value for key, value in there.items() if key[0] == WORKER})
                found.append((each, made, totals))
    finally:
        remove()
    with_timers, made, totals = min(found, key=lambda one: one[0])
    by_stage = {
        (stage.side, stage.name): sum(totals.get((stage.side, key), 0) for key in stage.functions) / made / 1000
        for stage in STAGES
    }
    return Budget(plain, with_timers, by_stage)


def table(backend: str, seconds: float) -> str:
    """The budget of one backend, as Markdown."""
    before = ping_pong(seconds)
    sync, many = budget(backend, seconds, 1), budget(backend, seconds, AT_ONCE)
    after = ping_pong(seconds)
    lines = [f"| {backend}: stage | one after another (us) | {AT_ONCE:,} at once (us a call) |", "|---|---|---|"]
    for stage in STAGES:
        values = [kind.stages[stage.side, stage.name] for kind in (sync, many)]
        if any(value >= 0.01 for value in values):
            lines.append(f"| {stage.side}: {stage.name} | {values[0]:.1f} | {values[1]:.2f} |")

    def busy(kind: Budget, side: str) -> float:
        return sum(value for (of, name), value in kind.stages.items() if of == side and name not in WAITS)

    lines += [
        *(
            f"| **{side}, all but waiting** | {busy(sync, side):.1f} | {busy(many, side):.2f} |"
            for side in (DRIVER, WORKER)
        ),
        f"| **a call, with timers** | {sync.with_timers:.1f} | {many.with_timers:.2f} |",
        f"| **a call, without timers** | {sync.plain:.1f} | {many.plain:.2f} |",
        f"| *limit: bare socket pair, there and back, before and after* | {before:.1f}, {after:.1f} | |",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", default="loky,threads")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each kind of work, with and without timers")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/performance.md")
    options = parser.parse_args()
    text = "\n\n".join(table(backend, options.seconds) for backend in options.backends.split(","))
    text += f"\n\nLoad of the machine at the end: {os.getloadavg()[0]:.2f} on {os.cpu_count()} CPUs."
    print(text)
    if options.write:
        page = PAGE.read_text(encoding="utf-8")
        page = re.sub(f"{BEGIN}.*{END}", lambda _: f"{BEGIN}\n\n{text}\n\n{END}", page, flags=re.DOTALL)
        PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    # Run as the module that the worker imports, so that both have one set of timers and no function goes by value.
    import stages

    stages.main()
