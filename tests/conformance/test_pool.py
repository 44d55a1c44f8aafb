"""`util.multiprocessing.Pool`: the standard library's pool on actors."""

from __future__ import annotations

import importlib
import itertools
import multiprocessing
import os
from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def module(ray: Any) -> Any:
    return importlib.import_module(f"{ray.__name__}.util.multiprocessing")


@pytest.fixture
def pool(module: Any) -> Iterator[Any]:
    pool = module.Pool(2)
    yield pool
    pool.terminate()


@pytest.fixture
def square() -> Any:
    return lambda x: x * x


@pytest.fixture
def fail() -> Any:
    def fail(x: Any) -> None:
        raise ValueError(f"no {x}")

    return fail


@pytest.fixture
def when(flags: Any) -> Any:
    def when(flag: str) -> str:
        flags.wait(flag)
        return flag

    return when


# --- map and its kin ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 1, 3, 100])
@pytest.mark.parametrize("chunksize", [None, 1, 7])
def test_map_is_the_built_in_map(pool: Any, square: Any, count: int, chunksize: int | None) -> None:
    assert pool.map(square, range(count), chunksize) == [x * x for x in range(count)]
    assert pool.map_async(square, iter(range(count)), chunksize=chunksize).get() == [x * x for x in range(count)]


def test_map_takes_any_iterable(pool: Any, square: Any) -> None:
    assert sorted(pool.map(square, {1, 2, 3})) == [1, 4, 9]
    assert pool.map(square, (x for x in [1, 2])) == [1, 4]
    with pytest.raises(TypeError):
        pool.map(square, 3)


def test_starmap_unpacks_its_arguments(pool: Any) -> None:
    assert pool.starmap(lambda a, b: a - b, [(3, 1), [5, 2]]) == [2, 3]
    assert pool.starmap(lambda a, b: a - b, [(3, 1), (5, 2)], chunksize=1) == [2, 3]
    assert pool.starmap_async(lambda a, b: a - b, [(3, 1), (5, 2)]).get() == [2, 3]


