"""Workers, and the template they come from, may die at any moment: it is the calls that they ran that notice."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import psutil
import pytest

import minray
from minray.exceptions import ActorDiedError, WorkerCrashedError


def template() -> psutil.Process:
    """The process that this process's workers are forked from."""
    for child in psutil.Process().children():
        if child.status() != psutil.STATUS_ZOMBIE and "minray-template" in child.cmdline():
            return child
    raise AssertionError("there is none")


def kill_template() -> None:
    """Kill it, and wait until the kernel has killed its workers."""
    victim = template()
    dying = [psutil.Process(pid) for pid in workers()]
    victim.kill()
    assert not psutil.wait_procs(dying, 10)[1]


def workers() -> list[int]:
    """The processes that lead a group of their own in the driver's session; the trackers have each a session."""
    return [child.pid for child in template().children() if os.getpgid(child.pid) == child.pid != os.getsid(child.pid)]


def trackers() -> list[psutil.Process]:
    return [child for child in template().children() if os.getsid(child.pid) == child.pid]


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "killed by SIGKILL"),
        (lambda: os.kill(os.getpid(), signal.SIGSEGV), "killed by SIGSEGV"),
        (lambda: os.kill(os.getpid(), signal.SIGTERM), "killed by SIGTERM"),
        (lambda: os.abort(), "killed by SIGABRT"),
        (lambda: os._exit(3), "exited with status 3"),
        (lambda: sys.exit(4), "exited with status 4"),
    ],
)
def test_the_error_names_the_task_the_process_the_end_and_the_last_output(
    ray: Any, flags: Any, end: Callable[[], None], words: str
) -> None:
    @ray.remote(max_retries=0)
    def fall() -> None:
        print("standing on the edge")
        with open(os.path.join(flags.directory, "pid"), "w") as file:
            file.write(str(os.getpid()))
        end()

    with pytest.raises(WorkerCrashedError) as caught:
        ray.get(fall.remote())
    text = str(caught.value)
    with open(os.path.join(flags.directory, "pid")) as file:
        pid = file.read()
    assert "fall" in text and words in text and "standing on the edge" in text and pid in text


def test_a_call_is_retried_when_its_worker_dies(ray: Any, flags: Any) -> None:
    @ray.remote(max_retries=2)
    def stumble() -> int:
        if flags.up("tried") < 3:
            os._exit(1)
        return flags.count("tried")

    assert ray.get(stumble.remote()) == 3


def test_a_call_is_retried_no_more_often_than_it_says(ray: Any, flags: Any) -> None:
    @ray.remote(max_retries=2)
    def fall() -> None:
        flags.up("tried")
        os._exit(1)

    with pytest.raises(WorkerCrashedError):
        ray.get(fall.remote())
    assert flags.count("tried") == 3


def test_a_death_fails_its_own_call_only(ray: Any) -> None:
    @ray.remote(max_retries=0)
    def work(x: int) -> int:
        time.sleep(0.001)
        if x % 10 == 5:
            os._exit(1)
        return x

    refs = [work.remote(x) for x in range(60)]
    for x, ref in enumerate(refs):
        if x % 10 == 5:
            with pytest.raises(WorkerCrashedError):
                ray.get(ref)
        else:
            assert ray.get(ref) == x


@pytest.mark.parametrize(
    "pause",
    [
        0.001,
        0,
    ],
)
def test_every_call_around_the_one_that_died_runs_exactly_once(flags: Any, pause: float) -> None:
    minray.init(backend="loky", num_cpus=1)

    @minray.remote(max_retries=0)
    def work(x: int) -> int:
        if x < 0:
            return x
        time.sleep(pause)
        flags.up(f"ran{x}")
        if x == 40:
            os._exit(1)
        return x

    minray.get([work.remote(-x) for x in range(1, 20)])  # short ones, so that the next are sent ahead
    refs = [work.remote(x) for x in range(80)]
    for x, ref in enumerate(refs):
        if x == 40:
            with pytest.raises(WorkerCrashedError):
                minray.get(ref)
        else:
            assert minray.get(ref) == x
    assert [flags.count(f"ran{x}") for x in range(80)] == [1] * 80


