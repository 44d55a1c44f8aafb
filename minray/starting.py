"""`init` and `shutdown`: from arguments and environment variables to a run, and to its end.

`init` finds the backend (`minray.registry`), has `minray.launching` start it, and makes the result the session of this
process. The first `.remote`, `put` or `get` does the same with all defaults.
"""

from __future__ import annotations

import atexit
import inspect
import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from minray import registry
from minray.actor_class import check_namespace
from minray.hints import meant
from minray.interrupts import guard, unguard
from minray.labels import check_labels
from minray.machine import visible_gpus
from minray.session import current, set_driver, set_starter, set_thread
from minray.settings import check_system_config, number, share, spill_directory

_process: Any = sys.modules.get("multiprocessing.process")
if _process is None or _process.parent_process() is None:
    # What a run takes, when nobody waits for its first result yet. Not in the template that workers are forked from.
    import minray.launching  # noqa: F401

#: The run that `init` started in this process, and the process: a fork must not end its parent's run.
_starting = threading.RLock()
_run: Any = None
_run_pid = 0
_exit_hook = False
_context: RayContext | None = None
#: Ends the server that exports the metrics of the run, if `init` was given a port for it.
_stop_exporting: Callable[[], None] | None = None
#: The run that is on was started by somebody who runs a program (`minray.testing`), which may start one of its own.
provisional = False


#: Ray's keywords that say where and how its servers run and write logs. minray has no servers: they change nothing.
_ABOUT_SERVERS = frozenset(
    {
        "include_dashboard",
        "dashboard_host",
        "dashboard_port",
        "configure_logging",
        "logging_level",
        "logging_format",
        "enable_resource_isolation",
        "cgroup_path",
        "system_reserved_cpu",
        "system_reserved_memory",
        "_temp_dir",
        "_node_ip_address",
        "_enable_object_reconstruction",
        "_plasma_directory",
        "_redis_username",
        "_redis_password",
        "_driver_object_store_memory",
        "_tracing_startup_hook",
        "_node_name",
    }
)
_ABOUT_MEMORY = frozenset({"_memory", "_system_config", "object_spilling_directory"})
#: As in Ray: less is no use.
_LEAST_STORE = 75 << 20
#: Ray's keywords that change what a program does, and that minray does not carry out yet, with harmless values.
_PLANNED: dict[str, tuple[Any, ...]] = {
    "job_config": (None,),
    "logging_config": (None,),
    "proxy_server_url": (None,),
}


class RayContext(Mapping[str, Any]):
    """What `init` returns: leave it as a context manager to shut the run down, ask it where the run is."""

    def __init__(self, backend: str, address: str | None) -> None:
        from minray import __version__

        self.address_info: dict[str, Any] = {
            "address": address,
            "backend": backend,
            "node_id": None,  # known once the run has started
            "node_ip_address": "127.0.0.1",
            "webui_url": "",
        }
        self.dashboard_url = ""
        self.python_version = "{}.{}.{}".format(*sys.version_info)
        self.ray_version = __version__
        self.ray_commit = ""

    def disconnect(self) -> None:
        """Shut the run down."""
        shutdown()

    def __enter__(self) -> RayContext:
        return self

    def __exit__(self, *error: object) -> None:
        self.disconnect()

    def __getitem__(self, key: str) -> Any:
        return self.address_info[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.address_info)

    def __len__(self) -> int:
        return len(self.address_info)

    def __repr__(self) -> str:
        return f"<minray context: backend={self.address_info['backend']}, address={self.address_info['address']}>"


