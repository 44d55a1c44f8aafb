"""Remote functions: calls, options, messages, and what one call asks of a session."""

from __future__ import annotations

import functools
import inspect
import pickle
from typing import Any

import cloudpickle
import pytest

import minray as ray
from minray.refs import ObjectRef
from minray.remote_function import RemoteFunction
from minray.session import set_driver


@ray.remote
def add(a: int, b: int = 10, *, c: int = 0) -> int:
    """Add numbers."""
    return a + b + c


@ray.remote
def fail() -> None:
    raise KeyError("bad")


def test_a_call_returns_a_reference_to_its_result(session: Any) -> None:
    ref = add.remote(1)

    assert isinstance(ref, ObjectRef)
    assert ray.get(ref) == 11
    assert ray.get(add.remote(ref, b=2, c=3)) == 16  # a ref stands for its value


def test_it_looks_like_its_function() -> None:
    assert (add.__name__, add.__doc__, add.__module__) == ("add", "Add numbers.", __name__)
    assert list(inspect.signature(add.__wrapped__).parameters) == ["a", "b", "c"]
    assert add.__wrapped__(1) == 11
    assert repr(add) == f"<RemoteFunction {__name__}.add>"


def test_it_cannot_be_called_directly() -> None:
    direct: Any = add
    with pytest.raises(TypeError, match=r"cannot be called directly. Instead of .*add\(\)', try '.*add.remote\(\)'"):
        direct(1)


@pytest.mark.parametrize(
    ("args", "kwargs", "words"),
    [
        ((), {}, "missing a required argument: 'a'"),
        ((1, 2, 3), {}, r"too many positional arguments. The parameters are \(a, b=..., \*, c=...\).$"),
        ((1,), {"z": 1}, "got an unexpected keyword argument 'z'"),
        ((1,), {"a": 1}, "multiple values for argument 'a'"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_at_the_call(
    session: Any, args: tuple[Any, ...], kwargs: dict[str, Any], words: str
) -> None:
    remote: Any = add.remote
    with pytest.raises(TypeError, match=words):
        remote(*args, **kwargs)
    assert session.submitted == []


def test_the_number_of_returns_decides_what_a_call_returns(session: Any) -> None:
    @ray.remote(num_returns=2)
    def pair() -> tuple[int, int]:
        return 1, 2

    both = pair.remote()
    assert ray.get(both) == [1, 2]
    assert [type(ref) for ref in both] == [ObjectRef, ObjectRef]
    assert pair.options(num_returns=0).remote() is None
    assert ray.get(pair.options(num_returns=None).remote()) == (1, 2)
    assert ray.get(pair.options(num_cpus=2).remote()) == [1, 2]  # other options leave it alone


def test_options_make_another_function_and_leave_the_first_alone(session: Any) -> None:
    other = add.options(num_cpus=2, name="sum")

    other.remote(1)
    add.remote(1)

    assert [t.name for t in session.submitted] == ["sum", "add"]
    assert [t.demand for t in session.submitted] == [(("CPU", 20_000),), (("CPU", 10_000),)]


def test_a_function_is_pickled_at_the_first_call_of_each_session(session: Any) -> None:
    add.remote(1)
    add.remote(2)
    assert session.pickled == [add.__wrapped__]
    assert session.submitted[0] is session.submitted[1]

    another = type(session)()
    set_driver(another)
    add.remote(3)
    assert another.pickled == [add.__wrapped__]
    set_driver(session)
    add.remote(4)
    assert session.pickled == [add.__wrapped__]


def test_references_are_given_back_when_they_are_dropped(session: Any) -> None:
    ref = add.remote(1)
    id = ref._id
    assert session.counts[id] == 1

    del ref

    assert session.counts[id] == 0


def test_it_can_be_pickled_with_its_options(session: Any) -> None:
    copy = cloudpickle.loads(cloudpickle.dumps(add.options(num_cpus=3)))

    assert isinstance(copy, RemoteFunction)
    assert ray.get(copy.remote(1)) == 11
    assert session.submitted[-1].demand == (("CPU", 30_000),)


def test_a_function_that_refers_to_itself_can_be_pickled(session: Any) -> None:
    @ray.remote
    def countdown(n: int) -> Any:
        return n if n == 0 else ray.get(countdown.remote(n - 1))

    assert ray.get(countdown.remote(3)) == 0
    assert ray.get(cloudpickle.loads(cloudpickle.dumps(countdown)).remote(3)) == 0


def test_an_error_is_raised_by_get_with_its_own_type(session: Any) -> None:
    with pytest.raises(KeyError) as caught:
        ray.get(fail.remote())
    assert isinstance(caught.value, ray.exceptions.RayTaskError)
    with pytest.raises(KeyError):
        ray.get(add.remote(fail.remote()))  # type: ignore[arg-type]


class CallMe:
    def __call__(self) -> None: ...


@pytest.mark.parametrize(
    "target", [len, functools.partial(max, 1), CallMe(), [].append, add], ids=lambda it: type(it).__name__
)
def test_only_functions_and_classes_can_be_decorated(target: Any) -> None:
    with pytest.raises(TypeError, match="must be applied to either a function or a class"):
        ray.remote(target)
    with pytest.raises(TypeError, match="must be applied to either a function or a class"):
        ray.remote(num_cpus=1)(target)


@pytest.mark.parametrize(
    ("args", "kwargs"), [((3,), {}), ((), {}), ((1, 2), {}), ((lambda: 1,), {"num_cpus": 1})], ids=len
)
def test_a_misused_decorator_shows_how_it_is_used(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    remote: Any = ray.remote
    with pytest.raises(AssertionError, match="either with no arguments and no parentheses"):
        remote(*args, **kwargs)


def test_an_async_function_cannot_be_a_task() -> None:
    async def f() -> None: ...

    with pytest.raises(ValueError, match="'async def' should not be used for remote tasks"):
        ray.remote(f)


def test_pickled_by_hand_its_references_stay_for_good(session: Any) -> None:
    ref = ray.put(3)

    copy = pickle.loads(pickle.dumps(ref))

    assert copy == ref
    assert session.pinned == [ref._id]
    assert session.counts[ref._id] == 2