def test_the_pool_is_back_to_its_size_after_deaths(ray: Any, flags: Any, eventually: Callable[..., Any]) -> None:
    @ray.remote(max_retries=0)
    def fall() -> None:
        os._exit(1)

    @ray.remote
    def meet() -> int:
        flags.up("here")
        flags.wait("here", 2)
        return os.getpid()

    ray.wait([fall.remote() for _ in range(10)], num_returns=10)
    assert len(set(ray.get([meet.remote(), meet.remote()]))) == 2
    assert ray.available_resources()["CPU"] == 2


def test_a_worker_killed_from_outside_while_idle_is_replaced(ray: Any, eventually: Callable[..., Any]) -> None:
    @ray.remote
    def pid() -> int:
        return os.getpid()

    ray.get([pid.remote() for _ in range(10)])
    old = workers()
    for worker in old:
        os.kill(worker, signal.SIGKILL)
    assert not set(ray.get([pid.remote() for _ in range(10)])) & set(old)


def test_an_actor_dies_with_its_process_and_says_why(ray: Any) -> None:
    @ray.remote
    class Actor:
        def fall(self) -> None:
            print("over the edge")
            os.kill(os.getpid(), signal.SIGKILL)

        def pid(self) -> int:
            return os.getpid()

    actor = Actor.remote()
    pid = ray.get(actor.pid.remote())
    refs = [actor.fall.remote(), actor.pid.remote()]
    for ref in [*refs, actor.pid.remote()]:
        with pytest.raises(ActorDiedError) as caught:
            ray.get(ref)
        assert re.search(rf"(?s)Actor.*{pid}.*SIGKILL.*over the edge", str(caught.value))


def test_an_actor_is_restarted_as_often_as_it_may(ray: Any) -> None:
    @ray.remote(max_restarts=2, max_task_retries=-1)
    class Actor:
        def __init__(self) -> None:
            self.calls = 0

        def count(self, *, fall: bool = False) -> tuple[int, int]:
            self.calls += 1
            if fall:
                os._exit(1)
            return self.calls, os.getpid()

    actor = Actor.options(max_task_retries=0).remote()
    pids = set()
    for _ in range(3):
        calls, pid = ray.get(actor.count.remote())
        pids.add(pid)
        assert calls == 1
        with pytest.raises((minray.exceptions.ActorUnavailableError, ActorDiedError)):
            ray.get(actor.count.remote(fall=True))
    assert len(pids) == 3
    with pytest.raises(ActorDiedError):
        ray.get(actor.count.remote())


def test_a_parent_that_waits_is_told_of_the_death_of_its_child(ray: Any) -> None:
    @ray.remote(max_retries=0)
    def child() -> None:
        os._exit(1)

    @ray.remote
    def parent() -> str:
        try:
            minray.get(child.remote())
        except WorkerCrashedError as error:
            return str(error)
        return "nothing happened"

    assert "child" in ray.get(parent.remote())


def test_when_a_parent_dies_its_children_still_end(ray: Any, flags: Any, eventually: Callable[..., Any]) -> None:
    @ray.remote
    def child() -> None:
        flags.wait("go")
        flags.up("done")

    @ray.remote(max_retries=0)
    def parent() -> None:
        refs = [child.remote() for _ in range(3)]
        minray.wait(refs, timeout=0.05)
        os._exit(1)

    with pytest.raises(WorkerCrashedError):
        ray.get(parent.remote())
    flags.up("go")
    eventually(lambda: ray.available_resources().get("CPU") == 2)


def test_results_of_dead_workers_stay_readable(ray: Any) -> None:
    @ray.remote
    def make(x: int) -> Any:
        return np.full(100_000, x)

    @ray.remote
    def total(array: Any) -> int:
        return int(array.sum())

    refs = [make.remote(x) for x in range(4)]
    ray.wait(refs, num_returns=4)
    for worker in workers():
        os.kill(worker, signal.SIGKILL)
    assert ray.get([total.remote(ref) for ref in refs]) == [x * 100_000 for x in range(4)]
    assert [array[0] for array in ray.get(refs)] == [0, 1, 2, 3]


