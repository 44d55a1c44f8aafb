"""The path to what cannot be pickled, as a person would write it."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from minray.wire.culprit import find_culprit
from minray.wire.pickling import dumps

LOCK = threading.Lock()


def can_pickle(obj: Any) -> bool:
    try:
        dumps(obj)
    except Exception:
        return False
    return True


class Slotted:
    __slots__ = ("inner", "other")

    def __init__(self, inner: Any) -> None:
        self.inner = inner


class Model:
    def __init__(self) -> None:
        self.name = "model"
        self.state = {"jobs": [1, 2, (LOCK,)]}

    def train(self) -> None: ...


def captures() -> Any:
    db = SimpleNamespace(connection=LOCK)
    return lambda: db


def uses_a_global() -> Any:
    namespace: dict[str, Any] = {"LOCK": LOCK}
    exec("def f(): return LOCK", namespace)
    return namespace["f"]


def with_defaults() -> Any:
    return lambda a, b=LOCK, *, c=1: a


def with_keyword_defaults() -> Any:
    return lambda *, c=LOCK: c


def beside_a_variable_that_is_never_set(some: bool = False) -> Any:
    if some:
        unset = 1
    lock = LOCK
    return lambda: (unset, lock)  # pyright: ignore[reportPossiblyUnboundVariable]


class Circular:
    def __init__(self) -> None:
        self.me = self
        self.children = [self, {"lock": LOCK}]


@pytest.mark.parametrize(
    ("obj", "path"),
    [
        (LOCK, ""),
        ([1, LOCK], "[1]"),
        ({"a": {"b": LOCK}}, "['a']['b']"),
        ({(1, LOCK): 2}, f".<key (1, {LOCK!r})>[1]"),
        (Model(), ".state['jobs'][2][0]"),
        (Model().train, ".__self__.state['jobs'][2][0]"),
        (Slotted([LOCK]), ".inner[0]"),
        (captures(), ".<closure>.db.connection"),
        (uses_a_global(), ".<global>.LOCK"),
        (with_defaults(), ".__defaults__[0]"),
        (with_keyword_defaults(), ".__kwdefaults__['c']"),
        (beside_a_variable_that_is_never_set(), ".<closure>.lock"),
        (Circular(), ".children[1]['lock']"),
    ],
    ids=lambda one: one.replace(repr(LOCK), "LOCK") if isinstance(one, str) else type(one).__name__,
)
def test_the_path_leads_to_the_culprit(obj: Any, path: str) -> None:
    assert find_culprit(obj, can_pickle) == (path, LOCK, "a _thread.lock cannot be pickled")


def test_a_culprit_in_a_set_is_shown() -> None:
    path, culprit, _ = find_culprit({1, Model.train, LOCK}, can_pickle)
    assert path == f".<item {LOCK!r}>" and culprit is LOCK


def test_an_object_whose_own_attributes_raise_is_the_end_of_the_path() -> None:
    class Angry:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(f"no {name} for you")

        def __reduce__(self) -> Any:
            raise RuntimeError("no pickle for you")

    angry = Angry()
    path, culprit, why = find_culprit({"a": [angry]}, can_pickle)
    assert path == "['a'][0]" and culprit is angry
    assert why.endswith("Angry cannot be pickled")


def test_keys_that_have_no_repr_or_a_long_one_do_not_spoil_the_message() -> None:
    class Mute:
        def __repr__(self) -> str:
            raise ValueError("nothing to say")

    assert find_culprit({Mute(): LOCK}, can_pickle)[0] == ""
    assert len(find_culprit({"x" * 1000: LOCK}, can_pickle)[0]) < 200


def test_a_very_deep_path_is_cut_short() -> None:
    obj: Any = LOCK
    for _ in range(50):
        obj = [obj]
    path, culprit, _ = find_culprit(obj, can_pickle)
    assert path == "[0]" * 12
    assert isinstance(culprit, list)
