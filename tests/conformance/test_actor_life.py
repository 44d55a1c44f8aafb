"""How actors end: a constructor that raises, `kill`, the last handle gone."""

from __future__ import annotations

import gc
import io
import sys
from typing import Any

import pytest


@pytest.fixture
def Counter(ray: Any) -> Any:
    @ray.remote
    class Counter:
        def __init__(self, start: int = 0) -> None:
            self.value = start

        def increment(self) -> int:
            self.value += 1
            return self.value

    return Counter


def test_a_constructor_that_raises_fails_every_call_with_its_error(ray: Any) -> None:
    @ray.remote
    class Doomed:
        def __init__(self) -> None:
            raise KeyError("cannot start")

        def hello(self) -> str:
            return "hello"

    doomed = Doomed.remote()
    for _ in range(2):
        with pytest.raises(ray.exceptions.ActorDiedError) as caught:
            ray.get(doomed.hello.remote())
        message = str(caught.value)
        assert "Doomed.__init__()" in message
        assert 'test_actor_life.py"' in message
        assert "KeyError: 'cannot start'" in message
        assert not isinstance(caught.value, KeyError)


def test_a_constructor_whose_argument_failed_fails_every_call(ray: Any, Counter: Any) -> None:
    @ray.remote
    def fail() -> None:
        raise KeyError("upstream")

    with pytest.raises(ray.exceptions.ActorDiedError, match="KeyError: 'upstream'"):
        ray.get(Counter.remote(fail.remote()).increment.remote())


def test_kill_fails_the_running_call_and_those_that_wait_and_those_to_come(ray: Any, flags: Any) -> None:
    @ray.remote
    class Busy:
        def work(self) -> None:
            flags.up("working")
            flags.wait("go")

        def hello(self) -> str:
            return "hello"

    busy = Busy.remote()
    running, waiting = busy.work.remote(), busy.hello.remote()
    flags.wait("working")
    ray.kill(busy)
    for ref in (running, waiting, busy.hello.remote()):
        with pytest.raises(ray.exceptions.ActorDiedError, match=r"ray\.kill"):
            ray.get(ref)
    flags.up("go")


def test_results_from_before_the_kill_stay(ray: Any, Counter: Any) -> None:
    counter = Counter.remote()
    ref = counter.increment.remote()
    ray.wait([ref])
    ray.kill(counter)
    assert ray.get(ref) == 1


def test_kill_of_a_dead_actor_does_nothing(ray: Any, Counter: Any, kill: Any) -> None:
    counter = Counter.remote()
    kill(counter)
    ray.kill(counter)
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(counter.increment.remote())


def test_an_actor_can_be_killed_before_it_has_started(ray: Any, flags: Any) -> None:
    @ray.remote
    class Slow:
        def __init__(self) -> None:
            flags.wait("go")

        def hello(self) -> str:
            return "hello"

    slow = Slow.remote()
    ref = slow.hello.remote()
    ray.kill(slow)
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(ref)
    flags.up("go")


def test_kill_of_something_that_is_no_actor_is_refused(ray: Any, Counter: Any) -> None:
    for wrong in (1, None, ray.put(1), Counter):
        with pytest.raises(ValueError, match="only supported for actors"):
            ray.kill(wrong)


def test_kill_of_one_actor_leaves_others_alone(ray: Any, Counter: Any) -> None:
    a, b = Counter.remote(), Counter.remote()
    ray.get(a.increment.remote())
    ray.kill(a)
    assert ray.get(b.increment.remote()) == 1


def test_an_actor_ends_when_its_last_handle_is_gone(ray: Any) -> None:
    @ray.remote(num_cpus=0, resources={"special": 2})
    class Owner:
        def hello(self) -> str:
            return "hello"

    first = Owner.remote()
    ray.get(first.hello.remote())
    second = Owner.remote()  # cannot start while `first` has all of the resource
    ref = second.hello.remote()
    assert ray.wait([ref], timeout=0.2) == ([], [ref])
    del first
    gc.collect()
    assert ray.get(ref) == "hello"


