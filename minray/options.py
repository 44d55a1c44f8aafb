"""Every option that Ray accepts, checked as Ray checks it.

Three tables say which options a task, an actor and a method have; `PLANNED` says which of them minray does not carry
out yet, and from which value on. Such a value raises NotImplementedError: an option that changes what a program does is
never ignored. Options without effect on one machine, or on results (`enable_task_events`), are accepted.

Wrong types raise TypeError, wrong values and unknown names ValueError, as in Ray.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from typing_extensions import TypedDict

from minray.core.template import RESOURCE_UNIT
from minray.hints import meant
from minray.returns import warn_of_dynamic
from minray.strategies import (
    STRATEGIES,
    check_group_options,
    wrong_fallback,
    wrong_label_selector,
    wrong_strategy,
)
from minray.util.placement_group import PlacementGroup

Options = Mapping[str, Any]
_NoneType = type(None)


class Option(NamedTuple):
    """The types that an option's value may have, and a check which returns what is wrong with a value, or None."""

    types: tuple[type, ...]
    check: Callable[[str, Any], str | None] | None = None


# --- For type checkers -------------------------------------------------------------------------------------------


class _CommonOptions(TypedDict, total=False):
    num_cpus: float | None
    num_gpus: float | None
    memory: float | None
    resources: dict[str, float] | None
    name: str | None
    runtime_env: dict[str, Any] | None
    scheduling_strategy: Any
    accelerator_type: str | None
    label_selector: dict[str, str] | None
    fallback_strategy: list[Any] | None
    enable_task_events: bool
    placement_group: Any
    placement_group_bundle_index: int
    placement_group_capture_child_tasks: bool | None
    object_store_memory: int | None
    _labels: dict[str, str] | None


class CommonTaskOptions(_CommonOptions, total=False):
    """What a remote function takes, apart from `num_returns`, which decides about the type of the result."""

    max_calls: int | None
    max_retries: int | None
    retry_exceptions: bool | list[type[Exception]] | tuple[type[Exception], ...]
    _generator_backpressure_num_objects: int | None
    _num_objects_per_yield: int | None


class CommonActorOptions(_CommonOptions, total=False):
    """What an actor class takes."""

    concurrency_groups: dict[str, int] | list[Any] | None
    enable_tensor_transport: bool | None
    lifetime: str | None
    max_concurrency: int | None
    max_restarts: int | None
    max_task_retries: int | None
    max_pending_calls: int | None
    namespace: str | None
    get_if_exists: bool
    allow_out_of_order_execution: bool | None
    _actor_generator_backpressure_num_objects: int | None


class CommonOptions(CommonTaskOptions, CommonActorOptions, total=False):
    """What `@remote(...)` takes before it knows whether it decorates a function or a class."""


class CommonMethodOptions(TypedDict, total=False):
    """What a method takes, apart from `num_returns`."""

    concurrency_group: str | None
    max_task_retries: int | None
    retry_exceptions: bool | list[type[Exception]] | tuple[type[Exception], ...] | None
    enable_task_events: bool | None
    tensor_transport: str | None
    _generator_backpressure_num_objects: int | None
    _num_objects_per_yield: int | None


class CallOptions(CommonMethodOptions, total=False):
    """What `handle.method.options(...)` takes, apart from `num_returns`."""

    name: str | None


# --- Checks ------------------------------------------------------------------------------------------------------


def _amount_or_none(name: str, amount: Any) -> str | None:
    return None if amount is None else _resource_amount(name, amount)


def _resource_amount(name: str, amount: Any) -> str | None:
    if not isinstance(amount, (int, float)):
        raise TypeError(f"The quantity of resource {name} must be a number, but it is {amount!r}.")
    if amount != amount or amount in (float("inf"), float("-inf")):
        return f"The quantity of resource {name} must be a finite number, but it is {amount}."
    if amount < 0:
        return f"The quantity of resource {name} cannot be negative, but it is {amount}."
    if amount and int(amount * RESOURCE_UNIT) == 0:
        return f"The precision of the fractional quantity of resource {name} cannot go beyond 0.0001: got {amount}."
    return None


def _gpus(name: str, amount: Any) -> str | None:
    problem = _amount_or_none(name, amount)
    if problem is None and amount is not None and amount > 1 and amount != int(amount):
        return f"GPU resource quantities >1 must be whole numbers. The specified quantity num_gpus={amount} is invalid."
    return problem


