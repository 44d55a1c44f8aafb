"""Runs one program on one system, and sees what it does, how long that takes, and what is left of it.

All processes of a run carry a mark in their environment, by which they are found however they are related.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

CHILD = Path(__file__).parents[1] / "hygiene_child.py"
SHARED_MEMORY = Path("/dev/shm")
#: How long what a program has started may outlive it before it counts as left (s).
GRACE_SECONDS = 10.0
#: How soon something else has to be heard from a program (s).
SILENCE_SECONDS = 100.0
#: How long it may take to end when it has nothing more to do (s).
EXIT_SECONDS = 30.0
_MARK = "HYGIENE_MARK"
#: What gives a program a /dev/shm of its own: a directory that can be looked into from outside, or a small one.
_OWN = 'mount --bind "$0" /dev/shm && exec "$@"'
_SMALL = 'mount -t tmpfs -o size=64m tmpfs /dev/shm && exec "$@"'


@dataclass
class Seen:
    """What an observer has seen of one run."""

    #: What the program told, in one mapping.
    facts: dict[str, Any] = field(default_factory=dict)
    #: What became of it: its exit status, or None if it had to be killed.
    status: int | None = None
    #: Whether it was killed because nothing was heard of it any more, or it did not end.
    stuck: bool = False
    #: From when it left, or was killed, to when no process of the run was left (s).
    gone_seconds: float = 0.0
    #: What was left then, or after `GRACE_SECONDS`: names.
    processes: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    shared_memory: list[str] = field(default_factory=list)  # none is seen where there are no namespaces
    #: stdout and stderr.
    output: str = ""


@functools.cache
def namespaces_work() -> bool:
    """Whether a program can be given a /dev/shm of its own."""
    if shutil.which("unshare") is None:
        return False
    return subprocess.run([*_in_namespace(_SMALL), "true"], capture_output=True, check=False).returncode == 0


def observe(system: str, program: str, small: bool = False, **options: Any) -> Seen:
    """Run `program` on `system`, with a small /dev/shm if that is asked for, to its end and that of all it started."""
    seen = Seen()
    mark = os.urandom(8).hex()
    directory = tempfile.mkdtemp(prefix="hy-")  # a short name: Ray makes sockets in it
    flags = tempfile.mkdtemp(prefix="hy-")
    shared = tempfile.mkdtemp(prefix="hy-", dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None)
    os.chmod(shared, 0o1777)
    prefix: list[str] = []
    if namespaces_work():
        prefix = _in_namespace(_SMALL) if small else _in_namespace(_OWN, shared)
    reader, writer = os.pipe()
    arguments = json.dumps({"system": system, "name": program, "pipe": writer, "options": options})
    environment = {
        **os.environ,
        _MARK: mark,
        "TMPDIR": directory,
        "RAY_TMPDIR": directory,
        "HYGIENE_FLAGS": flags,
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    try:
        with tempfile.TemporaryFile("w+", errors="replace") as output:
            process = subprocess.Popen(
                [*prefix, sys.executable, str(CHILD), arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=[writer],
                start_new_session=True,
                env=environment,
            )
            os.close(writer)
            _follow(process, reader, seen)
            _watch_the_end(mark, seen)
            output.seek(0)
            seen.output = output.read()
        seen.files = sorted(
            str(path.relative_to(directory)) for path in Path(directory).rglob("*") if not path.is_dir()
        )
        seen.shared_memory = sorted(os.listdir(shared))
    finally:
        os.close(reader)
        for process_left in _marked(mark):
            with contextlib.suppress(psutil.NoSuchProcess):
                process_left.kill()
        for made in (directory, flags, shared):
            shutil.rmtree(made, ignore_errors=True)
    return seen


def _follow(process: subprocess.Popen[bytes], reader: int, seen: Seen) -> None:
    """Hear what the program tells until it has ended."""
    for facts in _told(process, reader):
        seen.facts.update(facts)
        if "kill" in facts:
            process.kill()
            break
    left = time.monotonic()
    try:
        seen.status = process.wait(EXIT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        seen.stuck = True
    seen.gone_seconds = time.monotonic() - left


def _told(process: subprocess.Popen[bytes], reader: int) -> Iterator[dict[str, Any]]:
    """What the program tells, until its last word: it is leaving, has stopped the system, has failed, or is silent."""
    rest = b""
    deadline = time.monotonic() + SILENCE_SECONDS
    with selectors.DefaultSelector() as selector:
        selector.register(reader, selectors.EVENT_READ)
        while time.monotonic() < deadline:
            ended = process.poll() is not None
            if not selector.select(0.05):
                if ended:
                    return
                continue
            data = os.read(reader, 65536)
            if not data:
                return
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                facts = json.loads(line)
                yield facts
                if facts.keys() & {"leaving", "stopped", "count"}:
                    return
            deadline = time.monotonic() + SILENCE_SECONDS


def _watch_the_end(mark: str, seen: Seen) -> None:
    """Wait until all processes of the run have ended; end those that do not."""
    ended = time.monotonic()
    while (left := _marked(mark)) and time.monotonic() - ended < GRACE_SECONDS:
        time.sleep(0.02)
    seen.gone_seconds += time.monotonic() - ended
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            seen.processes.append(process.name())
            process.kill()
    psutil.wait_procs(left, timeout=5)


def _marked(mark: str) -> list[psutil.Process]:
    """The living processes of a run."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied, OSError):
            if process.environ().get(_MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _in_namespace(script: str, argument: str = "sh") -> list[str]:
    """What a command is prefixed with to have a /dev/shm of its own, which `script` makes."""
    namespaces = ["--mount"] if os.getuid() == 0 else ["--user", "--map-root-user", "--mount"]
    return ["unshare", *namespaces, "sh", "-c", script, argument]
