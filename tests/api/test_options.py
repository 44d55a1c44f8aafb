"""Options: names, types and values are checked when they are chosen, with Ray's exception types."""

from __future__ import annotations

from typing import Any

import pytest

import minray as ray
from minray import options, returns, templates
from minray.core.template import Code


@ray.remote
def task() -> None: ...


class Plain: ...


Actor = ray.remote(Plain)


COMMON: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"foo": 1}, ValueError, "Invalid option keyword foo for"),
    ({"num_cpus": -1}, ValueError, "quantity of resource num_cpus cannot be negative"),
    ({"num_cpus": "1"}, TypeError, "type of keyword 'num_cpus' must be float or int or None, but received str: '1'"),
    ({"num_cpus": 1e-5}, ValueError, "num_cpus cannot go beyond 0.0001"),
    ({"num_cpus": float("nan")}, ValueError, "finite"),
    ({"num_cpus": float("inf")}, ValueError, "finite"),
    ({"num_gpus": -0.5}, ValueError, "quantity of resource num_gpus cannot be negative"),
    ({"memory": -1}, ValueError, "quantity of resource memory cannot be negative"),
    ({"resources": [1]}, TypeError, "must be dict or None, but received list"),
    ({"resources": {"CPU": 1}}, ValueError, "Use the 'num_cpus' and 'num_gpus' keyword.*num_cpus=1"),
    ({"resources": {"GPU": 1}}, ValueError, "num_gpus=1"),
    ({"resources": {"a": -1}}, ValueError, "quantity of resource a cannot be negative"),
    ({"resources": {"a": "b"}}, TypeError, "quantity of resource a must be a number"),
    ({"resources": {"a": None}}, TypeError, "quantity of resource a must be a number"),
    ({"name": 3}, TypeError, "'name' must be str or None"),
    ({"runtime_env": 3}, TypeError, "'runtime_env' must be dict or None"),
    ({"scheduling_strategy": "foo"}, ValueError, "Valid values are 'DEFAULT', 'SPREAD'"),
    ({"enable_task_events": None}, TypeError, "'enable_task_events' must be bool"),
]
OF_TASKS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"max_restarts": 1}, ValueError, "Invalid option keyword max_restarts for remote functions"),
    ({"namespace": "n"}, ValueError, "Invalid option keyword namespace for remote functions"),
    ({"num_returns": -1}, ValueError, "only accepts None, a non-negative integer"),
    ({"num_returns": "a"}, TypeError, "must be a number, 'streaming' or 'dynamic'"),
    ({"num_returns": 1.0}, TypeError, "must be int or str or None"),
    ({"num_returns": "streaming"}, ValueError, "can only be used with generator functions"),
    ({"max_retries": -2}, ValueError, "None, 0, -1 or a positive integer"),
    ({"max_retries": "a"}, TypeError, "must be int or None"),
    ({"retry_exceptions": 3}, TypeError, "must be bool or list or tuple"),
    ({"retry_exceptions": [1]}, ValueError, "a boolean or a list of exceptions"),
    ({"retry_exceptions": [KeyboardInterrupt]}, ValueError, "a boolean or a list of exceptions"),
    ({"retry_exceptions": ValueError}, TypeError, "must be bool or list or tuple"),
    ({"max_calls": 1}, ValueError, "not supported in '.options"),
    ({"object_store_memory": 1}, ValueError, "not implemented for tasks"),
]
OF_ACTORS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"num_returns": 1}, ValueError, "Invalid option keyword num_returns for actors"),
    ({"max_retries": 1}, ValueError, "Invalid option keyword max_retries for actors"),
    ({"max_restarts": -2}, ValueError, "None, 0, -1 or a positive integer"),
    ({"max_restarts": 1.0}, TypeError, "must be int or None"),
    ({"max_task_retries": -2}, ValueError, "None, 0, -1 or a positive integer"),
    ({"max_concurrency": -1}, ValueError, "None, 0 or a positive integer"),
    ({"lifetime": "x"}, ValueError, "'detached', 'non_detached' and None"),
    ({"namespace": 3}, TypeError, "'namespace' must be str or None"),
    ({"get_if_exists": 1}, TypeError, "'get_if_exists' must be bool"),
    ({"get_if_exists": True}, ValueError, "actor name must be specified"),
    ({"max_pending_calls": -2}, ValueError, "None, 0, -1 or a positive integer"),
    ({"concurrency_groups": 3}, TypeError, "must be list or dict or None"),
]


def name_of(case: Any) -> str | None:
    return ",".join(f"{k}={v!r}" for k, v in case.items()) if isinstance(case, dict) else None


