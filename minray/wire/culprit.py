"""Which part of an object cannot be pickled, as the path a person would write to reach it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

_MAX_DEPTH = 12


def find_culprit(obj: Any, can_pickle: Callable[[Any], bool]) -> tuple[str, Any, str]:
    """Descend from `obj`, which cannot be pickled, to the deepest part that cannot: its path, itself, and why.

    The path is relative to `obj`: ``.model.lock``, ``['jobs'][3]``, ``.<closure>.db``; empty if `obj` itself is it.
    """
    path = ""
    seen = {id(obj)}
    for _ in range(_MAX_DEPTH):
        for step, part in _named_parts(obj):
            if id(part) not in seen and not can_pickle(part):
                seen.add(id(part))
                path += step
                obj = part
                break
        else:
            break
    return path, obj, f"a {type(obj).__module__}.{type(obj).__qualname__} cannot be pickled"


def _named_parts(obj: Any) -> Iterator[tuple[str, Any]]:
    try:
        yield from _parts(obj)
    except Exception:  # the user's __getattr__, __repr__ or __iter__ may raise anything: there the path ends
        return


def _parts(obj: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(obj, dict):
        for key, value in obj.items():
            yield f"[{_short(key)}]", value
            yield f".<key {_short(key)}>", key
    elif isinstance(obj, (list, tuple)):
        for index, value in enumerate(obj):
            yield f"[{index}]", value
    elif isinstance(obj, (set, frozenset)):
        for value in obj:
            yield f".<item {_short(value)}>", value
    if hasattr(obj, "__code__"):
        yield from _function_parts(obj)
    owner = getattr(obj, "__self__", None)
    if owner is not None and not isinstance(owner, ModuleType):
        yield ".__self__", owner
    try:
        attributes = dict(vars(obj))
    except TypeError:
        attributes = {}
    for cls in type(obj).__mro__:
        slots = cls.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(obj, name):
                attributes[name] = getattr(obj, name)
    for name, value in attributes.items():
        if not (name.startswith("__") and name.endswith("__")):
            yield f".{name}", value


def _short(key: Any) -> str:
    return f"{key!r:.100}"


def _function_parts(function: Any) -> Iterator[tuple[str, Any]]:
    code = function.__code__
    for name, cell in zip(code.co_freevars, function.__closure__ or ()):
        try:
            yield f".<closure>.{name}", cell.cell_contents
        except ValueError:  # not bound yet
            continue
    for name in code.co_names:
        if name in function.__globals__:
            yield f".<global>.{name}", function.__globals__[name]
    for index, value in enumerate(function.__defaults__ or ()):
        yield f".__defaults__[{index}]", value
    for name, value in (function.__kwdefaults__ or {}).items():
        yield f".__kwdefaults__[{name!r}]", value
