"""The chaos harness: real programs, while something keeps killing, removing and delaying; and the leak check after."""

from __future__ import annotations

from tests.backends.conftest import eventually, flags, nothing_left

__all__ = ["eventually", "flags", "nothing_left"]
