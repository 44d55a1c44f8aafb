"""Failures of the system: as values (`minray.core.value.fault`), and as the exceptions that a reader gets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minray.core.value import Value
from minray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    ActorUnschedulableError,
    ObjectLostError,
    ObjectReconstructionFailedError,
    OutOfMemoryError,
    RaySystemError,
    RayTaskError,
    RuntimeEnvSetupError,
    StreamingGeneratorReplayInconsistentError,
    TaskCancelledError,
    TaskPlacementGroupRemoved,
    TaskUnschedulableError,
    WorkerCrashedError,
)
from minray.ids import actor_id, id_to_bytes, task_id


def to_exception(name: str, details: tuple[Any, ...], decode: Callable[[Value], Any]) -> BaseException:
    """The exception for the fault `name`; `decode` reads the values among its details."""
    return _MAKERS[name](decode, *details)


def _worker_crashed(_: Any, task: str, cause: str) -> BaseException:
    return WorkerCrashedError(f"Task: {task}. {cause}")


def _cancelled(_: Any, task: int, actor: int, begun: bool = False) -> BaseException:
    name = task_id(task).hex()
    if actor and not begun:
        text = f"The task {name} is canceled from an actor {actor_id(actor).hex()} before it executes."
        return TaskCancelledError(error_message=text)
    return TaskCancelledError(name)


def _out_of_memory(_: Any, task: str, used: int, total: int, threshold: float, pid: int, own: int) -> BaseException:
    return OutOfMemoryError(
        f"Task {task} was ended with its worker (process {pid}, which used {own / 1e9:.2f} GB), because the machine "
        f"runs out of memory: {used / 1e9:.2f} GB of {total / 1e9:.2f} GB are in use ({used / total:.1%}), and the "
        f"threshold is {threshold:.1%}. It was the newest task. Ask for more CPUs or memory per task, so that fewer "
        "run at once; allow retries (max_retries); or set RAY_memory_usage_threshold, or "
        "RAY_memory_monitor_refresh_ms=0 to end none."
    )


#: Why an object cannot be made again (`minray.core.lineage`).
_UNMADE = {
    "put": "It was stored with put(), so no task can be run again to make it. Return it from a task instead.",
    "actor": "It was made by an actor with max_task_retries=0: with more its method could have been called again.",
    "disabled": "The task that made it has max_retries=0: with more it could have been run again.",
    "exhausted": "What made it has been run as often as its max_retries, or max_task_retries, allow.",
    "evicted": "So many calls have run since then that nobody remembers how it was made.",
    "cancelled": "The generator that made it was cancelled.",
    "argument": "What made it cannot be run again, as an argument of it is gone as well.",
}


def _object_lost(_: Any, id: int, why: str = "", culprit: int = 0) -> BaseException:
    name = id_to_bytes(id).hex()
    if not why:
        return ObjectLostError(name)
    because = "" if culprit == id else f" because object {id_to_bytes(culprit).hex()}, which it needs, cannot"
    text = f"Its bytes are gone, and it cannot be made again{because}. {_UNMADE[why]}"
    return ObjectReconstructionFailedError(name, why, text)


def _replay_inconsistent(_: Any, task: int, yielded: int, before: int) -> BaseException:
    return StreamingGeneratorReplayInconsistentError(
        f"Generator {task_id(task).hex()} was run again, as items of it were lost, and has yielded {yielded} items, "
        f"but had yielded {before} or more before. A generator has to yield the same whenever it is run."
    )


def _actor_died(
    decode: Callable[[Value], Any],
    actor: str,
    id: int,
    cause: str,
    pid: int,
    name: str,
    namespace: str,
    site: str,
    error: Value | None,
) -> BaseException:
    hex_id = actor_id(id).hex()
    if error is not None:
        inner = decode(error)
        return ActorDiedError(inner if isinstance(inner, RayTaskError) else f"{cause}: {inner}", hex_id)
    known = {
        "class_name": actor,
        "actor_id": hex_id,
        "pid": pid,
        "name": name,
        "namespace": namespace,
        "created at": site,
    }
    lines = [f"\t{what}: {value}" for what, value in known.items() if value]
    return ActorDiedError("\n".join([*lines, f"The actor is dead because {cause.rstrip('.')}."]), hex_id)


def _actor_unavailable(_: Any, actor: str, id: int, cause: str) -> BaseException:
    return ActorUnavailableError(f"{actor} is being restarted because {cause}", actor_id(id).hex())


def _dependency_failed(decode: Callable[[Value], Any], tasks: tuple[str, ...], value: Value) -> BaseException:
    error = decode(value)
    for task in reversed(tasks):
        if isinstance(error, RayTaskError):
            error = error.for_dependant(task)
        else:
            text = (
                "Traceback (most recent call last):\n"
                "  At least one of the input arguments for this task could not be computed:\n"
                f"{type(error).__module__}.{type(error).__qualname__}: {error}"
            )
            error = RayTaskError(task, text, error)
    failed: BaseException = error
    return failed


def _system(_: Any, text: str) -> BaseException:
    return RaySystemError(text)


_MAKERS: dict[str, Callable[..., BaseException]] = {
    "WorkerCrashed": _worker_crashed,
    "Cancelled": _cancelled,
    "ObjectLost": _object_lost,
    "ReplayInconsistent": _replay_inconsistent,
    "OutOfMemory": _out_of_memory,
    "ActorDied": _actor_died,
    "ActorUnavailable": _actor_unavailable,
    "DependencyFailed": _dependency_failed,
    "RuntimeEnvSetup": lambda _, why: RuntimeEnvSetupError(why),
    "System": _system,
    "TaskPlacementGroupRemoved": lambda _, name: TaskPlacementGroupRemoved(f"Task: {name}."),
    "TaskUnschedulable": lambda _, why: TaskUnschedulableError(why),
    "ActorUnschedulable": lambda _, why: ActorUnschedulableError(why),
}
