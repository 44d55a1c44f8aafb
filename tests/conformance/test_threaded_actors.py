"""Actors with `max_concurrency` above 1: several calls at once, each on a thread."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest


@pytest.fixture
def crowd(ray: Any) -> Any:
    """An actor class whose `meet(n)` returns when n calls are under way, and `visit()` counts how many are."""

    @ray.remote
    class Crowd:
        def __init__(self) -> None:
            self.made_on_main_thread = threading.current_thread() is threading.main_thread()
            self.lock = threading.Lock()
            self.there = self.most = 0
            self.barriers: dict[int, threading.Barrier] = {}

        def meet(self, number: int) -> int:
            with self.lock:
                barrier = self.barriers.setdefault(number, threading.Barrier(number))
            barrier.wait(30)
            return threading.get_ident()

        def visit(self) -> None:
            with self.lock:
                self.there += 1
                self.most = max(self.most, self.there)
            time.sleep(0.002)
            with self.lock:
                self.there -= 1

        def most_at_once(self) -> int:
            return self.most

        def echo(self, value: Any) -> Any:
            return value

        def fetch(self, refs: list[Any]) -> Any:
            return ray.get(refs[0])

        def fail(self) -> None:
            raise KeyError("mine")

        def where(self) -> Any:
            return self.made_on_main_thread, threading.current_thread() is threading.main_thread()

    return Crowd


def test_calls_run_at_once_each_on_a_thread(ray: Any, crowd: Any) -> None:
    actor = crowd.options(max_concurrency=4).remote()
    assert len(set(ray.get([actor.meet.remote(4) for _ in range(4)], timeout=30))) == 4


def test_at_most_max_concurrency_calls_run_at_once(ray: Any, crowd: Any) -> None:
    actor = crowd.options(max_concurrency=3).remote()
    ray.get([actor.visit.remote() for _ in range(30)])
    assert ray.get(actor.most_at_once.remote()) <= 3


@pytest.mark.needs("processes")
def test_the_actor_is_made_on_the_main_thread_and_its_calls_run_on_others(ray: Any, crowd: Any) -> None:
    assert ray.get(crowd.options(max_concurrency=2).remote().where.remote()) == (True, False)
    assert ray.get(crowd.remote().where.remote()) == (True, True)


def test_a_call_whose_argument_is_pending_does_not_hold_back_those_behind_it(
    ray: Any, crowd: Any, flags: Any, held: Any
) -> None:
    actor = crowd.options(max_concurrency=2).remote()
    late = [actor.echo.remote(held("late")) for _ in range(3)]
    assert ray.get(actor.echo.remote("early"), timeout=30) == "early"
    flags.up("go")
    assert ray.get(late) == ["late"] * 3


def test_out_of_order_execution_can_be_asked_for_of_one_call_at_a_time(
    ray: Any, crowd: Any, flags: Any, held: Any
) -> None:
    actor = crowd.options(allow_out_of_order_execution=True).remote()
    late = actor.echo.remote(held("late"))
    assert ray.get(actor.echo.remote("early"), timeout=30) == "early"
    ray.get([actor.visit.remote() for _ in range(5)])
    assert ray.get(actor.most_at_once.remote()) == 1
    flags.up("go")
    assert ray.get(late) == "late"


def test_a_threaded_actor_cannot_keep_an_order(ray: Any, crowd: Any) -> None:
    with pytest.raises(ValueError, match=r"multi-threaded actors.*in order"):
        crowd.options(max_concurrency=2, allow_out_of_order_execution=False).remote()


def test_a_call_that_waits_in_get_does_not_keep_the_others_waiting(ray: Any, crowd: Any, flags: Any, held: Any) -> None:
    actor = crowd.options(max_concurrency=2).remote()
    waiting = actor.fetch.remote([held("value")])
    flags.wait("held")
    assert ray.get([actor.echo.remote(i) for i in range(20)], timeout=30) == list(range(20))
    flags.up("go")
    assert ray.get(waiting) == "value"


def test_many_calls_can_wait_in_get_at_once(ray: Any, crowd: Any) -> None:
    @ray.remote
    def square(x: int) -> int:
        return x * x

    actor = crowd.options(max_concurrency=8).remote()
    refs = [actor.fetch.remote([square.remote(i)]) for i in range(40)]
    assert ray.get(refs, timeout=30) == [i * i for i in range(40)]


@pytest.mark.own_session
@pytest.mark.slow
def test_a_call_that_waits_in_get_keeps_what_its_actor_holds(ray: Any) -> None:
    ray.init(num_cpus=1, resources={"free": 1})

    @ray.remote(num_cpus=1, max_concurrency=2)
    class Actor:
        def fetch(self, refs: list[Any]) -> Any:
            return ray.get(refs[0], timeout=0.3)

    @ray.remote(num_cpus=1)
    def needs_the_cpu() -> None: ...

    actor = Actor.remote()
    ray.get(actor.__ray_ready__.remote())
    with pytest.raises(ray.exceptions.GetTimeoutError):
        ray.get(actor.fetch.remote([needs_the_cpu.remote()]))


def test_an_error_on_one_thread_ends_nothing_else(ray: Any, crowd: Any) -> None:
    actor = crowd.options(max_concurrency=2).remote()
    failed, fine = actor.fail.remote(), actor.echo.remote(1)
    with pytest.raises(KeyError, match="mine"):
        ray.get(failed)
    assert ray.get(fine) == 1


@pytest.mark.needs("processes")
def test_sys_exit_on_a_thread_ends_the_actor(ray: Any, flags: Any, eventually: Any) -> None:
    @ray.remote(max_concurrency=2)
    class Actor:
        def leave(self) -> None:
            raise SystemExit(3)

        def stay(self) -> None:
            flags.up("staying")
            flags.wait("go")

    actor = Actor.remote()
    staying = actor.stay.remote()
    flags.wait("staying")
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(actor.leave.remote())
    flags.up("go")
    ray.wait([staying])

    def is_dead() -> bool:
        try:
            ray.get(actor.stay.remote())
        except ray.exceptions.RayActorError as error:
            return isinstance(error, ray.exceptions.ActorDiedError)
        return False

    eventually(is_dead)


def test_a_threaded_actor_can_be_killed_in_the_middle_of_its_calls(ray: Any, flags: Any) -> None:
    @ray.remote(max_concurrency=2)
    class Actor:
        def wait(self) -> None:
            flags.up("waiting")
            flags.wait("never")

    actor = Actor.remote()
    refs = [actor.wait.remote() for _ in range(4)]
    flags.wait("waiting", 2)
    ray.kill(actor)
    for ref in refs:
        with pytest.raises(ray.exceptions.ActorDiedError):
            ray.get(ref)
    assert flags.count("waiting") == 2


def test_a_threaded_actor_can_be_restarted_with_its_calls(ray: Any, flags: Any) -> None:
    @ray.remote(max_concurrency=3, max_restarts=1, max_task_retries=1)
    class Actor:
        def __init__(self) -> None:
            self.life = flags.up("made")

        def wait(self) -> int:
            flags.up("waiting")
            flags.wait("go")
            return self.life

    actor = Actor.remote()
    refs = [actor.wait.remote() for _ in range(3)]
    flags.wait("waiting", 3)
    ray.kill(actor, no_restart=False)
    flags.wait("made", 2)
    flags.up("go")
    assert ray.get(refs, timeout=30) == [2, 2, 2]