def test_calls_in_progress_finish_when_the_last_handle_is_gone(ray: Any, flags: Any) -> None:
    @ray.remote
    class Worker:
        def wait_for_go(self) -> str:
            flags.wait("go")
            return "went"

        def hello(self) -> str:
            return "hello"

    worker = Worker.remote()
    refs = [worker.wait_for_go.remote(), worker.hello.remote()]
    del worker
    gc.collect()
    flags.up("go")
    assert ray.get(refs) == ["went", "hello"]


def test_a_call_on_a_handle_that_is_never_kept(ray: Any, Counter: Any) -> None:
    assert ray.get(Counter.remote(41).increment.remote()) == 42


@pytest.fixture
def Tidy(ray: Any, flags: Any) -> Any:
    """An actor that tidies up after itself: flags "told" and "dropped"."""

    @ray.remote(num_cpus=0)
    class Tidy:
        def method(self) -> int:
            return 1

        def leave(self) -> None:
            ray.actor.exit_actor()

        def __ray_shutdown__(self) -> None:
            flags.up("told")

        def __del__(self) -> None:
            flags.up("dropped" if flags.count("told") else "dropped untold")

    return Tidy


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.parametrize(
    "how", [pytest.param("out of scope", marks=pytest.mark.needs("clock")), "exit_actor", "__ray_terminate__"]
)
def test_an_actor_that_ends_is_told_and_then_dropped(
    ray: Any, flags: Any, Tidy: Any, eventually: Any, how: str, concurrency: int
) -> None:
    tidy = Tidy.options(max_concurrency=concurrency).remote()
    assert ray.get(tidy.method.remote()) == 1
    if how == "out of scope":
        del tidy
    else:
        with pytest.raises(ray.exceptions.ActorDiedError):
            ray.get(tidy.leave.remote() if how == "exit_actor" else tidy.__ray_terminate__.remote())
    eventually(lambda: flags.count("dropped"))
    assert (flags.count("told"), flags.count("dropped")) == (1, 1)


@pytest.mark.needs("clock")
def test_an_async_actor_that_ends_is_told(ray: Any, flags: Any, Tidy: Any, eventually: Any) -> None:
    class Async(Tidy.__ray_actor_class__):  # type: ignore[misc]
        async def coroutine(self) -> int:
            return 2

    tidy = ray.remote(Async).remote()
    assert ray.get([tidy.method.remote(), tidy.coroutine.remote()]) == [1, 2]
    del tidy
    eventually(lambda: flags.count("dropped"))
    assert flags.count("told") == 1


def test_an_actor_that_is_killed_is_not_told(ray: Any, flags: Any, Tidy: Any, kill: Any) -> None:
    tidy = Tidy.remote()
    kill(tidy)
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(tidy.method.remote())
    assert flags.count("told") == 0


@pytest.mark.needs("clock")
def test_an_error_while_an_actor_is_told_of_its_end_harms_nobody(ray: Any, flags: Any, eventually: Any) -> None:
    @ray.remote(num_cpus=0)
    class Untidy:
        def method(self) -> int:
            return 1

        def __ray_shutdown__(self) -> None:
            flags.up("told")
            raise ValueError("untidy")

        def __del__(self) -> None:
            flags.up("dropped")

    untidy = Untidy.remote()
    assert ray.get(untidy.method.remote()) == 1
    del untidy
    eventually(lambda: flags.count("dropped"))
    assert flags.count("told") == 1


def test_an_error_in_a_constructor_is_shown_although_nobody_calls_a_method(
    ray: Any, monkeypatch: pytest.MonkeyPatch, eventually: Any
) -> None:
    @ray.remote(num_cpus=0)
    class Broken:
        def __init__(self) -> None:
            raise ValueError("broken on purpose")

    stderr = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stderr)
    broken = Broken.remote()
    eventually(lambda: "ValueError: broken on purpose" in stderr.getvalue())
    assert "Exception raised in creation task: The actor died because of an error" in stderr.getvalue()
    del broken
