"""What the owner tells about the run, and about who asks: the answers to the questions of `minray.runtime_context`,
`minray.util.named` and `minray.experimental.internal_kv`.

All answers are plain values, and are given under the runtime's lock.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from minray.code import pack_for_handles
from minray.core.graph import TaskGraph
from minray.core.placement import held_by
from minray.core.tasks import Worker
from minray.core.template import RESOURCE_UNIT, Demand
from minray.ids import THE_JOB, actor_id

#: A node's or worker's id: so many bytes that are the run's own, and then its number.
TOKEN_BYTES = 24
_NUMBER = 4
_DRIVER = THE_JOB.hex() + "ff" * 24


class About:
    """The names of a run's parts, and what is known of its workers and actors."""

    def __init__(self, graph: TaskGraph, namespace: str, token: bytes) -> None:
        """`token`: what the ids of nodes and workers begin with, as no other run's do."""
        self._graph = graph
        self.namespace = namespace
        self._kept: dict[tuple[bytes, bytes], bytes] = {}  # (namespace, key) -> value
        self._token = token
        micros = time.time_ns() // 1000 % 10**6
        self.session_name = f"session_{time.strftime('%Y-%m-%d_%H-%M-%S')}_{micros:06}_{os.getpid()}"
        self.questions: dict[str, Callable[..., Any]] = {
            "context": self._context,
            "held": lambda worker: amounts(held_by(worker)) if worker is not None else {},
            "actor": self._actor,
            "named_actors": self._named_actors,
            "kv_get": lambda _, space, key: self._kept.get((space, key)),
            "kv_put": self._keep,
            "kv_del": self._forget,
            "kv_list": lambda _, space, prefix: self._keys(space, prefix),
            "bar": _show_bar,
        }

    def node(self, number: int) -> str:
        """A node's id in 56 hexadecimal digits."""
        return (self._token + number.to_bytes(_NUMBER, "big")).hex()

    def worker(self, number: int) -> str:
        """A worker's id in 56 hexadecimal digits; the driver has number 0."""
        return (self._token[::-1] + number.to_bytes(_NUMBER, "big")).hex() if number else _DRIVER

    def _context(self, worker: Worker | None) -> dict[str, str]:
        import tempfile  # here, as all that takes milliseconds to import and that a run may do without

        try:
            temporary = tempfile.gettempdir()
        except FileNotFoundError:  # none can be written
            temporary = "/tmp"
        node = worker.node.id if worker is not None else next(iter(self._graph.scheduler.nodes))
        return {
            "namespace": self.namespace,
            "node_id": self.node(node),
            "worker_id": self.worker(worker.id if worker is not None else 0),
            "session_name": self.session_name,
            "temp_dir": temporary,
        }

    def _actor(self, worker: Worker | None, id: int) -> tuple[str, int, bytes]:
        """An actor's name, how often it was restarted, and as much of its template as a handle needs."""
        actor = self._graph.actors.actors.get(id)
        if actor is None:
            raise ValueError(f"There is no actor {actor_id(id).hex()} in this run.")
        return actor.template.registered_name or "", actor.restarted, pack_for_handles(actor.template)

    def _named_actors(self, worker: Worker | None, all_namespaces: bool) -> list[tuple[str, str]]:
        """Namespace and name of all actors that can be looked up."""
        return [key for key in self._graph.actors.names if all_namespaces or key[0] == self.namespace]

    # -- minray.experimental.internal_kv --------------------------------------------------------------------------

    def _keep(self, worker: Worker | None, space: bytes, key: bytes, value: bytes, overwrite: bool) -> bool:
        known = (space, key) in self._kept
        if overwrite or not known:
            self._kept[space, key] = value
        return known

    def _forget(self, worker: Worker | None, space: bytes, key: bytes, by_prefix: bool) -> int:
        gone = self._keys(space, key) if by_prefix else [key] if (space, key) in self._kept else []
        for one in gone:
            del self._kept[space, one]
        return len(gone)

    def _keys(self, space: bytes, prefix: bytes) -> list[bytes]:
        return [key for where, key in self._kept if where == space and key.startswith(prefix)]


def amounts(demand: Demand) -> dict[str, float]:
    """A demand in the numbers that users know."""
    return {name: amount / RESOURCE_UNIT for name, amount in demand}


def _show_bar(_worker: Worker | None, *state: Any) -> None:
    from minray.experimental.tqdm_ray import show  # imported in the driver by the first bar of a task

    show(*state)
