"""Nodes and their workers: who holds which resources, who is idle, who starts and who ends.

A worker holds a demand on its node while it has something to run; a blocked one has lent part of it out. What is
started, stopped and ended goes to `out` (see `minray.core.scheduler`, which says what workers run).
"""

from __future__ import annotations

from collections import deque

from minray.core.devices import is_gpu
from minray.core.tasks import Node, Worker, candidates
from minray.core.template import RESOURCE_UNIT, Demand
from minray.core.terms import Terms

#: An idle worker beyond the node's CPUs is stopped after this long.
SURPLUS_SECONDS = 2.0
#: So many workers in a row may be lost before they come up, without a retry or a restart of what they were sent being
#: used.
MAX_STILLBORN = 3
#: So many workers that are gone can still be listed.
REMEMBERED = 1000


class Workforce:
    """The nodes and workers of a run."""

    def __init__(self, out: list[tuple[object, ...]]) -> None:
        self.out = out
        self.nodes: dict[int, Node] = {}
        self.workers: dict[int, Worker] = {}
        self.now = 0.0
        self.last_worker = 0
        self.lost: deque[tuple[Worker, float]] = deque(maxlen=REMEMBERED)  # the latest, and when

    def start(self, node: Node, env: str = "") -> Worker:
        """A new worker, to which messages can be sent at once."""
        self.last_worker += 1
        worker = Worker(self.last_worker, node)
        worker.env = env
        self.workers[worker.id] = worker
        node.starting += 1
        self.out.append(("start", worker))
        return worker

    def up(self, worker: Worker) -> None:
        """It has said hello."""
        worker.up = True
        worker.up_since = self.now
        worker.node.starting -= 1
        worker.node.stillborn = 0

    def warm(self, node: Node, count: int) -> None:
        """Start `count` workers before there is work."""
        for _ in range(count):
            worker = self.start(node)
            worker.idle_since = self.now
            node.idle.append(worker)

    def obtain(self, demand: Demand, terms: Terms | None = None) -> Worker | None:
        """An idle or new worker that holds `demand`, on such terms; None where no node has it free."""
        if terms is None:
            for node in self.nodes.values():
                if node.has_room(demand):
                    worker = node.idle.pop() if node.idle else self.start(node)
                    break
            else:
                return None
        else:
            rooms = self._rooms(demand, terms)
            if not rooms:
                return None
            node = rooms[0]
            if terms.spread and len(rooms) > 1:
                node = min(rooms, key=lambda room: sum(worker.node is room for worker in self.workers.values()))
            idle = node.dressed.get(terms.env) if terms.env else node.idle
            worker = idle.pop() if idle else self.start(node, terms.env)
        node.take(demand)
        worker.held = demand
        if node.devices is not None:
            share = node.devices.choose(demand)
            if share:
                node.devices.take(demand, share)
                worker.gpus = share
        return worker

    def _rooms(self, demand: Demand, terms: Terms) -> list[Node]:
        """The nodes that have `demand` free, on such terms."""
        found = candidates(list(self.nodes.values()), demand, terms.choices)
        return [node for node in found if node.has_room(demand, terms.env)]

    def has_room(self, demand: Demand, terms: Terms | None = None) -> bool:
        if terms is not None:
            return bool(self._rooms(demand, terms))
        return any(node.has_room(demand) for node in self.nodes.values())

    def is_feasible(self, demand: Demand, terms: Terms | None = None) -> bool:
        """Whether some node could ever have `demand`, on such terms."""
        return bool(candidates(list(self.nodes.values()), demand, () if terms is None else terms.choices))

    def warn(self, demand: Demand, terms: Terms | None) -> None:
        """Say so if nobody can ever run this. What waits for a placement group is that group's business."""
        if (terms is None or not terms.group) and not self.is_feasible(demand, terms):
            self.out.append(("infeasible", demand, terms))

    def lose(self, worker: Worker) -> bool:
        """Forget a worker that is gone, and give back what it held. False: that says nothing about what it was sent.

        It says something if the worker had come up, or if too many in a row have not.
        """
        node = worker.node
        del self.workers[worker.id]
        self.lost.append((worker, self.now))
        if not worker.up:
            node.starting -= 1
            node.stillborn += 1
        self._let_go(worker)
        idle = node.dressed.get(worker.env, ()) if worker.env else node.idle
        if worker in idle:
            idle.remove(worker)  # type: ignore[union-attr]
        if worker.lane is not None:
            worker.lane.leased.pop(worker.id, None)
            worker.lane = None
        return worker.up or node.stillborn > MAX_STILLBORN

    @staticmethod
    def _let_go(worker: Worker) -> None:
        """Give back what it holds, part of which it may have lent out already."""
        if worker.lent:
            worker.node.take(worker.lent)
            worker.lent = ()
        if worker.gpus:
            assert worker.node.devices is not None
            worker.node.devices.give(worker.held, worker.gpus)
            worker.gpus = ()
        worker.node.give(worker.held)
        worker.held = ()

    def stop(self, worker: Worker, at_once: bool = False) -> None:
        worker.stopping = True
        self.out.append(("kill" if at_once else "stop", worker))

    def stop_surplus(self) -> None:
        """Stop workers beyond the CPUs that have been idle for long."""
        for node in self.nodes.values():
            while node.idlers() > node.cpus:
                idle = min(filter(None, (node.idle, *node.dressed.values())), key=lambda some: some[0].idle_since)
                if self.now - idle[0].idle_since <= SURPLUS_SECONDS:
                    break
                self.stop(idle.pop(0))

    def surplus(self) -> bool:
        """Whether a tick in a second or two might stop a worker."""
        return any(node.idlers() > node.cpus for node in self.nodes.values())

    def check_nodes(self) -> None:
        """Invariants: resources neither lost nor made."""
        for node in self.nodes.values():
            held: dict[str, int] = dict.fromkeys(node.free, 0)
            for worker in self.workers.values():
                if worker.node is node:
                    for name, amount in worker.held:
                        held[name] += amount
                    for name, amount in worker.lent:
                        held[name] -= amount
            for name, amount in node.free.items():
                assert amount + held[name] + node.reserved.get(name, 0) == node.total.get(name, 0), (node, name, held)
            self._check_devices(node)
            for env, dressed in node.dressed.items():
                assert all(worker.env == env for worker in dressed), node
            assert not any(worker.env for worker in node.idle), node
            for worker in (*node.idle, *(worker for dressed in node.dressed.values() for worker in dressed)):
                assert not worker.sent and worker.lane is None and worker.actor is None, worker
                assert not worker.held and not worker.lent, worker
                assert worker.id in self.workers, worker
            assert node.starting == sum(not worker.up for worker in self.workers.values() if worker.node is node), node

    def _check_devices(self, node: Node) -> None:
        """GPUs are given out as particular ones, none of them twice."""
        if node.devices is None:
            return
        for pool in node.devices.pools.values():
            assert all(0 <= units <= RESOURCE_UNIT for units in pool.values()), node.devices.pools
        for name, pool in node.devices.pools.items():
            assert sum(pool.values()) == node.free[name], (name, node)
        for worker in self.workers.values():
            if worker.node is node:
                asked = max([amount for name, amount in worker.held if is_gpu(name)], default=0)
                assert sum(units for _, units in worker.gpus) == asked, worker
