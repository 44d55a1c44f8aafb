"""What there is in a run, for the state API: one row for each task, actor, object, worker and node.

A row is a dict of plain values under the names of Ray's columns (`minray.util.state.common`), made from the graph when
somebody asks. Of what has ended the graph keeps the latest; nothing else is recorded for this.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from minray.about import About, amounts
from minray.core.graph import TaskGraph
from minray.core.objects import HANDLE
from minray.core.placement import asked
from minray.core.tasks import READY, WAITING, Actor, Task, Worker
from minray.core.value import BUFFERED, ERROR, FAULT, PICKLED, SPILLED, STORED, Value, is_bytes
from minray.ids import THE_JOB, TaskID, actor_id, creation_id, id_to_bytes, task_id

Row = dict[str, Any]

_DRIVER_TASK = "ff" * 20 + THE_JOB.hex()
_STATES = {WAITING: "PENDING_ARGS_AVAIL", READY: "PENDING_NODE_ASSIGNMENT"}
#: Ray's words for faults (`minray.wire.faults`).
_ERROR_TYPES = {
    "ActorDied": "ACTOR_DIED",
    "ActorUnavailable": "ACTOR_UNAVAILABLE",
    "Cancelled": "TASK_CANCELLED",
    "ObjectLost": "OBJECT_LOST",
    "OutOfMemory": "OUT_OF_MEMORY",
    "WorkerCrashed": "WORKER_DIED",
}


class Listing:
    """Makes rows. Under the runtime's lock."""

    def __init__(self, graph: TaskGraph, about: About, size: Callable[[Any], int]) -> None:
        """`size` says how many bytes a stored value takes, from its location."""
        self._graph = graph
        self._about = about
        self._size = size
        self._address = "127.0.0.1"
        self._began = time.time()
        self._epoch = time.time() - time.perf_counter()  # what to add to the graph's time
        self.rows: dict[str, Callable[[], Iterator[Row]]] = {
            "actors": self._actors,
            "jobs": self._jobs,
            "nodes": self._nodes,
            "objects": self._objects,
            "placement_groups": lambda: iter(()),
            "runtime_envs": lambda: iter(()),
            "tasks": self._tasks,
            "workers": self._workers,
        }

    def answer(self, worker: Worker | None, kind: str, detail: bool) -> list[Row]:
        """All rows of one kind; errors only in `detail`, as values (``"_error"``) for who asks to decode.

        KeyError: there is no such kind.
        """
        rows = list(self.rows[kind]())
        if not detail:
            for row in rows:
                row.pop("_error", None)
        return rows

    def _ms(self, when: float) -> int:
        return int((when + self._epoch) * 1000)

    # -- tasks ----------------------------------------------------------------------------------------------------

    def _tasks(self) -> Iterator[Row]:
        for actor, lives in self._all_actors():
            yield self._creation(actor, lives)
        attempts: Counter[int] = Counter()
        for task, worker, error, seconds, when in self._graph.history or ():
            row = self._task(task, worker, attempts[task.id])
            attempts[task.id] += 1
            row["state"] = "FINISHED" if error is None else "FAILED"
            if error is not None:
                row |= {"error_type": _error_type(error), "_error": error}
            self._note_times(row, when, seconds, worker is not None)
            row["_at_once"] = task.actor is not None and _at_once(task.actor) > 1
            row["_function"] = _function(task)
            yield row
        running = {id for worker in self._graph.scheduler.workers.values() for id in _running(worker)}
        for task in self._graph.tasks.values():
            row = self._task(task, task.worker, attempts[task.id])
            row["state"] = "RUNNING" if task.id in running else _STATES.get(task.state, "SUBMITTED_TO_WORKER")
            if row["state"] == "RUNNING" and task.actor is None and task.worker is not None:
                row["start_time_ms"] = self._ms(task.worker.running_since)
            yield row

    def _note_times(self, row: Row, when: float, seconds: float, ran: bool = True) -> None:
        row["end_time_ms"] = self._ms(when)
        if ran:
            row["start_time_ms"] = self._ms(when - seconds)
        row["_span"] = (when - seconds + self._epoch, when + self._epoch)
        row["_address"] = self._address

    def _task(self, task: Task, worker: Worker | None, attempt: int) -> Row:
        row: Row = {
            **self._place(worker),
            "task_id": task_id(task.id).hex(),
            "attempt_number": attempt,
            "name": task.name,
            "parent_task_id": _parent(task),
        }
        if task.actor is not None and task.method is not None:
            template = task.actor.template
            row |= {"type": "ACTOR_TASK", "actor_id": actor_id(task.actor.id).hex()}
            row |= {"func_or_class_name": f"{template.name}.{task.method.method}"}
            row |= {"required_resources": amounts(asked(template))}
        elif task.template is not None:
            row |= {"type": "NORMAL_TASK", "func_or_class_name": task.template.code.name.rpartition(".")[2]}
            row |= {"required_resources": amounts(asked(task.template))}
        else:  # a call of an actor that was forgotten before
            row |= {"type": "ACTOR_TASK", "func_or_class_name": task.name}
        return row

    def _creation(self, actor: Actor, worker: Worker | None) -> Row:
        function = f"{actor.template.name}.__init__"
        row: Row = {
            **self._place(worker),
            "task_id": creation_id(actor.id).hex(),
            "attempt_number": 0,
            "name": f"{actor.name_key[1]}:{function}" if actor.name_key else function,
            "state": _creation_state(actor, worker),
            "actor_id": actor_id(actor.id).hex(),
            "type": "ACTOR_CREATION_TASK",
            "func_or_class_name": function,
            "parent_task_id": _DRIVER_TASK,
            "required_resources": amounts(asked(actor.template)),
        }
        if actor.creation is not None:
            self._note_times(row, *actor.creation)
            row |= {"_at_once": False, "_function": "__init__"}
        if row["state"] == "FAILED" and actor.death is not None:
            _, details = actor.death[1]
            row |= {"error_type": _error_type(details[-1] or actor.death), "_error": actor.death}  # of its __init__
        return row

    def _place(self, worker: Worker | None) -> Row:
        found: Row = {"job_id": THE_JOB.hex(), "language": "PYTHON"}
        if worker is not None:
            found["worker_id"] = self._about.worker(worker.id)
            found["node_id"] = self._about.node(worker.node.id)
            found["worker_pid"] = worker.pid
        return found

    # -- actors ---------------------------------------------------------------------------------------------------

    def _all_actors(self) -> Iterator[tuple[Actor, Worker | None]]:
        table = self._graph.actors
        yield from table.dead
        for actor in table.actors.values():
            if actor.death is None:
                yield actor, actor.worker

    def _actors(self) -> Iterator[Row]:
        unplaced = {actor.id for waiting in self._graph.actors.unplaced.values() for actor in waiting}
        for actor, worker in self._all_actors():
            template = actor.template
            if actor.death is not None:
                state = "DEAD"
            elif actor.created:
                state = "ALIVE"
            elif actor.restarted:
                state = "RESTARTING"
            else:
                state = "PENDING_CREATION" if worker is not None or actor.id in unplaced else "DEPENDENCIES_UNREADY"
            row: Row = {
                "actor_id": actor_id(actor.id).hex(),
                "class_name": template.name,
                "state": state,
                "job_id": THE_JOB.hex(),
                "name": template.registered_name or "",
                "node_id": None if worker is None else self._about.node(worker.node.id),
                "pid": 0 if worker is None else worker.pid,
                "ray_namespace": template.namespace or self._about.namespace,
                "serialized_runtime_env": "{}",
                "required_resources": amounts(asked(template)),
                "is_detached": template.lifetime == "detached",
                "repr_name": actor.shown,
                "num_restarts": actor.restarted,
                "num_restarts_due_to_lineage_reconstruction": actor.revived,
                "num_restarts_due_to_node_preemption": 0,
            }
            if actor.death is not None:
                row["_error"] = actor.death
                row["death_cause"] = {
                    "actor_died_error_context": {
                        "class_name": template.name,
                        "actor_id": row["actor_id"],
                        "name": row["name"],
                        "ray_namespace": row["ray_namespace"],
                        "pid": row["pid"],
                        "never_started": worker is None,
                    }
                }
            yield row

    # -- the rest -------------------------------------------------------------------------------------------------

    def _objects(self) -> Iterator[Row]:
        tasks = {id: task for task in self._graph.tasks.values() for id in task.returns}
        running = {id for worker in self._graph.scheduler.workers.values() for id in _running(worker)}
        for id, entry in self._graph.objects.entries.items():
            if is_bytes(id):
                continue  # the bytes of another
            handle = entry.value is HANDLE
            task = tasks.get(id)
            if handle:
                status = "NIL"
            elif task is None:
                status = "FINISHED"
            else:
                status = "RUNNING" if task.id in running else _STATES.get(task.state, "SUBMITTED_TO_WORKER")
            shown = creation_id(id).binary() + b"\x01\0\0\0" if handle else id_to_bytes(id)
            yield {
                "object_id": shown.hex(),
                "object_size": -1 if entry.value is None or handle else self._size_of(entry.value),
                "task_status": status,
                "attempt_number": 1,
                "reference_type": "ACTOR_HANDLE" if handle else "LOCAL_REFERENCE",
                "call_site": "disabled",
                "type": "DRIVER",
                "pid": os.getpid(),
                "ip": self._address,
            }

    def _workers(self) -> Iterator[Row]:
        scheduler = self._graph.scheduler
        yield {
            "worker_id": self._about.worker(0),
            "is_alive": True,
            "worker_type": "DRIVER",
            "node_id": self._about.node(next(iter(scheduler.nodes))),
            "ip": self._address,
            "pid": os.getpid(),
            "start_time_ms": int(self._began * 1000),
            "end_time_ms": 0,
        }
        for worker, end in [*scheduler.lost, *((worker, None) for worker in scheduler.workers.values())]:
            if not worker.up:
                continue
            row: Row = {
                "worker_id": self._about.worker(worker.id),
                "is_alive": end is None,
                "worker_type": "WORKER",
                "node_id": self._about.node(worker.node.id),
                "ip": self._address,
                "pid": worker.pid,
                "start_time_ms": self._ms(worker.up_since),
                "end_time_ms": 0 if end is None else self._ms(end),
            }
            if end is not None:
                row["exit_type"] = "INTENDED_SYSTEM_EXIT" if worker.stopping else "SYSTEM_ERROR"
            yield row

    def _nodes(self) -> Iterator[Row]:
        for node in self._graph.scheduler.nodes.values():
            id = self._about.node(node.id)
            yield {
                "node_id": id,
                "node_ip": self._address,
                "is_head_node": node.id == next(iter(self._graph.scheduler.nodes)),
                "state": "ALIVE",
                "node_name": self._address,
                "resources_total": amounts(tuple([(name, node.total[name]) for name in node.offers])),
                "labels": dict(node.labels),
                "start_time_ms": int(self._began * 1000),
                "end_time_ms": 0,
            }

    def _jobs(self) -> Iterator[Row]:
        yield {
            "type": "DRIVER",
            "job_id": THE_JOB.hex(),
            "driver_info": {"id": THE_JOB.hex(), "node_ip_address": self._address, "pid": str(os.getpid())},
            "status": "RUNNING",
            "entrypoint": " ".join([sys.executable, *sys.argv]),
            "start_time": int(self._began * 1000),
            "driver_node_id": self._about.node(next(iter(self._graph.scheduler.nodes))),
        }

    def _size_of(self, value: Value) -> int:
        """How many bytes a value takes, as far as it is in bytes."""
        kind, data, _ = value
        if kind in (PICKLED, ERROR):
            return len(data)
        if kind == BUFFERED:
            return len(data[0]) + sum(len(buffer) for buffer in data[1])
        if kind in (STORED, SPILLED):
            return self._size(data)
        return 0 if kind == FAULT else sys.getsizeof(data)


