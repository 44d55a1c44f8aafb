"""However a driver ends, nothing of it is left: no process, no memory, no file, no word that is not the user's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

import minray

#: A driver in the middle of things: tasks that run, that sleep, that wait for others; actors; objects in shared memory.
BUSY = """
    import os, sys, time, threading
    import minray
    import numpy as np

    minray.init(num_cpus=2)

    @minray.remote
    def loop():
        while True:
            pass

    @minray.remote
    def sleep():
        time.sleep(60)

    @minray.remote
    def fail():
        raise ValueError("never asked for")

    @minray.remote
    def parent():
        return minray.get(sleep.remote())

    @minray.remote(num_cpus=0)
    class Actor:
        def make(self):
            return np.ones(1_000_000)

        def sleep(self):
            time.sleep(60)

    actor = Actor.remote()
    arrays = [minray.put(np.ones(1_000_000)), actor.make.remote()]
    minray.get(arrays)
    refs = [fail.remote(), parent.remote(), loop.remote(), sleep.remote(), actor.sleep.remote()]
    minray.wait(refs[1:], timeout=0.1)
    print("here")
"""


def test_leaving_with_work_under_way(start: Callable[..., Any]) -> None:
    assert start(BUSY).runs() == "here\n"


def test_leaving_after_shutdown(start: Callable[..., Any]) -> None:
    assert start(BUSY + "    minray.shutdown()\n    print('there')\n").runs() == "here\nthere\n"


def test_leaving_right_after_init(start: Callable[..., Any]) -> None:
    assert start("import minray\nminray.init()\n").runs() == ""


def test_leaving_with_calls_that_nobody_has_begun(start: Callable[..., Any]) -> None:
    assert start(BUSY + "    refs += [sleep.remote() for _ in range(1000)]\n").runs() == "here\n"


def test_leaving_by_an_exception(start: Callable[..., Any]) -> None:
    program = start(BUSY + "    raise RuntimeError('mine')\n")
    assert program.ends() == 1
    assert program.err.startswith("Traceback") and program.err.endswith("RuntimeError: mine\n")
    assert program.err.count("Traceback") == 1


def test_leaving_by_an_error_of_a_task(start: Callable[..., Any]) -> None:
    program = start(BUSY + "    minray.get(refs[0])\n")
    assert program.ends() == 1
    assert program.err.rstrip().endswith("ValueError: never asked for")


def test_leaving_by_sys_exit(start: Callable[..., Any]) -> None:
    program = start(BUSY + "    sys.exit(7)\n")
    assert (program.ends(), program.out, program.err) == (7, "here\n", "")


def test_leaving_by_os_exit(start: Callable[..., Any]) -> None:
    program = start(BUSY + "    os._exit(7)\n")
    assert (program.ends(), program.out, program.err) == (7, "here\n", "")


def test_leaving_while_threads_wait(start: Callable[..., Any]) -> None:
    program = start(
        BUSY
        + """
    for ref in refs[1:]:
        threading.Thread(target=minray.wait, args=([ref],), daemon=True).start()
    time.sleep(0.05)
    """
    )
    assert program.runs() == "here\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGHUP, signal.SIGSEGV])
def test_a_signal_ends_the_driver(start: Callable[..., Any], number: signal.Signals) -> None:
    program = start(BUSY + "    time.sleep(60)\n")
    program.says("here\n")
    os.kill(program.pid, number)
    assert (program.ends(5), program.err) == (-number, "")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_signal_to_the_whole_group(start: Callable[..., Any], number: signal.Signals) -> None:
    program = start(BUSY + "    time.sleep(60)\n")
    program.says("here\n")
    os.killpg(program.pid, number)
    assert (program.ends(5), program.err) == (-number, "")


def test_a_driver_killed_during_init(start: Callable[..., Any], eventually: Callable[..., Any]) -> None:
    for _ in range(3):
        # The standard library finds the temporary directory by writing a file there: not in the way of the kill.
        program = start(
            """
            import tempfile
            tempfile.gettempdir()
            import minray

            minray.init()
            print("here")
            minray.shutdown()
            """
        )
        eventually(lambda: len(program.family()) > 1 or program.out)  # noqa: B023
        program.process.kill()
        program.ends()


def test_the_driver_and_its_template_killed_together(start: Callable[..., Any]) -> None:
    program = start(BUSY + "    time.sleep(60)\n")
    program.says("here\n")
    template = next(process for process in program.family() if "minray-template" in process.cmdline())
    template.suspend()  # so that it cannot clean up in time
    program.process.kill()
    template.kill()
    program.process.wait()
    # Its tracker warns that it had to clean up. That is as it should be: something was badly wrong.
    assert program.ends() == -signal.SIGKILL


def test_a_fork_of_the_driver_that_ends_does_the_run_no_harm(start: Callable[..., Any]) -> None:
    program = start(
        """
        import os, sys
        import minray
        import numpy as np

        @minray.remote
        def pid():
            return os.getpid()

        array = minray.put(np.ones(1_000_000))
        before = {minray.get(pid.remote()) for _ in range(20)}
        for leave in (sys.exit, os._exit):
            child = os.fork()
            if not child:
                kept = minray.is_initialized()
                leave(3 + kept)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
        after = {minray.get(pid.remote()) for _ in range(20)}
        print(before == after, minray.get(array).sum())
        """
    )
    assert program.runs() == "True 1000000.0\n"


def test_a_fork_of_the_driver_may_use_what_it_has_read_and_start_a_run_of_its_own(start: Callable[..., Any]) -> None:
    program = start(
        """
        import os, sys
        import minray
        import numpy as np

        @minray.remote
        def double(x):
            return 2 * x

        ref = minray.put(np.ones(1_000_000))
        array = minray.get(ref)
        child = os.fork()
        if not child:
            try:
                minray.get(ref)
            except ValueError:
                print("child", minray.get(double.remote(array.sum())))
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
        print("parent", minray.get(double.remote(1)))
        """
    )
    assert program.runs() == "child 2000000.0\nparent 2\n"


def test_a_fork_of_the_driver_that_lives_on_does_not_keep_the_run_alive(start: Callable[..., Any], flags: Any) -> None:
    program = start(
        BUSY
        + f"""
    child = os.fork()
    if not child:
        while not os.path.exists({str(flags.directory)!r} + "/go"):
            time.sleep(0.01)
        os._exit(0)
    print("forked")
    time.sleep(60)
    """
    )
    program.says("forked\n")
    program.process.kill()
    program.process.wait()

    def left() -> list[psutil.Process]:
        """All but the child, which runs program.py as it did: workers and template show other commands."""
        found = []
        for process in program.family():
            with suppress(psutil.NoSuchProcess):  # it has ended since, and may be a zombie
                if "program.py" not in process.cmdline():
                    found.append(process)
        return found

    deadline = threading.Event()
    timer = threading.Timer(5, deadline.set)
    timer.start()
    while left() and not deadline.is_set():
        deadline.wait(0.01)
    timer.cancel()
    timer.join()
    assert not left(), "the child of the fork keeps the run's processes alive"
    flags.up("go")
    program.ends()


def test_multiprocessing_may_fork_the_driver(start: Callable[..., Any]) -> None:
    program = start(
        """
        import multiprocessing
        import minray

        @minray.remote
        def double(x):
            return 2 * x

        minray.get(double.remote(1))
        with multiprocessing.get_context("fork").Pool(2) as pool:
            print(pool.map(abs, [-1, -2]), minray.get(double.remote(3)))
        print(minray.get(double.remote(4)))
        """
    )
    assert program.runs() == "[1, 2] 6\n8\n"


def test_an_interpreter_that_is_started_by_the_driver_is_no_part_of_the_run(ray: Any) -> None:
    output = subprocess.run(
        [sys.executable, "-c", "import minray; print(minray.is_initialized())"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert output.stdout == "False\n"


@pytest.mark.parametrize("end", ["shutdown", "crash", "kill", "out of scope"])
def test_programs_that_tasks_started_end_with_their_worker(
    ray: Any, end: str, flags: Any, eventually: Callable[..., Any]
) -> None:
    @ray.remote(num_cpus=0)
    class Actor:
        def start(self) -> int:
            return subprocess.Popen(["sleep", "60"]).pid

        def crash(self) -> None:
            os._exit(1)

    actor = Actor.remote()
    pid = ray.get(actor.start.remote())
    assert psutil.pid_exists(pid)
    if end == "shutdown":
        ray.shutdown()
    elif end == "kill":
        ray.kill(actor)
    elif end == "crash":
        actor.crash.remote()
    del actor
    eventually(lambda: not psutil.pid_exists(pid))


def test_a_program_that_detaches_itself_from_its_task_lives_on_and_does_not_hold_up_the_end(
    start: Callable[..., Any], flags: Any
) -> None:
    program = start(
        f"""
        import os, time
        import minray

        @minray.remote
        def leave_behind():
            if not os.fork():
                os.setsid()
                while not os.path.exists({str(flags.directory)!r} + "/go"):
                    time.sleep(0.01)
                    os.write(1, b"x" * 1000)
                os._exit(0)

        minray.get(leave_behind.remote())
        minray.shutdown()
        os.write(1, b"\\nshut down\\n")
        """
    )
    program.says("shut down")
    flags.up("go")
    program.ends()


def test_twenty_runs_one_after_another_leave_nothing(eventually: Callable[..., Any]) -> None:
    import numpy as np

    @minray.remote
    def total(array: Any) -> float:
        print("not shown")
        return float(array.sum())

    me = psutil.Process()
    fds, threads = me.num_fds(), threading.active_count()
    for round in range(20):
        with minray.init(backend="loky", num_cpus=2, log_to_driver=False):
            assert minray.get(total.remote(np.ones(100_000))) == 100_000
        if not round:
            fds = me.num_fds()  # the first run may import what opens something for good
    assert (me.num_fds(), threading.active_count()) == (fds, threads)
    eventually(lambda: not me.children(recursive=True))


def test_a_run_that_fails_to_start_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minray_loky.pool.socket.socketpair", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        minray.init(backend="loky")
    assert not minray.is_initialized()
    monkeypatch.undo()
    with minray.init(backend="loky", num_cpus=1):
        assert minray.get(minray.put(1)) == 1


def test_shutdown_is_prompt_whatever_the_workers_do(ray: Any, flags: Any) -> None:
    @ray.remote
    def stubborn() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            try:
                flags.up("running")
                while True:
                    pass
            except BaseException:
                continue

    refs = [stubborn.remote(), stubborn.remote()]
    flags.wait("running", 2)
    pids = [child.pid for child in psutil.Process().children(recursive=True)]
    ray.shutdown()
    assert refs and not any(psutil.pid_exists(pid) for pid in pids)


def test_shutdown_ends_the_waiting_of_other_threads(ray: Any, flags: Any) -> None:
    @ray.remote
    def never() -> None:
        flags.up("running")
        flags.wait("never")

    outcomes: list[Any] = []

    def wait(call: Callable[[], Any]) -> None:
        try:
            outcomes.append(call())
        except BaseException as error:
            outcomes.append(error)

    ref = never.remote()
    calls = [lambda: ray.get(ref), lambda: ray.wait([ref]), lambda: ray.get([ref], timeout=60)]
    threads = [threading.Thread(target=wait, args=(call,), daemon=True) for call in calls]
    for thread in threads:
        thread.start()
    flags.wait("running")
    ray.shutdown()
    for thread in threads:
        thread.join(10)
    assert len(outcomes) == 3 and all(isinstance(outcome, minray.exceptions.RaySystemError) for outcome in outcomes)


def test_threads_of_tasks_that_wait_say_nothing_at_the_end(start: Callable[..., Any]) -> None:
    program = start(
        """
        import threading, time
        import minray

        @minray.remote
        def sleep():
            time.sleep(60)

        @minray.remote
        def threaded(ref):
            thread = threading.Thread(target=minray.get, args=(ref[0],))
            thread.start()
            thread.join()

        minray.init(num_cpus=2)
        minray.wait([threaded.remote([sleep.remote()]) for _ in range(3)], timeout=0.3)
        """
    )
    assert program.runs() == ""


def test_tasks_that_catch_everything_say_nothing_at_the_end(start: Callable[..., Any]) -> None:
    program = start(
        """
        import time
        import minray

        @minray.remote
        def sleep():
            time.sleep(60)

        @minray.remote
        def careful(ref):
            while True:
                try:
                    return minray.get(ref[0])
                except Exception as error:
                    print("caught", error)

        minray.init(num_cpus=2)
        minray.wait([careful.remote([sleep.remote()]) for _ in range(3)], timeout=0.3)
        """
    )
    assert program.runs() == ""


def test_files_of_a_run_are_only_in_its_own_directories(start: Callable[..., Any], tmp_path: Path) -> None:
    program = start(BUSY + "    time.sleep(60)\n")
    program.says("here\n")
    assert sorted(os.listdir(program.where)) == ["program.py", "stderr", "stdin", "stdout"]
    assert all(name.startswith(f"minray-{program.pid}-") for name in os.listdir(program.tmp))
    for process in program.family():
        listening = [c for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN]
        assert not listening
    program.process.terminate()
    program.ends()
