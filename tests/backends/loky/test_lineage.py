"""Large results whose file is gone are computed again, by whoever misses them; what cannot be says why."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from minray.exceptions import ObjectLostError, ObjectReconstructionFailedError, RayTaskError

pytestmark = pytest.mark.slow

N = 20_000  # numbers in an array that goes to the store


@pytest.fixture
def make(ray: Any, flags: Any) -> Any:
    @ray.remote
    def make(name: str, *arrays: Any) -> Any:
        flags.up(name)
        return np.ones(N) + sum(array[0] for array in arrays)

    return make


def test_the_driver_gets_what_was_lost(ray: Any, make: Any, flags: Any, lose: Callable[[], None]) -> None:
    ref = make.remote("a")
    ray.wait([ref])
    lose()
    assert ray.get(ref)[0] == 1
    assert flags.count("a") == 2


def test_all_that_one_get_misses_is_made_again_at_once(ray: Any, flags: Any, lose: Callable[[], None]) -> None:
    @ray.remote
    def meet() -> Any:
        if flags.up("here") > 2:
            flags.wait("here", 4)
        return np.ones(N)

    refs = [meet.remote(), meet.remote()]
    ray.wait(refs, num_returns=2)
    lose()
    assert [array[0] for array in ray.get(refs)] == [1, 1]


def test_arguments_and_their_arguments_are_made_again(
    ray: Any, make: Any, flags: Any, lose: Callable[[], None]
) -> None:
    first = make.remote("first")
    second = make.remote("second", first)
    ray.wait([second])
    del first
    assert ray.get(ray.remote(lambda: 1).remote()) == 1  # by now the first one is freed
    lose()
    assert ray.get(second)[0] == 2
    assert flags.count("first") == flags.count("second") == 2


@pytest.mark.parametrize("how", ["get", "wait for", "argument", "await", "actor"])
def test_whoever_misses_it_has_it_made_again(
    ray: Any, make: Any, flags: Any, lose: Callable[[], None], how: str
) -> None:
    @ray.remote
    def total(refs: list[Any]) -> float:
        if how == "wait for":
            ray.wait(refs)
        return float(ray.get(refs[0]).sum())

    @ray.remote
    def total_of(array: Any) -> float:
        return float(array.sum())

    @ray.remote
    class Actor:
        def total(self, array: Any) -> float:
            return float(array.sum())

    @ray.remote
    class Async:
        async def total(self, refs: list[Any]) -> float:
            return float((await refs[0]).sum())

    ref = make.remote("a")
    ray.wait([ref])
    lose()
    if how == "argument":
        found = ray.get(total_of.remote(ref))
    elif how == "actor":
        found = ray.get(Actor.remote().total.remote(ref))
    elif how == "await":
        found = ray.get(Async.remote().total.remote([ref]))
    else:
        found = ray.get(total.remote([ref]))
    assert found == N
    assert flags.count("a") <= 2


def test_a_coroutine_of_the_driver_gets_it(ray: Any, make: Any, lose: Callable[[], None]) -> None:
    async def wait() -> Any:
        return await ref

    ref = make.remote("a")
    ray.wait([ref])
    lose()
    assert asyncio.run(wait())[0] == 1


def test_calls_of_an_actor_keep_their_order(ray: Any, make: Any, lose: Callable[[], None]) -> None:
    @ray.remote
    class Actor:
        def __init__(self) -> None:
            self.seen: list[int] = []

        def see(self, number: int, array: Any = None) -> list[int]:
            self.seen.append(number)
            return self.seen

    actor = Actor.remote()
    ref = make.remote("a")
    ray.wait([ref])
    lose()
    refs = [actor.see.remote(0), actor.see.remote(1, ref), actor.see.remote(2)]
    assert ray.get(refs[-1]) == [0, 1, 2]


def test_what_is_written_after_a_loss_can_be_read(ray: Any, make: Any, flags: Any, lose: Callable[[], None]) -> None:
    ref = make.remote("a")
    ray.wait([ref])
    lose()
    ray.get(ref)
    for number in range(5):
        assert ray.get(make.remote(f"later{number}"))[0] == 1
        assert flags.count(f"later{number}") == 1


def test_what_cannot_be_made_again_says_why(ray: Any, make: Any, lose: Callable[[], None]) -> None:
    @ray.remote
    class Actor:
        def make(self) -> Any:
            return np.ones(N)

    @ray.remote
    def put() -> list[Any]:
        return [ray.put(np.ones(N))]

    actor = Actor.remote()
    never, by_actor, (by_put,) = make.options(max_retries=0).remote("a"), actor.make.remote(), ray.get(put.remote())
    ray.wait([never, by_actor], num_returns=2)
    lose()
    for ref, words in [
        (never, "max_retries=0"),
        (by_actor, "made by an actor"),
        (by_put, r"stored with put\(\)"),
    ]:
        with pytest.raises(ObjectReconstructionFailedError, match=words) as caught:
            ray.get(ref)
        error: Exception = caught.value
        assert isinstance(error, ObjectLostError)
        assert ref.hex() in str(error)
        with pytest.raises(RayTaskError) as of_task:
            ray.get(make.remote("b", ref))
        assert isinstance(of_task.value, ObjectReconstructionFailedError)


def test_an_error_of_the_second_run_is_the_result(ray: Any, flags: Any, lose: Callable[[], None]) -> None:
    @ray.remote
    def once() -> Any:
        if flags.up("ran") > 1:
            raise RuntimeError("not again")
        return np.ones(N)

    ref = once.remote()
    ray.wait([ref])
    lose()
    with pytest.raises(RuntimeError, match="not again"):
        ray.get(ref)


def test_what_is_lost_after_it_was_waited_for_is_waited_for_again(
    ray: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else finds that it is gone while the driver reads another."""
    refs = [make.remote("a"), make.remote("b")]
    ray.wait(refs, num_returns=2)
    runtime: Any = refs[1]._session
    graph, read = runtime._graph, runtime._memory.read
    location = graph.objects.value_of(refs[1]._id)[1]

    def read_slowly(id: int) -> Any:
        value = read(id)
        runtime._decide(lambda: graph.lineage.lost(refs[1]._id, location))
        return value

    monkeypatch.setattr(runtime._memory, "read", read_slowly)
    assert [array[0] for array in ray.get(refs)] == [1, 1]
