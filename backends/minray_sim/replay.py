"""A schedule in a file: what differs from first-in-first-out, so that a run can be had again.

    {"minray replay": 1, "error": "...", "seed": 0, "max_steps": 100000, "faults": {...}, "input": "...",
     "schedule": [["call A.f.1", "call B.g.2"], ...]}

Of each pair in the schedule the second happens instead of the first. The input is that of an explored program which
takes one: pickled, as hexadecimal digits.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from minray_sim.faults import Faults
from minray_sim.settings import Settings
from minray_sim.strategies import Deviations

VERSION = 1


def save(path: str, settings: Settings, pairs: Sequence[tuple[str, str]], error: str, input: str = "") -> None:
    """Write a schedule to a file."""
    schedule = ",\n".join(f"  {json.dumps(list(pair))}" for pair in pairs)
    head = {
        "minray replay": VERSION,
        "error": error,
        "seed": settings.seed,
        "max_steps": settings.max_steps,
        "faults": None if settings.faults is None else settings.faults.budget,
        "input": input,
    }
    text = json.dumps(head, indent=1)[:-2]
    with open(path, "w", encoding="utf-8") as file:
        file.write(f'{text},\n "schedule": [\n{schedule}\n ]\n}}\n')


def load(path: str) -> Settings:
    """The settings that a file stands for. OSError, ValueError: it cannot be read, or is no schedule."""
    try:
        with open(path, encoding="utf-8") as file:
            data: dict[str, Any] = json.load(file)
        if data["minray replay"] != VERSION:
            raise KeyError("version")
        pairs = [(str(usual), str(chosen)) for usual, chosen in data["schedule"]]
        faults = Faults.of(data["faults"]) if data["faults"] else None
        return Settings(data["seed"], Deviations(pairs), faults, data["max_steps"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"MINRAY_REPLAY: {path} is no schedule that this version can replay: {error!r}.") from error
