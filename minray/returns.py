"""How many objects a call makes: one, as many as it says, or what a generator yields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Options = Mapping[str, Any]

#: What `number_of_returns` says of generators whose items are streamed, and of those that return all refs at once.
STREAMING = -1
DYNAMIC = -2


def warn_of_dynamic(options: Options) -> None:
    """Say that ``num_returns="dynamic"`` is going away, to the line that chose it."""
    if options.get("num_returns") == "dynamic":
        import warnings

        warnings.warn(
            "num_returns='dynamic' is deprecated and will be removed in a future Ray release. Use "
            "num_returns='streaming' instead.",
            DeprecationWarning,
            stacklevel=5,
        )


def keeps_group_size(options: Options, given: Options) -> None:
    """ValueError: `given`, for one call, would change how many items a generator yields together."""
    if "_num_objects_per_yield" in given:
        if given["_num_objects_per_yield"] != (options.get("_num_objects_per_yield") or 1):
            raise ValueError(
                "_num_objects_per_yield cannot be overridden per call. Use @minray.remote(_num_objects_per_yield=...) "
                "or @minray.method(_num_objects_per_yield=...) instead."
            )


def number_of_returns(num_returns: Any, generator: bool, name: str) -> int:
    """How many objects a call makes, from its option and from what kind of function it calls; or one of the above."""
    if isinstance(num_returns, str):
        if not generator:
            raise ValueError(
                f"num_returns={num_returns!r} can only be used with generator functions (functions that use 'yield'), "
                f"which {name}() is not."
            )
        return STREAMING if num_returns == "streaming" else DYNAMIC
    if num_returns is None:
        return STREAMING if generator else 1
    count: int = num_returns
    return count


def yields(num_returns: int, options: Options) -> tuple[int, int | None, dict[str, Any] | None]:
    """How many objects a call makes, how many of its stream's items may be unread (0: any number, None: it has no
    stream), and what its worker has to know of that."""
    if num_returns >= 0:
        return num_returns, None, None
    limit = None
    if num_returns == STREAMING:
        limit = max(options.get("_generator_backpressure_num_objects") or 0, 0)
    how = {"stream": limit, "per_yield": options.get("_num_objects_per_yield") or 1}
    return 1, limit, {"yields": how}
