"""Values that are stored, and refs to them."""

from __future__ import annotations

import collections
import datetime
import decimal
import gc
import pickle
import threading
from typing import Any

import cloudpickle
import numpy as np
import pytest

VALUES: list[Any] = [
    None,
    True,
    -1,
    2**100,
    1.5,
    float("inf"),
    1j,
    "",
    "\N{SNOWMAN} text",
    b"",
    b"\x00\xff" * 1000,
    [],
    (),
    {},
    [1, (2, [3, {"k": (4,)}])],
    {1: "int", "s": 2, (1, 2): "tuple", None: None},
    {1, 2},
    frozenset([1]),
    range(3),
    Ellipsis,
    decimal.Decimal("1.50"),
    datetime.datetime(2020, 1, 2, tzinfo=datetime.timezone.utc),
    collections.OrderedDict(a=1, b=2),
    collections.deque([1, 2]),
    int,
    len,
]


@pytest.mark.parametrize("value", VALUES, ids=lambda v: f"{type(v).__name__} {v!r:.20}")
def test_a_value_comes_back_with_its_type(ray: Any, value: Any) -> None:
    back = ray.get(ray.put(value))
    assert back == value
    assert type(back) is type(value)


ARRAYS: list[Any] = [
    np.array(3.0),
    np.zeros(0),
    np.zeros((0, 3), dtype=np.int8),
    np.arange(5),
    np.array([True, False]),
    np.arange(6).reshape(2, 3).T,
    np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    np.arange(20)[::3],
    np.array(["a", "bcd"]),
    np.array([1, "a", None], dtype=object),
    np.array([(1, 2.0)], dtype=[("a", np.int32), ("b", np.float64)]),
    np.array(["2020-01-01"], dtype="datetime64[D]"),
    np.arange(250_000, dtype=np.float64),
    np.arange(500_000)[::2],
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda a: f"{a.dtype.str} {a.shape}")
def test_an_array_comes_back_with_its_type_shape_and_content(ray: Any, array: Any) -> None:
    back = ray.get(ray.put(array))
    assert type(back) is np.ndarray
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    np.testing.assert_array_equal(back, array)


def test_a_numpy_scalar_comes_back_with_its_type(ray: Any) -> None:
    back = ray.get(ray.put(np.float32(1.5)))
    assert type(back) is np.float32
    assert back == 1.5


def test_a_large_nest_of_containers_and_arrays_comes_back(ray: Any) -> None:
    value = {"layers": [{"w": np.full((500, 500), i), "b": np.zeros(3), "name": str(i)} for i in range(3)], "n": None}
    back = ray.get(ray.put(value))
    assert list(back) == ["layers", "n"]
    assert [layer["name"] for layer in back["layers"]] == ["0", "1", "2"]
    for i, layer in enumerate(back["layers"]):
        np.testing.assert_array_equal(layer["w"], np.full((500, 500), i))
        np.testing.assert_array_equal(layer["b"], np.zeros(3))


