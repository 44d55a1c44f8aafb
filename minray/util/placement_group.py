"""Placement groups: resources reserved together, in bundles, for the tasks and actors that are to run there."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

from minray.core.digest import digest
from minray.core.placement import inside
from minray.core.template import RESOURCE_UNIT, Demand, TaskTemplate
from minray.core.terms import NODE_ID, Selector, Terms
from minray.exceptions import RaySystemError
from minray.ids import NodeID, PlacementGroupID
from minray.labels import parse_selector, wrong_selector
from minray.refs import ObjectRef
from minray.session import ensure

__all__ = [
    "PlacementGroup",
    "get_current_placement_group",
    "get_placement_group",
    "placement_group",
    "placement_group_table",
    "remove_placement_group",
]

STRATEGIES = ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")
VALID_PLACEMENT_GROUP_STRATEGIES = frozenset(STRATEGIES)
_AN_EXAMPLE = 'For example: `[{"CPU": 1.0}, {"GPU": 1.0}]`.'


class PlacementGroup:
    """A handle to a placement group: it can be pickled, compared and hashed, and does not keep the group alive."""

    @staticmethod
    def empty() -> PlacementGroup:
        """The handle of no group: what runs in it runs in none."""
        return PlacementGroup(PlacementGroupID.nil())

    def __init__(self, id: PlacementGroupID, bundle_cache: list[dict[str, float]] | None = None) -> None:
        self.id = id
        self.bundle_cache = bundle_cache

    @property
    def is_empty(self) -> bool:
        """Whether this is the handle of no group."""
        return self.id.is_nil()

    def ready(self) -> ObjectRef[PlacementGroup]:
        """A ref to this handle, that is ready as soon as all bundles are reserved.

        It fails with `TaskPlacementGroupRemoved` when the group is removed.
        """
        session = ensure()
        if self.is_empty:
            return ObjectRef(session.put(self), session)
        # A task that asks for nothing and runs in the group.
        id = self.id.hex()
        template = TaskTemplate(
            key=digest(f"ready {id}".encode()),
            code=session.code(_itself, "PlacementGroup.ready"),
            name="PlacementGroup.ready",
            demand=inside((), id, -1),
            max_retries=-1,
            terms=Terms(group=id),
            captured=False,
        )
        return ObjectRef(session.submit(template, (self,), {}), session)

    def wait(self, timeout_seconds: float = 30) -> bool:
        """Wait until all bundles are reserved, for at most so many seconds (a negative number: for ever).

        Returns whether they are. Raises Exception if the group has been removed.
        """
        if not isinstance(timeout_seconds, (int, float)):
            raise TypeError(f"timeout_seconds must be a number, got: {timeout_seconds!r}.")
        session = ensure()
        state = session.ask("group_state", self.id.hex())
        if state == "PENDING" and timeout_seconds != 0:
            ref = self.ready()
            session.wait([ref._id], 1, None if timeout_seconds < 0 else timeout_seconds)
            state = session.ask("group_state", self.id.hex())
        if state == "REMOVED":
            raise Exception(f"Placement group {self.id} does not exist.")  # Ray's type
        return bool(state == "CREATED")

    @property
    def bundle_specs(self) -> list[dict[str, float]]:
        """The resources of each bundle."""
        if self.bundle_cache is None:
            if self.is_empty:
                raise KeyError("bundles: the handle of no placement group has none")
            self.bundle_cache = ensure().ask("group_bundles", self.id.hex())
        return self.bundle_cache

    @property
    def bundle_count(self) -> int:
        """How many bundles it has."""
        return len(self.bundle_specs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlacementGroup) and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)


def _itself(group: PlacementGroup) -> PlacementGroup:
    """Runs in the group, as soon as that is possible."""
    return group


def placement_group(
    bundles: list[dict[str, float]],
    strategy: str | None = None,
    name: str = "",
    lifetime: str | None = None,
    _soft_target_node_id: str | None = None,
    bundle_label_selector: list[dict[str, str]] | None = None,
    topology_strategy: dict[str, str] | None = None,
) -> PlacementGroup:
    """Ask for a placement group. It is made as soon as there is room for all of its bundles: `PlacementGroup.wait`.

    Args:
        bundles: The resources of each bundle, by name.
        strategy: ``"PACK"`` (the default): on as few nodes as possible. ``"SPREAD"``: on as many as possible.
            ``"STRICT_PACK"``: on one. ``"STRICT_SPREAD"``: each on a node of its own.
        name: By which `get_placement_group` finds it, in this namespace.
        lifetime: None or ``"detached"``. In minray every group lives until it is removed or the run ends.
        bundle_label_selector: For each bundle, which labels its node must have.
        topology_strategy: Only ``{"ray.io/node-id": strategy}``, which is the same as `strategy`.

    Raises:
        ValueError: One of them is wrong. RaySystemError: The name is taken.
        NotImplementedError: `topology_strategy` names another label.
    """
    if topology_strategy is not None:
        strategy = _of_topology(topology_strategy, strategy)
    if strategy is not None and strategy not in STRATEGIES:
        raise ValueError(f"Invalid placement group strategy {strategy}. Supported strategies are: {STRATEGIES}.")
    strategy = strategy or "PACK"
    target: Selector = ()
    if _soft_target_node_id:
        if strategy != "STRICT_PACK":
            raise ValueError(f"_soft_target_node_id currently only works with STRICT_PACK but got {strategy}")
        if NodeID.from_hex(_soft_target_node_id).is_nil():
            raise ValueError(f"Invalid hex ID of _soft_target_node_id, got {_soft_target_node_id}")
        target = ((NODE_ID, "in", (_soft_target_node_id,)),)
    demands = tuple(map(_demand, _checked(bundles)))
    selectors = () if bundle_label_selector is None else _selectors(bundle_label_selector, len(bundles))
    if lifetime not in (None, "detached"):
        raise ValueError(f"Placement group `lifetime` argument must be either `None` or 'detached'. Got {lifetime}.")
    if not isinstance(name, str):
        raise TypeError(f"The name of a placement group must be a string, got: {name!r}.")
    try:
        id = ensure().ask("group_create", demands, strategy, name, selectors, target)
    except ValueError as error:
        raise RaySystemError(str(error)) from None
    cache = [{key: float(amount) for key, amount in bundle.items()} for bundle in bundles]
    return PlacementGroup(PlacementGroupID.from_hex(id), cache)


def remove_placement_group(placement_group: PlacementGroup) -> None:
    """Give the group's resources back. What runs or lives in it ends; what waits for it fails."""
    assert placement_group is not None, "placement_group must be a PlacementGroup, got None"
    ensure().ask("group_remove", placement_group.id.hex())


