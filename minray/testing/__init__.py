"""For tests of programs written to Ray's API, and of backends: ``pip install 'minray[testing]'``.

`exploring`: `explore` runs a program under many schedules of the sim backend, shrinks one that breaks it, draws it and
has it replayed; `find`, `outcomes` and the decorator `explored` are beside it. `runs`, `shrink`, `chart` are its parts.

`equivalence`: `assert_equivalent` runs a program on several backends and on `reference`, which carries everything out
on the spot, and compares. `graphs` and `actors` are Hypothesis's strategies for such programs, `programs` is what they
are made of.

`conformance`: `BackendConformance`, the suite that a backend has to pass.

`plugin`: what pytest gets: a run for each test, and a check of what it leaves behind (`leaks`).

docs/testing.md shows how to use it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minray.testing.actors import actor_programs
    from minray.testing.conformance import BackendConformance
    from minray.testing.equivalence import Outcome, assert_equivalent
    from minray.testing.exploring import Failure, ScheduleError, explore, explored, find, outcomes
    from minray.testing.graphs import task_graphs
    from minray.testing.programs import Program
    from minray.testing.reference import Serial

#: Where each name is: imported when it is first used, as Hypothesis alone takes longer than all of minray.
_HOMES = {
    "BackendConformance": "conformance",
    "Failure": "exploring",
    "Outcome": "equivalence",
    "Program": "programs",
    "ScheduleError": "exploring",
    "Serial": "reference",
    "actor_programs": "actors",
    "assert_equivalent": "equivalence",
    "explore": "exploring",
    "explored": "exploring",
    "find": "exploring",
    "outcomes": "exploring",
    "task_graphs": "graphs",
}

__all__ = [
    "BackendConformance",
    "Failure",
    "Outcome",
    "Program",
    "ScheduleError",
    "Serial",
    "actor_programs",
    "assert_equivalent",
    "explore",
    "explored",
    "find",
    "outcomes",
    "task_graphs",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'minray.testing' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f"minray.testing.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
