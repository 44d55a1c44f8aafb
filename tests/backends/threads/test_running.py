"""Workers that are threads: what holds a slot, what ends one, what is left of it."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

import minray
from minray.session import current


@pytest.fixture
def shared() -> Iterator[ModuleType]:
    """A module that tasks import, with an event that a test sets: what cannot be pickled is still reached by name."""
    module: Any = ModuleType("shared_by_the_test")
    module.event = threading.Event()
    module.begun = threading.Event()
    sys.modules[module.__name__] = module
    yield module
    module.event.set()
    del sys.modules[module.__name__]


def test_tasks_and_actors_run_in_threads_of_this_process(ray: Any) -> None:
    @ray.remote
    def where() -> tuple[int, int]:
        return os.getpid(), threading.get_ident()

    @ray.remote
    class Actor:
        def where(self) -> tuple[int, int]:
            return os.getpid(), threading.get_ident()

    actors = [Actor.options(num_cpus=0).remote() for _ in range(3)]
    found = ray.get([where.remote(), *[actor.where.remote() for actor in actors]])
    assert {pid for pid, _ in found} == {os.getpid()}
    assert len({thread for _, thread in found} | {threading.get_ident()}) == 5


def test_a_worker_may_end_while_it_is_interrupted(ray: Any) -> None:
    @ray.remote
    def one() -> int:
        return 1

    assert ray.get(one.remote()) == 1
    pool: Any = current()._pool  # type: ignore[union-attr]
    number, link = next(iter(pool._links.items()))
    link.worker.drain = link.end  # it does so between the two steps

    pool.interrupt(number)

    assert link.dead


def test_no_more_tasks_run_at_once_than_there_are_cpus(ray: Any, flags: Any) -> None:
    @ray.remote
    def hold(me: int) -> int:
        running = flags.up("begun") - flags.count("ended")
        time.sleep(0.005)
        flags.up("ended")
        return running

    assert max(ray.get([hold.remote(i) for i in range(20)])) <= 2


def test_a_blocked_task_holds_no_slot() -> None:
    minray.init(backend="threads", num_cpus=1)

    @minray.remote
    def nested(depth: int) -> int:
        return minray.get(nested.remote(depth - 1)) + 1 if depth else 0

    assert minray.get(nested.remote(40)) == 40


def test_blocked_parents_beyond_the_cpus_all_finish(ray: Any) -> None:
    @ray.remote
    def leaf(x: int) -> int:
        return x

    @ray.remote
    def parent(x: int) -> int:
        return sum(minray.get([leaf.remote(x) for _ in range(5)]))

    assert ray.get([parent.remote(x) for x in range(20)]) == [5 * x for x in range(20)]


def test_a_task_waiting_in_wait_holds_no_slot() -> None:
    minray.init(backend="threads", num_cpus=1)

    @minray.remote
    def leaf() -> int:
        return 1

    @minray.remote
    def parent() -> int:
        ready, _ = minray.wait([leaf.remote() for _ in range(3)], num_returns=3)
        return len(ready)

    assert minray.get(parent.remote()) == 3


def test_an_actor_that_blocks_on_another_holds_no_slot() -> None:
    minray.init(backend="threads", num_cpus=1)

    @minray.remote
    def leaf() -> int:
        return 1

    @minray.remote(num_cpus=1)
    class Actor:
        @minray.method
        def ask(self) -> int:
            return minray.get(leaf.remote())

    assert minray.get(Actor.remote().ask.remote()) == 1


def test_killing_an_actor_ends_its_endless_loop(ray: Any, shared: Any, eventually: Callable[..., Any]) -> None:
    @ray.remote
    class Spinner:
        def spin(self) -> None:
            import shared_by_the_test  # type: ignore[import-not-found]

            shared_by_the_test.thread = threading.current_thread()
            shared_by_the_test.begun.set()
            while True:
                pass

    spinner = Spinner.remote()
    ref = spinner.spin.remote()
    assert shared.begun.wait(10)
    ray.kill(spinner)
    with pytest.raises(minray.exceptions.ActorDiedError):
        ray.get(ref)
    with pytest.raises(minray.exceptions.ActorDiedError):
        ray.get(spinner.spin.remote())
    eventually(lambda: not shared.thread.is_alive())


def test_a_killed_actor_that_sleeps_is_left_to_sleep_and_is_not_heard(ray: Any, shared: Any) -> None:
    @ray.remote
    class Sleeper:
        def sleep(self) -> str:
            import shared_by_the_test

            shared_by_the_test.begun.set()
            shared_by_the_test.event.wait()
            return "late"

        def ping(self) -> str:
            return "pong"

    sleeper = Sleeper.remote()
    ref = sleeper.sleep.remote()
    assert shared.begun.wait(10)
    ray.kill(sleeper)
    with pytest.raises(minray.exceptions.ActorDiedError):
        ray.get(ref)
    shared.event.set()
    with pytest.raises(minray.exceptions.ActorDiedError):
        ray.get([ref, sleeper.ping.remote()])
    assert ray.get(Sleeper.remote().ping.remote()) == "pong"


def test_sys_exit_in_a_task_ends_its_worker_and_nothing_else(ray: Any) -> None:
    @ray.remote(max_retries=0)
    def leave() -> None:
        sys.exit(3)

    @ray.remote
    def stay(x: int) -> int:
        return x

    refs = [stay.remote(1), leave.remote(), stay.remote(2)]
    with pytest.raises(minray.exceptions.WorkerCrashedError, match=r"leave.*exit"):
        ray.get(refs[1])
    assert ray.get([refs[0], refs[2], *[stay.remote(x) for x in range(10)]]) == [1, 2, *range(10)]


def test_sys_exit_in_a_task_is_retried_as_any_death_of_a_worker(ray: Any, flags: Any) -> None:
    @ray.remote(max_retries=2)
    def leave() -> int:
        if flags.up("tried") < 3:
            sys.exit(1)
        return flags.count("tried")

    assert ray.get(leave.remote()) == 3


def test_sys_exit_in_an_actor_ends_the_actor(ray: Any) -> None:
    @ray.remote
    class Actor:
        def leave(self) -> None:
            sys.exit(0)

    actor = Actor.remote()
    with pytest.raises(minray.exceptions.ActorDiedError):
        ray.get(actor.leave.remote())
    with pytest.raises(minray.exceptions.ActorDiedError):
        ray.get(actor.leave.remote())


def test_shutdown_ends_a_task_that_loops(shared: Any) -> None:
    minray.init(backend="threads", num_cpus=2)

    @minray.remote
    def loop() -> None:
        import shared_by_the_test

        shared_by_the_test.begun.set()
        while True:
            time.sleep(0.001)

    loop.remote()
    assert shared.begun.wait(10)
    minray.shutdown()
    names = [thread.name for thread in threading.enumerate() if thread.name.startswith("minray")]
    assert not names


def test_shutdown_ends_tasks_that_wait_for_each_other() -> None:
    minray.init(backend="threads", num_cpus=1)

    @minray.remote
    def never() -> None:
        while True:
            time.sleep(0.001)

    @minray.remote
    def parent(refs: list[Any]) -> Any:
        return minray.get(refs)

    refs = [parent.remote([never.remote()]) for _ in range(5)]
    minray.wait(refs, timeout=0.05)
    minray.shutdown()
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("minray")] == []


def test_a_task_that_waits_in_c_is_left_behind_as_a_daemon_and_is_not_heard(
    shared: Any, capfd: pytest.CaptureFixture[str], eventually: Callable[..., Any]
) -> None:
    minray.init(backend="threads", num_cpus=2)

    @minray.remote
    def stuck() -> None:
        import shared_by_the_test

        shared_by_the_test.thread = threading.current_thread()
        shared_by_the_test.begun.set()
        shared_by_the_test.event.wait()
        raise ValueError("nobody hears this")

    stuck.remote()
    assert shared.begun.wait(10)
    minray.shutdown()
    assert shared.thread.daemon
    shared.event.set()
    eventually(lambda: not shared.thread.is_alive())
    assert capfd.readouterr() == ("", "")


def test_twenty_runs_one_after_another_leave_no_thread() -> None:
    @minray.remote
    def one() -> int:
        return 1

    before = threading.active_count()
    for _ in range(20):
        with minray.init(backend="threads", num_cpus=2):
            assert minray.get(one.remote()) == 1
        assert threading.active_count() == before


PENDING = """
    import threading, time, sys, os
    import minray

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
        return minray.get(loop.remote())

    @minray.remote
    class Actor:
        def loop(self):
            while True:
                time.sleep(0.001)

    actor = Actor.options(num_cpus=0).remote()
    refs = [fail.remote(), parent.remote(), loop.remote(), sleep.remote(), actor.loop.remote()]
    minray.wait(refs, timeout=0.2)
    print("here")