@pytest.mark.parametrize(("chosen", "error", "words"), COMMON + OF_TASKS, ids=name_of)
def test_wrong_options_of_a_task(chosen: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        task.options(**chosen)


@pytest.mark.parametrize(("chosen", "error", "words"), COMMON + OF_ACTORS, ids=name_of)
def test_wrong_options_of_an_actor(chosen: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Actor.options(**chosen)


def test_decorators_check_their_options_too() -> None:
    with pytest.raises(ValueError, match="Invalid option keyword max_restarts for remote functions"):
        ray.remote(max_restarts=1)(lambda: 1)
    with pytest.raises(ValueError, match="Invalid option keyword max_retries for actors"):
        ray.remote(max_retries=1)(type("A", (), {}))
    with pytest.raises(ValueError, match="max_calls"):
        ray.remote(max_calls=-1)(lambda: 1)


def test_what_is_not_carried_out_yet_is_refused_and_never_ignored() -> None:
    with pytest.raises(NotImplementedError, match="does not carry out the option enable_tensor_transport="):
        Actor.options(enable_tensor_transport=True)
    with pytest.raises(NotImplementedError, match=r"does not carry out runtime_env\['conda'\]"):
        task.options(runtime_env={"conda": "env"})


def test_values_of_such_options_that_ask_for_nothing_are_accepted() -> None:
    task.options(runtime_env={}, scheduling_strategy="SPREAD", accelerator_type=None, placement_group="default")
    Actor.options(max_pending_calls=-1, scheduling_strategy="DEFAULT", label_selector=None)


def generate() -> Any:
    yield 1


@pytest.mark.parametrize(
    ("chosen", "count"),
    [
        ({"num_returns": None}, returns.STREAMING),
        ({"num_returns": "streaming"}, returns.STREAMING),
        ({"num_returns": "dynamic"}, returns.DYNAMIC),
        ({"num_returns": 2}, 2),
        ({"num_returns": 0}, 0),
    ],
)
@pytest.mark.filterwarnings("ignore:num_returns='dynamic'")
def test_a_generator_is_streamed_unless_it_says_otherwise(chosen: Any, count: int) -> None:
    assert ray.remote(**chosen)(generate)._num_returns == count


def test_dynamic_is_deprecated() -> None:
    chosen: Any = {"num_returns": "dynamic"}
    with pytest.warns(DeprecationWarning, match="Use num_returns='streaming'") as caught:
        ray.remote(**chosen)(generate)
    assert caught[0].filename == __file__


def test_everything_that_ray_accepts_is_known() -> None:
    assert {"num_cpus", "num_returns", "max_retries", "retry_exceptions", "max_calls"} <= options.TASK_OPTIONS.keys()
    assert {"num_cpus", "max_restarts", "lifetime", "get_if_exists"} <= options.ACTOR_OPTIONS.keys()
    known = {*options.TASK_OPTIONS, *options.ACTOR_OPTIONS, *options.METHOD_OPTIONS}
    assert options.PLANNED.keys() <= known


def test_resources_become_exact_integers_sorted_by_name() -> None:
    chosen = {"num_cpus": 0.1, "num_gpus": 2, "memory": 10.7, "resources": {"b": 0.3, "a": 1, "none": 0}}

    found = templates.demand(chosen, default_cpus=1)

    assert found == (("CPU", 1_000), ("GPU", 20_000), ("a", 10_000), ("b", 3_000), ("memory", 100_000))


def test_a_task_takes_one_cpu_and_an_actor_none_unless_told_otherwise() -> None:
    assert templates.demand({}, default_cpus=1) == (("CPU", 10_000),)
    assert templates.demand({}, default_cpus=0) == ()
    assert templates.demand({"num_cpus": 0}, default_cpus=1) == ()
    assert templates.demand({"num_cpus": None}, default_cpus=1) == (("CPU", 10_000),)


def test_templates_with_the_same_content_have_the_same_key(session: Any) -> None:
    code = Code(b"key", b"", "f")

    def key(**chosen: Any) -> bytes:
        return templates.task_template(session, code, "f", chosen, 1).key

    assert key() == key(num_cpus=1) == key(max_retries=3)
    assert len({key(), key(num_cpus=2), key(max_retries=0), key(name="g"), key(retry_exceptions=True)}) == 5


def test_a_template_has_what_was_chosen(session: Any) -> None:
    chosen = {"num_cpus": 2, "max_retries": -1, "retry_exceptions": [ValueError], "name": "job"}

    template = templates.task_template(session, Code(b"key", b"", "f"), "f", chosen, 3)

    assert (template.name, template.num_returns, template.max_retries) == ("job", 3, -1)
    assert template.demand == (("CPU", 20_000),)
    assert isinstance(template.retry_exceptions, Code)
    assert session.pickled == [(ValueError,)]
