"""Where tasks and actors run: values for the option `scheduling_strategy`, beside ``"DEFAULT"`` and ``"SPREAD"``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from minray.ids import NodeID

if TYPE_CHECKING:
    from minray.util.placement_group import PlacementGroup

__all__ = [
    "DoesNotExist",
    "Exists",
    "In",
    "NodeAffinitySchedulingStrategy",
    "NodeLabelSchedulingStrategy",
    "NotIn",
    "PlacementGroupSchedulingStrategy",
    "SchedulingStrategyT",
]


class PlacementGroupSchedulingStrategy:
    """In a placement group, with its reserved resources.

    `placement_group_bundle_index` is the bundle, -1 for any. With `placement_group_capture_child_tasks` the tasks and
    actors that are made there run in the group too, if they do not say otherwise. `placement_group` may be None, which
    keeps a task out of the group that would capture it.
    """

    def __init__(
        self,
        placement_group: PlacementGroup | None,
        placement_group_bundle_index: int = -1,
        placement_group_capture_child_tasks: bool | None = None,
    ) -> None:
        self.placement_group = placement_group
        self.placement_group_bundle_index = placement_group_bundle_index
        self.placement_group_capture_child_tasks = placement_group_capture_child_tasks


class NodeAffinitySchedulingStrategy:
    """On the node of this id (of `minray.nodes()`). `soft`: on another if there is none, or it is too small; else the
    call fails then. While the node is busy, the call waits in either case."""

    def __init__(
        self, node_id: str | NodeID, soft: bool, _spill_on_unavailable: bool = False, _fail_on_unavailable: bool = False
    ) -> None:
        """ValueError: that is no id of a node."""
        self.node_id = node_id if isinstance(node_id, str) else node_id.hex()
        self.soft = soft
        self._spill_on_unavailable = _spill_on_unavailable
        self._fail_on_unavailable = _fail_on_unavailable
        if not _is_node_id(self.node_id):
            raise ValueError(
                f"Invalid node_id '{self.node_id}'. Node ID must be a valid hex string. To get a list of all nodes and "
                "their IDs in your cluster, use minray.nodes()."
            )
        if _spill_on_unavailable and not soft:
            raise ValueError(
                "_spill_on_unavailable cannot be set when soft is False. Please set soft to True to use "
                "_spill_on_unavailable."
            )
        if _fail_on_unavailable and soft:
            raise ValueError(
                "_fail_on_unavailable cannot be set when soft is True. Please set soft to False to use "
                "_fail_on_unavailable."
            )


def _is_node_id(text: str) -> bool:
    try:
        return not NodeID.from_hex(text).is_nil()
    except ValueError:
        return False


class In:
    """A label that has one of these values."""

    def __init__(self, *values: str) -> None:
        _check_values(values, "In")
        self.values = list(values)


class NotIn:
    """A label that has none of these values, or is missing."""

    def __init__(self, *values: str) -> None:
        _check_values(values, "NotIn")
        self.values = list(values)


class Exists:
    """A label that is there."""


class DoesNotExist:
    """A label that is missing."""


Operator: TypeAlias = "In | NotIn | Exists | DoesNotExist"


def _check_values(values: tuple[Any, ...], operator: str) -> None:
    if not values:
        raise ValueError(
            f"The variadic parameter of the {operator} operator must be a non-empty tuple: e.g. "
            f'{operator}("value1", "value2").'
        )
    for index, value in enumerate(values):
        if not isinstance(value, str):
            raise ValueError(
                f"Type of value in position {index} for the {operator} operator must be str (e.g. "
                f'{operator}("value1", "value2")) but got {value} of type {type(value)}.'
            )


class LabelMatchExpression:
    """What one label has to be like."""

    def __init__(self, key: str, operator: Operator) -> None:
        self.key = key
        self.operator = operator


class NodeLabelSchedulingStrategy:
    """On a node whose labels pass all tests in `hard`, and, if there is one, also those in `soft`.

    Both map names of labels to `In(...)`, `NotIn(...)`, `Exists()` or `DoesNotExist()`. A call that finds no such node
    waits for one.
    """

    def __init__(self, hard: Mapping[str, Operator] | None, *, soft: Mapping[str, Operator] | None = None) -> None:
        """ValueError: those are no such maps, or both are empty."""
        self.hard = _expressions(hard, "hard")
        self.soft = _expressions(soft, "soft")
        if not (self.hard or self.soft):
            raise ValueError("The `hard` and `soft` parameter of NodeLabelSchedulingStrategy cannot both be empty.")


def _expressions(tests: Any, parameter: str) -> list[LabelMatchExpression]:
    if tests is None:
        return []
    if not isinstance(tests, Mapping):
        raise ValueError(
            f'The {parameter} parameter must be a map (e.g. {{"key1": In("value1")}}) but got type {type(tests)}.'
        )
    for key, operator in tests.items():
        if not isinstance(key, str):
            raise ValueError(
                f'The map key of the {parameter} parameter must be of type str (e.g. {{"key1": In("value1")}}) but got '
                f"{key} of type {type(key)}."
            )
        if not isinstance(operator, (In, NotIn, Exists, DoesNotExist)):
            raise ValueError(
                f"The map value for key {key} of the {parameter} parameter must be one of the `In`, `NotIn`, `Exists` "
                f'or `DoesNotExist` operator (e.g. {{"key1": In("value1")}}) but got {operator} of type '
                f"{type(operator)}."
            )
    return [LabelMatchExpression(key, operator) for key, operator in tests.items()]


SchedulingStrategyT: TypeAlias = (
    "str | PlacementGroupSchedulingStrategy | NodeAffinitySchedulingStrategy | NodeLabelSchedulingStrategy | None"
)
