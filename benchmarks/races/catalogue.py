"""What a race is here: a small program with a known bug, and its twin without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import minray

#: What the programs know as `ray`. They are for checkers of schedules, not of types.
ray: Any = minray

#: `program(fixed)` runs the program once, and raises if the bug has shown (AssertionError, or what minray raises).
Program = Callable[[bool], None]


@dataclass(frozen=True)
class Race:
    """A program with a bug."""

    name: str
    program: Program
    depth: int  #: how many events have to happen in a certain order for it to show, the order of the rest being free
    faults: Any = None  #: what has to break for it to show, as for ``init(faults=...)``
    about: str = ""  #: the bug, in a line


CATALOGUE: dict[str, Race] = {}


def race(depth: int, faults: Any = None) -> Callable[[Program], Program]:
    """Enter a program into the catalogue. Its docstring says what the bug is."""

    def enter(program: Program) -> Program:
        name = program.__name__
        CATALOGUE[name] = Race(name, program, depth, faults, (program.__doc__ or "").partition("\n")[0])
        return program

    return enter
