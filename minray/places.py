"""What the owner tells about nodes and placement groups, and does with the latter: answers to questions.

All answers are plain values, and are given under the runtime's lock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from minray.about import About, amounts
from minray.backend import NodeInfo
from minray.core.graph import TaskGraph
from minray.core.placement import CREATED, PENDING, REMOVED, Group
from minray.core.tasks import Node, Worker
from minray.core.template import RESOURCE_UNIT, Demand
from minray.core.terms import NODE_ID, Selector, Terms
from minray.ids import THE_JOB
from minray.labels import show_selector
from minray.measures import OWN

#: The resource that the node of the driver has, and no other.
HEAD = "node:__internal_head__"
#: A placement group's id: random bytes, then its job.
_RANDOM_BYTES = 14


class Places:
    """The nodes of a run as users see them, and its placement groups."""

    def __init__(self, graph: TaskGraph, about: About, random_bytes: Callable[[int], bytes]) -> None:
        """`random_bytes(number)`: what the ids of placement groups are made of."""
        self._graph = graph
        self._about = about
        self._random_bytes = random_bytes
        self._infos: dict[int, NodeInfo] = {}
        self.questions: dict[str, Callable[..., Any]] = {
            "resources": lambda _, available: self.resources(available),
            "nodes": lambda _: [self._describe(node) for node in graph.scheduler.nodes.values()],
            "labels": lambda worker: self._node_of(worker).labels,
            "group_create": self._create,
            "group_remove": lambda _, id: graph.placement.removed(id),
            "group_state": self._state,
            "group_find": self._find,
            "group_bundles": lambda _, id: [amounts(bundle) for bundle in self._known(id).bundles],
            "group_table": lambda _, id: self._describe_group(self._known(id)),
            "group_tables": lambda _: [self._describe_group(group) for group in graph.placement.groups.values()],
        }

    # -- nodes ----------------------------------------------------------------------------------------------------

    def join(self, info: NodeInfo, head: bool, labels: dict[str, str]) -> None:
        """A node is there. `head`: it is the driver's own."""
        self._infos[info.id] = info
        offered = {**info.resources, f"node:{info.address}": 1.0}
        if head:
            offered[HEAD] = 1.0
        total = {name: round(amount * RESOURCE_UNIT) for name, amount in offered.items()}
        self._graph.node_joined(info.id, total, info.warm, {NODE_ID: self._about.node(info.id), **labels})

    def resources(self, available: bool) -> dict[str, float]:
        """The amounts of all nodes together, or what of them is free."""
        found: dict[str, float] = {}
        for node in self._graph.scheduler.nodes.values():
            for name, amount in (node.free if available else node.total).items():
                found[name] = found.get(name, 0.0) + amount / RESOURCE_UNIT
            if available and "object_store_memory" in found:
                found["object_store_memory"] -= self._graph.memory.rooms[node.id].used
        return {name: amount for name, amount in found.items() if amount > 0}

    def _node_of(self, worker: Worker | None) -> Node:
        return worker.node if worker is not None else next(iter(self._graph.scheduler.nodes.values()))

    def _describe(self, node: Node) -> dict[str, Any]:
        """With Ray's keys. What says where Ray's servers listen is 0 or empty: minray has none."""
        import socket

        address = self._infos[node.id].address
        return {
            "NodeID": self._about.node(node.id),
            "Alive": True,
            "NodeManagerAddress": address,
            "NodeManagerHostname": socket.gethostname() if address == "127.0.0.1" else address,
            "NodeManagerPort": 0,
            "ObjectManagerPort": 0,
            "ObjectStoreSocketName": "",
            "RayletSocketName": "",
            "MetricsExportPort": OWN.port,
            "MetricsAgentPort": 0,
            "DashboardAgentListenPort": 0,
            "NodeName": address,
            "RuntimeEnvAgentPort": 0,
            "DeathReason": 0,
            "DeathReasonMessage": "",
            "alive": True,
            "Resources": {name: node.total[name] / RESOURCE_UNIT for name in node.offers if node.total[name]},
            "Labels": dict(node.labels),
        }

    # -- placement groups -----------------------------------------------------------------------------------------

    def _create(
        self,
        worker: Worker | None,
        bundles: tuple[Demand, ...],
        strategy: str,
        name: str,
        selectors: tuple[Selector, ...],
        target: Selector,
    ) -> str:
        id = self._random_bytes(_RANDOM_BYTES).hex() + THE_JOB.hex()
        group = Group(id, bundles, strategy, (self._about.namespace, name) if name else None, selectors, target)
        self._graph.placement.created(group)
        return id

    def _known(self, id: str) -> Group:
        group = self._graph.placement.groups.get(id)
        if group is None:
            raise ValueError(f"There is no placement group {id} in this run.")
        return group

    def _state(self, worker: Worker | None, id: str) -> str:
        group = self._graph.placement.groups.get(id)
        return REMOVED if group is None else group.state

    def _find(self, worker: Worker | None, name: str) -> str:
        group = self._graph.placement.names.get((self._about.namespace, name))
        if group is None:
            raise ValueError(f"Failed to look up placement group with name: {name}")
        return group.id

    def _describe_group(self, group: Group) -> dict[str, Any]:
        where = [self._about.node(node.id) for node in group.nodes] or [""] * len(group.bundles)
        if group.state == PENDING:
            progress = "PENDING" if self._graph.placement.is_feasible(group) else "INFEASIBLE"
        else:
            progress = "FINISHED" if group.state == CREATED else "REMOVED"
        return {
            "placement_group_id": group.id,
            "name": group.name_key[1] if group.name_key is not None else "",
            "bundles": {index: amounts(bundle) for index, bundle in enumerate(group.bundles)},
            "bundles_to_node_id": dict(enumerate(where)),
            "strategy": group.strategy,
            "state": group.state,
            "stats": {
                "end_to_end_creation_latency_ms": 0.0,
                "scheduling_latency_ms": 0.0,
                "scheduling_attempt": group.attempts,
                "highest_retry_delay_ms": 0.0,
                "scheduling_state": progress,
            },
        }

    def rows(self) -> Iterator[dict[str, Any]]:
        """For the state API."""
        for group in self._graph.placement.groups.values():
            known = self._describe_group(group)
            bundles = [
                {
                    "bundle_id": {"placement_group_id": group.id, "bundle_index": index},
                    "unit_resources": resources,
                    "node_id": known["bundles_to_node_id"][index],
                    "label_selector": show_selector(group.selectors[index]),
                }
                for index, resources in known["bundles"].items()
            ]
            yield {
                "placement_group_id": group.id,
                "name": known["name"],
                "creator_job_id": THE_JOB.hex(),
                "state": group.state,
                "bundles": bundles,
                "is_detached": False,
                "stats": known["stats"],
            }

    # -- what can never be ----------------------------------------------------------------------------------------

    def warning(self, demand: Demand, terms: Terms | None) -> str:
        """What the user is told of a demand that no node can ever meet."""
        nodes = self._graph.scheduler.nodes.values()
        missing = []
        for name, amount in demand:
            most = max((node.total.get(name, 0) for node in nodes), default=0)
            if most < amount:
                has = f"has more than {most / RESOURCE_UNIT:g}" if most else "has any"
                missing.append(f"{name}: {amount / RESOURCE_UNIT:g} asked for, no node {has}")
        if not missing and terms is not None and terms.choices:
            missing.append(f"no node has the labels {terms.choices[0]}")
        if not missing:
            missing.append("no node has all of it at once")
        return (
            f"(minray) Warning: No node can fulfill the resource request {amounts(demand)} ({'; '.join(missing)}). "
            "What asks for it waits until one joins."
        )
