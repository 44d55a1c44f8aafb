"""`RayDaskCallback`: hooks into the making and running of a Dask graph's tasks."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

from dask.callbacks import Callback

from minray import ObjectRef


class RayCallback(NamedTuple):
    """The hooks of one `RayDaskCallback`; None: it does not have that one."""

    ray_presubmit: Callable[..., Any] | None = None
    ray_postsubmit: Callable[..., Any] | None = None
    ray_pretask: Callable[..., Any] | None = None
    ray_posttask: Callable[..., Any] | None = None
    ray_postsubmit_all: Callable[..., Any] | None = None
    ray_finish: Callable[..., Any] | None = None


class RayDaskCallback(Callback):  # type: ignore[misc]  # Dask has no types
    """A `dask.callbacks.Callback` with six hooks more: derive from it, or ``RayDaskCallback(ray_finish=f)``.

    As a context manager, or from `register` to `unregister`, it is called for every graph. Dask's own hooks are called
    when a task is submitted, not when it runs. `_ray_pretask` and `_ray_posttask` are called in the worker, on a copy.
    """

    #: The hooks that are in effect.
    ray_active: ClassVar[set[RayCallback]] = set()

    def __init__(self, **kwargs: Any) -> None:
        for name in RayCallback._fields:
            hook = kwargs.pop(name, None)
            if hook is not None:
                setattr(self, f"_{name}", hook)
        super().__init__(**kwargs)

    def _ray_presubmit(self, task: Any, key: Any, deps: Mapping[Any, Any]) -> Any:
        """Before a task is submitted. Anything but None is taken for its result, and it is not submitted."""

    def _ray_postsubmit(self, task: Any, key: Any, deps: Mapping[Any, Any], object_ref: ObjectRef[Any]) -> None:
        """After a task has been submitted."""

    def _ray_pretask(self, key: Any, object_refs: tuple[Any, ...]) -> Any:
        """In the worker, before the task runs, with the values of its dependencies. `_ray_posttask` gets the result."""

    def _ray_posttask(self, key: Any, result: Any, pre_state: Any) -> None:
        """In the worker, after the task has run."""

    def _ray_postsubmit_all(self, object_refs: Any, dsk: Mapping[Any, Any]) -> None:
        """After all tasks of a graph have been submitted; `object_refs` are those of its results."""

    def _ray_finish(self, result: Any) -> None:
        """After the results are there."""

    @property
    def _ray_callback(self) -> RayCallback:
        return RayCallback(*[self._hook(f"_{name}") for name in RayCallback._fields])

    def _hook(self, name: str) -> Callable[..., Any] | None:
        hook: Callable[..., Any] = getattr(self, name)
        return None if getattr(hook, "__func__", None) is getattr(RayDaskCallback, name) else hook

    def __enter__(self) -> RayDaskCallback:
        self._entered = self._ray_callback
        RayDaskCallback.ray_active.add(self._entered)
        super().__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        RayDaskCallback.ray_active.discard(self._entered)

    def register(self) -> None:
        """Be called from now on."""
        RayDaskCallback.ray_active.add(self._ray_callback)
        super().register()

    def unregister(self) -> None:
        """Be called no more."""
        RayDaskCallback.ray_active.remove(self._ray_callback)
        super().unregister()


@contextlib.contextmanager
def local_ray_callbacks(
    callbacks: Iterable[RayDaskCallback | RayCallback] | None = None,
) -> Iterator[list[RayCallback]]:
    """The hooks for one graph: `callbacks`, or else those in effect.

    Those in effect are out of effect meanwhile: they are for the outermost of graphs in graphs. TypeError: one of
    `callbacks` is no callback.
    """
    if callbacks is not None:
        yield [_normalize(callback) for callback in callbacks]
        return
    active, RayDaskCallback.ray_active = RayDaskCallback.ray_active, set()
    try:
        yield list(active)
    finally:
        RayDaskCallback.ray_active = active


def _normalize(callback: Any) -> RayCallback:
    if isinstance(callback, RayDaskCallback):
        return callback._ray_callback
    if isinstance(callback, RayCallback):
        return callback
    raise TypeError(f"Callbacks must be either 'RayDaskCallback' or 'RayCallback' namedtuple, not {callback!r}")
