"""Options: which are accepted, and how the others are refused."""

from __future__ import annotations

import functools
import math
from typing import Any

import pytest

BAD_FOR_BOTH = [
    ({"nonsense": 1}, ValueError, "nonsense"),
    ({"num_cpus": -1}, ValueError, "num_cpus.*negative"),
    ({"num_cpus": "two"}, TypeError, "num_cpus"),
    ({"num_cpus": 0.00001}, ValueError, "num_cpus"),
    ({"num_gpus": -1}, ValueError, "num_gpus.*negative"),
    ({"num_gpus": "one"}, TypeError, "num_gpus"),
    ({"memory": -1}, ValueError, "memory.*negative"),
    ({"memory": "lots"}, TypeError, "memory"),
    ({"resources": {"special": -1}}, ValueError, "special.*negative"),
    ({"resources": {"special": "all"}}, TypeError, "str|special"),
    ({"resources": {"CPU": 1}}, ValueError, "num_cpus"),
    ({"resources": {"GPU": 1}}, ValueError, "num_gpus"),
    ({"resources": ["special"]}, TypeError, "resources"),
    ({"name": 1}, TypeError, "name"),
    ({"accelerator_type": 1.5}, TypeError, "accelerator_type"),
    ({"object_store_memory": -2}, ValueError, "object_store_memory"),
    ({"object_store_memory": 1.5}, TypeError, "object_store_memory"),
    ({"runtime_env": "fast"}, TypeError, "runtime_env"),
    ({"scheduling_strategy": 1.5}, TypeError, "scheduling_strategy"),
    ({"label_selector": "zone"}, TypeError, "label_selector"),
    ({"fallback_strategy": "zone"}, TypeError, "fallback_strategy"),
    ({"fallback_strategy": [1]}, ValueError, "fallback_strategy"),
    ({"placement_group": 1.5}, TypeError, "placement_group"),
    ({"placement_group_bundle_index": 1.5}, TypeError, "placement_group_bundle_index"),
    ({"placement_group_capture_child_tasks": "yes"}, TypeError, "placement_group_capture_child_tasks"),
    ({"enable_task_events": 1.5}, TypeError, "enable_task_events"),
    ({"_labels": "zone"}, TypeError, "_labels"),
]
BAD_FOR_FUNCTIONS = [
    ({"num_returns": -1}, ValueError, "num_returns"),
    ({"num_returns": 1.5}, TypeError, "num_returns"),
    ({"max_retries": -2}, ValueError, "max_retries"),
    ({"max_retries": "often"}, TypeError, "max_retries"),
    ({"retry_exceptions": 1}, TypeError, "retry_exceptions"),
    ({"retry_exceptions": [1]}, ValueError, "retry_exceptions"),
    ({"_generator_backpressure_num_objects": "few"}, TypeError, "_generator_backpressure_num_objects"),
    ({"_num_objects_per_yield": -2}, ValueError, "_num_objects_per_yield"),
    ({"max_restarts": 1}, ValueError, "max_restarts"),
    ({"max_concurrency": 2}, ValueError, "max_concurrency"),
    ({"lifetime": "detached"}, ValueError, "lifetime"),
    ({"namespace": "here"}, ValueError, "namespace"),
]
BAD_FOR_CLASSES = [
    ({"max_restarts": -2}, ValueError, "max_restarts"),
    ({"max_restarts": "often"}, TypeError, "max_restarts"),
    ({"max_task_retries": -2}, ValueError, "max_task_retries"),
    ({"max_task_retries": "often"}, TypeError, "max_task_retries"),
    ({"max_concurrency": -2}, ValueError, "max_concurrency"),
    ({"max_concurrency": "many"}, TypeError, "max_concurrency"),
    ({"max_pending_calls": -2}, ValueError, "max_pending_calls"),
    ({"max_pending_calls": "many"}, TypeError, "max_pending_calls"),
    ({"allow_out_of_order_execution": 1.5}, TypeError, "allow_out_of_order_execution"),
    ({"enable_tensor_transport": 1.5}, TypeError, "enable_tensor_transport"),
    ({"_actor_generator_backpressure_num_objects": -2}, ValueError, "_actor_generator_backpressure_num_objects"),
    ({"_actor_generator_backpressure_num_objects": "few"}, TypeError, "_actor_generator_backpressure_num_objects"),
    ({"lifetime": "long"}, ValueError, "lifetime"),
    ({"namespace": 1}, TypeError, "namespace"),
    ({"get_if_exists": 1}, TypeError, "get_if_exists"),
    ({"get_if_exists": True}, ValueError, "name"),
    ({"num_returns": 2}, ValueError, "num_returns"),
    ({"max_retries": 1}, ValueError, "max_retries"),
    ({"retry_exceptions": True}, ValueError, "retry_exceptions"),
]


def option_names(case: Any) -> str:
    return f"{case}" if isinstance(case, dict) else ""


@pytest.mark.parametrize(("options", "error", "message"), BAD_FOR_BOTH + BAD_FOR_FUNCTIONS, ids=option_names)
def test_a_function_refuses_bad_options(ray: Any, options: Any, error: Any, message: str) -> None:
    @ray.remote
    def f() -> str:
        return "fine"

    with pytest.raises(error, match=message):
        f.options(**options)
    with pytest.raises(error, match=message):
        ray.remote(**options)(lambda: None)


