"""How thorough Hypothesis is: the same cases on every run, or (``HYPOTHESIS_PROFILE=long``) many new ones."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import HealthCheck, Phase, settings


def load() -> None:
    """Choose what the environment asks for. For a conftest, before any test is imported."""
    quiet: Any = {
        "deadline": None,
        # Not the phase that explains a failure: it would trace every line of every case.
        "phases": [phase for phase in Phase if phase is not Phase.explain],
        "suppress_health_check": list(HealthCheck),
    }
    settings.register_profile("ci", derandomize=True, database=None, stateful_step_count=40, **quiet)
    settings.register_profile("long", max_examples=5000, stateful_step_count=80, print_blob=True, **quiet)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
