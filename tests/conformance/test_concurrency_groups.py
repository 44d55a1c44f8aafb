"""Concurrency groups: each with a limit of its own, in async actors and on threads."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest


@pytest.fixture
def threaded(ray: Any, flags: Any) -> Any:
    @ray.remote(concurrency_groups={"io": 2})
    class Threaded:
        @ray.method(concurrency_group="io")
        def read(self) -> str:
            flags.up("reading")
            flags.wait("go")
            return "read"

        def work(self) -> tuple[int, bool]:
            return threading.get_ident(), threading.current_thread() is threading.main_thread()

        def stay(self) -> str:
            flags.up("staying")
            flags.wait("go")
            return "stayed"

    return Threaded


@pytest.fixture
def looping(ray: Any) -> Any:
    @ray.remote(concurrency_groups={"io": 2, "compute": 4})
    class Looping:
        def __init__(self) -> None:
            self.there = self.most = 0

        @ray.method(concurrency_group="io")
        async def io(self) -> str:
            return threading.current_thread().name

        @ray.method(concurrency_group="compute")
        def compute(self) -> str:
            return threading.current_thread().name

        async def plain(self) -> str:
            return threading.current_thread().name

        async def visit(self) -> int:
            self.there += 1
            self.most = max(self.most, self.there)
            await asyncio.sleep(0.002)
            self.there -= 1
            return self.most

    return Looping


def test_a_full_group_does_not_hold_back_another(ray: Any, threaded: Any, flags: Any) -> None:
    actor = threaded.remote()
    reading = [actor.read.remote() for _ in range(4)]
    flags.wait("reading", 2)
    assert len(set(ray.get([actor.work.remote() for _ in range(3)], timeout=30))) == 1
    assert flags.count("reading") == 2
    flags.up("go")
    assert ray.get(reading) == ["read"] * 4


def test_calls_without_a_group_run_one_after_another_unless_max_concurrency_says_more(
    ray: Any, threaded: Any, flags: Any
) -> None:
    one, two = threaded.remote(), threaded.options(max_concurrency=2).remote()
    refs = [one.stay.remote(), one.stay.remote()]
    flags.wait("staying", 1)
    refs += [two.stay.remote(), two.stay.remote()]
    flags.wait("staying", 3)
    time.sleep(0.02)
    assert flags.count("staying") == 3
    flags.up("go")
    assert ray.get(refs) == ["stayed"] * 4


@pytest.mark.needs("processes")
def test_with_groups_no_call_runs_on_the_main_thread(ray: Any, threaded: Any) -> None:
    assert ray.get(threaded.remote().work.remote())[1] is False


def test_with_groups_alone_calls_keep_their_order(ray: Any, threaded: Any, flags: Any, held: Any) -> None:
    @ray.remote(concurrency_groups={"io": 2})
    class Log:
        def __init__(self) -> None:
            self.seen: list[Any] = []

        def note(self, value: Any) -> list[Any]:
            self.seen.append(value)
            return self.seen

    log = Log.remote()
    log.note.remote(held("late"))
    last = log.note.remote("early")
    flags.up("go")
    assert ray.get(last) == ["late", "early"]


def test_each_group_of_an_async_actor_has_a_loop_of_its_own(ray: Any, looping: Any) -> None:
    actor = looping.remote()
    names = ray.get([actor.io.remote(), actor.compute.remote(), actor.plain.remote()])
    assert names == ["AsyncIO Thread: io", "AsyncIO Thread: compute", "AsyncIO Thread: default"]


def test_a_call_can_choose_another_group(ray: Any, looping: Any) -> None:
    actor = looping.remote()
    assert ray.get(actor.plain.options(concurrency_group="io").remote()) == "AsyncIO Thread: io"
    assert ray.get(actor.io.options(concurrency_group="compute").remote()) == "AsyncIO Thread: compute"
    assert ray.get(actor.io.options(concurrency_group="").remote()) == "AsyncIO Thread: io"
    assert ray.get(actor.io.options(concurrency_group=None).remote()) == "AsyncIO Thread: io"


def test_a_group_of_an_async_actor_has_its_limit(ray: Any, looping: Any) -> None:
    actor = looping.remote()
    assert max(ray.get([actor.visit.options(concurrency_group="io").remote() for _ in range(8)])) == 2


def test_handles_know_the_groups_wherever_they_arrive(ray: Any, looping: Any) -> None:
    @ray.remote
    def call(actor: Any) -> Any:
        return ray.get([actor.io.remote(), actor.plain.options(concurrency_group="compute").remote()])

    assert ray.get(call.remote(looping.remote())) == ["AsyncIO Thread: io", "AsyncIO Thread: compute"]


def test_a_method_cannot_be_in_a_group_that_its_class_has_not(ray: Any) -> None:
    @ray.remote
    class Without:
        @ray.method(concurrency_group="io")
        def f(self) -> None: ...

    @ray.remote(concurrency_groups={"other": 1})
    class Other:
        @ray.method(concurrency_group="io")
        def f(self) -> None: ...

    classes: list[Any] = [Without, Other]
    for cls in classes:
        with pytest.raises(AssertionError):
            cls.remote()


def test_groups_are_the_class_s_and_cannot_be_changed_later(ray: Any, threaded: Any) -> None:
    with pytest.raises(ValueError, match=r"'concurrency_groups' is not supported in '.options\(\)'"):
        threaded.options(concurrency_groups={"io": 1})
    with pytest.raises(ValueError, match=r"'concurrency_groups' is not supported in '.options\(\)'"):
        threaded.options(concurrency_groups={"io": "many"})
    with pytest.raises(TypeError, match="The type of keyword 'concurrency_groups' must be"):
        threaded.options(concurrency_groups=3)


@pytest.mark.parametrize("groups", ["io", [{"name": "io"}], {"io": "many"}])
def test_groups_are_a_dict_of_names_and_limits(ray: Any, groups: Any) -> None:
    class Actor:
        def f(self) -> None: ...

    with pytest.raises(TypeError):
        ray.remote(concurrency_groups=groups)(Actor).remote()


def test_the_group_of_a_call_is_a_name(ray: Any, looping: Any) -> None:
    with pytest.raises(TypeError):
        looping.remote().plain.options(concurrency_group=3).remote()


@pytest.mark.parametrize("no_groups", [None, {}, []])
def test_no_groups_are_no_groups(ray: Any, no_groups: Any) -> None:
    @ray.remote(concurrency_groups=no_groups)
    class Actor:
        def f(self) -> int:
            return 1

    assert ray.get(Actor.remote().f.remote()) == 1
