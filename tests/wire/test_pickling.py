"""Pickling: the quick pickler's work is kept only where it is as good as cloudpickle's."""

from __future__ import annotations

import enum
import functools
import pickle
import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

from minray.refs import ObjectRef
from minray.wire import pickling
from minray.wire.pickling import code_dumps, dumps
from tests.wire.conftest import CountingSession


def copy(obj: Any) -> Any:
    """What comes out at the other end."""
    data, buffers, _ = dumps(obj)
    return pickle.loads(data, buffers=buffers)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What was left to cloudpickle."""
    left: list[Any] = []
    cloud = pickling._cloud_dumps

    def note(obj: Any, more: tuple[Any, ...]) -> Any:
        left.append(obj)
        return cloud(obj, more)

    monkeypatch.setattr(pickling, "_cloud_dumps", note)
    return left


def double(x: int) -> int:
    return 2 * x


@pytest.mark.parametrize(
    "obj", [[1, "a", {2.5: None}], double, ValueError("x"), np.arange(3), enum.Enum], ids=lambda it: type(it).__name__
)
def test_what_others_can_import_or_is_plain_data_needs_no_cloudpickle(obj: Any, slow: list[Any]) -> None:
    copy(obj)
    assert slow == []


# -- what only cloudpickle can do ----------------------------------------------------------------------------------


def closure() -> Callable[[int], int]:
    n = 10
    return lambda x: x + n


class Outer:
    def method(self) -> str:
        return "method"


def local_class() -> type:
    class Local:
        def __init__(self, a: int) -> None:
            self.a = a

        def more(self) -> int:
            return self.a + 1

    return Local


def test_lambdas_closures_and_local_classes_travel_by_value(slow: list[Any]) -> None:
    assert copy(closure())(1) == 11
    assert copy(functools.partial(lambda a, b: a - b, 5))(3) == 2
    assert copy(local_class()(1)).more() == 2
    assert copy([local_class()])[0](2).more() == 3
    assert copy(Outer().method)() == "method"
    assert len(slow) == 4, "a method of what can be imported is no problem"


def test_a_recursive_function_travels_with_itself() -> None:
    def factorial(n: int) -> int:
        return 1 if n == 0 else n * factorial(n - 1)

    assert copy(factorial)(5) == 120


def test_a_local_enum_keeps_its_members_apart() -> None:
    class Local(enum.Enum):
        A = 1
        B = 2

    a, again, kind = copy([Local.A, Local.A, Local])
    assert a is again is kind.A and a is not kind.B


def test_what_cannot_be_pickled_at_all_raises_what_cloudpickle_says() -> None:
    with pytest.raises(TypeError, match=r"cannot pickle '_thread.lock' object"):
        dumps([threading.Lock()])


def test_an_exception_of_the_object_s_own_pickling_comes_through() -> None:
    class Stubborn:
        def __reduce__(self) -> Any:
            raise RuntimeError("I stay here")

    with pytest.raises(RuntimeError, match="I stay here"):
        dumps({"a": Stubborn()})


# -- __main__ and other modules that the other side does not have --------------------------------------------------

SOURCE = """
class Thing:
    def __init__(self, n): self.n = n
    def more(self): return helper(self.n)
