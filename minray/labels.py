"""Labels of nodes, and selectors of nodes by them, as users write them: ``{"zone": "!in(a, b)"}``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from minray.core.terms import LabelTest, Selector

#: What a label's name and value may look like (Kubernetes' rules, which Ray follows).
_WORD = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?")
_IN = re.compile(r"in\((.*)\)")
_LONGEST_PREFIX = 253
_ALLOWED = (
    "63 chars or less beginning and ending with an alphanumeric character ([a-z0-9A-Z]) with dashes (-), underscores "
    "(_), dots (.), and alphanumerics between."
)


def check_labels(labels: Any) -> None:
    """What `init(labels=...)` may be. TypeError: no dict of strings. ValueError: a string that is no label."""
    if labels is None:
        return
    if not isinstance(labels, Mapping):
        raise TypeError(f"labels must be a dict of strings, got: {labels!r}.")
    for key, value in labels.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"labels must be a dict of strings, but it has {key!r}: {value!r}.")
        problem = _wrong_key(key)
        if problem is None and value and not _WORD.fullmatch(value):
            problem = f"Invalid label value `{value}`. Value must be {_ALLOWED}"
        if problem:
            raise ValueError(problem)


def wrong_selector(selector: Mapping[Any, Any] | None) -> str | None:
    """What is wrong with a `label_selector`, or None. TypeError: a name or a value is no string."""
    for key, value in (selector or {}).items():
        if not isinstance(key, str) or not isinstance(value, str):
            kind = ValueError if value is None else TypeError  # as in Ray
            raise kind(f"Label selector value must be string, but label_selector has {key!r}: {value!r}.")
        problem = _wrong_key(key) or _wrong_value(value)
        if problem:
            return problem
    return None


def _wrong_key(key: str) -> str | None:
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > _LONGEST_PREFIX or not all(map(_WORD.fullmatch, prefix.split(".")))):
        return (
            f"Invalid label key prefix `{prefix}`. Prefix must be a series of DNS labels separated by dots (.), not "
            f"longer than {_LONGEST_PREFIX} characters in total."
        )
    return None if _WORD.fullmatch(name) else f"Invalid label key name `{name}`. Name must be {_ALLOWED}"


def _wrong_value(value: str) -> str | None:
    if not value or all(map(_WORD.fullmatch, _test("", value)[2])):
        return None
    return (
        f"Invalid label selector value `{value}`. The label selector value should contain optional operators and a "
        f"label value. Supported operators are: ! and {{'in'}}. Value must be {_ALLOWED}"
    )


def show_selector(selector: Selector) -> dict[str, str]:
    """The way back from `parse_selector`."""
    found = {}
    for key, operator, values in selector:
        text = values[0] if len(values) == 1 else f"in({','.join(values)})"
        found[key] = f"!{text}" if operator == "not in" else text
    return found


def parse_selector(selector: Mapping[str, str]) -> Selector:
    """A checked selector as tests: ``v`` equals, ``!v`` does not, ``in(v, w)`` is one of, ``!in(v, w)`` is none of."""
    return tuple([_test(key, value) for key, value in selector.items()])


def _test(key: str, value: str) -> LabelTest:
    operator = "not in" if value.startswith("!") else "in"
    value = value.removeprefix("!")
    several = _IN.fullmatch(value)
    values = [one.strip() for one in several[1].split(",")] if several else [value]
    return key, operator, tuple(values)