def test_apply_calls_with_arguments_and_keywords(pool: Any) -> None:
    def call(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    assert pool.apply(call) == ((), {})
    assert pool.apply(call, (1, 2), {"c": 3}) == ((1, 2), {"c": 3})
    assert pool.apply_async(call, args=(1,), kwargs={"c": 3}).get() == ((1,), {"c": 3})


def test_map_raises_what_the_function_raises(pool: Any, fail: Any) -> None:
    calls: Any = (
        lambda: pool.map(fail, [1, 2]),
        lambda: pool.starmap(fail, [(1,), (2,)]),
        lambda: pool.map_async(fail, [1, 2]).get(),
        lambda: pool.apply(fail, (1,)),
    )
    for call in calls:
        with pytest.raises(ValueError, match="no 1") as caught:
            call()
        assert type(caught.value) is ValueError


def test_a_pool_goes_on_after_an_error(pool: Any, fail: Any, square: Any) -> None:
    with pytest.raises(ValueError):
        pool.map(fail, [1, 2, 3])
    assert pool.map(square, [1, 2, 3]) == [1, 4, 9]


def test_refs_among_the_arguments_stay_refs(ray: Any, pool: Any) -> None:
    assert pool.map(ray.get, [ray.put(1), ray.put(2)]) == [1, 2]


def test_functions_may_close_over_refs(ray: Any, pool: Any) -> None:
    ref = ray.put(10)
    assert pool.map(lambda x: x + ray.get(ref), range(4)) == [10, 11, 12, 13]


@pytest.mark.needs("processes")
def test_the_work_is_shared_out_among_the_processes(pool: Any) -> None:
    pids = pool.map(lambda x: os.getpid(), range(8), chunksize=1)
    assert len(set(pids)) == 2
    assert os.getpid() not in pids


# --- results -----------------------------------------------------------------------------------------------------


def test_a_result_knows_whether_it_is_ready(module: Any, pool: Any, when: Any, flags: Any) -> None:
    result = pool.map_async(when, ["go"])
    assert not result.ready()
    assert result.wait(0.01) is None
    with pytest.raises(ValueError, match="not ready"):
        result.successful()
    with pytest.raises(module.TimeoutError):
        result.get(timeout=0.01)
    flags.up("go")
    assert result.wait(30) is None
    assert result.ready()
    assert result.successful()
    assert result.get(0) == result.get() == ["go"]


def test_a_result_knows_whether_it_failed(pool: Any, fail: Any) -> None:
    result = pool.map_async(fail, [1, 2])
    result.wait()
    assert result.ready()
    assert not result.successful()
    for _ in range(2):
        with pytest.raises(ValueError, match="no 1"):
            result.get()


def test_the_time_out_is_that_of_the_standard_library(module: Any) -> None:
    assert module.TimeoutError is multiprocessing.TimeoutError
    assert module.JoinableQueue.__name__ == "JoinableQueue"


def test_callbacks_get_the_results(pool: Any, square: Any) -> None:
    got: list[Any] = []
    pool.map_async(square, [1, 2, 3], callback=got.extend, error_callback=got.append).wait()
    assert sorted(got) == [1, 4, 9]  # Ray has them in the order in which they came
    pool.starmap_async(square, [(4,)], callback=got.append).wait()
    pool.apply_async(square, (5,), callback=got.append).wait()
    assert got[3:] == [[16], 25]


def test_error_callbacks_get_one_error(pool: Any, fail: Any) -> None:
    got: list[Any] = []
    for result in (
        pool.map_async(fail, [1, 2], callback=got.append, error_callback=got.append),
        pool.apply_async(fail, (3,), error_callback=got.append),
        pool.starmap_async(fail, [(4,)], error_callback=got.append),
    ):
        result.wait()
        assert not result.successful()
    first, *others = sorted(str(error.underlying) for error in got)
    assert first in ("no 1", "no 2")
    assert others == ["no 3", "no 4"]
    assert all(isinstance(error, Exception) for error in got)


def test_a_callback_may_use_the_pool(pool: Any, square: Any) -> None:
    got: list[Any] = []
    pool.apply_async(square, (2,), callback=lambda four: got.append(pool.apply(square, (four,)))).wait()
    assert got == [16]


# --- imap --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chunksize", [1, 2, 5])
def test_imap_gives_results_in_order(pool: Any, square: Any, chunksize: int) -> None:
    assert list(pool.imap(square, range(9), chunksize)) == [x * x for x in range(9)]
    assert list(pool.imap(square, iter(range(9)), chunksize=chunksize)) == [x * x for x in range(9)]
    assert sorted(pool.imap_unordered(square, range(9), chunksize)) == [x * x for x in range(9)]


def test_imap_of_nothing_is_empty(pool: Any, square: Any) -> None:
    assert list(pool.imap(square, [])) == []
    assert list(pool.imap_unordered(square, iter([]))) == []


def test_imap_waits_for_its_turn_and_imap_unordered_for_any(module: Any, pool: Any, when: Any, flags: Any) -> None:
    flags.up("quick")
    results = pool.imap(when, ["slow", "quick"])
    with pytest.raises(module.TimeoutError):
        results.next(timeout=0.01)
    flags.up("slow")
    assert list(results) == ["slow", "quick"]

    results = pool.imap_unordered(when, ["later", "quick"])
    assert results.next(timeout=30) == "quick"
    with pytest.raises(module.TimeoutError):
        results.next(timeout=0.01)
    flags.up("later")
    assert list(results) == ["later"]


def test_imap_takes_arguments_only_as_it_goes_on(module: Any, square: Any) -> None:
    taken = itertools.count()
    with module.Pool(1) as pool:  # with several, any number of others may be done before the first
        results = pool.imap(square, taken)
        assert [next(results) for _ in range(5)] == [0, 1, 4, 9, 16]
        assert next(taken) < 8


def test_imap_gives_an_error_as_an_item_and_goes_on(pool: Any) -> None:
    for imap in (pool.imap, pool.imap_unordered):
        results = list(imap(lambda x: 6 // x, [1, 0, 2]))
        error: Any
        (error,) = [item for item in results if isinstance(item, Exception)]
        assert isinstance(error.underlying, ZeroDivisionError)
        assert sorted(item for item in results if item is not error) == [3, 6]


# --- the life of a pool ------------------------------------------------------------------------------------------


def test_every_actor_is_initialised(module: Any) -> None:
    def initialise(*args: Any) -> None:
        os.environ["POOL_TEST"] = repr(args)

    with module.Pool(2, initialise, (1, "two")) as pool:
        assert pool.map(lambda x: os.environ["POOL_TEST"], range(4), chunksize=1) == ["(1, 'two')"] * 4


def test_an_initialiser_that_fails_is_reported(ray: Any, module: Any, fail: Any) -> None:
    with pytest.raises(ray.exceptions.RayActorError, match="no luck"):
        module.Pool(1, initializer=fail, initargs=("luck",))


@pytest.mark.needs("processes")
def test_actors_are_replaced_after_so_many_calls(module: Any) -> None:
    with module.Pool(1, maxtasksperchild=2) as pool:
        pids = pool.map(lambda x: os.getpid(), range(6), chunksize=1)
    assert pids[0] == pids[1]
    assert pids[2] == pids[3]
    assert len(set(pids)) == 3


@pytest.mark.parametrize("calls", [1, 2, 0])
def test_results_are_the_same_if_actors_are_replaced(module: Any, square: Any, calls: int) -> None:
    with module.Pool(2, maxtasksperchild=calls) as pool:
        assert pool.map(square, range(7), chunksize=1) == [x * x for x in range(7)]
        assert list(pool.imap(square, range(5))) == [0, 1, 4, 9, 16]


def test_a_closed_pool_finishes_what_it_has_and_takes_no_more(pool: Any, square: Any) -> None:
    result = pool.map_async(square, range(10), chunksize=1)
    pool.close()
    pool.join()
    assert result.get(timeout=10) == [x * x for x in range(10)]
    for call in (
        lambda: pool.map(square, [1]),
        lambda: pool.apply_async(square, (1,)),
        lambda: pool.imap(square, [1]),
        lambda: pool.starmap(square, [(1,)]),
        pool.__enter__,
    ):
        with pytest.raises(ValueError, match="Pool not running"):
            call()
    pool.close()
    pool.join()


def test_an_open_pool_cannot_be_joined(pool: Any) -> None:
    with pytest.raises(ValueError, match="still running"):
        pool.join()


def test_terminate_ends_what_runs(ray: Any, pool: Any, when: Any, flags: Any) -> None:
    result = pool.map_async(when, ["never", "never"], chunksize=1)
    pool.terminate()
    with pytest.raises(ray.exceptions.RayActorError):
        result.get(timeout=20)
    flags.up("never")
    pool.join()


def test_leaving_the_context_terminates(module: Any, square: Any) -> None:
    with module.Pool(1) as pool:
        assert pool.map(square, [3]) == [9]
    with pytest.raises(ValueError, match="Pool not running"):
        pool.map(square, [3])
    pool.join()


@pytest.mark.needs("processes")
def test_a_process_that_dies_fails_its_calls(ray: Any, module: Any) -> None:
    with module.Pool(1) as pool, pytest.raises(ray.exceptions.RayActorError):
        pool.map(lambda x: os._exit(1), [1])


def test_actors_can_have_options(ray: Any, module: Any) -> None:
    with module.Pool(1, ray_remote_args={"resources": {"special": 1}}) as pool:
        assert pool.apply(lambda: ray.get_runtime_context().get_assigned_resources()["special"]) == 1
    with pytest.raises(ValueError, match="nonsense"):
        module.Pool(1, ray_remote_args={"nonsense": 1})


@pytest.mark.parametrize("processes", [0, -1])
def test_a_pool_needs_a_process(module: Any, processes: int) -> None:
    with pytest.raises(ValueError, match=r"Processes in the pool must be >0\."):
        module.Pool(processes)


def test_a_pool_has_no_more_processes_than_there_are_cpus(module: Any) -> None:
    with pytest.raises(ValueError, match=r"3 processes .* only 2 CPUs"):
        module.Pool(3)
    with module.Pool() as pool:
        assert sorted(pool.map(abs, range(3))) == [0, 1, 2]


@pytest.mark.own_session
@pytest.mark.slow
def test_a_pool_starts_a_run_if_there_is_none(ray: Any, module: Any, square: Any) -> None:
    with module.Pool(1) as pool:
        assert ray.cluster_resources()["CPU"] == 1
        assert pool.map(square, [2]) == [4]


def test_a_task_may_use_a_pool(ray: Any, module: Any) -> None:
    name = module.__name__

    @ray.remote(num_cpus=0)
    def use() -> Any:
        got: list[Any] = []
        with importlib.import_module(name).Pool(1) as pool:
            pool.map_async(lambda x: -x, range(3), callback=got.extend).wait()
        return got

    assert sorted(ray.get(use.remote())) == [-2, -1, 0]


def test_a_task_may_be_given_a_pool(ray: Any, module: Any, square: Any) -> None:
    @ray.remote(num_cpus=0)
    def use(pool: Any) -> Any:
        return pool.map(square, [1, 2]), pool.apply(square, (3,))

    with module.Pool(1) as pool:
        assert ray.get(use.remote(pool)) == ([1, 4], 9)
        assert pool.map(square, [4]) == [16]