def _running(worker: Worker) -> list[int]:
    """The tasks that a worker runs: the first of those that it was sent, of some actors the first few."""
    if not worker.up:
        return []
    if worker.actor is None:
        return list(worker.sent)[:1]
    return list(worker.sent)[: _at_once(worker.actor)] if worker.actor.created else []


def _at_once(actor: Actor) -> int:
    """How many calls an actor runs at once, at most."""
    return sum((actor.template.extra or {}).get("limits", {"": 1}).values())


def _function(task: Task) -> str:
    """What a trace calls a task: its function, with the module, or its method."""
    if task.template is not None:
        return _short(task.template.code.name)
    return task.method.method if task.method is not None else task.name


def _short(name: str) -> str:
    """``"module.f"`` of what was defined in another function, ``"module.outer.<locals>.f"``."""
    outer, inside, inner = name.rpartition(".<locals>.")
    return f"{outer.split('.<locals>.')[0].rpartition('.')[0]}.{inner}" if inside else name


def _creation_state(actor: Actor, worker: Worker | None) -> str:
    if actor.created or actor.restarted:
        return "FINISHED"
    if actor.death is not None:
        return "FAILED"
    return "PENDING_NODE_ASSIGNMENT" if worker is None else "RUNNING"


def _error_type(error: Value) -> str:
    """Ray's word for the kind of an error."""
    default = "TASK_EXECUTION_EXCEPTION"
    return _ERROR_TYPES.get(error[1][0], default) if error[0] == FAULT else default


def _parent(task: Task) -> str:
    """The call that made it. Nil: a thread that some call has started did."""
    if not task.caller:
        return _DRIVER_TASK
    return (task_id(task.parent) if task.parent else TaskID.nil()).hex()
