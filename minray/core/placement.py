"""Placement groups: resources reserved together, in bundles, for the calls that name them.

The rules:

1. A group gets all of its bundles at once or none; until then it waits, and so do the calls in it. Groups come before
   all actors and tasks, in the order in which they were made; one that finds no room holds up nobody behind it.
2. What bundle 1 of group g has reserved, ``{"CPU": 2}``, is taken from its node and appears there as ``CPU_group_1_g``,
   and, added up over g's bundles, as ``CPU_group_g``. A call in the bundle asks for both names, one in any bundle for
   the latter (`inside`). So the scheduler needs to know nothing of groups. (The names are Ray's.)
3. When a group is removed, what runs or lives in it ends, what waits for it fails, and its nodes have theirs again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from minray.core.tasks import Node, Task, Worker
from minray.core.template import RESOURCE_UNIT, ActorTemplate, Demand, TaskTemplate
from minray.core.terms import Selector, matches
from minray.core.value import Value, fault

if TYPE_CHECKING:
    from minray.core.graph import TaskGraph

PENDING = "PENDING"
CREATED = "CREATED"
REMOVED = "REMOVED"

#: A call takes this much of a bundle's token, so that even one that asks for nothing is bound to its group.
_TOKEN = RESOURCE_UNIT // 1000
_TOKENS = 1000 * RESOURCE_UNIT
#: So often another node is tried for a bundle, because a later one finds none.
MOST_TRIES = 100
#: So many removed groups are remembered, for those who ask what became of them.
REMEMBERED = 1000


def inside(demand: Demand, group: str, bundle: int) -> Demand:
    """What a call asks for that asks for `demand` in a bundle of `group`, or (-1) in any of them."""
    return tuple(sorted(_renamed((*demand, ("bundle", _TOKEN)), group, bundle)))


def outside(demand: Demand, group: str) -> Demand:
    """The way back from `inside`."""
    end = f"_group_{group}"
    return tuple(
        [(name[: -len(end)], amount) for name, amount in demand if name.endswith(end) and name != f"bundle{end}"]
    )


def _renamed(demand: Demand, group: str, bundle: int) -> Iterator[tuple[str, int]]:
    for name, amount in demand:
        yield f"{name}_group_{group}", amount
        if bundle >= 0:
            yield f"{name}_group_{bundle}_{group}", amount


class Group:
    """One placement group. `nodes` has the node of each bundle while it is CREATED."""

    __slots__ = ("attempts", "bundles", "id", "name_key", "nodes", "selectors", "state", "strategy", "target")

    def __init__(
        self,
        id: str,
        bundles: tuple[Demand, ...],
        strategy: str,
        name_key: tuple[str, str] | None = None,
        selectors: tuple[Selector, ...] = (),
        target: Selector = (),
    ) -> None:
        """`strategy` is PACK, SPREAD, STRICT_PACK or STRICT_SPREAD. `selectors`: of the nodes for each bundle.
        `target`: a node to be preferred."""
        self.id = id
        self.bundles = bundles
        self.strategy = strategy
        self.name_key = name_key
        self.selectors: tuple[Selector, ...] = selectors or ((),) * len(bundles)
        self.target = target
        self.state = PENDING
        self.attempts = 0
        self.nodes: list[Node] = []

    def __repr__(self) -> str:
        return f"<Group {self.id} {self.strategy} {self.state} {list(self.bundles)}>"


def assign(group: Group, nodes: Sequence[Node], fits: Callable[[Node, list[Demand]], bool]) -> list[Node] | None:
    """A node for each bundle, or None. ``fits(node, bundles)``: a node can take all these bundles together.

    Where bundles differ, and nodes do, the first choices may lead nowhere: up to `MOST_TRIES` others are tried.
    """
    if group.target:
        nodes = sorted(nodes, key=lambda node: not matches(node.labels, group.target))
    if group.strategy in ("STRICT_PACK", "PACK"):
        for node in nodes:
            if all(matches(node.labels, selector) for selector in group.selectors) and fits(node, list(group.bundles)):
                return [node] * len(group.bundles)
        if group.strategy == "STRICT_PACK":
            return None
    given: dict[int, list[Demand]] = {node.id: [] for node in nodes}
    found: list[Node] = []
    left: list[Iterator[Node]] = []  # the nodes still to be tried, for each bundle so far
    tries = 0
    while len(found) < len(group.bundles):
        bundle, selector = group.bundles[len(found)], group.selectors[len(found)]
        if len(left) == len(found):
            left.append(_in_order(group.strategy, nodes, given))
        for node in left[-1]:
            if matches(node.labels, selector) and fits(node, [*given[node.id], bundle]):
                given[node.id].append(bundle)
                found.append(node)
                break
        else:
            left.pop()
            tries += 1
            if not found or tries > MOST_TRIES:
                return None
            given[found.pop().id].pop()
    return found


def _in_order(strategy: str, nodes: Sequence[Node], given: dict[int, list[Demand]]) -> Iterator[Node]:
    """The nodes for a bundle, the best first; `given`: the bundles that each has by now."""
    if strategy == "STRICT_SPREAD":
        return iter([node for node in nodes if not given[node.id]])
    if strategy == "PACK":
        return iter(sorted(nodes, key=lambda node: not given[node.id]))
    return iter(sorted(nodes, key=lambda node: len(given[node.id])))


class PlacementTable:
    """The placement groups of a run, and the names by which they can be found."""

    def __init__(self, graph: TaskGraph) -> None:
        self._graph = graph
        self.groups: dict[str, Group] = {}
        self.names: dict[tuple[str, str], Group] = {}
        self.pending: dict[str, Group] = {}
        self._removed: list[str] = []

    # -- life -----------------------------------------------------------------------------------------------------

    def created(self, group: Group) -> None:
        """A group was asked for. ValueError: its name is taken."""
        if group.name_key is not None and group.name_key[1]:
            if group.name_key in self.names:
                raise ValueError(
                    f"Failed to create placement group '{group.id}' because name '{group.name_key[1]}' already exists."
                )
            self.names[group.name_key] = group
        self.groups[group.id] = group
        self.pending[group.id] = group
        self._place(group)
        if group.state == PENDING and not self.is_feasible(group):
            for bundle in group.bundles:
                self._graph.scheduler.warn(bundle, None)

    def is_feasible(self, group: Group) -> bool:
        """Whether it could ever be placed, if nobody else held anything."""
        return assign(group, list(self._graph.scheduler.nodes.values()), _could_hold) is not None

    def place_waiting(self) -> None:
        """Resources came free."""
        for group in list(self.pending.values()):
            self._place(group)

    def _place(self, group: Group) -> None:
        group.attempts += 1
        nodes = assign(group, list(self._graph.scheduler.nodes.values()), _has_free)
        if nodes is not None:
            del self.pending[group.id]
            group.state = CREATED
            group.nodes = nodes
            for index, (bundle, node) in enumerate(zip(group.bundles, nodes)):
                _reserve(node, bundle, group.id, index)

    def removed(self, id: str) -> None:
        """A group is to go, and everything in it."""
        group = self.groups.get(id)
        if group is None or group.state == REMOVED:
            return
        was, group.state = group.state, REMOVED
        if group.name_key is not None and self.names.get(group.name_key) is group:
            del self.names[group.name_key]
        self.pending.pop(id, None)
        self._end_calls(group)
        if was == CREATED:
            for index, (bundle, node) in enumerate(zip(group.bundles, group.nodes)):
                _release(node, bundle, id, index)
        self._removed.append(id)
        if len(self._removed) > REMEMBERED:
            del self.groups[self._removed.pop(0)]
        self._graph._free_resources()

    def _end_calls(self, group: Group) -> None:
        graph = self._graph
        reason = "its placement group was removed"
        lost: list[tuple[Task, Value]] = []
        for lane in list(graph.scheduler.lanes.values()):
            if lane.terms is None or lane.terms.group != group.id:
                continue
            lost += [(task, task_refused(task.name)) for task in lane.clear()]
            graph.scheduler.dispatch(lane)  # nobody waits in it any more
            for worker in list(lane.leased.values()):
                sent, worker.sent = list(worker.sent.values()), {}
                for index, task in enumerate(sent):
                    # As in Ray: what cannot be run again has crashed, the rest finds no place any more.
                    crashed = not index and not task.retries
                    error = fault("WorkerCrashed", task.name, reason) if crashed else task_refused(task.name)
                    lost.append((task, error))
                graph.actors.give_up(worker, at_once=True)
        graph.actors.group_removed(group.id, reason)
        for task, error in lost:
            graph.fail(task, error)

    # -- calls ----------------------------------------------------------------------------------------------------

    def refusal(self, template: TaskTemplate | ActorTemplate, actor: int | None = None) -> Value | None:
        """Why a call can never run where it wants to, or None. `actor`: it is the creation of this one."""
        terms = template.terms
        if terms is None:
            return None
        if terms.group:
            group = self.groups.get(terms.group)
            if group is None or group.state == REMOVED:
                return (
                    task_refused(template.name) if actor is None else actor_refused(template.name, actor, terms.group)
                )
        if terms.fails and not self._graph.scheduler.is_feasible(template.demand, terms):
            why = (
                "The node specified via NodeAffinitySchedulingStrategy doesn't exist any more or is infeasible, and "
                "soft=False was specified."
            )
            if actor is None:
                return fault("TaskUnschedulable", f"{why} name={template.name}")
            return fault("ActorUnschedulable", why)
        return None

    def check(self) -> None:
        """Invariants: what is reserved is what groups have, and a group that waits finds no room."""
        expected: dict[tuple[int, str], int] = {}
        for group in self.groups.values():
            assert (group.state == PENDING) == (group.id in self.pending), group
            assert len(group.nodes) == len(group.bundles) or group.state != CREATED, group
            if group.state == CREATED:
                for bundle, node in zip(group.bundles, group.nodes):
                    for name, amount in bundle:
                        expected[node.id, name] = expected.get((node.id, name), 0) + amount
            if group.state == PENDING:
                nodes = list(self._graph.scheduler.nodes.values())
                assert assign(group, nodes, _has_free) is None, f"{group} waits for nothing"
        for node in self._graph.scheduler.nodes.values():
            assert node.reserved == {name: amount for (id, name), amount in expected.items() if id == node.id}
            living = {group.id for group in self.groups.values() if group.state == CREATED}
            assert {name.rpartition("_")[2] for name in node.total if "_group_" in name} <= living, node
        assert all(group.state != REMOVED for group in self.names.values())


def task_refused(name: str) -> Value:
    """The fault of a task whose group is gone."""
    return fault("TaskPlacementGroupRemoved", name)


def actor_refused(name: str, id: int, group: str) -> Value:
    """The fault of an actor whose group is gone before it was created."""
    return fault(
        "ActorUnschedulable",
        "Could not create the actor because its associated placement group was removed.\n"
        f"Required placement group {group} is removed.",
    )


# --- Bundles on nodes --------------------------------------------------------------------------------------------


def _sum(bundles: list[Demand]) -> dict[str, int]:
    if len(bundles) == 1:
        return dict(bundles[0])
    total: dict[str, int] = {}
    for bundle in bundles:
        for name, amount in bundle:
            total[name] = total.get(name, 0) + amount
    return total


def _could_hold(node: Node, bundles: list[Demand]) -> bool:
    return node.could_hold(tuple(_sum(bundles).items()))


def _has_free(node: Node, bundles: list[Demand]) -> bool:
    free = node.free
    for name, amount in _sum(bundles).items():
        if free.get(name, 0) < amount:
            return False
    if node.devices is None:
        return True
    taken = []
    fits = True
    for bundle in bundles:  # their sum says nothing about which devices are whole
        share = node.devices.choose(bundle)
        if share is None:
            fits = False
            break
        node.devices.take(bundle, share)
        taken.append((bundle, share))
    for bundle, share in taken:
        node.devices.give(bundle, share)
    return fits


def _reserve(node: Node, bundle: Demand, group: str, index: int) -> None:
    node.take(bundle)
    for name, amount in bundle:
        node.reserved[name] = node.reserved.get(name, 0) + amount
    for name, amount in _renamed((*bundle, ("bundle", _TOKENS)), group, index):
        node.total[name] = node.total.get(name, 0) + amount
        node.free[name] = node.free.get(name, 0) + amount
    share = node.devices.choose(bundle) if node.devices is not None else None
    if share:
        assert node.devices is not None
        node.devices.take(bundle, share)
        node.devices.add(f"GPU_group_{group}", share)
        node.devices.add(f"GPU_group_{index}_{group}", share)


def _release(node: Node, bundle: Demand, group: str, index: int) -> None:
    """Give a bundle back. Nobody holds anything of it any more."""
    if node.devices is not None:
        share = tuple([part for part in node.devices.pools.get(f"GPU_group_{index}_{group}", {}).items() if part[1]])
        if share:
            node.devices.give(bundle, share)
        node.devices.remove(f"GPU_group_{index}_{group}")
        node.devices.remove(f"GPU_group_{group}")
    for name, amount in bundle:
        node.reserved[name] -= amount
        if not node.reserved[name]:
            del node.reserved[name]
    for name, _ in _renamed((*bundle, ("bundle", _TOKENS)), group, index):
        node.total.pop(name, None)
        node.free.pop(name, None)
    node.give(bundle)


def asked(template: TaskTemplate | ActorTemplate) -> Demand:
    """What a call asks for, in the names that its options have it under."""
    terms = template.terms
    return template.demand if terms is None or not terms.group else outside(template.demand, terms.group)


def held_by(worker: Worker) -> Demand:
    """What a worker holds, in the names that its call or actor was given it under."""
    what = worker.actor.template if worker.actor is not None else worker.lane
    terms = what.terms if what is not None else None
    return worker.held if terms is None or not terms.group else outside(worker.held, terms.group)
