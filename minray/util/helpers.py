"""`as_completed` and `map_unordered`: results as they come. Ray's `ray.util.as_completed` and `map_unordered`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import minray
from minray import ObjectRef


def as_completed(
    refs: Sequence[ObjectRef[Any]], *, chunk_size: int = 10, yield_obj_refs: bool = False, **kwargs: Any
) -> Iterator[Any]:
    """Iterate over the values of `refs` as they become ready, `chunk_size` at a time.

    Args:
        refs: What to wait for.
        chunk_size: How many to wait for before the next are given out; at least 1.
        yield_obj_refs: Give the refs instead of their values.
        kwargs: `timeout` and `fetch_local`, for each `minray.wait`.

    Raises ValueError for a wrong option, when the first result is asked for, and the error of a task that failed.
    """
    _check(chunk_size, kwargs)
    others = list(refs)
    while others:
        ready, others = _next_chunk(others, chunk_size, yield_obj_refs, kwargs)
        yield from ready


def map_unordered(
    fn: Any,
    items: Iterable[Any],
    *,
    backpressure_size: int | None = 100,
    chunk_size: int = 10,
    yield_obj_refs: bool = False,
    **kwargs: Any,
) -> Iterator[Any]:
    """Call the remote function `fn` for all `items`; iterate over the results as they come.

    Args:
        fn: A remote function of one argument.
        items: Its arguments, taken only as calls are made.
        backpressure_size: How many calls may run before results are waited for. None means: any number.
        chunk_size, yield_obj_refs, kwargs: As for `as_completed`. Raises what it raises.
    """
    if backpressure_size is not None and backpressure_size <= 0:
        raise ValueError("backpressure_size must be positive.")
    _check(chunk_size, kwargs)
    running: list[ObjectRef[Any]] = []
    for item in items:
        running.append(fn.remote(item))
        if backpressure_size is not None and len(running) >= backpressure_size:
            ready, running = _next_chunk(running, chunk_size, yield_obj_refs, kwargs)
            yield from ready
    yield from as_completed(running, chunk_size=chunk_size, yield_obj_refs=yield_obj_refs, **kwargs)


def _check(chunk_size: int, kwargs: dict[str, Any]) -> None:
    if chunk_size < 1:
        raise ValueError("`chunk_size` must be >= 1")
    if "num_returns" in kwargs:
        raise ValueError("Use the `chunk_size` argument instead of `num_returns`.")


def _next_chunk(
    refs: list[ObjectRef[Any]], chunk_size: int, as_refs: bool, kwargs: dict[str, Any]
) -> tuple[list[Any], list[ObjectRef[Any]]]:
    ready, others = minray.wait(refs, num_returns=min(chunk_size, len(refs)), **kwargs)
    return (ready if as_refs else minray.get(ready)), others
