"""What is tried again: tasks whose worker dies, tasks that raise, actors that are killed."""

from __future__ import annotations

import os
import sys
from typing import Any

import pytest


@pytest.fixture
def crash(ray: Any, flags: Any) -> Any:
    """A remote function whose worker dies in its first `times` runs; it returns the number of runs it took."""

    @ray.remote
    def crash(times: int) -> int:
        run = flags.up("run")
        if run <= times:
            os._exit(1)
        return run

    return crash


@pytest.fixture
def stumble(ray: Any, flags: Any) -> Any:
    """A remote function that raises in its first `times` runs; it returns the number of runs it took."""

    @ray.remote
    def stumble(times: int, error: Any = ValueError) -> int:
        run = flags.up("run")
        if run <= times:
            raise error(f"run {run}")
        return run

    return stumble


@pytest.fixture
def Fragile(ray: Any, flags: Any) -> Any:
    """An actor that counts its calls, and the lives that it has had."""

    @ray.remote
    class Fragile:
        def __init__(self) -> None:
            self.life = flags.up("lives")
            self.calls = 0

        def call(self) -> tuple[int, int]:
            self.calls += 1
            return self.life, self.calls

        def die(self) -> None:
            os._exit(1)

        def die_once(self) -> int:
            if flags.up("deaths") == 1:
                os._exit(1)
            return self.life

        def stumble(self, times: int) -> int:
            run = flags.up("run")
            if run <= times:
                raise ValueError(f"run {run}")
            return run

    return Fragile


def call(ray: Any, fragile: Any) -> Any:
    """What `call` returns, or None while the actor is being restarted."""
    try:
        return ray.get(fragile.call.remote())
    except ray.exceptions.ActorUnavailableError:
        return None


@pytest.mark.needs("processes")
def test_a_task_whose_worker_dies_runs_again(ray: Any, crash: Any) -> None:
    assert ray.get(crash.remote(1)) == 2


@pytest.mark.needs("processes")
def test_a_task_whose_worker_dies_too_often_fails(ray: Any, crash: Any, flags: Any) -> None:
    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(crash.options(max_retries=1).remote(9))
    assert flags.count("run") == 2


@pytest.mark.needs("processes")
def test_a_task_without_retries_fails_at_once(ray: Any, crash: Any, flags: Any) -> None:
    ref = crash.options(max_retries=0).remote(9)
    with pytest.raises(ray.exceptions.WorkerCrashedError) as caught:
        ray.get(ref)
    assert not isinstance(caught.value, ray.exceptions.RayTaskError)
    assert flags.count("run") == 1


@pytest.mark.needs("processes")
def test_the_death_of_a_worker_fails_its_own_task_and_nothing_else(ray: Any, crash: Any, flags: Any) -> None:
    @ray.remote
    def double(x: int) -> int:
        return 2 * x

    stored, before = ray.put("stored"), double.remote(0)
    ray.get(before)
    failed = crash.options(max_retries=0).remote(9)
    others = [double.remote(i) for i in range(20)]
    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(failed)
    assert ray.get(others) == [2 * i for i in range(20)]
    assert ray.get([stored, before]) == ["stored", 0]


@pytest.mark.needs("processes")
def test_a_dependant_of_a_crashed_task_fails_with_both_types(ray: Any, crash: Any) -> None:
    @ray.remote
    def dependant(x: Any) -> None: ...

    with pytest.raises(ray.exceptions.WorkerCrashedError) as caught:
        ray.get(dependant.remote(crash.options(max_retries=0).remote(9)))
    assert isinstance(caught.value, ray.exceptions.RayTaskError)


@pytest.mark.needs("processes")
def test_a_task_that_a_task_submitted_runs_again(ray: Any, crash: Any) -> None:
    @ray.remote
    def parent() -> Any:
        return ray.get(crash.remote(1))

    assert ray.get(parent.remote()) == 2


@pytest.mark.needs("processes")
def test_a_task_that_exits_has_crashed(ray: Any) -> None:
    @ray.remote(max_retries=0)
    def leave() -> None:
        sys.exit(0)

    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(leave.remote())


def test_an_error_is_not_retried(ray: Any, stumble: Any, flags: Any) -> None:
    with pytest.raises(ValueError, match="run 1"):
        ray.get(stumble.remote(1))
    assert flags.count("run") == 1


def test_an_error_is_retried_on_request(ray: Any, stumble: Any) -> None:
    assert ray.get(stumble.options(retry_exceptions=True).remote(1)) == 2


def test_retries_of_errors_are_counted(ray: Any, stumble: Any, flags: Any) -> None:
    with pytest.raises(ValueError, match="run 2"):
        ray.get(stumble.options(retry_exceptions=True, max_retries=1).remote(9))
    assert flags.count("run") == 2


def test_an_error_is_not_retried_without_retries(ray: Any, stumble: Any, flags: Any) -> None:
    with pytest.raises(ValueError, match="run 1"):
        ray.get(stumble.options(retry_exceptions=True, max_retries=0).remote(9))
    assert flags.count("run") == 1


