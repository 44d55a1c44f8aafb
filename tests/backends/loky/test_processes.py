"""What a worker is: a process of its own that finds the world as the driver's process does."""

from __future__ import annotations

import itertools
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

import minray
from minray_loky import template


def test_tasks_run_in_other_processes_two_at_a_time(ray: Any, flags: Any) -> None:
    @ray.remote
    def meet() -> int:
        flags.up("here")
        flags.wait("here", 2)
        return os.getpid()

    pids = set(ray.get([meet.remote(), meet.remote()]))
    assert len(pids) == 2 and os.getpid() not in pids


def test_every_actor_has_a_process_of_its_own(ray: Any) -> None:
    @ray.remote(num_cpus=0)
    class Actor:
        def pid(self) -> int:
            return os.getpid()

    @ray.remote
    def pid() -> int:
        return os.getpid()

    actors = [Actor.remote() for _ in range(3)]
    first = ray.get([actor.pid.remote() for actor in actors])
    others = ray.get([pid.remote() for _ in range(20)])
    assert ray.get([actor.pid.remote() for actor in actors]) == first
    assert len({*first}) == 3 and not {*first} & {*others, os.getpid()}


def test_an_actor_nobody_refers_to_gives_its_process_back(ray: Any, eventually: Callable[..., Any]) -> None:
    @ray.remote(num_cpus=0)
    class Actor:
        def pid(self) -> int:
            return os.getpid()

    actor = Actor.remote()
    pid = ray.get(actor.pid.remote())
    del actor
    eventually(lambda: not psutil.pid_exists(pid))


def test_an_actor_that_was_passed_around_gives_its_process_back(ray: Any, eventually: Callable[..., Any]) -> None:
    @ray.remote(num_cpus=0)
    class Actor:
        def pid(self) -> int:
            return os.getpid()

    @ray.remote
    def ask(actor: Any) -> int:
        return minray.get(actor.pid.remote())

    actor = Actor.remote()
    pid = ray.get(ask.remote(actor))
    assert ray.get(ask.remote(actor)) == pid
    del actor
    eventually(lambda: not psutil.pid_exists(pid))


def test_a_killed_actors_process_is_gone(ray: Any, eventually: Callable[..., Any]) -> None:
    @ray.remote(num_cpus=0)
    class Actor:
        def pid(self) -> int:
            return os.getpid()

    actor = Actor.remote()
    pid = ray.get(actor.pid.remote())
    ray.kill(actor)
    eventually(lambda: not psutil.pid_exists(pid))


def test_workers_draw_different_random_numbers(ray: Any) -> None:
    @ray.remote(num_cpus=0)
    class Actor:
        def draw(self) -> tuple[float, float, bytes]:
            import random

            import numpy

            return random.random(), float(numpy.random.random()), os.urandom(8)

    drawn = ray.get([Actor.remote().draw.remote() for _ in range(4)])
    for numbers in zip(*drawn):
        assert len(set(numbers)) == 4


def test_workers_have_one_thread_each_for_numeric_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    @minray.remote
    def threads() -> str | None:
        return os.environ.get("OMP_NUM_THREADS")

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with minray.init(backend="loky", num_cpus=1):
        assert minray.get(threads.remote()) == "1"
    assert "OMP_NUM_THREADS" not in os.environ
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    with minray.init(backend="loky", num_cpus=1):
        assert minray.get(threads.remote()) == "3"


def test_workers_inherit_the_environment_and_the_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    @minray.remote
    def surroundings() -> tuple[str | None, str]:
        return os.environ.get("OF_THE_TEST"), os.getcwd()

    monkeypatch.setenv("OF_THE_TEST", "ünïcode")
    monkeypatch.chdir(tmp_path)
    with minray.init(backend="loky", num_cpus=1):
        assert minray.get(surroundings.remote()) == ("ünïcode", str(tmp_path))


def test_workers_find_the_drivers_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "helper_of_the_test.py").write_text("def answer():\n    return 42\n")
    monkeypatch.syspath_prepend(tmp_path)

    @minray.remote
    def ask() -> int:
        import helper_of_the_test  # type: ignore[import-not-found]

        answer: int = helper_of_the_test.answer()
        return answer

    with minray.init(backend="loky", num_cpus=1):
        assert minray.get(ask.remote()) == 42


def test_workers_know_that_they_are_no_driver(ray: Any) -> None:
    @ray.remote
    def inner() -> int:
        return 1

    @ray.remote
    def look() -> tuple[bool, int]:
        return minray.is_initialized(), minray.get(inner.remote())

    assert ray.get(look.remote()) == (True, 1)


def test_a_thread_of_a_task_may_use_the_api(ray: Any) -> None:
    @ray.remote
    def inner(x: int) -> int:
        return x

    @ray.remote
    def threaded() -> list[int]:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(lambda x: minray.get(inner.remote(x)), range(20)))

    assert ray.get(threaded.remote()) == list(range(20))


def test_a_task_may_start_processes_of_its_own(ray: Any) -> None:
    @ray.remote
    def start() -> tuple[list[int], str]:
        import multiprocessing
        import subprocess

        with multiprocessing.get_context("fork").Pool(2) as pool:
            lengths = pool.map(len, ["a", "bb"])
        return lengths, subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True, text=True).stdout

    assert ray.get(start.remote()) == ([1, 2], "1\n")