def init(
    address: str | None = None,
    *,
    backend: str | Callable[..., Any] | None = None,
    num_cpus: int | None = None,
    num_gpus: int | None = None,
    resources: dict[str, float] | None = None,
    object_store_memory: int | None = None,
    isolate: bool = True,
    local_mode: bool = False,
    labels: dict[str, str] | None = None,
    runtime_env: dict[str, Any] | None = None,
    namespace: str | None = None,
    ignore_reinit_error: bool = False,
    log_to_driver: bool | None = None,
    **others: Any,
) -> RayContext:
    """Start a run, or join one at `address`. Called for you by the first `.remote`, `put` or `get`.

    Args:
        address: Where to run: ``"ssh://user@h1,user@h2"``, ``"ray://host:port"``, ``"auto"``, ``"tcp://host:port"``
            (Dask). Default: the environment variable MINRAY_ADDRESS, or this machine.
        backend: What to run on: ``"loky"`` (processes), ``"threads"``, ... or a callable that makes a pool or engine.
            Default: the environment variable MINRAY_BACKEND, or what the address tells, or loky.
        num_cpus: How many CPUs tasks may use at a time. Default: as many as there are.
        num_gpus: How many GPUs there are to give away. Default: as many as NVIDIA's driver has, less what
            CUDA_VISIBLE_DEVICES hides.
        resources: Amounts of custom resources, by name.
        object_store_memory: How many bytes of memory values may take on this machine; what finds no room goes to disk.
            At least 75 MiB. Default: 30% of the memory that is free, or as much as /dev/shm has.
        isolate: False (threads only) hands arguments and results over without copying them.
        local_mode: True means ``backend="threads"``.
        labels: Labels of this machine, for `label_selector` and `NodeLabelSchedulingStrategy`.
        runtime_env: What workers find around them: see `minray.runtime_env.RuntimeEnv`.
        namespace: Where named actors of this run are looked up.
        ignore_reinit_error: Return the context of the run that exists instead of raising RuntimeError.
        log_to_driver: Whether prints of workers appear here. Default: yes.
        others: Keywords of the backend's own (sim: seed, strategy, faults, max_steps), and Ray's other ones: `_memory`,
            `object_spilling_directory` (where that disk is; default: the temporary directory), `_system_config` (see
            `minray.settings`). `_metrics_export_port` serves what `minray.util.metrics` records, with
            `prometheus_client`, at that port of 127.0.0.1; without it nothing is served. Those about Ray's servers and
            logs have no effect.

    Returns:
        A context manager that shuts the run down when it is left.
    """
    if sys.is_finalizing():  # somebody's __del__: no thread can be started any more
        raise RuntimeError("minray cannot start a run: the interpreter is exiting.")
    own: dict[str, Any] = {}  # what only the backend can know
    for name, value in others.items():
        if name in _PLANNED:
            if value not in _PLANNED[name]:
                raise NotImplementedError(f"minray.init does not carry out {name}={value!r} yet. Leave it out.")
        elif name not in _ABOUT_SERVERS and name not in _ABOUT_MEMORY and name != "_metrics_export_port":
            own[name] = value
    port = others.get("_metrics_export_port")
    if port is not None and not (isinstance(port, int) and 0 <= port < 1 << 16):
        raise ValueError(f"_metrics_export_port must be None or a port, 0 to 65535, got: {port!r}.")
    if own:
        _check_own(own, backend, address, local_mode)
    _check_init(num_cpus, num_gpus, resources, object_store_memory, others.get("_memory"), namespace)
    system_config = check_system_config(others.get("_system_config"))
    check_labels(labels)
    if runtime_env:
        from minray.environments import check_job

        check_job(runtime_env)
    with _starting:
        if provisional and is_initialized():
            shutdown()
        if is_initialized():
            if ignore_reinit_error:
                return _context or RayContext("worker", None)
            raise RuntimeError(
                "Maybe you called minray.init twice by accident? This error can be suppressed by passing in "
                "'ignore_reinit_error=True' or by calling 'minray.shutdown()' prior to 'minray.init()'."
            )
        if callable(backend):
            name, factory = getattr(backend, "__name__", repr(backend)), backend
        else:
            name, address = registry.choose(backend, address, local_mode)
            factory = registry.load(name)
        if not isolate and name != "threads":
            raise ValueError(
                "isolate=False works in one process only: use init(backend='threads', isolate=False). "
                f"The backend is {name!r}."
            )
        options = {
            "backend": name,
            "address": address,
            "isolate": isolate,
            "log_to_driver": log_to_driver is not False,
            "object_store_memory": object_store_memory,
            "memory": others.get("_memory"),
            "spill_directory": spill_directory(others.get("object_spilling_directory"), system_config),
            "disk_threshold": share("local_fs_capacity_threshold", 0.95, system_config),
            "memory_threshold": share("memory_usage_threshold", 0.95, system_config),
            "memory_refresh": number("memory_monitor_refresh_ms", 250, system_config) / 1000,
            "labels": labels,
            "runtime_env": runtime_env,
            **own,
        }
        if port is not None:
            _start_exporting(port)
        return _start(factory, RayContext(name, address), num_cpus, num_gpus, resources, namespace, options)


def _start_exporting(port: int) -> None:
    """Have metrics served until the run ends."""
    global _stop_exporting
    from minray.util.metrics import serve

    _stop_exporting = serve(port)


def _end_exporting() -> None:
    global _stop_exporting
    stop, _stop_exporting = _stop_exporting, None
    if stop is not None:
        stop()