def get_placement_group(placement_group_name: str) -> PlacementGroup:
    """The group of this name in this namespace. ValueError: there is none."""
    if not placement_group_name:
        raise ValueError("Please supply a non-empty value to get_placement_group")
    return PlacementGroup(PlacementGroupID.from_hex(ensure().ask("group_find", placement_group_name)))


def placement_group_table(placement_group: PlacementGroup | None = None) -> dict[str, Any]:
    """What is known of a group; of all of them by id if none is named. A group that is not known: {}."""
    if placement_group is None:
        return {table["placement_group_id"]: table for table in ensure().ask("group_tables")}
    try:
        found: dict[str, Any] = ensure().ask("group_table", placement_group.id.hex())
    except ValueError:
        return {}
    return found


def get_current_placement_group() -> PlacementGroup | None:
    """The group that the calling task or actor runs in; None if it runs in none, as in a driver."""
    given = ensure().given
    if given is None or "group" not in given:
        return None
    return PlacementGroup(PlacementGroupID.from_hex(given["group"]))


# --- Checks ------------------------------------------------------------------------------------------------------


def _of_topology(topology: Any, strategy: str | None) -> str:
    if strategy is not None:
        raise ValueError(
            "`strategy` and `topology_strategy` cannot both be specified. Pass node-level packing via "
            f"`topology_strategy['{NODE_ID}']`."
        )
    if not isinstance(topology, dict):
        raise ValueError(f"`topology_strategy` must be a dict, got {type(topology).__name__}.")
    for key, value in topology.items():
        if not isinstance(key, str) or not key:
            raise ValueError(f"`topology_strategy` keys must be non-empty strings, got {key!r}.")
        if value not in STRATEGIES:
            raise ValueError(
                f"Invalid topology strategy {value!r} for label {key!r}. Supported strategies are: {STRATEGIES}."
            )
        if key != NODE_ID:
            raise NotImplementedError(
                f"minray does not place bundles by the label {key!r}: topology_strategy may only name {NODE_ID!r}."
            )
    found: str = topology.get(NODE_ID, "PACK")
    return found


