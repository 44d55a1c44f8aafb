"""What Ray calls experimental. `internal_kv`: keys and values that a run shares. `tqdm_ray`: progress bars of tasks."""

from __future__ import annotations

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    if name in ("internal_kv", "tqdm_ray"):  # imported when they are first used
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
