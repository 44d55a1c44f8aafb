"""How values travel: serializers of one's own, cloudpickle by hand, buffers that are shared and not copied."""

from __future__ import annotations

import gc
import pickle
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

# -- serializers of one's own --------------------------------------------------------------------------------------


@pytest.fixture
def Point(ray: Any) -> Iterator[Any]:
    """A class whose instances cannot be pickled, until somebody says how."""

    class Point:
        def __init__(self, x: int) -> None:
            self.x = x
            self.lock = threading.Lock()

    yield Point
    ray.util.deregister_serializer(Point)


def register(ray: Any, cls: Any, factor: int = 1) -> None:
    ray.util.register_serializer(cls, serializer=lambda p: p.x, deserializer=lambda x: cls(x * factor))


def test_a_registered_type_travels_as_its_serializer_says(ray: Any, Point: Any) -> None:
    with pytest.raises(TypeError):
        ray.put(Point(1))
    register(ray, Point, 10)
    assert ray.get(ray.put(Point(1))).x == 10
    assert ray.get(ray.put({"points": [Point(2)]}))["points"][0].x == 20


def test_a_registered_type_can_be_an_argument_and_be_closed_over(ray: Any, Point: Any) -> None:
    register(ray, Point, 10)
    here = Point(3)

    @ray.remote
    def x_of(point: Any) -> int:
        return point.x

    @ray.remote
    class Holder:
        def __init__(self, point: Any) -> None:
            self.x = point.x + here.x

        def get(self) -> int:
            return self.x

    assert ray.get(x_of.remote(Point(1))) == 10
    assert ray.get(x_of.remote(point=Point(2))) == 20
    assert ray.get(Holder.remote(Point(1)).get.remote()) == 40
    assert ray.get(ray.remote(lambda: here.x).remote()) == 30


@pytest.mark.needs("processes")
def test_a_worker_that_makes_a_type_has_to_register_it_too(ray: Any, Point: Any) -> None:
    register(ray, Point, 10)

    @ray.remote
    def make(registered: bool) -> Any:
        if registered:
            ray.util.register_serializer(Point, serializer=lambda p: p.x, deserializer=lambda x: Point(x * 100))
        return Point(1)

    with pytest.raises(TypeError):
        ray.get(make.remote(False))
    assert ray.get(make.remote(True)).x == 100


def test_subclasses_are_not_registered(ray: Any, Point: Any) -> None:
    register(ray, Point)

    class Special(Point):  # type: ignore[misc]
        pass

    with pytest.raises(TypeError):
        ray.put(Special(1))


def test_to_register_again_replaces_and_to_deregister_ends_it(ray: Any, Point: Any) -> None:
    register(ray, Point, 2)
    register(ray, Point, 3)
    assert ray.get(ray.put(Point(1))).x == 3
    ray.util.deregister_serializer(Point)
    ray.util.deregister_serializer(Point)
    with pytest.raises(TypeError):
        ray.put(Point(1))


def test_types_that_can_be_pickled_may_be_registered_too(ray: Any) -> None:
    ray.util.register_serializer(np.ndarray, serializer=lambda a: a.tolist(), deserializer=lambda x: ("array", x))
    try:
        assert ray.get(ray.put(np.arange(3))) == ("array", [0, 1, 2])
    finally:
        ray.util.deregister_serializer(np.ndarray)
    assert type(ray.get(ray.put(np.arange(3)))) is np.ndarray


def test_errors_of_a_serializer_reach_who_sends_and_those_of_a_deserializer_who_gets(ray: Any, Point: Any) -> None:
    ray.util.register_serializer(Point, serializer=lambda p: 1 / 0, deserializer=lambda x: x)
    with pytest.raises(ZeroDivisionError):
        ray.put(Point(1))
    ray.util.register_serializer(Point, serializer=lambda p: p.x, deserializer=lambda x: x / 0)
    ref = ray.put(Point(1))
    with pytest.raises(ray.exceptions.RaySystemError, match="division by zero"):
        ray.get(ref)


def test_serializers_are_given_by_keyword(ray: Any, Point: Any) -> None:
    with pytest.raises(TypeError):
        ray.util.register_serializer(Point)
    with pytest.raises(TypeError):
        ray.util.register_serializer(Point, lambda p: p.x, lambda x: Point(x))


# -- by hand -------------------------------------------------------------------------------------------------------


def test_functions_and_classes_can_be_pickled_by_hand(ray: Any) -> None:
    offset = 10

    class Adder:
        def __init__(self, n: int) -> None:
            self.n = n

    function, cls = ray.cloudpickle.loads(ray.cloudpickle.dumps([lambda x: x + offset, Adder]))
    assert function(1) == 11
    assert cls(3).n == 3
    assert pickle.loads(ray.cloudpickle.dumps(lambda: 5))() == 5


def test_registered_types_can_be_pickled_by_hand(ray: Any, Point: Any) -> None:
    register(ray, Point, 10)
    assert ray.cloudpickle.loads(ray.cloudpickle.dumps(Point(2))).x == 20


