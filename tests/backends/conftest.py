"""What the tests of the backends share: a leak check after each, and drivers in processes of their own.

Remote functions and classes are defined inside the tests: workers cannot import a test module, so what they run has to
travel by value.
"""

from __future__ import annotations

import glob
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import minray

# A script that runs the tests in its background ignores Ctrl-C, as does all that it starts. Here it is the subject.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

#: Long enough for any machine: what is waited for takes milliseconds.
PATIENCE = 20.0


def wait_until(condition: Callable[[], Any], seconds: float = PATIENCE, what: Callable[[], object] = str) -> Any:
    """Repeat a call until it returns something true, which is returned."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < deadline, f"not true within {seconds} s: {what() or condition}"
        time.sleep(0.005)
    return result


@pytest.fixture
def eventually() -> Callable[..., Any]:
    return wait_until


def directories(pid: int) -> list[str]:
    """The directories that a run of this process has made."""
    return [path for at in ("/dev/shm", tempfile.gettempdir()) for path in glob.glob(f"{at}/minray-{pid}-*")]


def processes() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


@pytest.fixture(autouse=True)
def nothing_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test leaves the processes, threads, files and descriptors that it found."""
    before, threads, fds = processes(), set(threading.enumerate()), psutil.Process().num_fds()
    yield
    minray.shutdown()
    wait_until(
        lambda: processes() <= before, 5, lambda: f"processes left: {list(map(psutil.Process, processes() - before))}"
    )
    wait_until(lambda: set(threading.enumerate()) <= threads, 5, lambda: f"threads: {threading.enumerate()}")
    assert directories(os.getpid()) == []
    # The trackers and the poller of a first run stay out of this; what grows with every test does not.
    assert psutil.Process().num_fds() <= fds + 4


@pytest.fixture
def ray(backend: str) -> Iterator[Any]:
    """minray, with a run of the test's own."""
    minray.init(backend=backend, num_cpus=2)
    yield minray
    minray.shutdown()


@pytest.fixture
def flags(tmp_path: Path) -> Any:
    """Flags that the test and its tasks raise, count and wait for. Files: they owe nothing to what is tested."""

    class Flags:
        def __init__(self, directory: str) -> None:
            self.directory = directory

        def up(self, name: str) -> int:
            """Raise a flag once more; return how often it has been raised."""
            with open(os.path.join(self.directory, name), "ab") as file:
                file.write(b"x")
            return self.count(name)

        def count(self, name: str) -> int:
            path = os.path.join(self.directory, name)
            return os.path.getsize(path) if os.path.exists(path) else 0

        def wait(self, name: str, times: int = 1) -> None:
            """Return when the flag has been raised `times` times."""
            deadline = time.monotonic() + 20
            while self.count(name) < times:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"flag {name!r} was raised {self.count(name)} times, not {times} times")
                time.sleep(0.002)

    return Flags(str(tmp_path))


class Program:
    """A driver that runs in a process, process group and session of its own."""

    def __init__(self, command: list[str], where: Path, stdin: str, env: dict[str, str]) -> None:
        self.where = where
        self._paths = where / "stdout", where / "stderr"
        self.tmp = tempfile.mkdtemp(prefix="tmp-")  # short, for addresses of sockets below it have 107 bytes at most
        (where / "stdin").write_text(stdin)
        # From 3.12 on os.fork() warns whoever has threads; minray has some, and some of these programs fork.
        quiet = {"PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "ignore::DeprecationWarning"}
        environment = {**os.environ, **quiet, "TMPDIR": self.tmp, **env}
        with open(where / "stdin") as given, open(self._paths[0], "w") as out, open(self._paths[1], "w") as err:
            self.process = subprocess.Popen(
                command, cwd=where, env=environment, stdin=given, stdout=out, stderr=err, start_new_session=True
            )
        self.pid = self.process.pid

    @property
    def out(self) -> str:
        return self._paths[0].read_text()

    @property
    def err(self) -> str:
        return self._paths[1].read_text()

    def says(self, text: str) -> None:
        """Wait until it has printed `text`."""
        wait_until(lambda: text in self.out or self.process.poll() is not None, what=lambda: f"{self.out}\n{self.err}")
        assert text in self.out, f"it ended with {self.process.returncode} before that:\n{self.out}\n{self.err}"

    def interrupt(self) -> None:
        """Ctrl-C in its terminal: all of its processes get the signal."""
        os.killpg(self.pid, signal.SIGINT)

    def ends(self, seconds: float = PATIENCE) -> int:
        """Wait until it has ended, with nothing left; return its status. (It takes 0.1 s where nothing else runs.)"""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it goes on after {seconds} s:\n{self.out}\n{self.err}") from None
        wait_until(lambda: not self.family(), 5, lambda: f"processes are left: {self.family()}\n{self.out}\n{self.err}")
        left = [*glob.glob(f"/dev/shm/minray-{self.pid}-*"), *os.listdir(self.tmp)]
        assert not left, f"files are left: {left}"
        return status

    def runs(self) -> str:
        """Wait for an end without any complaint; return what it printed."""
        status = self.ends()
        assert (status, self.err) == (0, ""), f"status {status}\n{self.out}\n{self.err}"
        return self.out

    def family(self) -> list[psutil.Process]:
        """All of its processes that are alive, whoever their parent is by now."""
        found = []
        for process in psutil.process_iter():
            try:
                # The trackers have sessions of their own, and the directory in common.
                mine = os.getsid(process.pid) == self.pid or process.environ().get("TMPDIR") == self.tmp
                if mine and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (ProcessLookupError, psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def kill_all(self) -> None:
        self.process.kill()
        self.process.wait()
        for process in self.family():
            process.kill()
        shutil.rmtree(self.tmp, ignore_errors=True)


Start = Callable[..., Program]


@pytest.fixture
def start(tmp_path: Path, backend: str) -> Iterator[Start]:
    """Starts a script as ``python script.py``; `how` may also be "stdin", "-c" or "-m"."""
    started: list[Any] = []

    def run(
        script: str, how: str = "file", stdin: str = "", env: dict[str, str] | None = None, args: Any = ()
    ) -> Program:
        text = textwrap.dedent(script)
        where = tmp_path / f"program{len(started)}"
        where.mkdir(exist_ok=True)
        command = [sys.executable, *args]
        if how == "stdin":
            stdin = text
        elif how == "-c":
            command += ["-c", text]
        else:
            (where / "program.py").write_text(text)
            command += ["-m", "program"] if how == "-m" else ["program.py"]
        started.append(Program(command, where, stdin, {"MINRAY_BACKEND": backend, **(env or {})}))
        return started[-1]

    yield run
    for program in started:
        program.kill_all()