def helper(n): return n + 1
thing = Thing(1)
"""


@pytest.fixture
def forget() -> Iterator[Callable[[str], None]]:
    """Makes a module one that cannot be imported, as it is in another process."""
    forgotten: dict[str, Any] = {}

    def forget(name: str) -> None:
        forgotten[name] = sys.modules.pop(name)

    yield forget
    sys.modules.update(forgotten)


def test_what_is_defined_in_the_main_program_travels_by_value(forget: Callable[[str], None]) -> None:
    program = types.ModuleType("__main__")
    exec(SOURCE, program.__dict__)
    forget("__main__")
    sys.modules["__main__"] = program
    data, buffers, _ = dumps([program.thing, program.helper, program.Thing])
    sys.modules["__main__"] = types.ModuleType("__main__")  # that of a worker
    thing, helper, kind = pickle.loads(data, buffers=buffers)
    assert thing.more() == helper(1) == 2 and type(thing) is kind


def test_data_that_only_mentions_the_main_program_is_none_the_worse(slow: list[Any]) -> None:
    for data in ("__main__", b"__main__", {"__main__": 1}):
        assert copy(data) == data
    copy(np.frombuffer(b"__main__", dtype="u1"))
    assert len(slow) == 3, "cloudpickle is asked, as the stream is not read again; buffers are no part of it"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A module that this process alone can import."""
    (tmp_path / "only_here.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    import only_here  # type: ignore[import-not-found]

    yield only_here
    sys.modules.pop("only_here", None)


def test_a_module_registered_with_cloudpickle_travels_by_value(
    module: Any, forget: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    by_reference, *_ = dumps(module.thing)
    cloudpickle.register_pickle_by_value(module)
    data, *_ = dumps(module.thing)
    cloudpickle.unregister_pickle_by_value(module)
    forget("only_here")
    monkeypatch.undo()
    assert pickle.loads(data).more() == 2
    with pytest.raises(ModuleNotFoundError):
        pickle.loads(by_reference)


def test_a_function_whose_name_now_means_something_else_travels_by_value(module: Any) -> None:
    original, module.helper = module.helper, "a remote function, say"
    found = copy(original)
    assert found is not original and found(1) == 2


def test_a_class_that_was_defined_again_travels_by_value(module: Any) -> None:
    old = module.thing
    exec(SOURCE, module.__dict__)
    assert not isinstance(old, module.Thing)
    assert copy(old).more() == 2


def test_a_module_made_by_hand_travels_by_value() -> None:
    made = types.ModuleType("made_by_hand")
    exec(SOURCE, made.__dict__)
    found = copy([made, made.helper])
    assert found[0].helper(1) == found[1](1) == 2


# -- when the first attempt is thrown away -------------------------------------------------------------------------


class Noisy:
    """Pickles itself with a side effect."""

    pickled = 0

    def __reduce__(self) -> Any:
        Noisy.pickled += 1
        return Noisy, ()


def test_an_object_s_reduce_may_be_called_twice_and_no_more() -> None:
    Noisy.pickled = 0
    dumps(Noisy())
    assert Noisy.pickled == 1
    dumps([Noisy(), lambda: 0])
    assert Noisy.pickled == 3


def ref(id: int, session: Any) -> ObjectRef[Any]:
    session.retain(id)
    return ObjectRef(id, session)


def test_references_and_buffers_of_the_first_attempt_are_not_counted(session: CountingSession) -> None:
    array = np.arange(10)
    _, buffers, refs = dumps([ref(1, session), array, ref(2, session), lambda: 0])
    assert refs == [1, 2]
    assert [bytes(buffer.raw()) for buffer in buffers] == [array.tobytes()]


# -- references ----------------------------------------------------------------------------------------------------


def test_references_are_noted_and_not_pinned(session: CountingSession) -> None:
    _, _, refs = dumps({"a": [ref(1, session)], "b": ref(2, session)})
    assert refs == [1, 2]
    assert session.pinned == []


def test_a_reference_pickled_by_hand_is_pinned(session: CountingSession) -> None:
    pickle.dumps(ref(1, session))
    assert session.pinned == [1]


def test_references_in_object_arrays_and_attributes_are_noted(session: CountingSession) -> None:
    found = Outer()
    found.ref = ref(1, session)  # type: ignore[attr-defined]
    _, _, refs = dumps([np.array([ref(2, session), None], dtype=object), found])
    assert refs == [2, 1]


def test_code_is_pickled_with_the_references_it_closes_over(session: CountingSession) -> None:
    captured = ref(7, session)
    blob, refs = code_dumps(lambda: captured)
    assert refs == [7] and session.pinned == []
    assert pickle.loads(blob)() == captured


def test_an_importable_function_goes_by_name() -> None:
    blob, refs = code_dumps(double)
    assert len(blob) < 100 and refs == []
    assert pickle.loads(blob) is double


# -- code for workers that are threads of this process -------------------------------------------------------------


def for_this_process(target: Any) -> Any:
    return pickle.loads(code_dumps(target, in_process=True)[0])


def test_a_function_without_a_closure_is_not_copied_for_this_process() -> None:
    local = lambda x: x  # noqa: E731
    assert for_this_process(local) is local
    assert for_this_process(double) is double
    kind = local_class()
    assert for_this_process(kind) is kind


def test_what_a_function_closes_over_is_copied_even_for_this_process() -> None:
    captured = [1]

    def add(n: int, /, *, times: int = 1) -> list[int]:
        """Say so."""
        captured.extend([n] * times)
        return captured

    add.note = "kept"  # type: ignore[attr-defined]
    found = for_this_process(add)
    assert found(2, times=2) == [1, 2, 2] and captured == [1]
    assert found.__code__ is add.__code__, "so that a breakpoint in it works"
    assert (found.__name__, found.__qualname__, found.__doc__) == (add.__name__, add.__qualname__, add.__doc__)
    assert (found.__module__, found.__annotations__, found.note) == (__name__, add.__annotations__, "kept")


def test_a_closure_may_refer_to_itself_and_to_what_is_not_set_yet() -> None:
    def factorial(n: int) -> int:
        return 1 if n == 0 else n * factorial(n - 1)

    def early() -> int:
        return late

    found = for_this_process(early)
    with pytest.raises(NameError):
        found()
    late = 1
    assert early() == 1
    assert for_this_process(factorial)(5) == 120


def test_references_that_a_function_closes_over_are_noted_for_this_process_too(session: CountingSession) -> None:
    captured = ref(7, session)
    _, refs = code_dumps(lambda: captured, in_process=True)
    assert refs == [7]


def test_a_class_of_which_a_method_closes_over_something_is_copied_with_it() -> None:
    captured = [1]

    class Local:
        def grow(self) -> list[int]:
            captured.append(2)
            return captured

    assert for_this_process(Local)().grow() == [1, 2]
    assert captured == [1]