def _start(
    factory: Callable[..., Any],
    context: RayContext,
    num_cpus: int | None,
    num_gpus: int | None,
    resources: dict[str, float] | None,
    namespace: str | None,
    options: dict[str, Any],
) -> RayContext:
    """Make the run on a backend the one of this process, until `shutdown`."""
    global _run, _run_pid, _exit_hook, _context
    from minray.launching import start

    guard(getattr(factory, "__module__", ""))
    try:
        _run = start(
            factory, num_cpus=num_cpus, num_gpus=num_gpus, resources=resources, namespace=namespace, options=options
        )
    except BaseException:
        unguard()
        _end_exporting()
        raise
    _run_pid = os.getpid()
    _context = context
    set_driver(_run)
    context.address_info["node_id"] = _run.node_id
    if not _exit_hook:
        atexit.register(shutdown, True)
        _exit_hook = True
    return context


def _check_own(own: dict[str, Any], backend: Any, address: str | None, local_mode: bool) -> None:
    """RuntimeError: the backend takes no such keywords."""
    factory = backend if callable(backend) else registry.load(registry.choose(backend, address, local_mode)[0])
    for name in own:
        if name not in getattr(factory, "keywords", ()):
            named = inspect.signature(init).parameters.keys() - {"others"}
            raise RuntimeError(f"Unknown keyword argument(s): {name}.{meant(name, named)}")


def _check_init(
    num_cpus: Any, num_gpus: Any, resources: Any, object_store_memory: Any, memory: Any, namespace: Any
) -> None:
    if resources is not None and not isinstance(resources, dict):
        raise TypeError(f"resources must be a dict of amounts by name, got: {resources!r}.")
    for name in ("CPU", "GPU", "memory", "object_store_memory"):
        if name in (resources or {}):
            keyword = f"num_{name.lower()}s" if name.isupper() else name
            raise AssertionError(
                f"`{name}` cannot be a custom resource. Use `{keyword}` instead: {resources!r}"
            )  # Ray's type
    amounts = {
        "num_cpus": num_cpus,
        "num_gpus": num_gpus,
        "_memory": memory,
    }
    for name, amount in {**amounts, **(resources or {})}.items():
        if amount is None:
            continue
        if not isinstance(amount, (int, float)):
            raise AssertionError(f"{name} must be a number, got: {amount!r}.")  # Ray's type
        if amount < 0:
            raise ValueError(f"Resource quantities must be nonnegative, but {name} is {amount}.")
        if name in amounts and amount != int(amount):
            raise ValueError(f"{name} must be a whole number, got: {amount}.")
    if object_store_memory is not None:
        if not isinstance(object_store_memory, (int, float)):
            raise TypeError(f"object_store_memory must be a number of bytes, got: {object_store_memory!r}.")
        if not object_store_memory >= _LEAST_STORE:
            raise ValueError(
                f"Attempting to cap object store memory usage at {object_store_memory} bytes, but the minimum allowed "
                f"is {_LEAST_STORE} bytes."
            )
    visible = visible_gpus()
    if num_gpus and visible is not None and num_gpus > len(visible):
        raise ValueError(f"Attempting to start with {num_gpus} GPU, but CUDA_VISIBLE_DEVICES contains {visible}.")
    check_namespace(namespace)


def shutdown(_exiting_interpreter: bool = False, *, wait_for_processes: bool = False) -> None:
    """End the run: stop its workers, forget its objects. Does nothing if there is none.

    `wait_for_processes` is Ray's: here no process of the run is left in either case when this returns.

    Inside a task it has no effect either, but a warning: the run belongs to its driver.
    """
    global _run, _context, provisional
    provisional = False
    session = current()
    if session is not None and session.in_worker:
        warnings.warn("minray.shutdown() inside a task has no effect: its driver ends the run.", stacklevel=2)
    elif _run is not None and _run_pid == os.getpid():
        run, _run, _context = _run, None, None
        try:
            run.close(_exiting_interpreter)
        finally:
            set_driver(None)
            unguard()
            _end_exporting()


def _forget_run() -> None:
    """In the child of a fork: the run is its parent's. Its refs are as good as those of an earlier session here."""
    global _run, _context, _starting
    session = current()
    if session is not None:
        session.closed = True
    _run, _context = None, None
    _starting = threading.RLock()  # another thread may have held it, which is not here to give it back
    set_driver(None)
    set_thread(None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_run)


def is_initialized() -> bool:
    """Whether a run serves the calling thread."""
    return current() is not None


set_starter(lambda: init(ignore_reinit_error=True))  # two threads may be the first at once
