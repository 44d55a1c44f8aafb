"""`Signature.check` accepts and rejects what Python itself would, with the words of `inspect`."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minray.signature import Signature

FUNCTIONS: list[Callable[..., Any]] = [
    lambda: 0,
    lambda a: 0,
    lambda a, b=1: 0,
    lambda a, /, b, c=1: 0,
    lambda *args: 0,
    lambda a, *args, k=1: 0,
    lambda a, *, k: 0,
    lambda a, *, k, m=1: 0,
    lambda **kwargs: 0,
    lambda a, /, **kwargs: 0,
    lambda a, b=1, *args, k, **kwargs: 0,
    lambda a=1, b=2, c=3: 0,
]
KEYWORDS = st.dictionaries(st.sampled_from(["a", "b", "c", "k", "m", "z"]), st.just(0), max_size=3)


@given(st.sampled_from(FUNCTIONS), st.integers(0, 4), KEYWORDS)
@example(FUNCTIONS[2], 1, {"a": 0})  # given twice
@example(FUNCTIONS[9], 1, {"a": 0})  # not given twice: the first is positional only
def test_it_agrees_with_python(function: Callable[..., Any], count: int, keywords: dict[str, Any]) -> None:
    def outcome(check: Callable[[], object]) -> str:
        try:
            check()
        except TypeError as error:
            return str(error)
        return "accepted"

    signature = Signature.of(function)
    expected = outcome(lambda: inspect.signature(function).bind(*range(count), **keywords))

    assert outcome(lambda: signature.check(tuple(range(count)), keywords)).partition(". ")[0] == expected
    if not keywords and signature.low <= count <= signature.high:
        assert expected == "accepted"  # what RemoteFunction.remote relies on


def test_it_leaves_self_out() -> None:
    class A:
        def m(self, x: int) -> None: ...

        def star(*args: Any) -> None: ...

    Signature.of(A.m, skip_first=True).check((1,), {})
    Signature.of(A.star, skip_first=True).check((1, 2, 3), {})
    with pytest.raises(TypeError, match="too many positional arguments"):
        Signature.of(A.m, skip_first=True).check((1, 2), {})


def test_it_travels_without_defaults_that_cannot() -> None:
    def f(a: int, lock: Any = (lambda: 0)) -> None: ...

    copy = pickle.loads(pickle.dumps(Signature.of(f)))

    assert copy.parameters == Signature.of(f).parameters
    copy.check((1,), {"lock": 2})
    with pytest.raises(TypeError, match="missing a required argument: 'a'"):
        copy.check((), {})
