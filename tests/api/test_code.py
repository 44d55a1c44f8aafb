"""Functions and classes as bytes: what closes over too much is warned of, where it is called."""

from __future__ import annotations

import warnings

import pytest

from minray import code
from minray.core.template import Code

pinned: list[int] = []


def make(size: int) -> Code:
    content = b"x" * size
    return code.make_code(lambda: content, "f", pinned.append, in_process=False)


def test_a_large_function_is_warned_of_at_the_users_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "LARGE_CODE_BYTES", 3 << 20)
    with pytest.warns(UserWarning, match=r"remote function f is very large \(4 MiB\)\..*large array") as caught:
        make(4 << 20)
    assert caught[0].filename == __file__


def test_a_function_that_is_not_large_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "LARGE_CODE_BYTES", 3 << 20)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(2 << 20)


def test_a_function_that_is_far_too_large_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code, "MAX_CODE_BYTES", 3 << 20)
    with pytest.raises(ValueError, match=r"remote function f is too large \(4 MiB > 3 MiB\)"):
        make(4 << 20)