def test_programs_that_tasks_start_can_be_interrupted_and_terminated(ray: Any) -> None:
    @ray.remote
    def stop(number: int) -> int:
        import signal
        import subprocess

        code = "import sys, time; print(flush=True); time.sleep(60)"
        with subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            process.send_signal(number)
            status = process.wait(10)
        return -status if status < 0 else status == 1 and signal.SIGINT

    import signal

    assert ray.get([stop.remote(number) for number in (signal.SIGINT, signal.SIGTERM)]) == [
        signal.SIGINT,
        signal.SIGTERM,
    ]


def test_a_fork_inside_a_task_does_the_worker_no_harm(ray: Any) -> None:
    @ray.remote
    def fork() -> tuple[int, int]:
        pid = os.fork()
        if not pid:
            os._exit(5)
        return os.getpid(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    first, second = ray.get([fork.remote(), fork.remote()])
    assert (first[1], second[1]) == (5, 5)


# --- Where the driver's code may come from -----------------------------------------------------------------------

SCRIPT = """
    import minray

    FACTOR = 3

    class Point:
        def __init__(self, x):
            self.x = x

    def triple(point):
        return Point(point.x * FACTOR)

    @minray.remote
    def task(point):
        assert isinstance(point, Point)
        return triple(point)

    @minray.remote
    class Adder:
        def __init__(self, point):
            self.point = point

        def add(self, other):
            return Point(self.point.x + other.x)

    adder = Adder.remote(Point(1))
    result = minray.get(adder.add.remote(task.remote(Point(2))))
    assert type(result) is Point
    print("result", result.x)
"""


@pytest.mark.parametrize("how", ["file", "stdin", "-c", "-m"])
def test_functions_and_classes_of_main_need_no_guard(start: Callable[..., Any], how: str) -> None:
    assert start(SCRIPT, how=how).runs() == "result 7\n"


@pytest.mark.parametrize("how", ["file", "-m", "stdin"])
def test_modules_next_to_the_script_are_found_by_workers(start: Callable[..., Any], tmp_path: Path, how: str) -> None:
    (tmp_path / "program0").mkdir()
    (tmp_path / "program0" / "neighbour.py").write_text("class Thing:\n    pass\n\n\ndef make():\n    return Thing()\n")
    program = start(
        """
        import minray
        import neighbour

        @minray.remote
        def task():
            return neighbour.make()

        made = minray.get(minray.remote(neighbour.make).remote())
        print(type(minray.get(task.remote())) is neighbour.Thing, made is not None)
        """,
        how=how,
    )
    assert program.runs() == "True True\n"


def test_a_script_that_changes_sys_path_is_followed(start: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "faraway.py").write_text("def where():\n    return 'far'\n")
    program = start(
        f"""
        import sys
        sys.path.insert(0, {str(tmp_path / "lib")!r})
        import faraway
        import minray

        print(minray.get(minray.remote(faraway.where).remote()))
        """
    )
    assert program.runs() == "far\n"


def test_main_is_not_run_again_in_workers(start: Callable[..., Any]) -> None:
    program = start(
        """
        import os
        import minray

        os.write(1, b"main\\n")

        @minray.remote
        def task():
            return 1

        minray.get([task.remote() for _ in range(10)])
        """
    )
    assert program.runs() == "main\n"


def test_who_does_not_end_in_time_is_killed_whenever_the_clock_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    late = itertools.cycle([False, True])  # the time runs out between two readings
    clock = itertools.count()

    class Time:
        sleep = staticmethod(time.sleep)

        @staticmethod
        def monotonic() -> float:
            return 0.0 if next(clock) == 0 else (1e9 if next(late) else 0.0)

    monkeypatch.setattr(template, "time", Time)
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    ours = template._Template(None, None)  # type: ignore[arg-type]  # it needs neither to end
    ours._pids = {1: sleeper.pid}
    ended = threading.Thread(target=ours._end, daemon=True)
    monkeypatch.setattr(template.signal, "signal", lambda *_: None)  # which only a main thread may call
    ended.start()
    ended.join(10)
    alive = sleeper.poll() is None
    sleeper.kill()
    sleeper.wait()
    assert not alive and not ended.is_alive()


def test_reports_wait_for_a_driver_that_does_not_read() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        speaker = template._Template(theirs, None)  # type: ignore[arg-type]  # what it is to prepare plays no part
        for worker in range(20_000):
            speaker._report(template.FORKED, worker, 1)  # does not block
        heard = b""
        while len(heard) < 20_000 * template.REPORT.size:
            heard += ours.recv(1 << 20)
            speaker._send_reports()
    assert [worker for _, worker, _ in template.REPORT.iter_unpack(heard)] == list(range(20_000))


@pytest.mark.slow
def test_a_run_may_have_many_more_cpus_than_the_machine(ray: Any) -> None:
    minray.shutdown()
    minray.init(backend="loky", num_cpus=300)

    @minray.remote
    def one(x: int) -> int:
        time.sleep(0.05)
        return x

    assert len(set(minray.get([one.remote(x) for x in range(300)]))) == 300
