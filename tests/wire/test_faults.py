"""Faults: what the core says of a failure becomes the exception that Ray raises for it."""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

import pytest

import minray.core
from minray import exceptions as e
from minray.core.value import NAMED_DEPENDANTS, Value, dependency_failed, fault
from minray.wire.faults import _MAKERS
from minray.wire.framing import Framer, frame
from minray.wire.values import decode

BOOM = e.RayTaskError.from_exception("boom", KeyError("x"))
ERROR: Value = (8, pickle.dumps(BOOM), ())


def read(value: Value) -> Any:
    """The exception that the reader of a value gets, at the other end of a channel."""
    ((_, there),) = Framer().feed(frame([(1, value)]))
    return decode(there, 1, None)


KILLED = fault("ActorDied", "A", 255, "it was killed", 7, "joe", "ns", "a.py:1", None)


@pytest.mark.parametrize(
    ("value", "kind", "words"),
    [
        (fault("WorkerCrashed", "f", "it crashed"), e.WorkerCrashedError, "Task: f. it crashed"),
        (fault("ObjectLost", 255), e.ObjectLostError, "ff"),
        (
            KILLED,
            e.ActorDiedError,
            "class_name: A",
        ),
        (
            KILLED,
            e.ActorDiedError,
            "because it was killed",
        ),
        (KILLED, e.ActorDiedError, "name: joe"),
        (fault("ActorDied", "A", 255, "its creation failed", 7, "", "", "", ERROR), e.ActorDiedError, "KeyError: 'x'"),
        (fault("ActorUnavailable", "A", 255, "it crashed"), e.ActorUnavailableError, "restarted because it crashed"),
        (fault("System", "no more"), e.RaySystemError, "no more"),
    ],
    ids=lambda one: one[1][0] if isinstance(one, tuple) else None,
)
def test_a_fault_becomes_an_exception_that_says_what_happened(value: Value, kind: type, words: str) -> None:
    error = read(value)
    assert type(error) is kind
    assert words in str(error)
    assert str(pickle.loads(pickle.dumps(error))) == str(error), "which can travel on"


def test_every_fault_that_the_core_makes_has_an_exception() -> None:
    sources = [path.read_text() for path in Path(minray.core.__path__[0]).glob("*.py")]
    made = {name for source in sources for name in re.findall(r'fault\("(\w+)"', source)}
    assert made <= _MAKERS.keys()
    assert {"WorkerCrashed", "ActorDied", "DependencyFailed"} <= made


# -- dependants ----------------------------------------------------------------------------------------------------


def test_a_dependant_s_error_is_that_of_its_argument_and_names_every_call_between() -> None:
    error = read(dependency_failed("h", dependency_failed("g", ERROR)))
    assert isinstance(error, e.RayTaskError) and isinstance(error.as_instanceof_cause(), KeyError)
    text = str(error)
    assert text.index("::h()") < text.index("::g()") < text.index("::boom()") < text.index("KeyError: 'x'")
    assert text.count("At least one of the input arguments for this task could not be computed") == 2


@pytest.mark.parametrize(
    "value",
    [
        fault("WorkerCrashed", "f", "why"),
        fault("ActorDied", "A", 1, "why", 0, "", "", "", None),
        fault("ObjectLost", 7),
    ],
    ids=lambda value: value[1][0],
)
def test_the_cause_of_a_dependant_s_error_may_be_a_fault(value: Value) -> None:
    error = read(dependency_failed("g", value))
    assert isinstance(error, e.RayTaskError)
    assert type(error.cause) is type(read(value)) and str(error.cause) in str(error)


def test_a_long_chain_of_dependants_has_an_error_of_bounded_size_with_both_ends_in_it() -> None:
    value = ERROR
    for i in range(2000):
        value = dependency_failed(f"call{i}", value)
    text = str(read(value))
    assert text.count("At least one of the input arguments") == NAMED_DEPENDANTS
    assert "::call1999()" in text and "::call0()" in text and "KeyError: 'x'" in text


def test_an_actor_s_death_may_have_an_argument_s_failure_as_its_cause() -> None:
    died = fault("ActorDied", "A", 1, "its creation failed", 0, "", "", "", dependency_failed("A.__init__", ERROR))
    error = read(died)
    assert isinstance(error, e.ActorDiedError)
    assert "KeyError: 'x'" in str(error) and "A.__init__" in str(error)
    assert "KeyError: 'x'" in str(read(dependency_failed("A.m", died)))