"""


def test_leaving_with_work_under_way_says_nothing(start: Callable[..., Any]) -> None:
    assert start(PENDING).runs() == "here\n"


def test_leaving_by_an_exception_says_only_that(start: Callable[..., Any]) -> None:
    program = start(PENDING + "    raise RuntimeError('mine')\n")
    assert program.ends() == 1
    assert program.err.startswith("Traceback") and program.err.endswith("RuntimeError: mine\n")
    assert program.err.count("Traceback") == 1


def test_leaving_by_sys_exit_keeps_the_status(start: Callable[..., Any]) -> None:
    program = start(PENDING + "    sys.exit(7)\n")
    assert (program.ends(), program.out, program.err) == (7, "here\n", "")


def test_an_object_that_calls_minray_when_the_interpreter_ends_does_not_hold_it_up(start: Callable[..., Any]) -> None:
    program = start(
        """
        import minray

        class Owner:
            def __init__(self):
                self.me = self
                self.ref = minray.put(1)

            def __del__(self):
                minray.put(2)

        owner = Owner()
        print(minray.get(owner.ref))
        """
    )
    assert (program.ends(), program.out) == (0, "1\n")
    assert program.err.strip().endswith("RuntimeError: minray cannot start a run: the interpreter is exiting.")


def test_ctrl_c_ends_a_driver_that_waits(start: Callable[..., Any]) -> None:
    program = start(PENDING + "    minray.get(refs[1])\n")
    program.says("here\n")
    program.interrupt()
    assert program.ends() != 0
    assert program.err.strip().endswith("KeyboardInterrupt") and program.err.count("Traceback") == 1


def test_the_driver_may_go_on_after_ctrl_c(start: Callable[..., Any]) -> None:
    program = start(
        """
        import time
        import minray

        @minray.remote
        def slow():
            time.sleep(0.5)
            return "slow"

        ref = slow.remote()
        try:
            print("waiting")
            minray.get(ref)
        except KeyboardInterrupt:
            print("interrupted")
        print(minray.get(ref))
        """
    )
    program.says("waiting\n")
    program.interrupt()
    assert program.runs() == "waiting\ninterrupted\nslow\n"


def test_coroutines_of_a_killed_actor_are_cancelled_even_if_its_thread_is_told_to_end_meanwhile(
    ray: Any, flags: Any, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., Any]
) -> None:
    original = asyncio.gather
    told: list[bool] = []

    def gather(*tasks: Any, **options: Any) -> Any:
        if not told:
            told.append(True)
            raise SystemExit
        return original(*tasks, **options)

    @ray.remote
    class Sleeper:
        async def sleep(self) -> None:
            flags.up("asleep")
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                flags.up("cancelled")
                raise

    sleeper = Sleeper.remote()
    sleeper.sleep.remote()
    flags.wait("asleep")
    monkeypatch.setattr(asyncio, "gather", gather)
    ray.kill(sleeper)
    eventually(lambda: flags.count("cancelled"))


def test_calls_that_wait_in_a_killed_actor_never_begin(
    ray: Any, flags: Any, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., Any]
) -> None:
    original = asyncio.new_event_loop
    loops: list[Any] = []

    def new_event_loop() -> Any:
        loops.append(original())
        return loops[-1]

    monkeypatch.setattr(asyncio, "new_event_loop", new_event_loop)

    @ray.remote
    class Busy:
        async def work(self) -> None:
            flags.up("working")
            flags.wait("never")  # and the loop can do nothing else

    busy = Busy.remote()
    refs = [busy.work.remote()]
    flags.wait("working")
    refs += [busy.work.remote() for _ in range(3)]
    eventually(lambda: loops[0]._ready)  # it has been told of them
    ray.kill(busy)
    for ref in refs:
        with pytest.raises(minray.exceptions.ActorDiedError):
            ray.get(ref)
    eventually(loops[0].is_closed)
    assert flags.count("working") == 1
    assert asyncio.all_tasks(loops[0]) == set()


def test_a_result_that_cannot_be_split_says_what_is_due(ray: Any) -> None:
    @ray.remote(num_returns=2)
    def one() -> int:
        return 1

    with pytest.raises(TypeError, match=r"with num_returns=2 every call of one has to return as many values"):
        ray.get(one.remote())
