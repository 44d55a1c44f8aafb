"""The functions of the state API: `list_*` with filters, `get_*` by id, `summarize_*`.

They show what the owner knows at the moment of the call. Tasks that have ended are remembered up to a number (10,000;
the environment variable MINRAY_TASK_HISTORY), dead actors and workers up to 1,000.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from minray.session import Session, current
from minray.util.state.common import (
    ActorState,
    DriverInfo,
    JobState,
    NodeState,
    ObjectState,
    PlacementGroupState,
    RuntimeEnvState,
    StateSchema,
    TaskState,
    WorkerState,
)
from minray.util.state.exception import RayStateApiException

Row = TypeVar("Row", bound=StateSchema)
#: ``[(column, "=" or "!=", value), ...]``: a row must meet all of them. Case does not matter.
Filters = list[tuple[str, str, Any]]

DEFAULT_LIMIT = 100
DEFAULT_TIMEOUT = 30
_MAX_LIMIT = 10_000


# --- asking ------------------------------------------------------------------------------------------------------


def _session(address: str | None, timeout: float) -> Session:
    if address not in (None, "auto"):
        raise NotImplementedError(f"minray shows the state of its own run only, not of one at address={address!r}.")
    if isinstance(timeout, bool) or int(timeout) != timeout:
        raise ValueError(f"timeout must be a whole number of seconds, got: {timeout!r}.")
    session = current()
    if session is None:
        raise ConnectionError("Could not find any running Ray instance. Call minray.init() first.")
    return session


def _rows(kind: str, schema: type[Row], detail: bool, address: str | None, timeout: float) -> Iterator[Row]:
    shown = schema.detail_columns() if detail else schema.base_columns()
    for told in _session(address, timeout).ask("rows", kind, detail):
        if "_error" in told:
            _tell_error(told)
        yield schema(**{name: value for name, value in told.items() if name in shown})


def _tell_error(told: dict[str, Any]) -> None:
    """Read the error that came along as a value."""
    from minray.wire.values import decode

    try:
        text = str(decode(told.pop("_error"), 0, None))
    except Exception as error:  # the user's exceptions may unpickle as they like
        text = f"(the error cannot be shown here: {type(error).__name__}: {error})"
    if "death_cause" in told:
        told["death_cause"]["actor_died_error_context"]["error_message"] = text
    else:
        told["error_message"] = text


def _list(
    kind: str,
    schema: type[Row],
    address: str | None,
    filters: Filters | None,
    limit: int,
    timeout: float,
    detail: bool,
) -> list[Row]:
    keep = [_condition(schema, one) for one in _checked(filters)]
    if limit > _MAX_LIMIT or limit < 0:
        raise RayStateApiException(
            f"Given limit {limit} exceeds the supported limit {_MAX_LIMIT}. Use a limit from 0 to {_MAX_LIMIT}."
        )
    # Filters may name columns that are not shown.
    found: list[Row] = []
    for row in _rows(kind, schema, True, address, timeout):
        if len(found) >= limit:
            break
        if all(condition(row) for condition in keep):
            found.append(row)
    if not detail:
        for name in schema.columns() - schema.base_columns():
            for row in found:
                row[name] = None
    return found


def _checked(filters: Any) -> Filters:
    if filters is None:
        return []
    if not isinstance(filters, (list, tuple)):
        raise ValueError(f"filters must be a list of (column, predicate, value), got: {filters!r}.")
    for one in filters:
        if not isinstance(one, (list, tuple)) or len(one) != 3:
            raise ValueError(f"A filter must be (column, predicate, value), got: {one!r}.")
        if one[1] not in ("=", "!="):
            raise ValueError(f"Unsupported filter predicate {one[1]} is given. Available predicates: =, !=.")
    checked: Filters = list(filters)
    _warn_of_contradictions(checked)
    return checked


def _warn_of_contradictions(filters: Filters) -> None:
    wanted: dict[str, Any] = {}
    for name, predicate, value in filters:
        if predicate == "=" and wanted.setdefault(name, value) != value:
            warnings.warn(
                f"There are multiple '=' filters with the same key '{name}' but different values '{wanted[name]}' & "
                f"'{value}'. Empty result set will be returned",
                UserWarning,
                stacklevel=5,
            )


def _condition(schema: type[Row], chosen: tuple[str, str, Any]) -> Callable[[Row], bool]:
    name, predicate, wanted = chosen
    if name not in schema.filterable_columns():
        raise RayStateApiException(
            f"The given filter column {name} is not supported. Supported filter columns: "
            f"{sorted(schema.filterable_columns())}"
        )
    text = str(wanted).lower()
    if text in ("0", "1") and name.startswith("is_"):
        text = str(text == "1").lower()
    equal = predicate == "="

    def holds(row: Row) -> bool:
        return (str(row[name]).lower() == text) is equal

    return holds


# --- lists -------------------------------------------------------------------------------------------------------


def list_actors(
    address: str | None = None,
    filters: Filters | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: int = DEFAULT_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[ActorState]:
    """Actors, living and dead.

    Args:
        address: Of another run: not supported. None and "auto" are this one.
        filters: ``[(column, "=" or "!=", value), ...]``: a row must meet all of them.
        limit: How many rows at most, up to 10,000.
        timeout: Whole seconds. The owner answers at once, so it is only checked.
        detail: Fill the columns that are None otherwise.
        raise_on_missing_output: No output is ever missing.
        _explain: There is nothing to explain.

    Raises:
        RayStateApiException: A column that cannot be filtered by, a limit out of range.
        ValueError: A filter or time-out of the wrong form. ConnectionError: there is no run.
    """
    return _list("actors", ActorState, address, filters, limit, timeout, detail)


def list_tasks(
    address: str | None = None,
    filters: Filters | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: int = DEFAULT_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[TaskState]:
    """Tries at tasks: those that have ended (the latest 10,000), then those to come. Otherwise as `list_actors`."""
    return _list("tasks", TaskState, address, filters, limit, timeout, detail)


def list_objects(
    address: str | None = None,
    filters: Filters | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: int = DEFAULT_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[ObjectState]:
    """Objects that somebody refers to, and actors' handles. Otherwise as `list_actors`."""
    return _list("objects", ObjectState, address, filters, limit, timeout, detail)