def _resources(name: str, resources: dict[str, float] | None) -> str | None:
    for key, amount in (resources or {}).items():
        if not isinstance(key, str):
            raise TypeError(f"The names in 'resources' must be strings, but one is {key!r}.")
        if key in ("memory", "object_store_memory"):
            return (
                "The resources dictionary must not contain the key 'memory' or 'object_store_memory'. Use the keyword "
                f"'memory' instead of {key!r} in 'resources'."
            )
        if key in ("CPU", "GPU"):
            return (
                "Use the 'num_cpus' and 'num_gpus' keyword instead of 'CPU' and 'GPU' in the 'resources' keyword: "
                f"num_{key.lower()}s={amount!r}"
            )
        problem = _resource_amount(key, amount)
        if problem:
            return problem
    return None


def _count(name: str, value: int | None) -> str | None:
    if value is None or value >= 0:
        return None
    return f"The keyword '{name}' only accepts None, 0 or a positive integer, but it is {value}."


def _count_or_forever(name: str, value: int | None) -> str | None:
    if value is None or value >= -1:
        return None
    return (
        f"The keyword '{name}' only accepts None, 0, -1 or a positive integer, where -1 represents infinity. "
        f"It is {value}."
    )


def _num_returns(name: str, value: Any) -> str | None:
    if isinstance(value, str) and value not in ("dynamic", "streaming"):
        raise TypeError(f"The keyword 'num_returns' must be a number, 'streaming' or 'dynamic', but it is {value!r}.")
    if value is None or isinstance(value, str) or value >= 0:
        return None
    return (
        "The keyword 'num_returns' only accepts None, a non-negative integer, 'streaming' or 'dynamic' (for "
        f"generators). It is {value}."
    )


def _retry_exceptions(name: str, value: Any) -> str | None:
    if isinstance(value, bool) or all(isinstance(kind, type) and issubclass(kind, Exception) for kind in value):
        return None
    return f"retry_exceptions must be either a boolean or a list of exceptions, but it is {value!r}."


def _lifetime(name: str, value: str | None) -> str | None:
    if value in (None, "detached", "non_detached"):
        return None
    return f"actor `lifetime` argument must be one of 'detached', 'non_detached' and None, but it is {value!r}."


def _no_object_store_memory(name: str, value: int | None) -> str | None:
    return None if value is None else "Setting 'object_store_memory' is not implemented for tasks. Leave it out."


def _positive(name: str, value: int | None) -> str | None:
    return (
        None if value is None or value > 0 else f"The keyword '{name}' must be a positive integer, but it is {value}."
    )


def _backpressure(name: str, value: int | None) -> str | None:
    if value != 0:
        return None
    return (
        f"{name}=0 is not allowed. Use a value > 0: with 1, an item is computed whenever `next` is called, as in a "
        "Python generator. Use -1 to disable this feature."
    )


def _cap(name: str, value: int | None) -> str | None:
    if value is None or value > 0 or value == -1:
        return None
    return f"The keyword '{name}' must be a positive integer, or -1 for no limit, but it is {value}."


def _groups(name: str, value: Any) -> str | None:
    if value and isinstance(value, list):
        raise TypeError(f"The keyword '{name}' must be a dict of names and limits, such as {{'io': 2}}, not {value!r}.")
    groups: dict[Any, Any] = value or {}
    for group, limit in groups.items():
        if not isinstance(group, str) or not isinstance(limit, int):
            raise TypeError(
                f"A concurrency group must be a name with the number of its calls, not {group!r}: {limit!r}."
            )
        if limit < 1:
            return f"The concurrency group {group!r} must have room for at least 1 call, but its limit is {limit}."
    return None


def _runtime_env(name: str, value: Any) -> str | None:
    if not value:
        return None
    from minray.environments import wrong_runtime_env

    return wrong_runtime_env(value)


# --- The tables --------------------------------------------------------------------------------------------------

_NUMBER = Option((float, int, _NoneType), _amount_or_none)
_TEXT = Option((str, _NoneType))
_FLAG = Option((bool, _NoneType))

_COMMON: dict[str, Option] = {
    "label_selector": Option((dict, _NoneType), wrong_label_selector),
    "fallback_strategy": Option((list, _NoneType), wrong_fallback),
    "accelerator_type": _TEXT,
    "memory": _NUMBER,
    "name": _TEXT,
    "num_cpus": _NUMBER,
    "num_gpus": Option((float, int, _NoneType), _gpus),
    "object_store_memory": Option((int, _NoneType), _count),
    "placement_group": Option((_NoneType, str, PlacementGroup)),
    "placement_group_bundle_index": Option((int,)),
    "placement_group_capture_child_tasks": _FLAG,
    "resources": Option((dict, _NoneType), _resources),
    "runtime_env": Option((dict, _NoneType), _runtime_env),
    "scheduling_strategy": Option((_NoneType, str, *STRATEGIES), wrong_strategy),
    "enable_task_events": Option((bool,)),
    "_labels": Option((dict, _NoneType)),
}