def _checked(bundles: Any) -> list[dict[str, float]]:
    if not isinstance(bundles, list):
        raise ValueError(f"Placement group bundles must be a list, got {type(bundles)}.")
    if not bundles:
        raise ValueError(
            f"Bundles must be a non-empty list of resource dictionaries. {_AN_EXAMPLE} Got empty list instead."
        )
    for bundle in bundles:
        if not isinstance(bundle, dict) or not all(
            isinstance(name, str) and isinstance(amount, (int, float)) for name, amount in bundle.items()
        ):
            raise ValueError(f"Bundles must be a non-empty list of resource dictionaries. {_AN_EXAMPLE}")
        if not any(bundle.values()):
            raise ValueError(
                f"Bundles cannot be an empty dictionary or resources with only 0 values. Bundles: {bundles}"
            )
        if "object_store_memory" in bundle:
            warnings.warn(
                "Setting 'object_store_memory' for bundles is deprecated since it doesn't actually reserve the "
                "required object store memory.",
                DeprecationWarning,
                stacklevel=3,
            )
        for name, amount in bundle.items():
            if amount < 0 or not math.isfinite(amount):
                raise ValueError(f"Bundles cannot have negative or infinite amounts, but {name} is {amount}: {bundle}")
    return bundles


def _demand(bundle: Mapping[str, float]) -> Demand:
    units = ((name, round(amount * RESOURCE_UNIT)) for name, amount in sorted(bundle.items()))
    return tuple([(name, amount) for name, amount in units if amount])


def _selectors(given: Any, number: int) -> tuple[Selector, ...]:
    if not isinstance(given, list):
        raise ValueError(f"Placement group bundle_label_selector must be a list, got {type(given)}.")
    if len(given) != number:
        raise ValueError(
            f"Invalid bundle label selector {given}. The length of `bundle_label_selector` should equal the length of "
            "`bundles`."
        )
    return tuple(map(_selector, given))


def _selector(given: Any) -> Selector:
    if not isinstance(given, dict) or not all(
        isinstance(key, str) and isinstance(value, str) for key, value in given.items()
    ):
        raise ValueError(
            "Bundle label selector must be a list of string dictionary label selectors. For example: "
            '`[{"ray.io/market-type": "spot"}, {"ray.io/accelerator-type": "A100"}]`.'
        )
    problem = wrong_selector(given)
    if problem:
        raise ValueError(f"Invalid label selector provided in bundle_label_selector list. Detailed error: '{problem}'")
    return parse_selector(given)


def check_placement_group_index(placement_group: PlacementGroup, bundle_index: int) -> None:
    """ValueError: the group has no such bundle (-1 is any)."""
    assert placement_group is not None, "placement_group must be a PlacementGroup, got None"
    if placement_group.is_empty:
        if bundle_index != -1:
            raise ValueError("If placement group is not set, the value of bundle index must be -1.")
    elif not -1 <= bundle_index < placement_group.bundle_count:
        raise ValueError(
            f"placement group bundle index {bundle_index} is invalid. Valid placement group indexes: "
            f"0-{placement_group.bundle_count}"
        )
