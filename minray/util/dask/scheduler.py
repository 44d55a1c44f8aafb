"""`ray_dask_get`: a Dask graph as tasks, one for each of its keys.

Dask's own loop (`dask.local.get_async`) walks through the graph in its order. Here a key is "computed" as soon as its
task is submitted, with the refs of the tasks that it depends on: minray does the waiting. Dask forgets a ref when no
key needs it any more, so intermediate values are freed as the graph runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import dask
import dask.config
from dask.base import get_annotations
from dask.highlevelgraph import HighLevelGraph
from dask.local import get_async

import minray
from minray import ObjectRef
from minray.util.dask.callbacks import RayCallback, local_ray_callbacks
from minray.util.sharing import Stored

try:
    from dask._task_spec import Alias, DataNode, Task, convert_legacy_graph
except ImportError as error:
    raise ImportError("minray.util.dask needs Dask 2024.12.1 or later.") from error

_NO_RESOURCES = (
    'Use ray_remote_args={"resources": {...}} instead of resources={...}: the options of minray.remote, for all tasks '
    "of a graph or, with dask.annotate, for some."
)


def enable_dask_on_ray(shuffle: str | None = "tasks", use_shuffle_optimization: bool = True) -> Any:
    """Make `ray_dask_get` Dask's scheduler: for good, or as a context manager.

    Args:
        shuffle: How data frames are shuffled: "tasks" or "disk".
        use_shuffle_optimization: Accepted for Ray's sake. Ray's optimisation is for Dask before 2025.1 alone.
    """
    return dask.config.set({"scheduler": ray_dask_get, "dataframe.shuffle.method": shuffle})


def disable_dask_on_ray() -> Any:
    """Undo `enable_dask_on_ray`: for good, or as a context manager."""
    return dask.config.set({"scheduler": None, "dataframe.shuffle.method": None})


def ray_dask_get(dsk: Any, keys: Any, **kwargs: Any) -> Any:
    """Compute `keys` of the graph `dsk`: a scheduler, as Dask has them (``x.compute(scheduler=ray_dask_get)``).

    Args:
        dsk: A Dask graph or expression.
        keys: A key, or a list (of lists) of keys.
        ray_callbacks: `RayDaskCallback`s instead of those in effect.
        ray_remote_args: Options of all tasks. ``dask.annotate(ray_remote_args=...)`` has those of some.
        ray_persist: Return refs instead of values.
        num_workers, pool: Accepted for Ray's sake: tasks are submitted by the calling thread.
        kwargs: Others that `dask.local.get_async` knows (`cache`, `callbacks`).

    Returns the value, or values in lists and tuples as `keys` has them. Raises what a task raises.
    """
    for accepted in ("num_workers", "pool"):
        kwargs.pop(accepted, None)
    chosen = kwargs.pop("ray_callbacks", None)
    persist = kwargs.pop("ray_persist", False)
    remote_args = kwargs.pop("ray_remote_args", {})
    if kwargs.pop("_ray_enable_progress_bar", False):
        from minray.util.dask.progress import ProgressBarCallback

        chosen = [*(chosen or ()), ProgressBarCallback()]
    if "resources" in kwargs or "resources" in get_annotations():
        raise ValueError(_NO_RESOURCES)
    if not isinstance(dsk, Mapping):
        dsk = dsk._optimized_dsk if hasattr(dsk, "_optimized_dsk") else dsk.__dask_graph__()
    options = _options_by_key(dsk, remote_args)
    graph = convert_legacy_graph(dsk)
    with local_ray_callbacks(chosen) as hooks:
        submitter = _Submitter(hooks, options)
        found = get_async(submitter.submit, 1, graph, keys, **kwargs)
        for hook in hooks:
            if hook.ray_postsubmit_all is not None:
                hook.ray_postsubmit_all(found, graph)
        del graph, dsk, submitter  # what they refer to would be kept until the end
        result = found if persist else _values(found)
        for hook in hooks:
            if hook.ray_finish is not None:
                hook.ray_finish(result)
    return result


def ray_dask_get_sync(dsk: Any, keys: Any, **kwargs: Any) -> Any:
    """`ray_dask_get`, which submits from the calling thread anyway; in Ray, that differs."""
    return ray_dask_get(dsk, keys, **kwargs)


class _Submitter:
    """Submits the tasks of one graph."""

    def __init__(self, hooks: list[RayCallback], options: dict[Any, dict[str, Any]]) -> None:
        self._presubmit = [hook.ray_presubmit for hook in hooks if hook.ray_presubmit is not None]
        self._postsubmit = [hook.ray_postsubmit for hook in hooks if hook.ray_postsubmit is not None]
        in_worker = [(hook.ray_pretask, hook.ray_posttask) for hook in hooks]
        self._in_worker = [both for both in in_worker if both != (None, None)]
        self._options = options
        self._stored = Stored()
        self._run: Any = minray.remote(_run)

    def submit(self, _execute: Any, calls: list[Any]) -> _Done:
        """What `get_async` asks of an executor. A call is ``(key, (task, values it depends on), ...)``."""
        return _Done([(key, (self._submit(key, task, deps), None), False) for key, (task, deps), *_ in calls])

    def _submit(self, key: Any, task: Any, deps: dict[Any, Any]) -> Any:
        for presubmit in self._presubmit:
            instead = presubmit(task, key, deps)
            if instead is not None:
                return instead
        if isinstance(task, Alias):
            return deps[task.target]
        known: dict[Any, Any] = {}
        pending: dict[Any, ObjectRef[Any]] = {}
        for name, value in deps.items():
            found = self._stored.ref_to(value)
            (pending if isinstance(found, ObjectRef) else known)[name] = found
        run = self._run.options(name=f"dask:{key!s}", **self._options.get(key, {}))
        ref = run.remote(task, key, known, tuple(pending), self._in_worker, *pending.values())
        for postsubmit in self._postsubmit:
            postsubmit(task, key, deps, ref)
        return ref


class _Done:
    """A future, as far as `get_async` needs one, that is done."""

    def __init__(self, result: list[Any]) -> None:
        self._result = result

    def add_done_callback(self, function: Callable[[_Done], Any]) -> None:
        function(self)

    def result(self) -> list[Any]:
        return self._result


def _run(task: Any, key: Any, known: dict[Any, Any], names: tuple[Any, ...], in_worker: list[Any], *values: Any) -> Any:
    """One task of a graph, in the worker; `names` are the keys that have `values`."""
    states = [None if before is None else before(key, values) for before, _ in in_worker]
    result = _with_values(task)({**_with_values(known), **dict(zip(names, values))})
    for (_, after), state in zip(in_worker, states):
        if after is not None:
            after(key, result, state)
    return result


def _with_values(part: Any) -> Any:
    """`part` of a graph with values instead of refs: those of persisted collections get deep into fused tasks."""
    if isinstance(part, ObjectRef):
        return minray.get(part)
    if isinstance(part, Task):
        part.args = _with_values(part.args)
        part.kwargs = _with_values(part.kwargs)
    elif isinstance(part, DataNode):
        if isinstance(part.value, ObjectRef):
            return DataNode(part.key, minray.get(part.value))
    elif type(part) in (list, tuple, set):
        return type(part)([_with_values(item) for item in part])
    elif type(part) is dict:
        return {name: _with_values(item) for name, item in part.items()}
    return part


def _values(found: Any) -> Any:
    """What `get_async` found, with values instead of refs, all fetched at once."""
    refs: dict[ObjectRef[Any], None] = {}

    def collect(part: Any) -> None:
        if isinstance(part, ObjectRef):
            refs[part] = None
        elif type(part) in (list, tuple):
            for item in part:
                collect(item)

    collect(found)
    values = dict(zip(refs, minray.get(list(refs))))

    def fill(part: Any) -> Any:
        if isinstance(part, ObjectRef):
            return values[part]
        return type(part)([fill(item) for item in part]) if type(part) in (list, tuple) else part

    filled = fill(found)
    # Ray's types: a list for keys without nesting, else tuples.
    return list(filled) if isinstance(found, tuple) and all(isinstance(part, ObjectRef) for part in found) else filled


def _options_by_key(dsk: Mapping[Any, Any], remote_args: dict[str, Any]) -> dict[Any, dict[str, Any]]:
    """Options of each key's task: those of the graph, and over them those of the key's layer."""
    everywhere = get_annotations()
    common = {**remote_args, **everywhere.get("ray_remote_args", {})}
    graph: Any = dsk
    layers = graph.layers.values() if isinstance(dsk, HighLevelGraph) else []
    options: dict[Any, dict[str, Any]] = {}
    for layer in layers:
        annotations = layer.annotations or {}
        if "resources" in annotations:
            raise ValueError(_NO_RESOURCES)
        chosen = {**common, **annotations.get("ray_remote_args", {})}
        for key in layer.get_output_keys() if chosen else ():
            options[key] = chosen
    return options if layers else dict.fromkeys(dsk, common) if common else {}
