"""Errors of tasks: what arrives at `get`, after a trip through pickle, for exceptions of every kind."""

from __future__ import annotations

import asyncio
import builtins
import copyreg
import inspect
import pickle
import sys
import threading
from typing import Any

import pytest

import minray
from minray import api, exceptions
from minray.exceptions import ActorDiedError, GetTimeoutError, RayError, RayTaskError, UnserializableException


class NeedsArguments(Exception):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text

    @property
    def doubled(self) -> int:
        return 2 * self.code

    def describe(self) -> str:
        return f"code {self.code}"


class Slotted(Exception):
    __slots__ = ("where",)
    limit = 0

    def __init__(self, where: str) -> None:
        self.where = where
        self.limit = 7


class OnlyKeywords(OSError):
    def __init__(self, *, host: str) -> None:
        super().__init__(2, "no such host", "file")
        self.host = host


class Strict(Exception):
    def __new__(cls, a: int, b: int) -> Strict:
        return super().__new__(cls, a, b)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("strict")


class Final(Exception):
    def __init_subclass__(cls) -> None:
        raise TypeError("nobody derives from Final")


class OwnArgs(Exception):
    @property
    def args(self) -> tuple[str]:  # type: ignore[override]
        return ("mine",)


def failed(error: BaseException, **about: Any) -> RayTaskError:
    """What a worker stores for a task that raises `error`."""
    try:
        raise error
    except BaseException as raised:
        return RayTaskError.from_exception("f", raised, 42, **about)


def arrived(error: BaseException) -> Any:
    """What `get` raises for it, in another process."""
    task_error: RayTaskError = pickle.loads(pickle.dumps(failed(error)))
    return task_error.as_instanceof_cause()


ORDINARY = [
    ValueError("boom"),
    KeyError("k"),
    NeedsArguments(3, "x"),
    Slotted("here"),
    OnlyKeywords(host="h"),
    Strict(1, 2),
    OwnArgs(1),
    FileNotFoundError(2, "no", "name"),
    UnicodeDecodeError("utf8", b"x", 0, 1, "why"),
    StopIteration(5),
    SystemExit(3),
    ImportError("m", name="n"),
    asyncio.CancelledError(),
    GetTimeoutError("late"),
    ActorDiedError("it fell", "ab"),
]


@pytest.mark.parametrize("error", ORDINARY, ids=lambda error: type(error).__name__)
def test_an_error_arrives_as_an_instance_of_its_own_type_too(error: BaseException) -> None:
    found = arrived(error)

    assert isinstance(found, RayTaskError)
    assert isinstance(found, type(error))
    assert type(found).__name__ == f"RayTaskError({type(error).__name__})"
    assert type(found.cause) is type(error)
    assert found.args == (found.cause,)
    assert repr(found) == f"RayTaskError({type(error).__name__})({found.cause!r})"


@pytest.mark.parametrize("error", ORDINARY, ids=lambda error: type(error).__name__)
def test_it_can_be_raised_and_pickled_again(error: BaseException) -> None:
    found = arrived(error)

    with pytest.raises(type(error)):
        raise found
    again = pickle.loads(pickle.dumps(found))
    assert type(again) is type(found)  # one type for each type of cause
    assert str(again) == str(found)
    assert repr(again.cause) == repr(found.cause)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exception groups are new in Python 3.11")
def test_a_group_arrives_as_a_group() -> None:
    group: Any = vars(builtins)["ExceptionGroup"]

    found = arrived(group("several", [ValueError(1), KeyError(2)]))

    assert isinstance(found, group)
    assert [type(one) for one in found.exceptions] == [ValueError, KeyError]
    assert "ValueError: 1" in str(found)


def test_attributes_properties_and_methods_of_the_cause_work() -> None:
    found = arrived(NeedsArguments(3, "x"))

    assert (found.code, found.text, found.doubled, found.describe()) == (3, "x", 6, "code 3")
    assert (arrived(Slotted("here")).where, arrived(Slotted("here")).limit) == ("here", 7)
    with pytest.raises(AttributeError):
        found.nothing_of_the_kind


def test_what_c_types_keep_outside_of_dict_arrives() -> None:
    assert arrived(FileNotFoundError(2, "no", "name")).filename == "name"
    assert arrived(OnlyKeywords(host="h")).errno == 2
    assert arrived(OnlyKeywords(host="h")).host == "h"
    assert arrived(StopIteration(5)).value == 5
    assert arrived(UnicodeDecodeError("utf8", b"x", 0, 1, "why")).reason == "why"


def test_the_text_starts_at_the_users_frame_and_names_task_and_process() -> None:
    lines = str(arrived(ValueError("boom"))).splitlines()

    assert lines[0] == "minray::f() (pid=42)"
    assert lines[1].startswith(f'  File "{__file__}", line ')
    assert lines[1].endswith(", in failed")
    assert lines[2] == "    raise error"
    assert lines[-1] == "ValueError: boom"


def test_frames_of_minray_at_the_start_are_left_out() -> None:
    namespace: dict[str, Any] = {"__name__": "minray.worker"}
    exec("def run(function, *args):\n    return function(*args)", namespace)

    def user(x: int) -> None:
        raise ValueError(x)

    with pytest.raises(ValueError) as caught:
        namespace["run"](namespace["run"], user, 1)
    from_the_worker_on = caught.value.with_traceback(caught.tb.tb_next)
    text = str(RayTaskError.from_exception("user", from_the_worker_on))

    assert text.count("  File ") == 1
    assert ", in user\n" in text


