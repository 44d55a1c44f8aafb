"""`inspect_serializability` and the annotations of `util.annotations`."""

from __future__ import annotations

import io
import threading
import types
import warnings
from importlib import import_module
from typing import Any

import pytest

lock = threading.Lock()


def uses_lock() -> Any:
    return lock


class Holder:
    def __init__(self) -> None:
        self.plain = 1
        self.lock = lock


@pytest.fixture
def inspect(ray: Any) -> Any:
    """Inspects; returns whether it can be pickled, [(object, path, parent)], and what was printed."""

    def run(*args: Any, **kwargs: Any) -> Any:
        out = io.StringIO()
        fine, failures = ray.util.inspect_serializability(*args, print_file=out, **kwargs)
        assert isinstance(failures, set)
        return fine, [(one.obj, one.path, one.parent) for one in failures], out.getvalue()

    return run


@pytest.mark.parametrize("fine", [5, [1, {"a": None}], Holder, len])
def test_what_can_be_pickled_is_fine(inspect: Any, fine: Any) -> None:
    good, failures, printed = inspect(fine)
    assert (good, failures) == (True, [])
    assert f"Checking Serializability of {fine}" in printed


def test_a_global_of_a_function_is_found(inspect: Any) -> None:
    source = uses_lock
    namespace = {"lock": lock, "__name__": "__main__"}  # else it would be pickled by name
    function = types.FunctionType(source.__code__, namespace, "uses_lock")
    good, failures, printed = inspect(function, name="mine")
    assert not good
    assert failures == [(lock, ("mine", "lock"), function)]
    assert "!!! FAIL" in printed
    assert "Detected 1 global variables. Checking serializability..." in printed
    assert "Serializing 'lock'" in printed
    assert "was found to be non-serializable" in printed


def test_a_variable_that_is_closed_over_is_found(inspect: Any) -> None:
    held = lock

    def closure() -> Any:
        return held

    good, failures, printed = inspect(closure)
    assert not good
    assert failures == [(held, ("held",), closure)]
    assert "Detected 1 nonlocal variables" in printed


def test_an_attribute_is_found(inspect: Any) -> None:
    holder = Holder()
    good, failures, _ = inspect(holder, name="holder")
    assert not good
    assert failures == [(lock, ("holder", "lock"), holder)]


def test_what_is_in_a_list_is_not_told_apart(inspect: Any) -> None:
    items = [lock]
    good, failures, printed = inspect(items, name="items")
    assert not good
    assert failures == [(items, ("items",), None)]
    assert "WARNING: Did not find non-serializable object in list instance" in printed


def test_a_depth_of_zero_looks_no_further(inspect: Any) -> None:
    holder = Holder()
    good, failures, _ = inspect(holder, depth=0)
    assert not good
    assert failures == [(holder, (), None)]


def test_a_failure_shows_its_name(ray: Any) -> None:
    _, failures = ray.util.inspect_serializability(Holder(), "holder", print_file=io.StringIO())
    (failure,) = failures
    assert repr(failure).startswith("FailTuple(lock [path=holder -> lock, obj=<unlocked")


# -- annotations --------------------------------------------------------------------------------------------------


@pytest.fixture
def notes(ray: Any) -> Any:
    return import_module(f"{ray.__name__}.util.annotations")


def test_an_annotation_marks_what_it_decorates(notes: Any) -> None:
    @notes.PublicAPI
    def public() -> int:
        """Doc."""
        return 1

    @notes.DeveloperAPI
    def developer() -> int:
        """Doc."""
        return 2

    @notes.Deprecated
    def deprecated() -> int:
        """Doc."""
        return 3

    assert (public(), developer(), deprecated()) == (1, 2, 3)
    kinds = [notes._get_annotation_type(one) for one in (public, developer, deprecated)]
    assert kinds == ["PublicAPI", "DeveloperAPI", "Deprecated"]
    assert public.__doc__ == "Doc."
    assert "This API may change across minor Ray releases." in str(developer.__doc__)
    assert "This API is deprecated" in str(deprecated.__doc__)


def test_a_public_interface_has_a_stability(notes: Any) -> None:
    @notes.PublicAPI(stability="beta", api_group="Some")
    class Public:
        """Doc."""

    assert Public._annotated == "Public"
    assert Public._annotated_api_group == "Some"
    assert "in beta and may change" in str(Public.__doc__)
    with pytest.raises(AssertionError, match="shaky"):
        notes.PublicAPI(stability="shaky")


def test_what_is_deprecated_may_warn(notes: Any) -> None:
    @notes.Deprecated(message="Use another.", warning=True)
    def old() -> int:
        return 1

    @notes.Deprecated(message="Use another class.", warning=True)
    class Old:
        def __init__(self, value: int) -> None:
            self.value = value

    with pytest.warns(notes.RayDeprecationWarning, match=r"deprecated.*\n?.*Use another\."):
        assert old() == 1
    with pytest.warns(DeprecationWarning, match="Use another class"):
        assert Old(2).value == 2


def test_what_is_deprecated_is_silent_by_default(notes: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert notes.Deprecated(message="Quietly.")(lambda: 1)() == 1


def test_a_deprecation_takes_no_other_keywords(notes: Any) -> None:
    with pytest.raises(ValueError, match="Unknown kwargs"):
        notes.Deprecated(reason="x")
