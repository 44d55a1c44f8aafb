"""Sessions: starting one, ending it, what is left of it."""

from __future__ import annotations

import time
from typing import Any

import pytest

pytestmark = [pytest.mark.own_session, pytest.mark.slow]


def test_a_session_is_started_and_ended(ray: Any) -> None:
    assert not ray.is_initialized()
    ray.init(num_cpus=2)
    assert ray.is_initialized()
    ray.shutdown()
    assert not ray.is_initialized()


def test_shutdown_without_a_session_does_nothing(ray: Any) -> None:
    ray.shutdown()
    ray.shutdown()
    assert not ray.is_initialized()


def test_leaving_the_context_ends_the_session_even_by_an_error(ray: Any) -> None:
    def leave_by_an_error() -> None:
        with ray.init(num_cpus=1):
            assert ray.is_initialized()
            raise KeyError("passes through")

    with pytest.raises(KeyError, match="passes through"):
        leave_by_an_error()
    assert not ray.is_initialized()


def test_a_second_init_is_refused_or_ignored(ray: Any) -> None:
    ray.init(num_cpus=1, resources={"thing": 3})
    with pytest.raises(RuntimeError, match="ignore_reinit_error"):
        ray.init(num_cpus=2)
    ray.init(num_cpus=2, ignore_reinit_error=True)
    assert ray.cluster_resources()["CPU"] == 1
    assert ray.cluster_resources()["thing"] == 3


def test_bad_arguments_of_init_are_refused(ray: Any) -> None:
    with pytest.raises(RuntimeError, match="nonsense"):
        ray.init(nonsense=1)
    with pytest.raises(ValueError, match="nonnegative"):
        ray.init(num_cpus=-1)
    with pytest.raises(ValueError, match=r"nonnegative.*thing|thing.*nonnegative"):
        ray.init(num_cpus=1, resources={"thing": -1})
    with pytest.raises(AssertionError, match="CPU"):
        ray.init(num_cpus=1, resources={"CPU": 1})
    assert not ray.is_initialized()


def test_the_first_call_starts_a_session(ray: Any) -> None:
    assert ray.get(ray.remote(lambda: 6).remote()) == 6
    assert ray.is_initialized()


def test_the_first_put_starts_a_session(ray: Any) -> None:
    assert ray.get(ray.put(6)) == 6
    assert ray.is_initialized()


def test_the_first_actor_starts_a_session(ray: Any) -> None:
    @ray.remote
    class Actor:
        def hello(self) -> str:
            return "hello"

    assert not ray.is_initialized()
    assert ray.get(Actor.remote().hello.remote()) == "hello"


def test_functions_and_classes_serve_one_session_after_the_other(ray: Any) -> None:
    @ray.remote
    def double(x: int) -> int:
        return 2 * x

    @ray.remote
    class Counter:
        def __init__(self) -> None:
            self.value = 0

        def increment(self) -> int:
            self.value += 1
            return self.value

    for _ in range(2):
        with ray.init(num_cpus=2):
            assert ray.get([double.remote(i) for i in range(3)]) == [0, 2, 4]
            assert ray.get(Counter.remote().increment.remote()) == 1


def test_refs_and_handles_of_an_earlier_session_are_refused(ray: Any) -> None:
    @ray.remote
    def same(x: Any) -> Any:
        return x

    @ray.remote
    class Actor:
        def hello(self) -> str:
            return "hello"

    with ray.init(num_cpus=1):
        stored, result, actor = ray.put(1), same.remote(2), Actor.remote()
        ray.get([result, actor.hello.remote()])
    with ray.init(num_cpus=1):
        ray.get([ray.put(1), same.remote(2)])  # new objects, which may well have the numbers of the old ones
        for old in (stored, result):
            with pytest.raises(ValueError, match="session"):
                ray.get(old, timeout=10)
            with pytest.raises(ValueError, match="session"):
                ray.wait([old], timeout=10)
            with pytest.raises(ValueError, match="session"):
                ray.get(same.remote(old), timeout=10)
        with pytest.raises(Exception, match=r"(?i)actor") as caught:
            ray.get(actor.hello.remote(), timeout=10)
        assert not isinstance(caught.value, ray.exceptions.GetTimeoutError)


def test_a_named_actor_is_found_in_the_namespace_of_its_session(ray: Any) -> None:
    @ray.remote
    class Actor: ...

    ray.init(num_cpus=1, namespace="ours")
    actor = Actor.options(name="known").remote()
    assert ray.get_actor("known") == actor
    assert ray.get_actor("known", namespace="ours") == actor
    with pytest.raises(ValueError, match="known"):
        ray.get_actor("known", namespace="theirs")


def test_one_cpu_is_enough_for_any_depth(ray: Any) -> None:
    @ray.remote
    def descend(n: int) -> int:
        return 0 if n == 0 else 1 + sum(ray.get([descend.remote(n - 1)]))

    @ray.remote
    def span() -> tuple[float, float]:
        start = time.monotonic()
        time.sleep(0.02)
        return start, time.monotonic()

    with ray.init(num_cpus=1):
        assert ray.get(descend.remote(4)) == 4
        spans = sorted(ray.get([span.remote() for _ in range(5)]))
        assert all(end <= start for (_, end), (start, _) in zip(spans, spans[1:]))  # noqa: RUF007


@pytest.mark.needs("clock")
def test_shutdown_does_not_wait_for_what_still_runs(ray: Any, flags: Any) -> None:
    @ray.remote
    def endless() -> None:
        flags.up("running")
        flags.wait("never")

    @ray.remote
    class Endless:
        def run(self) -> None:
            flags.up("running")
            flags.wait("never")

    ray.init(num_cpus=2)
    actor = Endless.remote()
    refs = [actor.run.remote(), endless.remote(), endless.remote(), endless.remote()]
    flags.wait("running", 3)
    start = time.monotonic()
    ray.shutdown()
    assert time.monotonic() - start < 15
    flags.up("never")
    del refs


@pytest.mark.own_session
@pytest.mark.filterwarnings("ignore")  # Ray calls it deprecated
def test_what_init_returns_is_a_mapping(ray: Any) -> None:
    context = ray.init(num_cpus=1)
    assert context["node_ip_address"] == context.get("node_ip_address") == dict(context)["node_ip_address"]
    assert context.get("nothing", 5) == 5
    assert list(context.keys()) == list(context) and len(list(context.items())) == len(list(context.values()))
    assert context["node_id"] == ray.get_runtime_context().get_node_id()
    assert context["webui_url"] == ""
    assert type(context).__name__ == "RayContext"


def test_shutdown_may_be_asked_to_wait(ray: Any) -> None:
    ray.init(num_cpus=1)
    ray.get(ray.remote(lambda: 1).remote())
    ray.shutdown(wait_for_processes=True)
    assert not ray.is_initialized()
