"""`inspect_serializability`: which part of an object it is that cannot be pickled."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

_RED, _PLAIN, _BOLD, _NORMAL = "\x1b[31m", "\x1b[39m", "\x1b[1m", "\x1b[0m"
_WIDTH = 80


class FailureTuple:
    """Something that cannot be pickled: `obj`, the names that lead to it (`path`), and what refers to it (`parent`)."""

    def __init__(self, obj: Any, path: tuple[str, ...], parent: Any) -> None:
        self.obj = obj
        self.path = path
        self.parent = parent

    def __repr__(self) -> str:
        name = self.path[-1] if self.path else "unknown"
        return f"FailTuple({name} [path={' -> '.join(self.path)}, obj={self.obj}, parent={self.parent}])"


def inspect_serializability(
    base_obj: Any, name: str | None = None, depth: int = 3, print_file: Any = None
) -> tuple[bool, set[FailureTuple]]:
    """Try to pickle an object; if that fails, look for the part of it that is to blame, and print what was found.

    Args:
        base_obj: A function, whose globals and closure are looked through, or anything else, whose attributes are.
        name: What to call it in the report.
        depth: How many steps to go from one object to what it refers to.
        print_file: Where to print; the standard output if None.

    Returns:
        Whether it can be pickled, and the set of the parts that cannot.
    """
    search = _Search(print_file)
    title = f"Checking Serializability of {base_obj}"
    line = "=" * min(len(title), _WIDTH)
    search.say(f"{line}\n{title}\n{line}")
    if search.can_pickle(base_obj):
        return True, set()
    search.blame(base_obj, (name,) if name is not None else (), None, depth)
    found = "\n".join(map(str, search.failures))
    search.say(
        f"{line}\n"
        f"Variable: \n\n\t{_BOLD}{found}{_NORMAL}\n\nwas found to be non-serializable. There may be more that was not "
        "looked at.\n"
        "Either do not refer to it from here, or make it inside the function or class.\n"
        f"{line}"
    )
    return False, search.failures


class _Search:
    def __init__(self, file: Any) -> None:
        self.failures: set[FailureTuple] = set()
        self._file = file
        self._level = 0

    def say(self, text: str) -> None:
        margin = "    " * self._level
        print(margin + text, file=self._file)

    def can_pickle(self, obj: Any) -> bool:
        import cloudpickle

        try:
            cloudpickle.dumps(obj)
        except Exception as error:  # whatever the user's __reduce__ raises
            self.say(f"{_RED}!!! FAIL{_PLAIN} serialization: {error}")
            return False
        return True

    def blame(self, obj: Any, path: tuple[str, ...], parent: Any, depth: int) -> None:
        """`obj` cannot be pickled: note that, or which part of it cannot."""
        found = False
        if depth > 0:
            if inspect.isfunction(obj):
                found = self._look_into_function(obj, path, depth)
            else:
                found = self._look_into_object(obj, path, depth)
            if not found:
                self.say(
                    f"WARNING: Did not find non-serializable object in {_describe(obj)}. Each of its parts can be "
                    "pickled; call inspect_serializability on those that you suspect."
                )
        if not found:
            self.failures.add(FailureTuple(obj, path, parent))

    def _look_into_function(self, function: Any, path: tuple[str, ...], depth: int) -> bool:
        self.say(f"Inspecting closure of '{function.__qualname__}':")
        closure = inspect.getclosurevars(function)
        for kind, variables in (("global", closure.globals), ("nonlocal", closure.nonlocals)):
            if variables:
                self.say(f"Detected {len(variables)} {kind} variables. Checking serializability...")
                if self._first_of(variables.items(), path, function, depth):
                    return True
        return False

    def _look_into_object(self, obj: Any, path: tuple[str, ...], depth: int) -> bool:
        def wanted(name: str, member: Any) -> bool:
            special = name.startswith("__") and name.endswith("__")
            return inspect.isfunction(member) or not (special or inspect.isbuiltin(member))

        members = [(name, member) for name, member in inspect.getmembers(obj) if wanted(name, member)]
        members.sort(key=lambda item: not inspect.isfunction(item[1]))  # functions first, as they name their closures
        return self._first_of(members, path, obj, depth)

    def _first_of(self, parts: Iterable[tuple[str, Any]], path: tuple[str, ...], parent: Any, depth: int) -> bool:
        self._level += 1
        try:
            for name, part in parts:
                self.say(f"Serializing '{name}' {part}...")
                if not self.can_pickle(part):
                    self.blame(part, (*path, name), parent, depth - 1)
                    return True
            return False
        finally:
            self._level -= 1


def _describe(obj: Any) -> str:
    if inspect.isfunction(obj):
        return obj.__qualname__
    return obj.__name__ if inspect.isclass(obj) else f"{type(obj).__name__} instance"