def test_refs_and_handles_can_be_pickled_by_hand_and_are_of_use_in_a_worker(ray: Any) -> None:
    @ray.remote
    class Counter:
        def __init__(self) -> None:
            self.n = 0

        def add(self) -> int:
            self.n += 1
            return self.n

    counter = Counter.remote()
    blob = ray.cloudpickle.dumps({"counter": counter, "ref": ray.put("value")})
    gc.collect()

    @ray.remote
    def use(blob: bytes) -> Any:
        found = ray.cloudpickle.loads(blob)
        return ray.get(found["ref"]), ray.get(found["counter"].add.remote())

    assert ray.get(use.remote(blob)) == ("value", 1)
    assert ray.get(counter.add.remote()) == 2


def test_what_cloudpickle_offers_is_there(ray: Any) -> None:
    for name in ("dump", "dumps", "load", "loads", "CloudPickler", "Pickler", "register_pickle_by_value"):
        assert callable(getattr(ray.cloudpickle, name)), name
    with pytest.raises(TypeError):
        ray.cloudpickle.dumps(threading.Lock())


# -- buffers -------------------------------------------------------------------------------------------------------


READ_ONLY: dict[str, Any] = {
    "small": np.zeros(3),
    "large": np.zeros(300_000),
    "no dimension": np.array(3.0),
    "empty": np.zeros(0),
    "structured": np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    "text": np.array(["a", "bcd"]),
    "in Fortran's order": np.asfortranarray(np.zeros((3, 4))),
    "read-only": np.frombuffer(b"12345678", dtype="u1"),
}


@pytest.mark.parametrize("array", READ_ONLY.values(), ids=READ_ONLY)
def test_arrays_that_are_one_piece_of_memory_arrive_read_only(ray: Any, array: Any) -> None:
    @ray.remote
    def writeable(array: Any) -> bool:
        return bool(array.flags.writeable)

    @ray.remote
    def back(array: Any) -> Any:
        return array

    assert not ray.get(ray.put(array)).flags.writeable
    assert not ray.get(ray.put([array]))[0].flags.writeable
    assert not ray.get(writeable.remote(array))
    assert not ray.get(back.remote(array)).flags.writeable


@pytest.mark.parametrize(
    "array", [np.array([1, "a", None], dtype=object), np.arange(1000)[::2]], ids=["objects", "strided"]
)
def test_arrays_that_are_copied_may_be_written_to(ray: Any, array: Any) -> None:
    back = ray.get(ray.put(array))
    back[0] = 7
    assert back[0] == 7 and array[0] != 7


@pytest.mark.parametrize(
    "array",
    [
        np.ma.array([1, 2], mask=[False, True]),
        np.rec.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
        np.random.default_rng(0),
        np.dtype("i4"),
        np.float32(1.5),
    ],
    ids=lambda value: type(value).__name__,
)
def test_everything_of_numpy_comes_back_as_what_it_was(ray: Any, array: Any) -> None:
    back = ray.get(ray.put(array))
    assert type(back) is type(array)
    assert repr(back).split(" at ")[0] == repr(array).split(" at ")[0]


def address(array: Any) -> int:
    return int(array.__array_interface__["data"][0])


def test_tables_of_pandas_are_shared(ray: Any) -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"a": np.arange(100_000.0), "b": np.arange(100_000)})
    ref = ray.put(table)
    one, two = ray.get([ref, ref])
    pandas.testing.assert_frame_equal(one, table)
    assert address(one["a"].to_numpy()) == address(two["a"].to_numpy())
    assert not one["a"].to_numpy().flags.writeable
    text = pandas.DataFrame({"text": ["a", None], "when": pandas.to_datetime(["2020-01-01", None])})
    pandas.testing.assert_frame_equal(ray.get(ray.put(text)), text)


def test_tables_of_arrow_are_shared(ray: Any) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({"a": np.arange(100_000.0), "b": ["x", None] * 50_000})
    ref = ray.put(table)
    one, two = ray.get([ref, ref])
    assert one.equals(table)
    addresses = [got.column("a").chunk(0).buffers()[1].address for got in (one, two)]
    assert addresses[0] == addresses[1]


def test_tensors_come_back(ray: Any) -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.arange(100_000.0)
    assert torch.equal(ray.get(ray.put(tensor)), tensor)


# -- what functions close over -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_function_that_closes_over_far_too_much_is_refused(ray: Any) -> None:
    huge = np.zeros(13_000_000)  # 104 MB

    def total() -> float:
        return float(huge.sum())

    class Actor:
        def total(self) -> float:
            return float(huge.sum())

    with pytest.raises(ValueError, match=r"remote function .*total is too large .*large array"):
        ray.remote(total).remote()
    with pytest.raises(ValueError, match=r"actor .*Actor is too large .*large array"):
        ray.remote(Actor).remote()
