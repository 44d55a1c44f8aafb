"""The memory monitor, with readings that the test makes up: it holds back new tasks, and ends the newest at last."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import minray
from minray import monitor
from minray.core.pressure import PATIENCE
from minray.monitor import Reading

GB = 10**9


class Machine:
    """Has as much memory in use as a test says."""

    def __init__(self) -> None:
        self.used = 10 * GB
        self.reads = 0
        self.high = 0  # so many readings more there is hardly any left

    def __call__(self) -> Reading:
        self.reads += 1
        self.high = max(0, self.high - 1)
        return Reading(99 * GB if self.high else self.used, 100 * GB)


@pytest.fixture(params=["threads", "loky"])
def backend(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def machine(backend: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """A machine with a run that reads it every 2 ms."""
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "2")
    found = Machine()
    monkeypatch.setattr(monitor, "read_machine", found)
    minray.init(backend=backend, num_cpus=2)
    yield found
    minray.shutdown()


def pass_readings(machine: Machine, eventually: Callable[..., Any], number: int = 3) -> None:
    upto = machine.reads + number
    eventually(lambda: machine.reads >= upto)


def test_while_memory_is_short_a_task_waits_for_those_that_run(
    machine: Machine, flags: Any, eventually: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    @minray.remote
    def hold(name: str) -> None:
        flags.up(name)
        flags.wait("go")

    monkeypatch.setattr("minray.core.pressure.PATIENCE", sys.maxsize)  # none is ended
    monkeypatch.setattr("minray.core.scheduler.HOLD_SECONDS", 60)
    machine.used = 96 * GB
    pass_readings(machine, eventually)
    first, second = hold.remote("first"), hold.remote("second")
    flags.wait("first")
    pass_readings(machine, eventually)
    assert flags.count("second") == 0
    machine.used = 10 * GB
    flags.wait("second")
    flags.up("go")
    assert minray.get([first, second]) == [None, None]


def test_the_newest_task_that_can_be_run_again_is_ended_and_is_run_again(
    machine: Machine, flags: Any, eventually: Any
) -> None:
    @minray.remote(max_retries=0)
    def old() -> str:
        flags.up("old")
        flags.wait("go")
        return "old"

    @minray.remote(max_retries=5)
    def new() -> str:
        flags.up("new")
        flags.wait("go")
        return "new"

    first = old.remote()
    flags.wait("old")
    second = new.remote()
    flags.wait("new")
    machine.high = PATIENCE + 1
    flags.wait("new", 2)
    flags.up("go")
    assert minray.get([first, second]) == ["old", "new"]
    assert flags.count("old") == 1


def test_what_cannot_be_run_again_fails_with_what_was_in_use(machine: Machine, flags: Any) -> None:
    @minray.remote(max_retries=0)
    def greedy() -> None:
        flags.up("runs")
        flags.wait("never")

    @minray.remote
    def five() -> int:
        return 5

    ref = greedy.remote()
    flags.wait("runs")
    machine.used = 97 * GB
    with pytest.raises(minray.exceptions.OutOfMemoryError, match=r"97\.00 GB of 100\.00 GB are in use") as raised:
        minray.get(ref)
    flags.up("never")  # a thread ends when it gets there
    text = str(raised.value)
    assert "greedy" in text and "97.0%" in text and "threshold is 95.0%" in text and "process " in text
    machine.used = 10 * GB
    assert minray.get(five.remote()) == 5, "the run goes on"


def test_actors_and_the_driver_are_left_alone(machine: Machine, eventually: Any) -> None:
    @minray.remote
    class Counter:
        def pid(self) -> int:
            return os.getpid()

    counter: Any = Counter.remote()
    pid = minray.get(counter.pid.remote())
    machine.used = 99 * GB
    pass_readings(machine, eventually, 10)
    assert minray.get(counter.pid.remote()) == pid


def test_it_can_be_turned_off(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "read_machine", lambda: pytest.fail("was read"))
    minray.init(backend=backend, num_cpus=1, _system_config={"memory_monitor_refresh_ms": 0})

    @minray.remote
    def five() -> int:
        return 5

    assert minray.get(five.remote()) == 5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("memory_usage_threshold", "x"),
        ("memory_usage_threshold", "1.5"),
        ("memory_monitor_refresh_ms", "-1"),
        ("local_fs_capacity_threshold", "2"),
    ],
)
def test_bad_settings_are_refused(backend: str, name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"RAY_{name}", value)
    with pytest.raises(ValueError, match=f"{name} must be a number"):
        minray.init(backend=backend)


def test_this_machine_is_read() -> None:
    found = monitor.read_machine()
    assert found is not None and 0 < found.used < found.total
    assert monitor.memory_of(os.getpid()) > 1 << 20
    assert monitor.memory_of(2**22 + 1) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="asks psutil anyway")
def test_where_the_system_says_nothing_psutil_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "_meminfo", dict)
    found = monitor.read_machine()
    assert found is not None and 0 < found.used < found.total


def test_in_a_container_its_limit_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "memory.max": "1000\n",
        "memory.current": "900\n",
        "memory.stat": "anon 1\ninactive_file 200\nactive_file 100\n",
    }
    monkeypatch.setattr(monitor, "_text", files.__getitem__)
    monkeypatch.setattr(monitor, "_meminfo", lambda: {"MemTotal": 5000, "MemAvailable": 4000})
    assert monitor.read_machine() == (600, 1000)
    files["memory.max"] = "max\n"
    monkeypatch.setattr(monitor, "_text", lambda name: files[name] if name in files else _missing(name))
    assert monitor.read_machine() == (1000, 5000)


def _missing(name: str) -> str:
    raise FileNotFoundError(name)