TASK_OPTIONS: dict[str, Option] = {
    **_COMMON,
    "max_calls": Option((int, _NoneType), _count),
    "max_retries": Option((int, _NoneType), _count_or_forever),
    "num_returns": Option((int, str, _NoneType), _num_returns),
    "object_store_memory": Option((int, _NoneType), _no_object_store_memory),
    "retry_exceptions": Option((bool, list, tuple), _retry_exceptions),
    "_generator_backpressure_num_objects": Option((int, _NoneType), _backpressure),
    "_num_objects_per_yield": Option((int, _NoneType), _positive),
}

ACTOR_OPTIONS: dict[str, Option] = {
    **_COMMON,
    "concurrency_groups": Option((list, dict, _NoneType), _groups),
    "enable_tensor_transport": _FLAG,
    "lifetime": Option((str, _NoneType), _lifetime),
    "max_concurrency": Option((int, _NoneType), _count),
    "max_restarts": Option((int, _NoneType), _count_or_forever),
    "max_task_retries": Option((int, _NoneType), _count_or_forever),
    "max_pending_calls": Option((int, _NoneType), _count_or_forever),
    "namespace": _TEXT,
    "get_if_exists": Option((bool,)),
    "allow_out_of_order_execution": _FLAG,
    "_actor_generator_backpressure_num_objects": Option((int, _NoneType), _cap),
}

#: What `@method(...)` takes; `ActorMethod.options` takes `name` too.
METHOD_OPTIONS: dict[str, Option] = {
    "num_returns": Option((int, str, _NoneType), _num_returns),
    "concurrency_group": _TEXT,
    "max_task_retries": Option((int, _NoneType), _count_or_forever),
    "retry_exceptions": Option((bool, list, tuple, _NoneType), lambda n, v: v and _retry_exceptions(n, v)),
    "_generator_backpressure_num_objects": Option((int, _NoneType), _backpressure),
    "_num_objects_per_yield": Option((int, _NoneType), _positive),
    "enable_task_events": _FLAG,
    "tensor_transport": _TEXT,
}

#: Options that a later version carries out, each with the values that need nothing of it.
PLANNED: dict[str, tuple[Any, ...]] = {
    "enable_tensor_transport": (None, False),
    "tensor_transport": (None, "object_store"),
}


def check(options: Options, table: dict[str, Option], what: str, planned: dict[str, tuple[Any, ...]] = PLANNED) -> None:
    """Raise for the first option that is not in `table`, has a wrong value, or is not carried out yet."""
    for name, value in options.items():
        option = table.get(name)
        if option is None:
            raise ValueError(
                f"Invalid option keyword {name} for {what}.{meant(name, table)} Valid ones are {list(table)}."
            )
        if not isinstance(value, option.types):
            allowed = " or ".join("None" if t is _NoneType else t.__name__ for t in option.types)
            raise TypeError(
                f"The type of keyword '{name}' must be {allowed}, but received {type(value).__name__}: {value!r}"
            )
        problem = option.check and option.check(name, value)
        if problem:
            raise ValueError(problem)
        if name in planned and value not in planned[name]:
            raise NotImplementedError(
                f"minray does not carry out the option {name}={value!r} of {what} yet. Leave it out."
            )


def check_task(options: Options, in_options: bool = False) -> None:
    """Check what `@remote(...)` (or `.options(...)`) was given for a function."""
    check(options, TASK_OPTIONS, "remote functions")
    if in_options and "max_calls" in options:
        raise ValueError("Setting 'max_calls' is not supported in '.options()'. Set it in '@remote(max_calls=...)'.")
    check_group_options(options)
    warn_of_dynamic(options)


def check_actor(options: Options, later: Iterable[str] = ()) -> None:
    """Check the options of a class; `later` are those that `.options(...)` was given, not `@remote(...)`."""
    groups = "concurrency_groups"
    if groups in later and isinstance(options.get(groups), ACTOR_OPTIONS[groups].types):  # right ones are refused, too
        raise ValueError("Setting 'concurrency_groups' is not supported in '.options()'. Set it in '@remote(...)'.")
    check(options, ACTOR_OPTIONS, "actors")
    if options.get("object_store_memory"):
        warnings.warn(
            "Setting 'object_store_memory' for actors is deprecated since it doesn't actually reserve the required "
            "object store memory.",
            DeprecationWarning,
            stacklevel=3,
        )
    check_group_options(options)
    if options.get("get_if_exists") and not options.get("name"):
        raise ValueError(
            "The actor name must be specified to use `get_if_exists`: options(name=..., get_if_exists=True)."
        )


def check_method(options: Options) -> None:
    """Check what `@method(...)` or `handle.method.options(...)` was given; `name` is only for the latter."""
    check(options, {**METHOD_OPTIONS, "name": _TEXT}, "actor methods")
    warn_of_dynamic(options)