@pytest.mark.parametrize(("options", "error", "message"), BAD_FOR_BOTH + BAD_FOR_CLASSES, ids=option_names)
def test_a_class_refuses_bad_options(ray: Any, options: Any, error: Any, message: str) -> None:
    class Plain: ...

    with pytest.raises(error, match=message):
        ray.remote(Plain).options(**options).remote()
    with pytest.raises(error, match=message):
        ray.remote(**options)(Plain).remote()


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"max_calls": -2}, ValueError),
        ({"max_calls": 1.5}, TypeError),
        ({"_num_objects_per_yield": 1.5}, TypeError),
    ],
    ids=repr,
)
def test_a_function_refuses_what_only_its_decorator_takes(ray: Any, options: Any, error: type[Exception]) -> None:
    (name,) = options
    with pytest.raises(error, match=name):
        ray.remote(**options)(lambda: None)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_calls": 1}, ValueError, r"Setting 'max_calls' is not supported in '.options\(\)'"),
        ({"max_calls": -2}, ValueError, "The keyword 'max_calls' only accepts"),
        ({"max_calls": "1"}, TypeError, "The type of keyword 'max_calls' must be"),
    ],
    ids=repr,
)
def test_what_only_a_decorator_takes_is_checked_all_the_same(
    ray: Any, options: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        ray.remote(lambda: None).options(**options)


@pytest.mark.parametrize(
    ("options", "error"),
    [({"concurrency_groups": "io"}, TypeError), ({"concurrency_groups": 1.5}, TypeError)],
    ids=repr,
)
def test_a_class_refuses_what_only_its_decorator_takes(ray: Any, options: Any, error: type[Exception]) -> None:
    class Plain: ...

    (name,) = options
    with pytest.raises(error, match=name):
        ray.remote(**options)(Plain)


def test_an_unknown_option_is_refused_with_the_list_of_known_ones(ray: Any) -> None:
    @ray.remote
    def f() -> None: ...

    with pytest.raises(ValueError, match=r"(?s)num_cpu\b.*num_cpus.*num_returns"):
        f.options(num_cpu=1)


@pytest.mark.parametrize(
    "options",
    [
        {"num_cpus": None},
        {"num_cpus": 0},
        {"num_cpus": 0.25, "num_returns": 1, "name": "a name"},
        {"num_cpus": 1.5},
        {"num_gpus": 0, "resources": {}},
        {"resources": {"special": 0.0001}, "num_cpus": 0},
        {"max_retries": -1, "retry_exceptions": [ValueError, KeyError]},
        {"max_retries": 0, "retry_exceptions": True},
        {"num_returns": None},
        {"enable_task_events": False},
    ],
    ids=repr,
)
def test_a_function_runs_with_good_options(ray: Any, options: Any) -> None:
    @ray.remote
    def f() -> str:
        return "ran"

    assert ray.get(f.options(**options).remote()) == "ran"
    assert ray.get(ray.remote(**options)(lambda: "ran").remote()) == "ran"


@pytest.mark.parametrize(
    "options",
    [
        {"num_cpus": 0, "max_restarts": -1, "max_task_retries": -1, "enable_task_events": False},
        {"num_cpus": 0.5, "resources": {"special": 0.5}, "name": None, "lifetime": None, "namespace": None},
    ],
    ids=repr,
)
def test_an_actor_runs_with_good_options(ray: Any, options: Any) -> None:
    @ray.remote
    class Actor:
        def hello(self) -> str:
            return "hello"

    assert ray.get(Actor.options(**options).remote().hello.remote()) == "hello"


def test_a_method_call_refuses_unknown_options(ray: Any) -> None:
    @ray.remote
    class Actor:
        def hello(self) -> str:
            return "hello"

    actor = Actor.remote()
    with pytest.raises(TypeError, match="nonsense"):
        actor.hello.options(nonsense=1).remote()
    with pytest.raises(TypeError, match="num_cpus"):
        actor.hello.options(num_cpus=1).remote()
    assert ray.get(actor.hello.remote()) == "hello"


def test_the_decorator_of_methods_refuses_bad_options(ray: Any) -> None:
    with pytest.raises(AssertionError, match="nonsense"):
        ray.method(nonsense=1)(lambda self: None)
    with pytest.raises(ValueError, match="num_returns"):
        ray.method(num_returns=-1)(lambda self: None)


def test_what_options_returns_is_not_callable(ray: Any) -> None:
    with pytest.raises(TypeError):
        ray.remote(lambda: None).options(num_cpus=0)()


@pytest.mark.parametrize("args", [(), (1,), ("f",), (None,), (lambda: None, 1)], ids=len)
def test_the_decorator_needs_something_to_decorate(ray: Any, args: Any) -> None:
    with pytest.raises(AssertionError, match="decorator must be applied"):
        ray.remote(*args)


@pytest.mark.parametrize("wrong", [len, math.sin, functools.partial(max, 1), "".join], ids=lambda it: type(it).__name__)
def test_only_functions_and_classes_can_be_remote(ray: Any, wrong: Any) -> None:
    with pytest.raises(TypeError, match="either a function or a class"):
        ray.remote(num_cpus=0)(wrong)


def test_what_is_remote_cannot_be_made_remote_again(ray: Any) -> None:
    class Plain: ...

    for twice in (ray.remote(lambda: None), ray.remote(Plain)):
        with pytest.raises(TypeError, match="either a function or a class"):
            ray.remote(num_cpus=0)(twice)
