"""`get_runtime_context()`: where the calling code runs, and as what."""

from __future__ import annotations

import os
import pickle
from typing import TYPE_CHECKING, Any

from minray.actor_handle import ActorHandle
from minray.current_call import CurrentCall, current_call
from minray.ids import THE_JOB, ActorID, JobID, NodeID, PlacementGroupID, TaskID, actor_id, creation_id, task_id
from minray.session import Session, current, ensure
from minray.util.annotations import warn_deprecated

if TYPE_CHECKING:
    from minray.runtime_env import RuntimeEnv

_DRIVER_MODE = 0
#: Ray's names of what `get_accelerator_ids` tells of.
_ACCELERATORS = ("GPU", "neuron_cores", "TPU", "HPU", "NPU", "RBLN", "FURIOSA", "MBLT", "TTNPU")
_ONLY_IN_WORKERS = f"This method is only available when the process is a worker. Current mode: {_DRIVER_MODE}"


class RuntimeContext:
    """Tells of the calling thread's job, node, worker, task and actor, when it is asked: one object serves all threads.

    Ids are hexadecimal, in Ray's lengths: a job's has 8 digits, an actor's 32, a task's 48, a node's and a worker's 56.
    """

    # -- where ----------------------------------------------------------------------------------------------------

    def get_job_id(self) -> str:
        """The job's id. RuntimeError: no run has been started."""
        self._must_run("Job")
        return THE_JOB.hex()

    def get_node_id(self) -> str:
        """The id of the node that this runs on. RuntimeError: no run has been started."""
        self._must_run("Node")
        return self._told("node_id")

    def get_worker_id(self) -> str:
        """The id of this worker, or of the driver. RuntimeError: no run has been started."""
        self._must_run("Worker")
        return self._told("worker_id")

    def get_session_name(self) -> str:
        """The name of this run. RuntimeError: none has been started."""
        if current() is None:
            raise RuntimeError("Session name is not available because Ray has not been initialized.")
        return self._told("session_name")

    def get_temp_dir(self) -> str:
        """The directory in which the run's temporary files are. AssertionError: no run has been started."""
        assert current() is not None, "Temp directory is not available because Ray has not been initialized."
        return self._told("temp_dir")

    def get_node_labels(self) -> dict[str, str]:
        """The labels of the node that this runs on."""
        found: dict[str, str] = ensure().ask("labels")
        return dict(found)

    @property
    def namespace(self) -> str:
        """Where named actors are looked up if nothing else is said."""
        return self._told("namespace")

    @property
    def gcs_address(self) -> str:
        """NotImplementedError: minray has no server that it could be the address of."""
        raise NotImplementedError("minray has no GCS, so there is no gcs_address: the driver owns the run.")

    # -- as what --------------------------------------------------------------------------------------------------

    def get_task_id(self) -> str | None:
        """The id of the task that this runs in; None, and a warning, in a driver.

        ``ref.task_id().hex()`` is the same of the ref that the task's caller has. A thread that a task starts has an id
        of its own, which is no task's.
        """
        return self._task_id().hex() if self._in_worker() else None

    def get_task_name(self) -> str | None:
        """What the task is called: its option `name`, or its function's name. None in a driver."""
        if not self._in_worker():
            return None
        call = current_call.get()
        return call[1] if call else ""

    def get_task_function_name(self) -> str | None:
        """The task's function, with its module, and with its class if it is a method. None in a driver."""
        if not self._in_worker():
            return None
        call = current_call.get()
        if call is None or call[2] is None:
            return ""
        _, _, function, method = call
        resident = ensure().resident
        if method and resident is not None:
            return f"{resident[1].__module__}.{resident[1].__name__}.{method}"
        return f"{function.__module__}.{getattr(function, '__name__', '')}"

    def is_canceled(self) -> bool:
        """Whether somebody has cancelled the task that this runs in. RuntimeError: in a driver, or an async actor."""
        session = ensure()
        if not session.in_worker:
            raise RuntimeError(_ONLY_IN_WORKERS)
        return session.is_cancelled()

    def get_actor_id(self) -> str | None:
        """The id of the actor that this runs in; None in tasks, and in a driver."""
        resident = ensure().resident
        return None if resident is None else actor_id(resident[0]).hex()

    def get_actor_name(self) -> str | None:
        """The name of the actor that this runs in, "" if it has none; None in tasks, and in a driver."""
        if not self._in_worker():
            return None
        session = ensure()
        if session.resident is None:
            return None
        name: str = session.ask("actor", session.resident[0])[0]
        return name

    @property
    def current_actor(self) -> ActorHandle[Any]:
        """A handle to the actor that this runs in. RuntimeError: it runs in none."""
        session = ensure()
        if session.resident is None:
            raise RuntimeError("This method is only available in an actor.")
        id = session.resident[0]
        template = pickle.loads(session.ask("actor", id)[2])
        session.retain(id)
        return ActorHandle(id, template, session)

    @property
    def was_current_actor_reconstructed(self) -> bool:
        """Whether the actor that this runs in has been restarted. AssertionError: it runs in none."""
        session = self._worker_session()
        assert session.resident is not None, "This method should't be called inside Ray tasks."  # the text is Ray's
        restarts: int = session.ask("actor", session.resident[0])[1]
        return restarts > 0

    def get_assigned_resources(self) -> dict[str, float]:
        """How much of each resource this task or actor holds. AssertionError in a driver."""
        found: dict[str, float] = self._worker_session().ask("held")
        return found

    def get_accelerator_ids(self) -> dict[str, list[str]]:
        """The ids of the accelerators that this may use, by kind."""
        given = ensure().given
        gpus = given.get("gpus", ()) if given is not None else ()
        return {kind: [str(gpu) for gpu in gpus] if kind == "GPU" else [] for kind in _ACCELERATORS}

    def get_placement_group_id(self) -> str | None:
        """The id of the placement group that this runs in; None outside of one."""
        given = ensure().given
        return given.get("group") if given is not None else None

    @property
    def should_capture_child_tasks_in_placement_group(self) -> bool:
        """Whether tasks made here run in the placement group that this runs in."""
        given = ensure().given
        return given is not None and bool(given.get("captures"))

    def get_runtime_env_string(self) -> str:
        """The runtime environment of this task or actor, as JSON."""
        from minray.environments import shown

        return shown(ensure().runtime_env)

    @property
    def runtime_env(self) -> RuntimeEnv:
        """The runtime environment of this task or actor."""
        from minray.runtime_env import RuntimeEnv

        return RuntimeEnv.deserialize(self.get_runtime_env_string())

    # -- deprecated by Ray ----------------------------------------------------------------------------------------

    def get(self) -> dict[str, Any]:
        """Ids and namespace, by name. Deprecated: ask for each with its method."""
        warn_deprecated("Use get_xxx_id() methods to get relevant ids instead")
        found: dict[str, Any] = {
            "job_id": THE_JOB,
            "node_id": NodeID.from_hex(self.get_node_id()),
            "namespace": self.namespace,
        }
        session = ensure()
        if session.in_worker:
            found["task_id"] = self._task_id()
            if session.resident is not None:
                found["actor_id"] = actor_id(session.resident[0])
        return found

    @property
    def job_id(self) -> JobID:
        """Deprecated: `get_job_id`."""
        warn_deprecated("Use get_job_id() instead")
        return THE_JOB

    @property
    def node_id(self) -> NodeID:
        """Deprecated: `get_node_id`."""
        warn_deprecated("Use get_node_id() instead")
        return NodeID.from_hex(self._told("node_id"))

    @property
    def task_id(self) -> TaskID:
        """Deprecated: `get_task_id`. AssertionError in a driver."""
        warn_deprecated("Use get_task_id() instead")
        self._worker_session()
        return self._task_id()

    @property
    def actor_id(self) -> ActorID | None:
        """Deprecated: `get_actor_id`. AssertionError in a driver."""
        warn_deprecated("Use get_actor_id() instead")
        resident = self._worker_session().resident
        return None if resident is None else actor_id(resident[0])

    @property
    def current_placement_group_id(self) -> PlacementGroupID:
        """Deprecated: `get_placement_group_id`. Nil outside of a placement group."""
        warn_deprecated("Use get_placement_group_id() instead")
        found = self.get_placement_group_id()
        return PlacementGroupID.nil() if found is None else PlacementGroupID.from_hex(found)

    def get_resource_ids(self) -> dict[str, list[str]]:
        """Deprecated: `get_accelerator_ids`."""
        warn_deprecated("Use get_accelerator_ids() instead")
        return self.get_accelerator_ids()

    # -- how ------------------------------------------------------------------------------------------------------

    @staticmethod
    def _must_run(what: str) -> None:
        if current() is None:
            raise RuntimeError(f"{what} ID is not available because Ray has not been initialized.")

    @staticmethod
    def _told(what: str) -> str:
        found: str = ensure().ask("context")[what]
        return found

    @staticmethod
    def _in_worker() -> bool:
        if ensure().in_worker:
            return True
        import logging

        logging.getLogger(__name__).warning(_ONLY_IN_WORKERS)
        return False

    @staticmethod
    def _worker_session() -> Session:
        session = ensure()
        assert session.in_worker, _ONLY_IN_WORKERS
        return session

    @staticmethod
    def _task_id() -> TaskID:
        call = current_call.get()
        if call is None:
            call = _thread_of_its_own()
        if not call[0]:
            resident = ensure().resident
            assert resident is not None
            return creation_id(resident[0])
        return task_id(call[0])


def _thread_of_its_own() -> CurrentCall:
    """Give a thread that user code has started an id, as Ray does; the first bit is one that no task's id has."""
    call = (int.from_bytes(os.urandom(8), "big") | 1 << 63, "", None, "")
    current_call.set(call)
    return call


_context = RuntimeContext()


def get_runtime_context() -> RuntimeContext:
    """The context of whoever asks it: driver, task or actor. Starts a run if there is none."""
    ensure()
    return _context
