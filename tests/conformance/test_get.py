"""get: what may be asked for, how long it waits, which error it raises."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest


def test_get_of_a_list_gives_values_in_the_order_of_the_list(ray: Any) -> None:
    refs = [ray.put(i) for i in range(10)]
    assert ray.get(refs[::-1]) == list(range(9, -1, -1))


def test_get_of_an_empty_list_is_an_empty_list(ray: Any) -> None:
    assert ray.get([]) == []


def test_get_may_ask_for_one_object_several_times(ray: Any) -> None:
    a, b = ray.put("a"), ray.put("b")
    assert ray.get([a, b, a, a]) == ["a", "b", "a", "a"]
    assert ray.get(a) == ray.get(a) == "a"


def test_get_mixes_stored_values_and_results(ray: Any, flags: Any, held: Any) -> None:
    refs = [ray.put("stored"), held("computed")]
    flags.up("go")
    assert ray.get(refs) == ["stored", "computed"]


def test_get_raises_after_its_timeout_and_the_value_is_still_to_come(ray: Any, flags: Any, held: Any) -> None:
    ref = held("late")
    start = time.monotonic()
    with pytest.raises(ray.exceptions.GetTimeoutError):
        ray.get(ref, timeout=0.1)
    assert time.monotonic() - start >= 0.09
    flags.up("go")
    assert ray.get(ref, timeout=30) == "late"


def test_get_of_a_list_times_out_if_one_is_late(ray: Any, held: Any) -> None:
    with pytest.raises(ray.exceptions.GetTimeoutError):
        ray.get([ray.put(1), held()], timeout=0.05)


def test_a_timeout_is_one_of_pythons_too(ray: Any) -> None:
    assert issubclass(ray.exceptions.GetTimeoutError, TimeoutError)
    assert issubclass(ray.exceptions.GetTimeoutError, ray.exceptions.RayError)


def test_a_timeout_of_zero_only_looks(ray: Any, held: Any) -> None:
    with pytest.raises(ray.exceptions.GetTimeoutError, match=r"Get timed out: some object\(s\) not ready\."):
        ray.get(held(), timeout=0)
    ref = ray.remote(lambda: 1).remote()
    ray.get(ref)
    assert ray.get(ref, timeout=0) == 1
    assert ray.get(ray.put(2), timeout=0) == 2


def test_timeout_is_given_by_keyword_only(ray: Any) -> None:
    with pytest.raises(TypeError):
        ray.get(ray.put(1), 1)


@pytest.mark.parametrize("wrong", [1, None, "ref", b"ref", {}, int], ids=repr)
def test_get_of_something_that_is_no_ref_is_refused(ray: Any, wrong: Any) -> None:
    with pytest.raises(ValueError, match="must either be an ObjectRef or a list of ObjectRefs"):
        ray.get(wrong)


@pytest.mark.parametrize(
    "collect",
    [tuple, set, lambda refs: {"a": refs[0]}, lambda refs: (ref for ref in refs)],
    ids=["tuple", "set", "dict", "generator"],
)
def test_get_of_a_collection_that_is_no_list_is_refused(ray: Any, collect: Any) -> None:
    with pytest.raises(ValueError, match="must either be an ObjectRef or a list of ObjectRefs"):
        ray.get(collect([ray.put(1)]))


def test_get_of_a_remote_function_is_refused(ray: Any) -> None:
    with pytest.raises(ValueError, match="must either be an ObjectRef"):
        ray.get(ray.remote(lambda: 1))


@pytest.mark.parametrize("wrong", [1, None, "ref", [], ()], ids=repr)
def test_get_of_a_list_with_something_that_is_no_ref_is_refused(ray: Any, wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"which is not an ray\.ObjectRef\."):
        ray.get([ray.put(1), wrong])


def test_get_of_a_list_raises_the_error_of_its_failed_member(ray: Any) -> None:
    @ray.remote
    def fail() -> None:
        raise KeyError("the culprit")

    with pytest.raises(KeyError, match="the culprit"):
        ray.get([ray.put(1), fail.remote(), ray.put(2)])


def test_get_of_a_list_raises_the_first_error_in_the_order_of_the_list(ray: Any) -> None:
    @ray.remote
    def fail(error: Exception) -> None:
        raise error

    refs = [fail.remote(KeyError("k")), fail.remote(ValueError("v"))]
    ray.wait(refs, num_returns=2)
    with pytest.raises(KeyError):
        ray.get(refs)
    with pytest.raises(ValueError, match="v"):
        ray.get(refs[::-1])


def test_get_of_a_list_does_not_wait_for_the_rest_once_one_has_failed(ray: Any, held: Any) -> None:
    @ray.remote
    def fail() -> None:
        raise KeyError("early")

    with pytest.raises(KeyError, match="early"):
        ray.get([held(), fail.remote()])


def test_a_task_can_wait_with_a_timeout(ray: Any, held: Any) -> None:
    @ray.remote
    def impatient(refs: list[Any]) -> str:
        try:
            ray.get(refs, timeout=0.05)
        except ray.exceptions.GetTimeoutError:
            return "gave up"
        return "got it"

    assert ray.get(impatient.remote([held()])) == "gave up"


def test_the_driver_may_submit_and_get_many_times_at_once(ray: Any) -> None:
    @ray.remote
    def double(x: int) -> int:
        return 2 * x

    results: dict[int, int] = {}

    def work(i: int) -> None:
        for j in range(10):
            results[10 * i + j] = ray.get(double.remote(10 * i + j))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {i: 2 * i for i in range(80)}


def test_many_may_wait_for_one_object(ray: Any, flags: Any, held: Any) -> None:
    ref = held("shared")
    results: list[str] = []
    threads = [threading.Thread(target=lambda: results.append(ray.get(ref))) for _ in range(4)]
    for thread in threads:
        thread.start()
    flags.wait("held")
    flags.up("go")
    for thread in threads:
        thread.join()
    assert results == ["shared"] * 4


def test_a_timeout_may_be_longer_than_anybody_waits(ray: Any) -> None:
    @ray.remote
    def ready() -> int:
        return 1

    @ray.remote
    def ask(refs: list[Any]) -> Any:
        return ray.get(refs, timeout=1e10), ray.wait(refs, timeout=1e10) == (refs, [])

    ref = ready.remote()
    assert ray.get(ref, timeout=1e10) == 1
    assert ray.wait([ref, ready.remote()], num_returns=2, timeout=1e10)[1] == []
    assert ray.get(ask.remote([ready.remote()])) == ([1], True)


def test_a_timeout_that_is_no_number_is_refused(ray: Any) -> None:
    with pytest.raises(ValueError):
        ray.get(ray.put(1), timeout=float("nan"))
    with pytest.raises(ValueError):
        ray.wait([ray.put(1)], timeout=float("nan"))
