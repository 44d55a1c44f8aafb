"""`util.ActorPool`, `util.as_completed` and `util.map_unordered`."""

from __future__ import annotations

import importlib
from typing import Any

import pytest


@pytest.fixture
def util(ray: Any) -> Any:
    return importlib.import_module(f"{ray.__name__}.util")


@pytest.fixture
def Worker(ray: Any, flags: Any) -> Any:
    @ray.remote(num_cpus=0)
    class Worker:
        def double(self, value: int) -> int:
            return 2 * value

        def when(self, flag: str) -> str:
            flags.wait(flag)
            return flag

        @ray.method(num_returns=2)
        def both(self, value: int) -> tuple[int, int]:
            return value, value + 1

        def fail(self, value: int) -> None:
            raise ValueError(value)

    return Worker


@pytest.fixture
def pool(util: Any, Worker: Any) -> Any:
    return util.ActorPool([Worker.remote(), Worker.remote()])


def double(actor: Any, value: int) -> Any:
    return actor.double.remote(value)


def when(actor: Any, flag: str) -> Any:
    return actor.when.remote(flag)


def test_map_gives_the_results_in_the_order_of_the_values(pool: Any) -> None:
    assert list(pool.map(double, [1, 2, 3, 4])) == [2, 4, 6, 8]


def test_map_begins_at_once_and_gives_out_results_while_others_are_to_come(pool: Any, flags: Any) -> None:
    results = pool.map(when, ["one", "two", "three"])
    flags.up("two")
    flags.up("one")
    assert next(results) == "one"
    flags.up("three")
    assert list(results) == ["two", "three"]


def test_map_unordered_gives_the_results_as_they_come(pool: Any, flags: Any) -> None:
    results = pool.map_unordered(when, ["slow", "quick"])
    flags.up("quick")
    assert next(results) == "quick"
    flags.up("slow")
    assert list(results) == ["slow"]


def test_results_that_nobody_fetched_are_dropped_by_the_next_map(pool: Any) -> None:
    for value in range(4):
        pool.submit(double, value)
    assert list(pool.map(double, [10])) == [20]
    pool.submit(double, 1)
    assert list(pool.map_unordered(double, [11])) == [22]


def test_map_of_nothing_is_empty(pool: Any) -> None:
    assert list(pool.map(double, [])) == []
    assert list(pool.map_unordered(double, iter(()))) == []


def test_submitted_calls_wait_for_a_free_actor_and_come_in_order(pool: Any) -> None:
    for value in range(5):
        pool.submit(double, value)
    assert pool.has_next()
    assert [pool.get_next() for _ in range(5)] == [0, 2, 4, 6, 8]
    assert not pool.has_next()


@pytest.mark.parametrize("fetch", ["get_next", "get_next_unordered"])
def test_there_is_no_next_result_of_an_idle_pool(pool: Any, fetch: str) -> None:
    with pytest.raises(StopIteration, match="No more results"):
        getattr(pool, fetch)()


@pytest.mark.parametrize("fetch", ["get_next", "get_next_unordered"])
def test_a_result_that_is_late_raises_and_can_be_fetched_later(pool: Any, flags: Any, fetch: str) -> None:
    pool.submit(when, "go")
    with pytest.raises(TimeoutError, match="Timed out waiting for result"):
        getattr(pool, fetch)(timeout=0.01)
    flags.up("go")
    assert getattr(pool, fetch)(timeout=30) == "go"


def test_a_result_that_is_late_can_be_ignored(pool: Any, flags: Any) -> None:
    pool.submit(when, "go")
    pool.submit(double, 1)
    with pytest.raises(TimeoutError, match="has been ignored"):
        pool.get_next(timeout=0.01, ignore_if_timedout=True)
    flags.up("go")
    assert pool.get_next() == 2
    assert not pool.has_next()


def test_results_in_order_cannot_follow_on_those_taken_out_of_order(pool: Any, flags: Any) -> None:
    pool.submit(when, "late")
    pool.submit(double, 1)
    assert pool.get_next_unordered() == 2
    with pytest.raises(ValueError, match="not allowed to call get_next"):
        pool.get_next()
    flags.up("late")
    assert pool.get_next_unordered() == "late"


def test_a_call_may_have_several_results(pool: Any) -> None:
    pool.submit(lambda actor, value: actor.both.remote(value), 1)
    assert pool.get_next() == [1, 2]


