"""The rows of the state API: dataclasses with Ray's columns, whose values are also found with ``row["column"]``.

Columns that take `detail=True` to see are None without it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any


def column(filterable: bool = True, detail: bool = False) -> Any:
    """A column: whether rows can be chosen by it, and whether it is there with ``detail=True`` alone."""
    return field(default=None, metadata={"filterable": filterable, "detail": detail})


def _shown() -> Any:
    return column(filterable=False)


def _detail() -> Any:
    return column(filterable=False, detail=True)


@dataclass
class StateSchema:
    """A row."""

    @classmethod
    def columns(cls) -> set[str]:
        """The names of all columns."""
        return {one.name for one in fields(cls)}

    @classmethod
    def base_columns(cls) -> set[str]:
        """The names of the columns that are there without `detail`."""
        return {one.name for one in fields(cls) if not one.metadata["detail"]}

    @classmethod
    def detail_columns(cls) -> set[str]:
        """The names of the columns that are there with `detail`: all."""
        return cls.columns()

    @classmethod
    def filterable_columns(cls) -> set[str]:
        """The names of the columns that `filters` may name."""
        return {one.name for one in fields(cls) if one.metadata["filterable"]}

    def asdict(self) -> dict[str, Any]:
        """The row as a dict."""
        return asdict(self)

    def __getitem__(self, key: str) -> Any:
        return getattr(self, key)

    def __setitem__(self, key: str, value: Any) -> None:
        setattr(self, key, value)

    def get(self, key: str, default: Any = None) -> Any:
        """A column's value, or `default` if there is no such column."""
        return getattr(self, key, default)


@dataclass
class ActorState(StateSchema):
    """An actor: `state` is DEPENDENCIES_UNREADY, PENDING_CREATION, ALIVE, RESTARTING or DEAD."""

    actor_id: str = column()
    class_name: str = column()
    state: str = column()
    job_id: str = column()
    name: str = column()
    node_id: str | None = column()
    pid: int = column()
    ray_namespace: str = column()
    serialized_runtime_env: str | None = _detail()
    required_resources: dict[str, float] | None = _detail()
    death_cause: dict[str, Any] | None = _detail()
    is_detached: bool | None = _detail()
    placement_group_id: str | None = column(detail=True)
    repr_name: str | None = column(detail=True)
    num_restarts: int | None = _detail()
    num_restarts_due_to_lineage_reconstruction: int | None = _detail()
    num_restarts_due_to_node_preemption: int | None = _detail()
    call_site: str | None = _detail()
    label_selector: dict[str, Any] | None = _detail()
    fallback_strategy: dict[str, Any] | None = _detail()


@dataclass
class TaskState(StateSchema):
    """A try at a task. `type` is NORMAL_TASK, ACTOR_TASK or ACTOR_CREATION_TASK, `state` one of PENDING_ARGS_AVAIL,
    PENDING_NODE_ASSIGNMENT, SUBMITTED_TO_WORKER, RUNNING, FINISHED and FAILED. Times are in ms since 1970."""

    task_id: str = column()
    attempt_number: int = column()
    name: str = column()
    state: str = column()
    job_id: str = column()
    actor_id: str | None = column()
    type: str = column()
    func_or_class_name: str = column()
    parent_task_id: str = column()
    node_id: str | None = column()
    worker_id: str | None = column()
    worker_pid: int | None = column()
    error_type: str | None = column()
    language: str | None = column(detail=True)
    required_resources: dict[str, float] | None = _detail()
    runtime_env_info: dict[str, Any] | None = _detail()
    placement_group_id: str | None = column(detail=True)
    events: list[dict[str, Any]] | None = _detail()
    profiling_data: dict[str, Any] | None = _detail()
    creation_time_ms: int | None = _detail()
    start_time_ms: int | None = _detail()
    end_time_ms: int | None = _detail()
    task_log_info: dict[str, Any] | None = _detail()
    error_message: str | None = _detail()
    is_debugger_paused: bool | None = column(detail=True)
    call_site: str | None = _detail()
    label_selector: dict[str, Any] | None = _detail()
    fallback_strategy: dict[str, Any] | None = _detail()


@dataclass
class ObjectState(StateSchema):
    """An object: `object_size` in bytes, -1 while it is not there; `task_status` is that of the task that makes it."""

    object_id: str = column()
    object_size: int = column()
    task_status: str = column()
    attempt_number: int = column()
    reference_type: str = column()
    call_site: str = column()
    type: str = column()
    pid: int = column()
    ip: str = column()


@dataclass
class NodeState(StateSchema):
    """A node: `state` is ALIVE or DEAD."""

    node_id: str = column()
    node_ip: str = column()
    is_head_node: bool = column()
    state: str = column()
    state_message: str | None = _shown()
    node_name: str = column()
    resources_total: dict[str, float] = _shown()
    labels: dict[str, str] = _shown()
    start_time_ms: int | None = _detail()
    end_time_ms: int | None = _detail()


@dataclass
class WorkerState(StateSchema):
    """A worker, or the driver: `worker_type` is WORKER or DRIVER."""

    worker_id: str = column()
    is_alive: bool = column()
    worker_type: str = column()
    exit_type: str | None = column()
    node_id: str = column()
    ip: str = column()
    pid: int = column()
    exit_detail: str | None = _detail()
    worker_launch_time_ms: int | None = _detail()
    worker_launched_time_ms: int | None = _detail()
    start_time_ms: int | None = _detail()
    end_time_ms: int | None = _detail()
    debugger_port: int | None = column(detail=True)
    num_paused_threads: int | None = column(detail=True)


@dataclass
class DriverInfo:
    """The driver of a job."""

    id: str
    node_ip_address: str
    pid: str


@dataclass
class JobState(StateSchema):
    """The run: all that its driver does."""

    type: str = column()
    job_id: str = column()
    submission_id: str | None = column()
    driver_info: DriverInfo = _shown()
    status: str = column()
    entrypoint: str = column()
    message: str | None = _shown()
    error_type: str | None = column()
    start_time: int | None = _detail()
    end_time: int | None = _detail()
    metadata: dict[str, str] | None = _detail()
    runtime_env: dict[str, Any] | None = _detail()
    driver_agent_http_address: str | None = _detail()
    driver_node_id: str | None = _detail()
    driver_exit_code: int | None = _detail()


@dataclass
class PlacementGroupState(StateSchema):
    """A placement group: `state` is PENDING, CREATED, REMOVED or RESCHEDULING."""

    placement_group_id: str = column()
    name: str = column()
    creator_job_id: str = column()
    state: str = column()
    bundles: list[dict[str, Any]] | None = _detail()
    is_detached: bool | None = column(detail=True)
    stats: dict[str, Any] | None = _detail()


@dataclass
class RuntimeEnvState(StateSchema):
    """A runtime environment on a node."""

    runtime_env: dict[str, Any] = column()
    success: bool = column()
    creation_time_ms: float | None = _shown()
    node_id: str = column()
    ref_cnt: int | None = _detail()
    error: str | None = column(detail=True)