def test_frames_of_minray_at_the_end_of_its_own_errors_are_left_out() -> None:
    def user(wrong: Any) -> None:
        minray.get(wrong)

    def late(ref: Any) -> None:
        namespace: dict[str, Any] = {"GetTimeoutError": GetTimeoutError}
        exec(compile("def get(): raise GetTimeoutError('late')", api.__file__, "exec"), namespace)
        namespace["get"]()

    for function, error, last in [(user, ValueError, "get"), (late, GetTimeoutError, "late")]:
        with pytest.raises(error) as caught:
            function(None)
        text = str(RayTaskError.from_exception("f", caught.value))
        assert [line for line in text.splitlines() if line.startswith("  File ")][-1].endswith(f", in {last}")


def test_an_actors_error_says_which_actor() -> None:
    error = failed(ValueError("boom"), actor_repr="<A>", actor_id="0a0b")

    assert str(error).startswith("minray::f() (pid=42, actor_id=0a0b, repr=<A>)\n")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_an_error_of_a_task_that_waited_for_a_failed_one_shows_both_and_keeps_the_first_cause() -> None:
    def outer() -> None:
        raise arrived(KeyError("inner"))

    with pytest.raises(KeyError) as caught:
        outer()
    found = RayTaskError.from_exception("g", caught.value, 43).as_instanceof_cause()

    assert type(found).__name__ == "RayTaskError(KeyError)"
    assert repr(found.cause) == "KeyError('inner')"
    text = str(found)
    assert text.index("minray::g() (pid=43)") < text.index(", in outer") < text.index("minray::f() (pid=42)")
    assert text.endswith("KeyError: 'inner'")


def test_a_task_that_could_not_run_says_so_and_fails_with_its_arguments_error() -> None:
    found = failed(KeyError("inner")).for_dependant("g").as_instanceof_cause()

    assert isinstance(found, KeyError)
    text = str(found)
    assert text.startswith(
        "minray::g() (pid=42)\n  At least one of the input arguments for this task could not be comp"
    )
    assert "minray::f() (pid=42)" in text


def test_a_type_that_forbids_subclasses_arrives_as_the_cause_only() -> None:
    found = arrived(Final("x"))

    assert type(found) is RayTaskError
    assert isinstance(found.cause, Final)
    assert "Final: x" in str(found)


@pytest.mark.parametrize("error", [RayError("q"), BaseException("b")], ids=["RayError", "BaseException"])
def test_what_a_task_error_is_anyway_needs_no_second_type(error: BaseException) -> None:
    assert type(arrived(error)) is RayTaskError


def test_an_error_that_cannot_be_pickled_arrives_with_its_repr_and_the_reason() -> None:
    class Locked(Exception):
        def __init__(self) -> None:
            super().__init__("locked")
            self.lock = threading.Lock()

    found = arrived(Locked())

    assert type(found) is RayTaskError
    assert "Locked('locked')" in str(found.cause)
    assert "cannot pickle '_thread.lock' object" in str(found.cause)
    assert str(found).endswith("Locked: locked")


def test_an_error_with_a_broken_repr_that_cannot_be_pickled_arrives_nevertheless() -> None:
    class Broken(Exception):
        def __repr__(self) -> str:
            raise RuntimeError("no repr")

        def __reduce__(self) -> Any:
            raise RuntimeError("no pickle")

    assert "no pickle" in str(arrived(Broken()).cause)


def test_an_error_of_a_module_that_is_missing_here_arrives_with_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    module = type(sys)("only_over_there")
    exec("class Far(Exception): pass", module.__dict__)
    monkeypatch.setitem(sys.modules, "only_over_there", module)
    packed = pickle.dumps(failed(module.Far("x")))
    monkeypatch.delitem(sys.modules, "only_over_there")

    found = pickle.loads(packed).as_instanceof_cause()

    assert isinstance(found.cause, UnserializableException)
    assert "only_over_there" in str(found.cause)
    assert "only_over_there.Far: x" in str(found)


def test_an_actor_whose_init_failed_says_why() -> None:
    error = pickle.loads(pickle.dumps(ActorDiedError(failed(ValueError("boom"), actor_repr="<A>", actor_id="0a"))))

    assert error.actor_init_failed
    assert error.actor_id == "0a"
    assert "raised in its creation task, minray::f()" in str(error)
    assert "ValueError: boom" in str(error)


def test_every_error_survives_pickle_with_its_words() -> None:
    arguments = {
        "RayTaskError": ("f", "Traceback (most recent call last):\nValueError", ValueError()),
        "ActorUnavailableError": ("it restarts", b"\x0a"),
        "ObjectReconstructionFailedError": ("0a", None, "because"),
    }
    for name, kind in vars(exceptions).items():
        if inspect.isclass(kind) and issubclass(kind, RayError):
            error = kind(*arguments.get(name, ("text",)))
            copy = pickle.loads(pickle.dumps(error))
            assert (type(copy), str(copy)) == (kind, str(error))


def test_the_hierarchy_is_rays() -> None:
    assert issubclass(GetTimeoutError, TimeoutError)
    assert issubclass(exceptions.ActorAlreadyExistsError, ValueError)
    assert issubclass(exceptions.OwnerDiedError, exceptions.ObjectLostError)
    assert issubclass(exceptions.ReferenceCountingAssertionError, AssertionError)
    assert exceptions.ActorDiedError.__mro__[1:3] == (exceptions.RayActorError, RayError)


def test_what_libraries_tell_pickle_about_exceptions_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(copyreg.dispatch_table, Strict, lambda error: (Exception, ("something else",)))
    assert isinstance(arrived(Strict(1, 2)), Strict)
