"""From the options that say where a call runs to what the scheduler is told: a demand and terms.

    scheduling_strategy, placement_group..., label_selector, fallback_strategy ──place()──> Placing

Groups are known to the owner only: what bundles one has is asked of the session, once for each template.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

from minray.core.digest import digest
from minray.core.placement import inside
from minray.core.template import RESOURCE_UNIT, ActorTemplate, Demand, T, placed
from minray.core.terms import NODE_ID, LabelTest, Selector, Terms
from minray.labels import parse_selector, wrong_selector
from minray.session import Session
from minray.util.placement_group import PlacementGroup, check_placement_group_index
from minray.util.scheduling_strategies import (
    DoesNotExist,
    Exists,
    In,
    LabelMatchExpression,
    NodeAffinitySchedulingStrategy,
    NodeLabelSchedulingStrategy,
    NotIn,
    PlacementGroupSchedulingStrategy,
)

Options = Mapping[str, Any]

#: What the option `scheduling_strategy` may be, beside None and a string.
STRATEGIES = (PlacementGroupSchedulingStrategy, NodeAffinitySchedulingStrategy, NodeLabelSchedulingStrategy)
_NAMES = ("DEFAULT", "SPREAD")
_OLD: dict[str, Any] = {
    "placement_group": "default",
    "placement_group_bundle_index": -1,
    "placement_group_capture_child_tasks": None,
}


class Placing(NamedTuple):
    """What becomes of the options: see `TaskTemplate`. `extra` tells the worker of the group that it is in."""

    demand: Demand
    terms: Terms | None
    extra: dict[str, Any] | None
    captured: bool | None


# --- Checks, when options are chosen -----------------------------------------------------------------------------


def wrong_strategy(name: str, value: Any) -> str | None:
    """What is wrong with a `scheduling_strategy`, or None."""
    if isinstance(value, str) and value not in _NAMES:
        return (
            f"Invalid scheduling_strategy value {value}. Valid values are 'DEFAULT', 'SPREAD', "
            "PlacementGroupSchedulingStrategy, NodeAffinitySchedulingStrategy and NodeLabelSchedulingStrategy."
        )
    return None


def wrong_label_selector(name: str, value: Any) -> str | None:
    """What is wrong with a `label_selector`, or None."""
    return wrong_selector(value)


def wrong_fallback(name: str, value: Any) -> str | None:
    """What is wrong with a `fallback_strategy`, or None."""
    for alternative in value or ():
        if not isinstance(alternative, dict):
            return "Each element in fallback_strategy must be a dictionary."
        for key in alternative:
            if key != "label_selector":
                return f"Unsupported option found: '{key}'. Only ['label_selector'] is currently supported."
        problem = wrong_selector(alternative.get("label_selector"))
        if problem:
            return problem
    return None


def check_group_options(options: Options) -> None:
    """Raise if the old options of placement groups are used together with the new one."""
    chosen = options.get("placement_group", "default")
    if options.get("scheduling_strategy") is not None and chosen not in ("default", None):
        raise ValueError(
            "Placement groups should be specified via the scheduling_strategy option. The placement_group option is "
            "deprecated."
        )


# --- When a template is made -------------------------------------------------------------------------------------


def place(session: Session, demand: Demand, options: Options, name: str, placement: Demand | None = None) -> Placing:
    """Where calls under (checked) options run. `placement`: what there has to be in a bundle, if not `demand`.

    ValueError: a bundle index out of range, or a demand that fits into no bundle. AssertionError: no placement group.
    """
    strategy = options.get("scheduling_strategy")
    env, max_calls = session.env, options.get("max_calls") or 0
    if options.get("runtime_env"):
        from minray.environments import of_call

        env = of_call(session, options["runtime_env"])
    selector, fallback = options.get("label_selector"), options.get("fallback_strategy")
    terms = Terms(
        choices=_choices(selector, fallback), spread=strategy == "SPREAD", env=env, max_calls=max_calls
    )  # fmt: skip
    if isinstance(strategy, NodeAffinitySchedulingStrategy):
        terms = _with_affinity(terms, strategy)
    elif isinstance(strategy, NodeLabelSchedulingStrategy):
        hard, soft = _tests(strategy.hard), _tests(strategy.soft)
        terms = terms._replace(choices=((*hard, *soft), hard) if soft else (hard,))
    if strategy is None or isinstance(strategy, PlacementGroupSchedulingStrategy):
        group, bundle, capture = _group(strategy, options)
        captured = capture if strategy is None and options.get("placement_group", "default") == "default" else False
        check_placement_group_index(group, bundle)
        if not group.is_empty:
            check_shape(group.bundle_specs, demand, placement, name)
            extra = {"group": group.id.hex(), "captures": capture}
            return Placing(inside(demand, group.id.hex(), bundle), terms._replace(group=group.id.hex()), extra, False)
    else:
        captured = False
    return Placing(demand, None if terms == _NO_TERMS else terms, None, captured)


_NO_TERMS = Terms()


def _choices(selector: Mapping[str, str] | None, fallback: list[dict[str, Any]] | None) -> tuple[Selector, ...]:
    alternatives = [selector or {}, *(one.get("label_selector") or {} for one in fallback or ())]
    return tuple(map(parse_selector, alternatives)) if any(alternatives) else ()


def _with_affinity(terms: Terms, strategy: NodeAffinitySchedulingStrategy) -> Terms:
    if strategy._spill_on_unavailable or strategy._fail_on_unavailable:
        raise NotImplementedError(
            "minray does not carry out _spill_on_unavailable and _fail_on_unavailable: leave them out, and the call "
            "waits while the node is busy."
        )
    there: Selector = ((NODE_ID, "in", (strategy.node_id,)),)
    return terms._replace(choices=(there, ()) if strategy.soft else (there,), fails=not strategy.soft)


def _tests(expressions: list[LabelMatchExpression]) -> Selector:
    def test(one: LabelMatchExpression) -> LabelTest:
        operator = one.operator
        if isinstance(operator, In):
            return one.key, "in", tuple(operator.values)
        if isinstance(operator, NotIn):
            return one.key, "not in", tuple(operator.values)
        assert isinstance(operator, (Exists, DoesNotExist))
        return one.key, "exists" if isinstance(operator, Exists) else "not exists", ()

    return tuple(map(test, expressions))


def _group(
    strategy: PlacementGroupSchedulingStrategy | None, options: Options
) -> tuple[PlacementGroup, int, bool | None]:
    """The placement group that was chosen, in either way; the bundle; whether child tasks are captured."""
    if strategy is not None:
        group, bundle = strategy.placement_group, strategy.placement_group_bundle_index
        capture = strategy.placement_group_capture_child_tasks
    else:
        group, bundle = options.get("placement_group"), options.get("placement_group_bundle_index", -1)
        capture = options.get("placement_group_capture_child_tasks")
        given = [name for name, default in _OLD.items() if options.get(name, default) != default]
        if given:
            warnings.warn(
                f"{given[0]} parameter is deprecated. Use scheduling_strategy=PlacementGroupSchedulingStrategy(...).",
                DeprecationWarning,
                stacklevel=2,
            )
    if group is None or group == "default":
        group = PlacementGroup.empty()
    assert isinstance(group, PlacementGroup), f"placement_group must be a PlacementGroup, got: {group!r}"
    return group, bundle, capture


def check_shape(bundles: list[dict[str, float]], demand: Demand, placement: Demand | None, name: str) -> None:
    """ValueError: what `name` asks for fits into no bundle. `placement` is as for `place`."""
    if not _fits(demand, bundles):
        asked = {resource: amount / RESOURCE_UNIT for resource, amount in demand}
        raise ValueError(
            f"Cannot schedule {name} with the placement group because the resource request {asked} cannot fit into any "
            f"bundles for the placement group, {bundles}."
        )
    if placement is not None and not _fits(placement, bundles):
        raise ValueError(
            f"Cannot schedule {name} with the placement group because the actor requires "
            f"{dict(placement).get('CPU', 0) / RESOURCE_UNIT:g} CPU for creation, but it cannot fit into any bundles "
            f"for the placement group, {bundles}. Consider creating a placement group with CPU resources."
        )


def _fits(demand: Demand, bundles: list[dict[str, float]]) -> bool:
    return any(
        all(round(bundle.get(name, 0) * RESOURCE_UNIT) >= amount for name, amount in demand) for bundle in bundles
    )


# --- In a task that is in a group --------------------------------------------------------------------------------


def inherit(session: Session, template: T, group: str, captures: bool | None) -> T:
    """A template as it is for a task that runs in `group`, and `captures` its child tasks or does not.

    Calls that say nothing of where they run go into the group too; calls in other groups capture if that one does.
    ValueError: they fit into no bundle.
    """
    if template.captured or (captures and template.captured is None):
        an_actor: bool = isinstance(template, ActorTemplate)
        placement = (("CPU", RESOURCE_UNIT),) if an_actor and not template.demand else None
        check_shape(session.ask("group_bundles", group), template.demand, placement, template.name)
        terms = (template.terms or _NO_TERMS)._replace(group=group)
        extra = {**(template.extra or {}), "group": group, "captures": captures}
        demand = inside(template.demand, group, -1)
    elif _may_capture(template.extra) and captures:
        assert template.terms is not None
        terms, demand, extra = template.terms, template.demand, {**(template.extra or {}), "captures": True}
    else:
        return template
    return placed(template, digest(repr((template.key, demand, terms, extra)).encode()), demand, terms, extra)


def _may_capture(extra: Mapping[str, Any] | None) -> bool:
    """Whether calls run in a group and do not say if they capture theirs."""
    return extra is not None and "group" in extra and extra["captures"] is None
