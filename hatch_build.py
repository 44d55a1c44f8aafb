"""What the build adds to a wheel: the conformance suite, for who writes a backend (`minray.testing.conformance`).

A hook instead of a line of configuration, because an editable install must not have a copy, which would go stale.
"""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ShipTheSuite(BuildHookInterface):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "standard":
            build_data["force_include"]["tests/conformance"] = "minray/testing/suite"
