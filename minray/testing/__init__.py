"""For tests of programs written to Ray's API.

`exploring`: `explore` runs a program under many schedules of the sim backend, shrinks one that breaks it, draws it and
has it replayed; `find`, `outcomes` and the decorator `explored` are beside it. `runs`, `shrink`, `chart` are its parts.

docs/testing.md shows how to use it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minray.testing.exploring import Failure, ScheduleError, explore, explored, find, outcomes

#: Where each name is: imported when it is first used.
_HOMES = dict.fromkeys(("Failure", "ScheduleError", "explore", "explored", "find", "outcomes"), "exploring")

__all__ = ["Failure", "ScheduleError", "explore", "explored", "find", "outcomes"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'minray.testing' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"minray.testing.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
