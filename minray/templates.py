"""From the options that a user chose to a template: everything that is constant about the calls of one function, one
actor class or one method, made once and known by a digest.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from minray.core.digest import digest
from minray.core.template import RESOURCE_UNIT, ActorTemplate, Code, Demand, MethodTemplate, TaskTemplate
from minray.options import Options
from minray.returns import number_of_returns, yields
from minray.session import Session
from minray.strategies import place

#: What a call takes of the resource that stands for a kind of accelerator: next to nothing, but it has to be there.
_OF_ACCELERATOR = 0.001


def demand(options: Options, default_cpus: float) -> Demand:
    """The resources that the options ask for, in units of 1/10,000, by name."""
    cpus = options.get("num_cpus")
    accelerator = options.get("accelerator_type")
    amounts = {
        "CPU": default_cpus if cpus is None else cpus,
        "GPU": options.get("num_gpus") or 0,
        "memory": int(options.get("memory") or 0),
        "object_store_memory": options.get("object_store_memory") or 0,
        **({f"accelerator_type:{accelerator}": _OF_ACCELERATOR} if accelerator else {}),
        **(options.get("resources") or {}),
    }
    units = ((name, round(amount * RESOURCE_UNIT)) for name, amount in sorted(amounts.items()))
    return tuple((name, amount) for name, amount in units if amount)


def task_template(session: Session, code: Code, name: str, options: Options, num_returns: int) -> TaskTemplate:
    """What all calls of one function under one set of (checked) options have in common."""
    retry_exceptions, retried = _retried(session, name, options)
    max_retries = options.get("max_retries")
    placing = place(session, demand(options, default_cpus=1), options, name)
    max_retries = 3 if max_retries is None else max_retries
    name = options.get("name") or name
    num_returns, stream, extra = yields(num_returns, options)
    if placing.extra is not None:
        extra = {**(extra or {}), **placing.extra}
    return TaskTemplate(
        key=_key(code.key, name, num_returns, placing, max_retries, retried, extra),
        code=code,
        name=name,
        num_returns=num_returns,
        demand=placing.demand,
        max_retries=max_retries,
        retry_exceptions=retry_exceptions,
        stream=stream,
        extra=extra,
        terms=placing.terms,
        captured=placing.captured,
    )


def method_template(session: Session, actor: ActorTemplate, method: str, options: Options) -> MethodTemplate:
    """What all calls of one method under one set of (checked) options have in common."""
    name = options.get("name") or f"{actor.name}.{method}"
    num_returns = number_of_returns(options.get("num_returns"), options.get("kind") == "generator", name)
    retries = options.get("max_task_retries")
    retries = actor.max_task_retries if retries is None else retries
    retry_exceptions, retried = _retried(session, name, options)
    group = options.get("concurrency_group")
    groups = (actor.extra or {}).get("limits", {})
    if group and group not in groups:
        raise ValueError(f"The call of {name}() names {_unknown_group(group, groups)}")
    num_returns, stream, extra = yields(num_returns, options)
    if group:
        extra = {**(extra or {}), "concurrency_group": group}
    return MethodTemplate(
        key=_key(name, method, num_returns, retries, retried, extra),
        method=method,
        name=name,
        num_returns=num_returns,
        max_retries=retries,
        retry_exceptions=retry_exceptions,
        stream=stream,
        extra=extra,
    )


def _unknown_group(group: str, groups: Iterable[str]) -> str:
    known = sorted(filter(None, groups))
    return f"the concurrency group {group!r}, which its class does not have. It has: {known or 'none'}."


def _retried(session: Session, name: str, options: Options) -> tuple[Any, Any]:
    """The option `retry_exceptions`, with a list of exceptions as code; and what tells it from others."""
    kinds = options.get("retry_exceptions") or False
    if isinstance(kinds, bool):
        return kinds, kinds
    if isinstance(kinds, Code):  # of a method, through a handle
        return kinds, kinds.key
    code = session.code(tuple(kinds), f"retry_exceptions of {name}")
    return code, code.key


#: How many calls an async actor runs at once, unless it says otherwise.
ASYNC_CONCURRENCY = 1000


def actor_template(
    session: Session, code: Code, name: str, methods: dict[str, dict[str, Any]], options: Options, is_async: bool
) -> ActorTemplate:
    """What all actors of one class under one set of (checked) options have in common.

    `is_async`: the class has coroutine functions. ValueError: it runs several calls at once, but is to keep an order.
    """
    # An actor that asks for anything asks for a CPU too, if it does not say otherwise; one that asks for nothing gets
    # nothing, but in a placement group there has to be a CPU for it (as in Ray).
    bare = all(options.get(resource) is None for resource in ("num_cpus", "num_gpus", "accelerator_type"))
    bare = bare and not options.get("resources")
    needs = demand(options, default_cpus=0 if bare else 1)
    placing = place(session, needs, options, name, demand(options, default_cpus=1) if bare else None)
    max_concurrency = options.get("max_concurrency")
    if not max_concurrency:
        max_concurrency = ASYNC_CONCURRENCY if is_async else 1
    groups = options.get("concurrency_groups") or {}
    for method, chosen_for in methods.items():
        group = chosen_for.get("concurrency_group")
        if group and group not in groups:
            raise AssertionError(f"{name}.{method}() names {_unknown_group(group, groups)}")  # Ray's type
    several = is_async or max_concurrency > 1
    concurrent = several or bool(groups)
    any_order = options.get("allow_out_of_order_execution")
    if several and any_order is False:
        kind = "async" if is_async else "multi-threaded"
        raise ValueError(
            f"If you're using {kind} actors, minray can't execute actor tasks in order. Set "
            "`allow_out_of_order_execution=True` to allow out-of-order execution."
        )
    # As code, because the owner and whoever is given a handle read the template, and may not know the exceptions.
    methods = {
        method: {**chosen_for, "retry_exceptions": _retried(session, f"{name}.{method}", chosen_for)[0]}
        if chosen_for.get("retry_exceptions")
        else chosen_for
        for method, chosen_for in methods.items()
    }
    chosen: dict[str, Any] = {
        "max_restarts": options.get("max_restarts") or 0,
        "max_task_retries": options.get("max_task_retries") or 0,
        "max_concurrency": max_concurrency,
        "registered_name": options.get("name"),
        "namespace": options.get("namespace"),
        "lifetime": options.get("lifetime"),
        "in_order": not (several if any_order is None else any_order),
        "concurrent": concurrent,
        "max_pending_calls": options.get("max_pending_calls") or -1,
        "extra": {"async": is_async, "limits": {**groups, "": max_concurrency}} if concurrent else None,
        "max_unread": _limit(options.get("_actor_generator_backpressure_num_objects")),
    }
    if chosen["max_unread"] is not None:
        chosen["extra"] = {**(chosen["extra"] or {}), "max_unread": chosen["max_unread"]}
    if placing.extra is not None:
        chosen["extra"] = {**(chosen["extra"] or {}), **placing.extra}
    return ActorTemplate(
        key=_key(code.key, name, placing, *chosen.values()),
        code=code,
        name=name,
        methods=methods,
        demand=placing.demand,
        terms=placing.terms,
        captured=placing.captured,
        **chosen,
    )


def _limit(value: int | None) -> int | None:
    return None if value is None or value < 0 else value


def _key(*parts: Any) -> bytes:
    return digest(repr(parts).encode())
