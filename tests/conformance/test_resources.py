"""Resources: how many tasks and actors run at once, and who waits for whom."""

from __future__ import annotations

import time
from typing import Any

import pytest


def most_at_once(spans: list[tuple[float, float]]) -> int:
    """The greatest number of `(start, end)` spans that share a moment."""
    changes = sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans])
    running = most = 0
    for _, change in changes:
        running += change
        most = max(most, running)
    return most


@pytest.fixture
def span(ray: Any) -> Any:
    """A remote function that takes a while and returns when it started and ended."""

    @ray.remote
    def span() -> tuple[float, float]:
        start = time.monotonic()
        time.sleep(0.05)
        return start, time.monotonic()

    return span


@pytest.fixture
def meet(ray: Any, flags: Any) -> Any:
    """A remote function that returns when `n` calls of it run at one time."""

    @ray.remote
    def meet(n: int) -> str:
        flags.up("here")
        flags.wait("here", n)
        return "met"

    return meet


def test_two_tasks_run_at_once_on_two_cpus(ray: Any, meet: Any) -> None:
    assert ray.get([meet.remote(2) for _ in range(2)]) == ["met"] * 2


def test_a_task_takes_one_cpu(ray: Any, span: Any) -> None:
    assert most_at_once(ray.get([span.remote() for _ in range(8)])) <= 2


@pytest.mark.parametrize("cpus", [2, 1.5])
def test_tasks_that_take_more_than_half_of_the_cpus_run_one_at_a_time(ray: Any, span: Any, cpus: float) -> None:
    assert most_at_once(ray.get([span.options(num_cpus=cpus).remote() for _ in range(4)])) == 1


def test_tasks_may_share_a_cpu(ray: Any, meet: Any, span: Any) -> None:
    assert ray.get([meet.options(num_cpus=0.5).remote(4) for _ in range(4)]) == ["met"] * 4
    assert most_at_once(ray.get([span.options(num_cpus=0.5).remote() for _ in range(8)])) <= 4


def test_tasks_may_take_no_cpu_at_all(ray: Any, meet: Any) -> None:
    assert ray.get([meet.options(num_cpus=0).remote(4) for _ in range(4)]) == ["met"] * 4


def test_a_custom_resource_limits_how_many_run_at_once(ray: Any, span: Any, meet: Any) -> None:
    one = {"num_cpus": 0, "resources": {"special": 1}}
    assert most_at_once(ray.get([span.options(**one).remote() for _ in range(6)])) <= 2
    assert ray.get([meet.options(**one).remote(2) for _ in range(2)]) == ["met"] * 2


def test_a_task_that_takes_all_of_a_resource_runs_alone(ray: Any, span: Any) -> None:
    options = {"num_cpus": 0, "resources": {"special": 2}}
    assert most_at_once(ray.get([span.options(**options).remote() for _ in range(4)])) == 1


def test_fractions_of_a_custom_resource_add_up(ray: Any, span: Any, meet: Any) -> None:
    options = {"num_cpus": 0, "resources": {"special": 0.5}}
    assert ray.get([meet.options(**options).remote(4) for _ in range(4)]) == ["met"] * 4
    assert most_at_once(ray.get([span.options(**options).remote() for _ in range(6)])) <= 4


def test_fractions_add_up_exactly(ray: Any, meet: Any) -> None:
    """Ten times 0.1 is one, though not in floating point."""
    sizes = [0.1] * 10 + [1.0]
    refs = [meet.options(num_cpus=0, resources={"special": size}).remote(1) for size in sizes * 2]
    assert ray.get(refs) == ["met"] * 22


@pytest.mark.parametrize("options", [{"num_cpus": 1000}, {"resources": {"no such thing": 1}}], ids=["cpus", "unknown"])
def test_a_task_that_can_never_run_waits_and_holds_up_nobody(ray: Any, options: Any) -> None:
    @ray.remote
    def f() -> str:
        return "ran"

    ref = f.options(**options).remote()
    assert ray.get([f.remote() for _ in range(4)]) == ["ran"] * 4
    assert ray.wait([ref], timeout=0.1) == ([], [ref])


def test_an_actor_that_can_never_start_can_be_killed(ray: Any) -> None:
    @ray.remote(resources={"no such thing": 1})
    class Impossible:
        def hello(self) -> None: ...

    actor = Impossible.remote()
    ref = actor.hello.remote()
    assert ray.wait([ref], timeout=0.1) == ([], [ref])
    ray.kill(actor)
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(ref)


def test_actors_take_no_cpu_unless_they_say_so(ray: Any, flags: Any, meet: Any) -> None:
    """Four actors, each busy, and two tasks, all at one time on two CPUs."""

    @ray.remote
    class Busy:
        def ready(self) -> None: ...

        def meet(self, n: int) -> str:
            flags.up("here")
            flags.wait("here", n)
            return "met"

    actors = [Busy.remote() for _ in range(4)]
    ray.get([actor.ready.remote() for actor in actors])
    refs = [actor.meet.remote(6) for actor in actors] + [meet.remote(6) for _ in range(2)]
    assert ray.get(refs) == ["met"] * 6


def test_an_actor_that_takes_a_cpu_keeps_it_until_it_ends(ray: Any, span: Any, meet: Any) -> None:
    @ray.remote(num_cpus=1)
    class Holder:
        def ready(self) -> None: ...

    holder = Holder.remote()
    ray.get(holder.ready.remote())
    assert most_at_once(ray.get([span.remote() for _ in range(4)])) == 1
    ray.kill(holder)
    assert ray.get([meet.remote(2) for _ in range(2)]) == ["met"] * 2


def test_an_actor_waits_for_its_resources(ray: Any) -> None:
    @ray.remote(num_cpus=0, resources={"special": 2})
    class Owner:
        def hello(self) -> str:
            return "hello"

    first, second = Owner.remote(), Owner.remote()
    done, waiting = ray.wait([first.hello.remote(), second.hello.remote()])
    assert ray.wait(waiting, timeout=0.1) == ([], waiting)
    ray.kill(first)
    ray.kill(second)
    third = Owner.remote()
    assert ray.get(third.hello.remote()) == "hello"
    assert ray.get(done) == ["hello"]


def test_a_waiting_task_keeps_its_custom_resources(ray: Any) -> None:
    """Only its CPUs are given to others: a GPU that a task has loaded something on is not."""

    @ray.remote(num_cpus=0, resources={"special": 1})
    def child() -> str:
        return "ran"

    @ray.remote(num_cpus=1, resources={"special": 2})
    def parent() -> Any:
        ref = child.remote()
        ready, _ = ray.wait([ref], timeout=0.2)
        return len(ready), [ref]

    ready, (ref,) = ray.get(parent.remote())
    assert ready == 0
    assert ray.get(ref) == "ran"


def test_the_resources_of_the_session_are_listed(ray: Any) -> None:
    resources = ray.cluster_resources()
    assert resources["CPU"] == 2
    assert resources["special"] == 2


def test_the_resources_that_are_free_are_listed(ray: Any, eventually: Any) -> None:
    @ray.remote(num_cpus=0.5, resources={"special": 2})
    class Owner:
        def ready(self) -> None: ...

    eventually(lambda: ray.available_resources().get("CPU") == 2)
    owner = Owner.remote()
    ray.get(owner.ready.remote())
    eventually(lambda: ray.available_resources().get("CPU") == 1.5)
    assert ray.available_resources().get("special", 0) == 0
    ray.kill(owner)
    eventually(lambda: ray.available_resources().get("special") == 2)
