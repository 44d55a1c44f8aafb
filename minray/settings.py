"""Settings about memory that Ray has in environment variables, ``RAY_<name>``, and in ``init(_system_config={...})``.

The keyword comes first, then the dict, then the environment. Names that are not here mean nothing to minray.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any


def check_system_config(config: Any) -> Mapping[str, Any]:
    """TypeError: it is no dict."""
    if config is None:
        return {}
    if not isinstance(config, dict):
        raise TypeError("The _system_config must be a dict.")
    return config


def spill_directory(chosen: Any, config: Mapping[str, Any]) -> str | None:
    """Where values go that find no memory; None: the temporary directory. `chosen` is the keyword of `init`.

    ValueError: it is no path, or a storage of another kind than a directory.
    """
    found = chosen or _find("object_spilling_directory", config)
    if not found:
        text = _find("object_spilling_config", config)
        if text:
            import json  # a millisecond or two, which most runs do without

            storage = json.loads(text)
            found = storage.get("params", {}).get("directory_path")
            if storage.get("type") != "filesystem":
                raise ValueError(f"minray spills to directories alone (type 'filesystem'), not as in {text!r}.")
            if isinstance(found, list):  # Ray takes turns; one is enough
                found = found[0]
    if found and not isinstance(found, str):
        raise ValueError(f"object_spilling_directory must be a path, got: {found!r}.")
    return found or None


def number(name: str, default: float, config: Mapping[str, Any]) -> float:
    """The setting `name`. ValueError: it is no number, or below 0."""
    value = _find(name, config)
    if value is None:
        return default
    try:
        found = float(value)
    except (TypeError, ValueError):
        found = -1.0
    if not found >= 0:
        raise ValueError(f"{name} must be a number, 0 or above, got: {value!r}.")
    return found


def share(name: str, default: float, config: Mapping[str, Any]) -> float:
    """The setting `name`, a part of 1. ValueError: it is no number from 0 to 1."""
    found = number(name, default, config)
    if found > 1:
        raise ValueError(f"{name} must be a number from 0 to 1, got: {found}.")
    return found


def _find(name: str, config: Mapping[str, Any]) -> Any:
    found = config.get(name)
    return os.environ.get(f"RAY_{name}") if found is None else found
