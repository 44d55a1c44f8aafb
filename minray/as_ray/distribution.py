"""What `importlib.metadata` says of Ray where minray stands in for it."""

from __future__ import annotations

from importlib.metadata import Distribution
from typing import Any

from minray.as_ray import RAY_VERSION


class Ray(Distribution):
    """The installed package "ray", of which there is nothing but name and version."""

    def read_text(self, filename: str) -> str | None:
        return f"Metadata-Version: 2.1\nName: ray\nVersion: {RAY_VERSION}\n" if filename == "METADATA" else None

    def locate_file(self, path: Any) -> Any:
        raise FileNotFoundError(f"{path}: ray is minray here (minray.install_as_ray)")
