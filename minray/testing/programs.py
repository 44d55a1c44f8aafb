"""Programs as values: `Program` is a text that runs; `Writer` writes one, statement by statement, from what it draws.

The text is the program: what is run, shown in a failure and pasted into a bug report is one and the same. It is a
function of `ray` alone, so it runs on any module with Ray's API, and on `minray.testing.Serial`.

A writer knows which names are bound and what they hold, so that each statement makes sense, and how many calls the text
can lead to, so that it ends. What to write is drawn from Hypothesis, choice by choice: it shrinks by leaving statements
out and by taking the first of each list of possibilities, which is why those begin with the simplest.
"""

from __future__ import annotations

import linecache
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from hypothesis import strategies as st

T = TypeVar("T")


class Draw(Protocol):
    """What Hypothesis gives to a composite strategy."""

    def __call__(self, strategy: st.SearchStrategy[T], /) -> T: ...


@dataclass(frozen=True)
class Program:
    """A program for Ray's API: the source of a function ``program(ray)``, which is its repr too."""

    source: str

    def run(self, ray: Any) -> Any:
        """Run it on a module with Ray's API that is initialised, or on a `Serial`; what it returns."""
        # Python's tracebacks, pdb and inspect find the text by this name.
        file = f"<program {zlib.crc32(self.source.encode()):08x}>"
        linecache.cache[file] = (len(self.source), None, self.source.splitlines(keepends=True), file)
        namespace: dict[str, Any] = {"__name__": "program"}
        exec(compile(self.source, file, "exec"), namespace)
        return namespace["program"](ray)

    def __repr__(self) -> str:
        return self.source


@dataclass(frozen=True)
class Name:
    """A name that is bound where a statement is written."""

    text: str
    holds: str  #: "value", "ref", "refs" (a list of refs), or what class of actor it is a handle of
    actor: str = ""  #: of a handle: the name that its actor was first bound to

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Function:
    """A remote function that the text has defined."""

    name: str
    kind: str = "plain"  #: or "pair" (two results), "stream" (a generator)
    cost: int = 1  #: how many calls one of it makes at most, itself included


#: What programs begin with. `number` makes one number of any value, whatever it is made of: so a wrong type, order or
#: depth changes the outcome. All errors are alike, so it does not matter which of several is met first.
PRELUDE = '''\
def program(ray):

    import numpy

    class Oops(Exception):
        pass

    def number(value):
        """What a value comes to: refs are fetched, at any depth."""
        if isinstance(value, ray.ObjectRef):
            return 3 * number(ray.get(value)) + 1
        if isinstance(value, numpy.ndarray):
            return int(value[0] + value[-1]) + len(value)
        if isinstance(value, dict):
            value = [*value, *value.values()]
        if isinstance(value, (list, tuple)):
            total = len(value) + isinstance(value, tuple)
            for item in value:
                total = (31 * total + number(item)) % 9973
            return total
        if isinstance(value, str):
            return ord(value[0])
        return value if isinstance(value, int) else 13

    def seen(value):
        """The same, and a number for each way to fail."""
        try:
            return number(value)
        except Oops as error:
            return -1 - len(str(error.cause))
        except ray.exceptions.RayError:
            return -100
'''


@dataclass
class Writer:
    """Writes a block of statements: the body of the program, or of one of its functions."""

    draw: Draw
    indent: str = "    "
    lines: list[str] = field(default_factory=list)
    names: list[Name] = field(default_factory=list)  #: what is bound here
    functions: list[Function] = field(default_factory=list)  #: what may be called here
    named: dict[str, Name] = field(default_factory=dict)  #: actors that can be found by a name
    budget: int = 100  #: how many calls may still be made
    cost: int = 0  #: how many are
    count: int = 0  #: names made so far

    def write(self, line: str) -> None:
        self.lines.append(self.indent + line)

    def choose(self, possibilities: Sequence[T]) -> T:
        return self.draw(st.sampled_from(possibilities))

    def flip(self) -> bool:
        return self.draw(st.booleans())

    def integer(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def bind(self, holds: str, expression: str) -> Name:
        """Write that a new name is an expression."""
        name = self.fresh(holds)
        self.write(f"{name} = {expression}")
        self.names.append(name)
        return name

    def fresh(self, holds: str) -> Name:
        self.count += 1
        return Name(f"v{self.count}", holds)

    def holding(self, *kinds: str) -> list[Name]:
        return [name for name in self.names if name.holds in kinds]

    def some(self, names: Sequence[Name], least: int = 0, most: int = 4) -> list[Name]:
        """Some of these names, none of them twice."""
        if not names:
            return []
        return self.draw(st.lists(st.sampled_from(names), unique=True, min_size=min(least, len(names)), max_size=most))

    def statements(self, makers: Sequence[Callable[[Any], None]], typical: int, most: int) -> None:
        """Write as many statements as are drawn, each by one of the makers."""

        @st.composite
        def statement(draw: Draw) -> bool:
            # In a strategy of its own: to Hypothesis it is a unit, which it can leave out.
            if draw(st.integers(0, typical)) == 0:
                return False
            draw(st.sampled_from(makers))(self)
            return True

        for _ in range(most):
            if not self.draw(statement()):
                break

    def argument(self) -> str:
        """An expression for a value, a ref, or a container of some."""
        names = self.holding("value", "ref", "refs")
        forms = ["literal", "name", "list", "tuple", "dict", "deep"] if names else ["literal"]
        form = self.choose(forms)
        if form == "literal":
            return str(self.integer(0, 9))
        if form == "name":
            return str(self.choose(names))
        if form == "list":
            return "[" + ", ".join(map(str, self.some(names))) + "]"
        name = self.choose(names)
        return {"tuple": f"({name}, {self.integer(0, 9)})", "dict": f"{{'k': {name}}}", "deep": f"[[{name}], 'x']"}[
            form
        ]

    def callables(self, *kinds: str, times: int = 1) -> list[Function]:
        """The functions of these kinds that can be called so often without exceeding the budget."""
        return [one for one in self.functions if one.kind in kinds and self.cost + times * one.cost <= self.budget]