def test_only_the_listed_errors_are_retried(ray: Any, stumble: Any, flags: Any) -> None:
    with pytest.raises(ValueError, match="run 1"):
        ray.get(stumble.options(retry_exceptions=[LookupError]).remote(1))
    assert flags.count("run") == 1


def test_the_subclasses_of_a_listed_error_are_retried(ray: Any, stumble: Any) -> None:
    assert ray.get(stumble.options(retry_exceptions=[LookupError]).remote(1, KeyError)) == 2


def test_dependants_wait_for_the_retry(ray: Any, stumble: Any) -> None:
    @ray.remote
    def double(x: int) -> int:
        return 2 * x

    assert ray.get(double.remote(stumble.options(retry_exceptions=True).remote(1))) == 4


def test_an_error_in_an_actor_is_retried_on_request(ray: Any, Fragile: Any) -> None:
    fragile = Fragile.options(max_task_retries=3).remote()
    with pytest.raises(ValueError, match="run 1"):
        ray.get(fragile.stumble.remote(1))
    assert ray.get(fragile.stumble.options(retry_exceptions=True).remote(2)) == 3


@pytest.mark.parametrize("method", ["plain", "coroutine"])
def test_an_error_in_an_async_actor_is_retried_on_request(ray: Any, flags: Any, method: str) -> None:
    @ray.remote
    class Stumbles:
        def plain(self, times: int) -> int:
            run = flags.up("run")
            if run <= times:
                raise ValueError(f"run {run}")
            return run

        async def coroutine(self, times: int) -> int:
            return self.plain(times)

    stumbles = Stumbles.options(max_task_retries=30).remote()
    assert ray.get(getattr(stumbles, method).options(retry_exceptions=True).remote(20)) == 21


@pytest.mark.needs("processes")
def test_an_actor_that_dies_stays_dead(ray: Any, Fragile: Any) -> None:
    fragile = Fragile.remote()
    dying, waiting = fragile.die.remote(), fragile.call.remote()
    for ref in (dying, waiting, fragile.call.remote()):
        with pytest.raises(ray.exceptions.ActorDiedError):
            ray.get(ref)


@pytest.mark.needs("processes")
def test_an_actor_with_restarts_starts_anew_and_forgets(ray: Any, Fragile: Any, eventually: Any) -> None:
    fragile = Fragile.options(max_restarts=1).remote()
    assert ray.get([fragile.call.remote(), fragile.call.remote()]) == [(1, 1), (1, 2)]
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(fragile.die.remote())
    assert eventually(lambda: call(ray, fragile)) == (2, 1)
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(fragile.die.remote())
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(fragile.call.remote())


@pytest.mark.needs("processes")
def test_the_call_in_which_an_actor_dies_is_not_repeated(ray: Any, Fragile: Any, flags: Any, eventually: Any) -> None:
    fragile = Fragile.options(max_restarts=1).remote()
    with pytest.raises(ray.exceptions.ActorUnavailableError):
        ray.get(fragile.die_once.remote())
    assert eventually(lambda: call(ray, fragile)) == (2, 1)
    assert flags.count("deaths") == 1


@pytest.mark.needs("processes")
def test_the_call_in_which_an_actor_dies_is_repeated_on_request(ray: Any, Fragile: Any) -> None:
    fragile = Fragile.options(max_restarts=1, max_task_retries=1).remote()
    assert ray.get(fragile.die_once.remote()) == 2


def test_a_killed_actor_is_not_restarted(ray: Any, Fragile: Any, kill: Any) -> None:
    fragile = Fragile.options(max_restarts=1).remote()
    ray.get(fragile.call.remote())
    kill(fragile)
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(fragile.call.remote())


def test_a_killed_actor_is_restarted_on_request(ray: Any, Fragile: Any, eventually: Any) -> None:
    fragile = Fragile.options(max_restarts=1).remote()
    assert ray.get([fragile.call.remote(), fragile.call.remote()]) == [(1, 1), (1, 2)]
    ray.kill(fragile, no_restart=False)
    eventually(lambda: (call(ray, fragile) or (1, 0))[0] == 2)

    ray.kill(fragile, no_restart=False)

    def dead() -> bool:
        try:
            call(ray, fragile)
        except ray.exceptions.ActorDiedError:
            return True
        return False

    eventually(dead)


def test_a_task_creates_and_finds_actors_that_retry_errors_of_the_program_s_own(ray: Any) -> None:
    class Own(Exception):
        pass

    class Flaky:
        def __init__(self) -> None:
            self.calls = 0

        @ray.method(max_task_retries=1, retry_exceptions=[Own])
        def call(self) -> int:
            self.calls += 1
            if self.calls == 1:
                raise Own
            return self.calls

    actor_class = ray.remote(Flaky)

    @ray.remote
    def create() -> int:
        return ray.get(actor_class.remote().call.remote())

    @ray.remote
    def find() -> int:
        return ray.get(ray.get_actor("flaky").call.remote())

    kept = actor_class.options(name="flaky").remote()
    assert ray.get([create.remote(), find.remote()]) == [2, 2]
    del kept
