"""Long chains, many arguments, functions that change, and many refs at once in asyncio."""

from __future__ import annotations

import asyncio
import importlib
import sys
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.slow
def test_a_chain_of_ten_thousand_tasks(ray: Any) -> None:
    @ray.remote
    def add(x: int) -> int:
        return x + 1

    ref = ray.put(0)
    for _ in range(10_000):
        ref = add.remote(ref)
    assert ray.get(ref) == 10_000


@pytest.mark.slow
def test_an_error_goes_through_a_chain_of_a_thousand_tasks(ray: Any) -> None:
    @ray.remote
    def add(x: int) -> int:
        return x + 1

    @ray.remote
    def fail() -> int:
        raise KeyError("first")

    ref = fail.remote()
    for _ in range(1000):
        ref = add.remote(ref)
    with pytest.raises(KeyError, match="first"):
        ray.get(ref)


def test_a_value_may_be_nested_a_hundred_deep_with_a_ref_at_the_bottom(ray: Any) -> None:
    value: Any = ray.put("bottom")
    for _ in range(100):
        value = [value]

    @ray.remote
    def dig(value: Any) -> Any:
        while isinstance(value, list):
            (value,) = value
        return ray.get(value)

    assert ray.get(dig.remote(value)) == "bottom"


@pytest.mark.slow
def test_refs_in_refs_a_thousand_deep(ray: Any) -> None:
    ref = ray.put("bottom")
    for _ in range(1000):
        ref = ray.put([ref])
    value: Any = [ref]
    while isinstance(value, list):
        value = ray.get(value[0])
    assert value == "bottom"


def test_a_thousand_refs_as_arguments_by_position_and_by_name(ray: Any) -> None:
    @ray.remote
    def total(*args: int, **kwargs: int) -> int:
        return sum(args) - sum(kwargs.values())

    refs = [ray.put(i) for i in range(500)]
    assert ray.get(total.remote(*refs, *refs, **{f"x{i}": ref for i, ref in enumerate(refs)})) == sum(range(500))


def test_a_thousand_refs_for_one_actor(ray: Any) -> None:
    @ray.remote
    class Sum:
        def __init__(self, *numbers: int) -> None:
            self.total = sum(numbers)

        def get(self) -> int:
            return self.total

    assert ray.get(Sum.remote(*[ray.put(i) for i in range(1000)]).get.remote()) == sum(range(1000))


# -- functions that change -----------------------------------------------------------------------------------------


def test_a_function_that_is_defined_again_is_another_function(ray: Any) -> None:
    refs = []
    for version in range(3):  # as when a notebook's cell is run again

        @ray.remote
        def f() -> int:
            return version  # noqa: B023 (that is the point: each is pickled at its first call)

        refs.append(f.remote())
    assert ray.get(refs) == [0, 1, 2]


def test_a_class_that_is_defined_again_is_another_class(ray: Any) -> None:
    actors = []
    for version in range(2):

        @ray.remote
        class Actor:
            def __init__(self) -> None:
                self.version = version  # noqa: B023

            def get(self) -> int:
                return self.version

        actors.append(Actor.remote())
    assert ray.get([actor.get.remote() for actor in actors]) == [0, 1]


def test_what_a_function_says_at_its_first_call_counts(ray: Any) -> None:
    state = {"n": 1}

    @ray.remote
    def f() -> int:
        return state["n"]

    assert ray.get(f.remote()) == 1
    state["n"] = 2
    assert ray.get(f.remote()) == 1
    assert ray.get(ray.remote(f._function).remote()) == 2


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ray: Any) -> Any:
    """A module that workers cannot import, and so are sent; its text can be changed."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    path = tmp_path / "changing_module.py"

    def write(version: int) -> Any:
        path.write_text(f"def f():\n    return {version}\n")
        importlib.invalidate_caches()
        if "changing_module" in sys.modules:
            return importlib.reload(sys.modules["changing_module"])
        return importlib.import_module("changing_module")

    found = write(1)
    ray.cloudpickle.register_pickle_by_value(found)
    yield write
    ray.cloudpickle.unregister_pickle_by_value(sys.modules["changing_module"])
    del sys.modules["changing_module"]


def test_a_function_of_a_reloaded_module_is_the_new_one(ray: Any, module: Any) -> None:
    before = ray.remote(sys.modules["changing_module"].f)
    assert ray.get(before.remote()) == 1
    after = ray.remote(module(2).f)
    assert ray.get(after.remote()) == 2
    assert ray.get(before.remote()) == 1


# -- asyncio -------------------------------------------------------------------------------------------------------


def test_a_call_does_not_wait_for_all_that_another_function_has_queued(ray: Any, held: Any, flags: Any) -> None:
    @ray.remote
    def many() -> None:
        flags.up("many")

    @ray.remote
    def other() -> int:
        return int(flags.count("many"))

    cpus = int(ray.cluster_resources()["CPU"])
    refs = [held() for _ in range(cpus)]
    flags.wait("held", cpus)
    refs += [many.remote() for _ in range(100)]
    ref = other.remote()
    flags.up("go")
    assert ray.get(ref) < 100
    ray.get(refs)


def test_many_refs_can_be_gathered(ray: Any) -> None:
    @ray.remote
    def square(x: int) -> int:
        return x * x

    async def gather() -> list[int]:
        return list(await asyncio.gather(*[square.remote(i) for i in range(200)]))

    assert asyncio.run(gather()) == [i * i for i in range(200)]


def test_asyncio_can_wait_for_the_first_of_some_refs(ray: Any, held: Any, flags: Any) -> None:
    async def first() -> Any:
        slow, quick = held("slow"), ray.put("quick")
        done, pending = await asyncio.wait(
            [asyncio.ensure_future(ref.as_future()) for ref in (slow, quick)], return_when=asyncio.FIRST_COMPLETED
        )
        flags.up("go")
        return [task.result() for task in done], [await task for task in pending]

    assert asyncio.run(first()) == (["quick"], ["slow"])


def test_asyncio_takes_refs_as_they_are_done(ray: Any) -> None:
    @ray.remote
    def number(i: int) -> int:
        return i

    async def collect() -> list[int]:
        return sorted([await ref for ref in asyncio.as_completed([number.remote(i).as_future() for i in range(20)])])

    assert asyncio.run(collect()) == list(range(20))


# -- wait and get --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fetch_local", [True, False])
def test_wait_may_leave_values_where_they_are(ray: Any, held: Any, fetch_local: bool) -> None:
    ready, pending = ray.put(1), held(2)
    assert ray.wait([pending, ready], fetch_local=fetch_local) == ([ready], [pending])
    assert ray.wait([ready, pending], num_returns=2, timeout=0, fetch_local=fetch_local) == ([ready], [pending])


def test_get_of_values_and_errors_raises_the_first_error_and_leaves_the_rest(ray: Any) -> None:
    @ray.remote
    def maybe(error: Any) -> int:
        if error is not None:
            raise error
        return 1

    refs = [maybe.remote(error) for error in (None, ValueError("one"), KeyError("two"), None)]
    ray.wait(refs, num_returns=4)
    with pytest.raises(ValueError, match="one"):
        ray.get(refs)
    with pytest.raises(KeyError, match="two"):
        ray.get(list(reversed(refs)))
    assert ray.get([refs[0], refs[3]]) == [1, 1]