@pytest.mark.parametrize("size", [0, 1, 100, 100_000, 10_000_000])
def test_bytes_of_any_size_come_back(ray: Any, size: int) -> None:
    value = bytes(range(256)) * (size // 256 + 1)
    assert ray.get(ray.put(value[:size])) == value[:size]
    assert len(ray.get(ray.put("x" * size))) == size


def test_functions_and_classes_are_values(ray: Any) -> None:
    offset = 10

    class Adder:
        def __init__(self, n: int) -> None:
            self.n = n

    function, cls = ray.get(ray.put([lambda x: x + offset, Adder]))
    assert function(1) == 11
    assert cls(3).n == 3


def test_an_object_decides_how_it_is_pickled(ray: Any) -> None:
    class Connection:
        def __init__(self, name: str) -> None:
            self.name = name
            self.lock = threading.Lock()

        def __getstate__(self) -> Any:
            return self.name

        def __setstate__(self, name: str) -> None:
            self.__init__(name)  # type: ignore[misc]

    back = ray.get(ray.put(Connection("db")))
    assert back.name == "db"
    assert back.lock.acquire(blocking=False)


def test_an_exception_can_be_a_value(ray: Any) -> None:
    back = ray.get(ray.put(ValueError("a value")))
    assert type(back) is ValueError
    assert back.args == ("a value",)


def test_put_of_a_ref_is_refused_and_says_what_to_do(ray: Any) -> None:
    with pytest.raises(TypeError, match=r"Calling 'put' on an ray.ObjectRef is not allowed.*wrap the ray.ObjectRef"):
        ray.put(ray.put(1))


def test_a_stored_list_of_refs_holds_usable_refs(ray: Any) -> None:
    refs = [ray.put(1), ray.put([2])]
    outer = ray.put(refs)
    assert ray.get(outer) == refs
    del refs
    assert ray.get(ray.get(outer)) == [1, [2]]


@pytest.mark.parametrize("how", ["put", "argument", "keyword", "method"])
def test_an_unpicklable_value_is_refused_with_the_path_to_the_culprit(ray: Any, how: str) -> None:
    class Inner:
        def __init__(self) -> None:
            self.padlock = threading.Lock()

    class Outer:
        def __init__(self) -> None:
            self.inner = Inner()

    @ray.remote
    def task(x: Any) -> None: ...

    @ray.remote
    class Actor:
        def method(self, x: Any) -> None: ...

    send: Any = {
        "put": lambda: ray.put(Outer()),
        "argument": lambda: task.remote(Outer()),
        "keyword": lambda: task.remote(x=Outer()),
        "method": lambda: Actor.remote().method.remote(Outer()),
    }[how]
    with pytest.raises(TypeError, match=r"(?s)inner.*padlock"):
        send()


def test_an_error_in_a_values_own_pickling_reaches_the_caller(ray: Any) -> None:
    class Stubborn:
        def __getstate__(self) -> Any:
            raise RuntimeError("will not be pickled")

    with pytest.raises(RuntimeError, match="will not be pickled"):
        ray.put(Stubborn())


def test_a_value_that_cannot_be_unpickled_raises_at_get(ray: Any) -> None:
    class Broken:
        def __reduce__(self) -> Any:
            return eval, ("1 / 0",)

    ref = ray.put(Broken())
    with pytest.raises(ray.exceptions.RaySystemError, match="division by zero"):
        ray.get(ref)


def test_refs_are_equal_and_hash_alike_if_they_name_the_same_object(ray: Any) -> None:
    a, b = ray.put(1), ray.put(1)
    again = ray.get(ray.put([a]))[0]
    assert a == again
    assert hash(a) == hash(again)
    assert a != b
    assert a != 1
    assert {a: "a", b: "b"}[again] == "a"
    assert len({a, b, again}) == 2


def test_a_ref_shows_its_hexadecimal_id(ray: Any) -> None:
    a, b = ray.put(1), ray.put(1)
    assert int(a.hex(), 16) != int(b.hex(), 16)
    assert repr(a) == f"ObjectRef({a.hex()})"


def test_a_ref_is_not_its_value(ray: Any) -> None:
    ref = ray.put([1])
    with pytest.raises(TypeError):
        iter(ref)
    with pytest.raises(TypeError):
        ref[0]
    with pytest.raises(TypeError):
        sorted([ref, ref])


def test_refs_can_be_pickled_by_hand(ray: Any) -> None:
    refs = {"x": ray.put("value")}
    back = pickle.loads(pickle.dumps(refs))
    assert back == refs
    assert ray.get(back["x"]) == "value"


def test_a_ref_pickled_by_hand_keeps_its_object(ray: Any) -> None:
    by_hand = getattr(ray, "cloudpickle", cloudpickle)
    blob = by_hand.dumps([ray.put(np.ones(300_000)), ray.remote(lambda: 42).remote()])
    gc.collect()

    @ray.remote
    def read(blob: bytes) -> float:
        array, number = ray.get(pickle.loads(blob))
        return float(array.sum() + number)

    assert ray.get(read.remote(blob)) == 300_042
    assert ray.get(pickle.loads(blob)[1]) == 42


def test_an_array_outlives_its_ref(ray: Any) -> None:
    array = ray.get(ray.put(np.arange(300_000)))
    gc.collect()
    others = [ray.put(np.zeros(300_000)) for _ in range(10)]  # would reuse the memory, were it free
    del others
    np.testing.assert_array_equal(array, np.arange(300_000))


def test_an_element_of_a_stored_value_outlives_the_rest(ray: Any) -> None:
    array = ray.get(ray.put({"a": np.ones(300_000), "b": np.zeros(300_000)}))["a"][1000:2000]
    gc.collect()
    others = [ray.get(ray.put(np.zeros(300_000))) for _ in range(10)]
    assert array.sum() == 1000
    del others


def test_many_small_objects(ray: Any) -> None:
    refs = [ray.put(i) for i in range(2000)]
    assert ray.get(refs) == list(range(2000))


def test_an_object_has_no_other_owner_any_more(ray: Any) -> None:
    with pytest.raises(ValueError, match="`_owner` argument"):
        ray.put(1, _owner=object())
    assert ray.get(ray.put(1, _owner=None)) == 1