@pytest.mark.parametrize("fetch", ["get_next", "get_next_unordered"])
def test_a_call_that_fails_raises_and_frees_its_actor(pool: Any, fetch: str) -> None:
    pool.submit(lambda actor, value: actor.fail.remote(value), 7)
    with pytest.raises(ValueError, match="7"):
        getattr(pool, fetch)()
    assert pool.has_free()
    assert list(pool.map(double, [1, 2, 3])) == [2, 4, 6]


def test_an_actor_that_died_leaves_the_pool(ray: Any, util: Any, Worker: Any, flags: Any) -> None:
    doomed, other = Worker.remote(), Worker.remote()
    pool = util.ActorPool([other, doomed])
    pool.submit(when, "never")
    ray.kill(doomed)
    flags.up("never")  # in a thread, a killed actor's method goes on until it returns to Python
    with pytest.raises(ray.exceptions.ActorDiedError):
        pool.get_next()
    assert list(pool.map(double, [1, 2, 3])) == [2, 4, 6]
    assert pool.pop_idle() == other
    assert pool.pop_idle() is None


def test_an_actor_is_free_when_its_result_has_been_fetched(util: Any, Worker: Any) -> None:
    actor = Worker.remote()
    pool = util.ActorPool([actor])
    assert pool.has_free()
    pool.submit(double, 1)
    assert not pool.has_free()
    assert pool.pop_idle() is None
    assert pool.get_next() == 2
    assert pool.has_free()
    assert pool.pop_idle() == actor
    assert not pool.has_free()


def test_an_actor_that_is_pushed_takes_up_waiting_calls(util: Any, Worker: Any) -> None:
    pool = util.ActorPool([])
    pool.submit(double, 4)
    assert not pool.has_next()
    pool.push(Worker.remote())
    assert pool.has_next()
    assert pool.get_next() == 8


def test_an_actor_cannot_be_pushed_twice(util: Any, Worker: Any) -> None:
    idle, busy = Worker.remote(), Worker.remote()
    pool = util.ActorPool([idle, busy])
    pool.submit(double, 1)
    for actor in (idle, busy):
        with pytest.raises(ValueError, match="already belongs"):
            pool.push(actor)


def test_a_pool_works_inside_a_task(ray: Any, util: Any, Worker: Any) -> None:
    @ray.remote
    def use(actors: Any) -> Any:
        pool = importlib.import_module(f"{ray.__name__}.util").ActorPool(actors)
        return list(pool.map(lambda actor, value: actor.double.remote(value), range(4)))

    assert ray.get(use.remote([Worker.remote(), Worker.remote()])) == [0, 2, 4, 6]


# --- as_completed, map_unordered ---------------------------------------------------------------------------------


def test_as_completed_gives_values_as_they_come(ray: Any, util: Any, held: Any, flags: Any) -> None:
    slow = held("slow")
    results = util.as_completed([slow, ray.put(1)], chunk_size=1)
    assert next(results) == 1
    flags.up("go")
    assert list(results) == ["slow"]


def test_as_completed_can_give_refs(ray: Any, util: Any) -> None:
    refs = [ray.put(value) for value in range(5)]
    assert set(util.as_completed(refs, chunk_size=2, yield_obj_refs=True)) == set(refs)
    assert sorted(util.as_completed(refs)) == [0, 1, 2, 3, 4]


def test_map_unordered_calls_a_remote_function_for_each_item(ray: Any, util: Any) -> None:
    @ray.remote
    def double(value: int) -> int:
        return 2 * value

    assert sorted(util.map_unordered(double, range(7), backpressure_size=2, chunk_size=1)) == list(range(0, 14, 2))
    assert sorted(util.map_unordered(double, range(3), backpressure_size=None)) == [0, 2, 4]


def test_map_unordered_takes_items_only_as_calls_are_made(ray: Any, util: Any) -> None:
    @ray.remote
    def same(value: int) -> int:
        return value

    taken = []

    def items() -> Any:
        for value in range(6):
            taken.append(value)
            yield value

    results = util.map_unordered(same, items(), backpressure_size=2, chunk_size=1)
    assert next(results) in (0, 1)
    assert taken == [0, 1]
    assert sorted([0, 1, *results])[-4:] == [2, 3, 4, 5]


def test_wrong_sizes_are_refused(ray: Any, util: Any) -> None:
    with pytest.raises(ValueError, match="chunk_size"):
        next(util.as_completed([ray.put(1)], chunk_size=0))
    with pytest.raises(ValueError, match="backpressure_size must be positive"):
        next(util.map_unordered(None, [1], backpressure_size=0))
    with pytest.raises(ValueError, match="num_returns"):
        next(util.map_unordered(None, [1], num_returns=1))
