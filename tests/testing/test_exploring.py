"""Searching, shrinking, drawing and replaying schedules."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

import minray
from minray.exceptions import DeadlockError, LivelockError
from minray.session import current
from minray.testing import ScheduleError, explore, explored, find, outcomes
from minray.testing.runs import Runner
from minray_sim import DelayBounded, Deviations, Fifo, Pct, active

ray: Any = minray


@pytest.fixture(autouse=True)
def replays(tmp_path: Path, monkeypatch: Any) -> Iterator[None]:
    """Schedules go where they are cleaned up; nothing of the simulation is left."""
    monkeypatch.setenv("MINRAY_REPLAYS", str(tmp_path))
    monkeypatch.delenv("MINRAY_BACKEND", raising=False)
    threads = set(threading.enumerate())
    yield
    assert not minray.is_initialized()
    assert active.simulation is None
    assert set(threading.enumerate()) <= threads


@ray.remote
class Cell:
    def __init__(self, value: Any = 0) -> None:
        self.value = value

    def get(self) -> Any:
        return self.value

    def set(self, value: Any) -> None:
        self.value = value


@ray.remote
def write(cell: Any, value: Any) -> None:
    ray.get(cell.set.remote(value))


def last_writer() -> Any:
    """Two tasks write one cell."""
    cell = Cell.remote()
    ray.get([write.remote(cell, "first"), write.remote(cell, "second")])
    return ray.get(cell.get.remote())


def breaks_if_first() -> None:
    assert last_writer() == "second", "the first came last"


def test_a_schedule_that_breaks_the_program_is_found_and_shrunk_to_one_deviation() -> None:
    failure = find(breaks_if_first)
    assert failure is not None
    assert failure.runs > 1
    assert isinstance(failure.error, AssertionError)
    assert len(failure.pairs) == 1
    assert failure.found >= 1
    assert failure.faults == 0


@pytest.mark.parametrize("strategy", ["random", "pct", "pctcp", "pos", "delay", Pct(2, 20), DelayBounded(1)])
def test_every_strategy_finds_it(strategy: Any) -> None:
    assert find(breaks_if_first, strategy=strategy, runs=200, shrink=False) is not None


def test_a_program_that_holds_survives() -> None:
    def holds() -> None:
        assert last_writer() in ("first", "second")

    assert find(holds, runs=50) is None
    explore(holds, runs=20)


def test_first_in_first_out_is_tried_first_and_needs_no_deviation() -> None:
    def always() -> None:
        raise KeyError("always")

    failure = find(always)
    assert failure is not None
    assert (failure.runs, failure.pairs) == (1, [])
    assert "fails first-in-first-out" in str(failure)


def test_an_invariant_is_checked_on_what_the_program_returns() -> None:
    failure = find(last_writer, invariant=lambda value: value == "second")
    assert failure is not None
    assert "invariant does not hold for the result 'first'" in str(failure)
    assert find(last_writer, invariant=lambda value: None, runs=10) is None


def test_explore_raises_with_the_schedule_a_chart_and_the_line_to_replay_it() -> None:
    with pytest.raises(ScheduleError) as caught:
        explore(breaks_if_first)
    text = str(caught.value)
    assert "AssertionError: the first came last" in text
    assert "What differs:\n  " in text
    assert ", before " in text
    chart = [line for line in text.splitlines() if "Cell.1" in line and "main" in line]
    assert chart, text
    assert any(line.startswith("!") for line in text.splitlines())
    assert f"MINRAY_REPLAY={caught.value.failure.path}" in text
    assert caught.value.__cause__ is caught.value.failure.error


def test_a_replayed_schedule_is_the_same_run(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent(
            """
            import minray as ray
            from minray.testing import explore

            @ray.remote
            class Cell:
                def set(self, value):
                    self.value = value

                def get(self):
                    return self.value

            @ray.remote
            def write(cell, value):
                ray.get(cell.set.remote(value))

            def program():
                cell = Cell.remote()
                ray.get([write.remote(cell, "first"), write.remote(cell, "second")])
                assert ray.get(cell.get.remote()) == "second", "the first came last"

            if __name__ == "__main__":
                import sys
                explore(program) if "explore" in sys.argv else program()
            """
        )
    )
    env = {**os.environ, "MINRAY_REPLAYS": str(tmp_path), "PYTHONWARNINGS": "ignore"}

    def run(*args: str, **more: str) -> str:
        command = [sys.executable, str(program), *args]
        done = subprocess.run(command, capture_output=True, text=True, env={**env, **more}, cwd=tmp_path)
        return done.stderr

    found = run("explore")
    assert "ScheduleError" in found
    path = found.partition("MINRAY_REPLAY=")[2].split()[0]
    schedule = json.loads(Path(path).read_text())["schedule"]
    assert len(schedule) == 1
    assert "python program.py explore" in found
    replayed = run("explore", MINRAY_REPLAY=path)
    assert "Found in run 1. What differs:" in replayed
    assert "the first came last" in run(MINRAY_REPLAY=path)
    assert run(MINRAY_BACKEND="sim", MINRAY_STRATEGY="fifo") == ""


@pytest.mark.parametrize("text", ["", "{}", '{"minray replay": 2}', '{"minray replay": 1, "schedule": [["a"]]}'])
def test_a_file_that_is_no_schedule_is_refused(tmp_path: Path, monkeypatch: Any, text: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    monkeypatch.setenv("MINRAY_REPLAY", str(path))
    with pytest.raises(ValueError, match="no schedule that this version can replay"):
        minray.init()


def test_who_replays_need_not_name_the_backend(tmp_path: Path, monkeypatch: Any) -> None:
    failure = find(breaks_if_first)
    assert failure is not None
    monkeypatch.setenv("MINRAY_REPLAY", failure.path)
    with pytest.raises(AssertionError, match="the first came last"):
        breaks_if_first()
    minray.shutdown()
    again = find(breaks_if_first, runs=100)
    assert again is not None
    assert (again.runs, again.pairs) == (1, failure.pairs)
    assert find(last_writer) is None


def test_outcomes_are_the_distinct_results_over_schedules() -> None:
    assert outcomes(last_writer, runs=60) == {"first", "second"}
    assert outcomes(lambda: ray.get(ray.put([1])), runs=5) == {"[1]"}

    def breaks() -> str:
        breaks_if_first()
        return "fine"

    fine, broken = sorted(outcomes(breaks, runs=60), reverse=True)
    assert fine == "fine"
    assert broken.startswith("AssertionError: the first came last")


def test_an_exhaustive_search_ends_when_there_is_nothing_left() -> None:
    strategy = DelayBounded(1)
    assert outcomes(last_writer, strategy=strategy, runs=10_000) == {"first", "second"}
    assert strategy.exhausted


def test_faults_are_found_and_shrunk_to_the_one_that_matters() -> None:
    @ray.remote(max_retries=1)
    def bump(cell: Any) -> None:
        ray.get(cell.set.remote(ray.get(cell.get.remote()) + 1))

    def program() -> None:
        cell = Cell.remote()
        try:
            ray.get(bump.remote(cell))
            value = ray.get(cell.get.remote())
        except ray.exceptions.RayError:
            return
        assert value == 1, "paid twice"

    failure = find(program, faults={"death": 2}, runs=3000)
    assert failure is not None
    assert failure.faults == 1
    assert len(failure.pairs) == 1
    assert "FAULT: death" in str(failure)
    assert json.loads(Path(failure.path).read_text())["faults"] == {"death": 2}


def test_inputs_are_shrunk_by_hypothesis_first(monkeypatch: Any) -> None:
    def program(values: list[int]) -> None:
        cell = Cell.remote()
        ray.get([write.remote(cell, value) for value in values])
        assert not values or ray.get(cell.get.remote()) == values[-1]

    with pytest.raises(ScheduleError, match=r"With the input \[(0, 1|1, 0)\]") as caught:
        explore(program, inputs=st.lists(st.integers(), max_size=4), runs=20)
    monkeypatch.setenv("MINRAY_REPLAY", caught.value.failure.path)
    with pytest.raises(ScheduleError, match=r"With the input \[(0, 1|1, 0)\]"):
        explore(program, inputs=st.nothing())


@explored(runs=10)
def test_a_decorated_test_is_explored(tmp_path: Path) -> None:
    assert last_writer() in ("first", "second")
    assert tmp_path.exists()


def test_a_decorated_test_fails_if_a_schedule_does() -> None:
    with pytest.raises(ScheduleError):
        explored(runs=100)(breaks_if_first)()


def test_deadlocks_and_livelocks_are_failures() -> None:
    def deadlock() -> None:
        lock = threading.Lock()
        lock.acquire()
        lock.acquire()

    def livelock() -> None:
        cell = Cell.remote()
        while not ray.get(cell.get.remote()):
            pass

    first, second = find(deadlock), find(livelock, max_steps=300, shrink=False)
    assert first is not None
    assert second is not None
    assert isinstance(first.error, DeadlockError)
    assert isinstance(second.error, LivelockError)


def test_a_program_may_start_its_run_itself() -> None:
    def program() -> None:
        ray.init(num_cpus=1)
        breaks_if_first()

    assert find(program, runs=200) is not None


def test_a_run_that_is_on_must_be_ended_first() -> None:
    minray.init(backend="threads")
    with pytest.raises(RuntimeError, match="shutdown"):
        find(breaks_if_first)
    minray.shutdown()


def test_deviations_that_never_come_up_change_nothing() -> None:
    assert find(breaks_if_first, strategy=Deviations([("call nobody.1", "call nothing.2")]), runs=3) is None


def test_ten_thousand_runs_leave_nothing_behind() -> None:
    # A hundred tell as much: nothing may be kept for each run.
    import gc

    outcomes(last_writer, runs=20)
    gc.collect()
    before = len(gc.get_objects())
    outcomes(last_writer, runs=100)
    gc.collect()
    assert len(gc.get_objects()) < before + 2000


def test_runs_with_classes_of_their_own_leave_nothing_behind() -> None:
    import gc

    def program() -> int:
        class Cell:
            def get(self) -> int:
                return 1

        class Reader:
            def read(self, cell: Any) -> int:
                return int(ray.get(cell.get.remote()))

        cell, reader = ray.remote(Cell).remote(), ray.remote(Reader).remote()
        return int(ray.get(reader.read.remote(cell)))

    outcomes(program, runs=300)
    gc.collect()
    before = len(gc.get_objects())
    outcomes(program, runs=600)
    gc.collect()
    assert len(gc.get_objects()) < before + 6000, "ten for each run: it was 28"


def test_a_run_is_gone_when_it_is_over_without_the_garbage_collector() -> None:
    runs: list[weakref.ref[Any]] = []

    def program() -> None:
        last_writer()
        runs.append(weakref.ref(current()))

    with Runner(program, None, 1000) as runner:
        assert [runner.run(seed, Fifo()).error for seed in range(3)] == [None] * 3
        # But for the last one, which `write` was called in.
        assert [run() is None for run in runs[:-1]] == [True, True]


def test_ctrl_c_ends_a_search_and_the_signal_is_given_back() -> None:
    before = signal.getsignal(signal.SIGINT)

    def program() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        last_writer()

    with pytest.raises(KeyboardInterrupt):
        find(program)
    assert signal.getsignal(signal.SIGINT) is before
