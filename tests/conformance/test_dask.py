"""`util.dask`: Dask's graphs as tasks."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

dask = pytest.importorskip("dask", reason="dask is not installed; `tox -e libraries` has it")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture
def util(ray: Any) -> Any:
    pytest.importorskip("pandas", reason="pandas is not installed")  # Ray's needs it
    return importlib.import_module(f"{ray.__name__}.util.dask")


@pytest.fixture
def enabled(util: Any) -> Iterator[None]:
    with util.enable_dask_on_ray(use_shuffle_optimization=False):
        yield


@pytest.fixture
def graph() -> Any:
    """``c = (1 + 1) + 1``; functions of this module cannot be imported by workers."""

    def add(x: Any) -> Any:
        return x + 1

    return {"a": 1, "b": (add, "a"), "c": (add, "b")}


@pytest.fixture
def add() -> Any:
    return dask.delayed(lambda *numbers: sum(numbers))


def test_keys_of_a_graph_are_computed(util: Any, graph: Any) -> None:
    assert util.ray_dask_get(graph, "c") == 3
    assert util.ray_dask_get(graph, ["b", "c"]) == [2, 3]
    assert util.ray_dask_get(graph, ["b", ["c", "a"]]) == (2, (3, 1))


def test_collections_are_computed(util: Any, add: Any) -> None:
    get = util.ray_dask_get
    assert add(add(1, 2), 3).compute(scheduler=get) == 6
    assert dask.compute(add(1), [add(2), {"x": add(3)}], scheduler=get) == (1, [2, {"x": 3}])
    array = importlib.import_module("dask.array").ones((100, 100), chunks=(50, 50))
    assert (array + array.T).sum().compute(scheduler=get) == 20_000


def test_each_key_is_a_task_named_after_it(ray: Any, util: Any) -> None:
    name = dask.delayed(lambda: ray.get_runtime_context().get_task_name())
    assert name(dask_key_name="mine").compute(scheduler=util.ray_dask_get) == "dask:mine"


def test_tasks_run_at_the_same_time(util: Any, flags: Any) -> None:
    def meet(me: str, other: str) -> str:
        flags.up(me)
        flags.wait(other)
        return me

    both = [dask.delayed(meet)("one", "two"), dask.delayed(meet)("two", "one")]
    assert dask.compute(*both, scheduler=util.ray_dask_get) == ("one", "two")


def test_enabling_makes_it_the_scheduler(util: Any, add: Any) -> None:
    before = dask.config.get("scheduler", None)
    with util.enable_dask_on_ray(use_shuffle_optimization=False):
        assert dask.config.get("scheduler") is util.ray_dask_get
        assert add(1, 2).compute() == 3
        with util.disable_dask_on_ray():
            assert dask.config.get("scheduler") is None
            assert add(1, 2).compute() == 3
    assert dask.config.get("scheduler", None) is before


@pytest.mark.usefixtures("enabled")
def test_an_error_is_raised_with_its_own_type(ray: Any, add: Any) -> None:
    with pytest.raises(TypeError) as caught:
        add(add("text")).compute()
    assert isinstance(caught.value, ray.exceptions.RayTaskError)


@pytest.mark.usefixtures("enabled")
def test_persist_leaves_values_in_the_object_store(ray: Any, add: Any) -> None:
    one = add(1).persist()
    assert [type(value) for value in dict(one.dask).values()] == [ray.ObjectRef]
    assert (one.compute(), add(one, 1).compute()) == (1, 2)
    array = importlib.import_module("dask.array").ones((100, 100), chunks=(50, 50))
    for kept in (array.persist(), *dask.persist(array)):
        assert {type(value) for value in dict(kept.dask).values()} == {ray.ObjectRef}
        assert (kept + kept.T).sum().compute() == 20_000


@pytest.mark.usefixtures("util")
def test_persist_with_another_scheduler_is_dasks_own(add: Any) -> None:
    assert add(1).persist(scheduler="sync").compute(scheduler="sync") == 1


@pytest.mark.usefixtures("enabled")
def test_large_values_are_arguments_of_many_tasks(ray: Any) -> None:
    large = dask.delayed(np.arange(100_000), pure=True)
    totals = [dask.delayed(lambda array, i: int(array[i]))(large, i) for i in range(5)]
    assert dask.compute(*totals) == (0, 1, 2, 3, 4)


@pytest.mark.usefixtures("enabled")
def test_tasks_can_have_options(ray: Any, add: Any) -> None:
    special = dask.delayed(lambda: ray.get_runtime_context().get_assigned_resources()["special"])
    assert special().compute(ray_remote_args={"resources": {"special": 2}}) == 2
    with dask.annotate(ray_remote_args={"resources": {"special": 2}}):
        annotated = special(dask_key_name="annotated")
    assert annotated.compute(optimize_graph=False) == 2
    with pytest.raises(ValueError, match="nonsense"):
        add(1).compute(ray_remote_args={"nonsense": 1})


@pytest.mark.usefixtures("enabled")
def test_resources_have_to_be_options(add: Any) -> None:
    with pytest.raises(ValueError, match="ray_remote_args"):
        add(1).compute(resources={"special": 1})
    with dask.annotate(resources={"special": 1}), pytest.raises(ValueError, match="ray_remote_args"):
        add(1).compute()


@pytest.mark.usefixtures("enabled")
def test_data_frames_are_shuffled_grouped_and_merged() -> None:
    pandas = pytest.importorskip("pandas")
    dataframe = pytest.importorskip("dask.dataframe")
    whole = pandas.DataFrame({"key": [i % 3 for i in range(30)], "value": range(30)})
    parts = dataframe.from_pandas(whole, npartitions=4)
    assert parts.groupby("key").value.sum().compute().to_dict() == whole.groupby("key").value.sum().to_dict()
    other = pandas.DataFrame({"key": [0, 1, 2], "name": ["a", "b", "c"]})
    merged = parts.merge(dataframe.from_pandas(other, npartitions=2), on="key").compute()
    assert sorted(merged.name) == sorted("abc"[key] for key in whole.key)


# --- callbacks ---------------------------------------------------------------------------------------------------


EVENTS = [
    ("pretask", "b"), ("presubmit", "b", ["a"]), ("postsubmit", "b", "ObjectRef"),
    ("pretask", "c"), ("presubmit", "c", ["b"]), ("postsubmit", "c", "ObjectRef"),
    ("dask's finish", False), ("all", 1), ("finish", [3]),
]  # fmt: skip


def test_callbacks_follow_a_graph(util: Any, graph: Any, flags: Any) -> None:
    events: list[Any] = []
    callback = util.RayDaskCallback(
        pretask=lambda key, dsk, state: events.append(("pretask", key)),
        finish=lambda dsk, state, failed: events.append(("dask's finish", failed)),
        ray_presubmit=lambda task, key, deps: events.append(("presubmit", key, list(deps))),
        ray_postsubmit=lambda task, key, deps, ref: events.append(("postsubmit", key, type(ref).__name__)),
        ray_postsubmit_all=lambda refs, dsk: events.append(("all", len(refs))),
        ray_finish=lambda result: events.append(("finish", result)),
    )
    with callback:
        assert util.ray_dask_get(graph, ["c"]) == [3]
    assert events == EVENTS
    assert util.ray_dask_get(graph, ["c"]) == [3]
    assert events == EVENTS


def test_callbacks_in_the_worker_stand_around_each_task(util: Any, graph: Any, flags: Any) -> None:
    with util.RayDaskCallback(
        ray_pretask=lambda key, values: flags.up(f"before {key}"),
        ray_posttask=lambda key, result, state: flags.up(f"after {key} {result} {state}"),
    ):
        util.ray_dask_get(graph, ["c"])
    for flag in ("before b", "after b 2 1", "before c", "after c 3 1"):
        assert flags.count(flag) == 1


def test_a_presubmit_callback_can_give_the_result(util: Any, graph: Any) -> None:
    with util.RayDaskCallback(ray_presubmit=lambda task, key, deps: 42 if key == "b" else None):
        assert util.ray_dask_get(graph, ["c"]) == [43]


def test_callbacks_can_be_registered(util: Any, graph: Any) -> None:
    got: list[Any] = []
    callback = util.RayDaskCallback(ray_finish=got.append)
    callback.register()
    util.ray_dask_get(graph, ["c"])
    callback.unregister()
    util.ray_dask_get(graph, ["c"])
    assert got == [[3]]


def test_unknown_callbacks_are_refused(util: Any) -> None:
    with pytest.raises(TypeError, match="nonsense"):
        util.RayDaskCallback(nonsense=print)


@pytest.mark.slow
@pytest.mark.usefixtures("enabled")
def test_a_progress_bar_counts_the_tasks(util: Any, add: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with util.ProgressBarCallback():
        assert add(add(1), add(2)).compute(_ray_enable_progress_bar=True) == 3
    assert "/3 [" in capsys.readouterr().err