def test_the_pool_recovers_when_its_template_is_killed(ray: Any, flags: Any) -> None:
    @ray.remote
    def pid() -> int:
        return os.getpid()

    @ray.remote
    def make() -> Any:
        return np.arange(100_000)

    old = set(ray.get([pid.remote() for _ in range(10)]))
    stored, made = ray.put(np.ones(100_000)), make.remote()
    ray.wait([made])
    kill_template()
    new = set(ray.get([pid.remote() for _ in range(10)]))
    assert new and not new & old

    @ray.remote
    def total(array: Any) -> int:
        return int(array.sum())

    assert ray.get([total.remote(stored), total.remote(made), total.remote(ray.put(np.ones(100_000)))]) == [
        100_000,
        4_999_950_000,
        100_000,
    ]


def test_running_calls_are_retried_when_the_template_is_killed(ray: Any, flags: Any) -> None:
    @ray.remote(max_retries=1)
    def work(x: int) -> int:
        if flags.up(f"begun{x}") == 1:
            flags.wait("never")
        return x

    refs = [work.remote(x) for x in range(2)]
    flags.wait("begun0")
    flags.wait("begun1")
    kill_template()
    assert ray.get(refs) == [0, 1]


def test_actors_are_told_apart_from_tasks_when_the_template_is_killed(ray: Any) -> None:
    @ray.remote(num_cpus=0)
    class Actor:
        def ping(self) -> str:
            return "pong"

    lost, kept = Actor.remote(), Actor.options(max_restarts=1).remote()
    ray.get([lost.ping.remote(), kept.ping.remote()])
    kill_template()
    with pytest.raises(ActorDiedError):
        ray.get(lost.ping.remote())
    for _ in range(2):
        try:
            assert ray.get(kept.ping.remote()) == "pong"
        except minray.exceptions.ActorUnavailableError:
            continue
    assert ray.get(kept.ping.remote()) == "pong"


def test_the_template_may_be_killed_again_and_again(ray: Any) -> None:
    @ray.remote
    def double(x: int) -> int:
        return 2 * x

    for x in range(3):
        assert ray.get(double.remote(x)) == 2 * x
        kill_template()
    assert ray.get(double.remote(5)) == 10


def test_trackers_outlive_a_template_and_are_replaced_with_the_next_if_they_are_killed(
    ray: Any, eventually: Callable[..., Any]
) -> None:
    @ray.remote
    def double(x: int) -> int:
        return 2 * x

    assert ray.get(double.remote(1)) == 2
    kept, killed = trackers()
    killed.kill()
    kill_template()
    assert ray.get(double.remote(2)) == 4
    assert kept.is_running() and len(trackers()) == 1
    ray.shutdown()
    eventually(lambda: not kept.is_running())


def test_leaving_after_the_template_was_killed_leaves_nothing(start: Callable[..., Any]) -> None:
    program = start(
        """
        import os, signal
        import minray, psutil

        @minray.remote
        def one():
            return 1

        minray.get(one.remote())
        for child in psutil.Process().children():
            if "minray-template" in child.cmdline():
                child.kill()
        """
    )
    assert program.runs() == ""


def test_a_worker_that_cannot_be_forked_is_an_error_and_not_a_hang(start: Callable[..., Any]) -> None:
    program = start(
        """
        import os, resource
        import minray

        minray.init(num_cpus=2)

        @minray.remote
        def one():
            return 1

        @minray.remote(num_cpus=0)
        class Actor:
            def ping(self):
                return "pong"

        assert minray.get(one.remote()) == 1
        used = len(os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 12, used + 1000))
        actors = [Actor.remote() for _ in range(10)]
        for actor in actors:
            try:
                print(minray.get(actor.ping.remote()))
            except minray.exceptions.ActorDiedError as error:
                print("Too many open files" in str(error))
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 1000, used + 1000))
        print(minray.get(Actor.remote().ping.remote()))
        """
    )
    lines = program.runs().split()
    assert len(lines) == 11 and set(lines) == {"pong", "True"} and lines[0] == lines[-1] == "pong"
