"""What stands for `ray.data`, which minray has not: names that libraries import and may never use.

Modin, for example, imports `from_pandas_refs` for a method that makes a Ray Dataset. Calling one of these raises
NotImplementedError; any other name is an ImportError.
"""

from __future__ import annotations

from typing import Any, NoReturn


def from_pandas_refs(*args: Any, **kwargs: Any) -> NoReturn:
    """NotImplementedError."""
    raise NotImplementedError(
        "ray.data.from_pandas_refs: Ray Data is a library of its own, which minray has not. Keep the data in frames, "
        "or run this part on Ray."
    )