def list_nodes(
    address: str | None = None,
    filters: Filters | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: int = DEFAULT_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[NodeState]:
    """Nodes. Otherwise as `list_actors`."""
    return _list("nodes", NodeState, address, filters, limit, timeout, detail)


def list_workers(
    address: str | None = None,
    filters: Filters | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: int = DEFAULT_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[WorkerState]:
    """The driver and the workers, living and dead. Otherwise as `list_actors`."""
    return _list("workers", WorkerState, address, filters, limit, timeout, detail)


def list_jobs(
    address: str | None = None,
    filters: Filters | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: int = DEFAULT_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[JobState]:
    """The one job of this run. Otherwise as `list_actors`."""
    found = _list("jobs", JobState, address, filters, limit, timeout, detail)
    for job in found:
        job.driver_info = DriverInfo(**job["driver_info"])
    return found


def list_placement_groups(
    address: str | None = None,
    filters: Filters | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: int = DEFAULT_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[PlacementGroupState]:
    """Placement groups. Otherwise as `list_actors`."""
    return _list("placement_groups", PlacementGroupState, address, filters, limit, timeout, detail)


def list_runtime_envs(
    address: str | None = None,
    filters: Filters | None = None,
    limit: int = DEFAULT_LIMIT,
    timeout: int = DEFAULT_TIMEOUT,
    detail: bool = False,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> list[RuntimeEnvState]:
    """Runtime environments that were made on a node. Otherwise as `list_actors`."""
    return _list("runtime_envs", RuntimeEnvState, address, filters, limit, timeout, detail)


def list_cluster_events(*args: Any, **kwargs: Any) -> Any:
    """NotImplementedError: minray has no cluster whose events it could list."""
    raise NotImplementedError("minray keeps no cluster events.")


def list_logs(*args: Any, **kwargs: Any) -> Any:
    """NotImplementedError: minray writes no log files."""
    raise NotImplementedError("minray writes no log files: what workers print is printed by the driver.")


get_log = list_logs


# --- one by its id -----------------------------------------------------------------------------------------------


def _get(kind: str, schema: type[Row], column: str, id: str, address: str | None, timeout: float) -> list[Row]:
    return [row for row in _rows(kind, schema, True, address, timeout) if row[column] == id]


def get_actor(
    id: str, address: str | None = None, timeout: int = DEFAULT_TIMEOUT, _explain: bool = False
) -> ActorState | None:
    """The actor with this id, with all details; None if there is none."""
    return next(iter(_get("actors", ActorState, "actor_id", id, address, timeout)), None)


def get_task(
    id: Any, address: str | None = None, timeout: int = DEFAULT_TIMEOUT, _explain: bool = False
) -> TaskState | list[TaskState] | None:
    """The task with this id, or that computes this `ObjectRef`, with all details: a list if it was tried several times.

    None: there is none, or it is forgotten.
    """
    text = id if isinstance(id, str) else id.task_id().hex()
    found = _get("tasks", TaskState, "task_id", text, address, timeout)
    return found if len(found) > 1 else found[0] if found else None


def get_objects(
    id: str, address: str | None = None, timeout: int = DEFAULT_TIMEOUT, _explain: bool = False
) -> list[ObjectState] | None:
    """The rows of one object; None if there is none."""
    return _get("objects", ObjectState, "object_id", id, address, timeout) or None


def get_node(
    id: str, address: str | None = None, timeout: int = DEFAULT_TIMEOUT, _explain: bool = False
) -> NodeState | None:
    """The node with this id; None if there is none."""
    return next(iter(_get("nodes", NodeState, "node_id", id, address, timeout)), None)


def get_worker(
    id: str, address: str | None = None, timeout: int = DEFAULT_TIMEOUT, _explain: bool = False
) -> WorkerState | None:
    """The worker with this id, with all details; None if there is none."""
    return next(iter(_get("workers", WorkerState, "worker_id", id, address, timeout)), None)


def get_job(
    id: str, address: str | None = None, timeout: int = DEFAULT_TIMEOUT, _explain: bool = False
) -> JobState | None:
    """The job with this id; None if there is none."""
    return next((job for job in list_jobs(address, timeout=timeout, detail=True) if job.job_id == id), None)


def get_placement_group(
    id: str, address: str | None = None, timeout: int = DEFAULT_TIMEOUT, _explain: bool = False
) -> PlacementGroupState | None:
    """The placement group with this id, with all details; None if there is none."""
    column = "placement_group_id"
    return next(iter(_get("placement_groups", PlacementGroupState, column, id, address, timeout)), None)


# --- summaries ---------------------------------------------------------------------------------------------------


def summarize_tasks(
    address: str | None = None,
    timeout: int = DEFAULT_TIMEOUT,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> dict[str, Any]:
    """How many tasks there are in which state, by function: ``{"cluster": {"summary": {...}, "total_tasks": ...}}``."""
    groups: dict[str, Any] = {}
    totals = {"NORMAL_TASK": 0, "ACTOR_TASK": 0, "ACTOR_CREATION_TASK": 0}
    for row in _rows("tasks", TaskState, False, address, timeout):
        group = groups.setdefault(row.name, {"func_or_class_name": row.name, "type": row.type, "state_counts": {}})
        _count(group["state_counts"], row.state)
        totals[row.type] += 1
    return {
        "cluster": {
            "summary": groups,
            "total_tasks": totals["NORMAL_TASK"],
            "total_actor_tasks": totals["ACTOR_TASK"],
            "total_actor_scheduled": totals["ACTOR_CREATION_TASK"],
            "summary_by": "func_name",
        }
    }


def summarize_actors(
    address: str | None = None,
    timeout: int = DEFAULT_TIMEOUT,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> dict[str, Any]:
    """How many actors there are in which state, by class."""
    groups: dict[str, Any] = {}
    total = 0
    for row in _rows("actors", ActorState, False, address, timeout):
        group = groups.setdefault(row.class_name, {"class_name": row.class_name, "state_counts": {}})
        _count(group["state_counts"], row.state)
        total += 1
    return {"cluster": {"summary": groups, "total_actors": total, "summary_by": "class"}}


def summarize_objects(
    address: str | None = None,
    timeout: int = DEFAULT_TIMEOUT,
    raise_on_missing_output: bool = True,
    _explain: bool = False,
) -> dict[str, Any]:
    """How many objects there are, and how large they are in all (MiB). Where they were made is not recorded."""
    groups: dict[str, Any] = {}
    total, size = 0, 0.0
    for row in _rows("objects", ObjectState, False, address, timeout):
        group = groups.setdefault(
            row.call_site,
            {
                "total_objects": 0,
                "total_size_mb": 0.0,
                "total_num_workers": 1,
                "total_num_nodes": 1,
                "task_state_counts": {},
                "task_attempt_number_counts": {},
                "ref_type_counts": {},
            },
        )
        mebibytes = max(row.object_size, 0) / 2**20
        group["total_objects"] += 1
        group["total_size_mb"] += mebibytes
        _count(group["task_state_counts"], row.task_status)
        _count(group["task_attempt_number_counts"], str(row.attempt_number))
        _count(group["ref_type_counts"], row.reference_type)
        total += 1
        size += mebibytes
    return {
        "cluster": {
            "summary": groups,
            "total_objects": total,
            "total_size_mb": size,
            "callsite_enabled": False,
            "summary_by": "callsite",
        }
    }


def _count(counts: dict[str, int], key: str) -> None:
    counts[key] = counts.get(key, 0) + 1
