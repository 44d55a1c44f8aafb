"""Values: what goes in comes out, as a copy, whichever way it travels."""

from __future__ import annotations

import collections
import dataclasses
import decimal
import enum
import pathlib
import pickle
from typing import Any

import cloudpickle
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from minray.core.value import BUFFERED, ERROR, FIRST_ERROR, PICKLED, PLAIN, RAW, STORED
from minray.wire.values import INLINE_BYTES, decode, decode_arguments, encode, encode_arguments, share
from tests.wire.conftest import MemoryStore

#: Large enough to be written to the store.
MANY = INLINE_BYTES // 8 + 1


@dataclasses.dataclass
class Point:
    x: Any
    y: Any = dataclasses.field(default_factory=list)


class Colour(enum.Enum):
    RED = 1
    BLUE = (2, "b")


Pair = collections.namedtuple("Pair", "a b")


class Slotted:
    __slots__ = ("__weakref__", "a")

    def __init__(self, a: Any) -> None:
        self.a = a

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Slotted) and self.a == other.a

    __hash__ = None  # type: ignore[assignment]


def same(a: Any, b: Any) -> bool:
    """Equal, of the same types, and arrays of the same shape, order of axes and dtype."""
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        if a.dtype != b.dtype or a.shape != b.shape:
            return False
        return all(map(same, a.ravel().tolist(), b.ravel().tolist())) if a.dtype == object else np.array_equal(a, b)
    if isinstance(a, (list, tuple, collections.deque)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(value, b[key]) for key, value in a.items())
    if isinstance(a, Point):
        return same(a.x, b.x) and same(a.y, b.y)
    return bool(a == b)


OBJECTS: dict[str, Any] = {
    "none": None,
    "big int": 3**5000,
    "nothing": ((), {}, [], "", b""),
    "text": "é\ud800" * 3,
    "long text": "x" * 5000,
    "longer text": "é" * INLINE_BYTES,
    "long bytes": b"\0" * 5000,
    "longer bytes": bytes(INLINE_BYTES + 1),
    "bytearray": bytearray(b"abc"),
    "long bytearray": bytearray(INLINE_BYTES + 1),
    "nested": {"a": [1, (2.5, {3}, frozenset({4})), {"b": b"c"}], 1j: range(3)},
    "dataclass": Point(1, [Point("a", {})]),
    "enum": [Colour.RED, Colour.BLUE],
    "namedtuple": Pair(1, "x"),
    "slots": Slotted([1]),
    "deque": collections.deque([1, 2], maxlen=3),
    "ordered": collections.OrderedDict(b=1, a=2),
    "counter": collections.Counter("hello"),
    "decimal": decimal.Decimal("1.10"),
    "path": pathlib.PurePosixPath("/a/b"),
    "classes": [Point, int, Colour],
    "function": same,
    "one float": np.float64(1.5),
    "array": np.arange(10.0),
    "large array": np.arange(float(MANY)),
    "0-d array": np.array(7),
    "empty array": np.empty((0, 3), dtype=np.int16),
    "large empty": np.empty((0, MANY)),
    "Fortran array": np.asfortranarray(np.arange(12).reshape(3, 4)),
    "large Fortran array": np.asfortranarray(np.arange(2.0 * MANY).reshape(2, MANY)),
    "strided array": np.arange(24).reshape(4, 6)[::2, ::-3],
    "large strided array": np.arange(4.0 * MANY)[::2],
    "object array": np.array([1, "a", None, [2]], dtype=object),
    "record array": np.array([(1, 2.5), (3, 4.5)], dtype=[("a", "i4"), ("b", "f8")]),
    "text array": np.array(["a", "bcd"]),
    "bool array": np.array([True, False]),
    "big-endian array": np.arange(3, dtype=">i4"),
    "arrays": [np.arange(5), {"x": np.zeros((2, 2))}, Point(np.ones(3))],
}


@pytest.mark.parametrize("stored", [True, False], ids=["with a store", "all inline"])
@pytest.mark.parametrize("obj", OBJECTS.values(), ids=OBJECTS)
def test_an_object_comes_out_as_it_went_in(obj: Any, stored: bool, store: MemoryStore) -> None:
    value = encode(obj, store.write if stored else None)
    found = decode(value, 1, store.read)
    assert same(found, obj)
    assert same(found, pickle.loads(cloudpickle.dumps(obj)))
    assert value[2] == () and value[0] < FIRST_ERROR


scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.complex_numbers(allow_nan=False)
    | st.text(max_size=20) | st.binary(max_size=20) | st.integers(3000, 9000).map(lambda n: "x" * n)
    | st.integers(3000, 9000).map(bytes) | st.sampled_from([*Colour, Point, same, range(3)]) | st.just("__main__")
)  # fmt: skip
kinds: Any = st.sampled_from([np.int8, np.uint64, np.float32, np.bool_, np.complex64, "U3", "datetime64[s]"])
arrays: st.SearchStrategy[Any] = npst.arrays(
    kinds,
    npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5),
    elements=None,
).filter(lambda array: np.array_equal(array, array))
objects = st.recursive(
    scalars | arrays | arrays.map(np.transpose) | arrays.map(lambda array: array[..., ::2] if array.ndim else array),
    lambda inner: (
        st.lists(inner, max_size=4) | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=4)
        | st.builds(Point, inner, inner) | inner.map(lambda one: [one, one])
    ),
    max_leaves=8,
)  # fmt: skip


@pytest.mark.slow
@given(obj=objects, limit=st.sampled_from([0, 100, INLINE_BYTES]), with_store=st.booleans())
@example(obj=[np.zeros(0), b"__main__"], limit=0, with_store=True)
def test_any_object_comes_out_as_it_went_in(obj: Any, limit: int, with_store: bool) -> None:
    store = MemoryStore()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minray.wire.values.INLINE_BYTES", limit)
        value = encode(obj, store.write if with_store else None)
    found = decode(value, 1, store.read)
    assert same(found, obj)
    assert same(found, pickle.loads(cloudpickle.dumps(obj)))


# -- which way it travels ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("obj", "kind"),
    [
        (None, PLAIN),
        (7, PLAIN),
        ("x" * 4096, PLAIN),
        ("x" * 4097, PICKLED),
        ([], PICKLED),
        (np.zeros(3), BUFFERED),
        (bytes(INLINE_BYTES + 1), STORED),
        (np.zeros(MANY), STORED),
        (np.zeros((2, MANY)).T[::2], STORED),
    ],
    ids=lambda one: type(one).__name__,
)
def test_small_values_travel_in_messages_and_large_ones_in_the_store(obj: Any, kind: int, store: MemoryStore) -> None:
    assert encode(obj, store.write)[0] == kind
    assert bool(store.written) == (kind == STORED)
    assert encode(obj, None)[0] in (kind, PICKLED, BUFFERED), "without a store all is inline"


def test_what_is_stored_is_laid_out_as_a_pickle_and_its_buffers(store: MemoryStore) -> None:
    array = np.arange(float(MANY))
    encode({"a": array, "same": array, "b": array[1:]}, store.write)
    ((body, buffers),) = store.written.values()
    assert len(body) < 500
    assert list(map(len, buffers)) == [array.nbytes, array.nbytes - 8]


def test_what_is_shared_is_not_copied() -> None:
    obj = object()
    value = share(obj)
    assert value[0] == RAW and decode(value, 1, None) is obj


# -- copies --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bytearray", "long bytearray", "array", "large array", "strided array",
                                  "large strided array", "Fortran array", "large Fortran array"])  # fmt: skip
@pytest.mark.parametrize("stored", [True, False], ids=["with a store", "all inline"])
def test_what_is_changed_after_it_was_encoded_has_not_changed_the_value(
    name: str, stored: bool, store: MemoryStore
) -> None:
    obj = OBJECTS[name].copy()
    value = encode([obj], store.write if stored else None)
    if isinstance(obj, bytearray):
        obj[:] = b"changed"
    else:
        obj[...] = 99
    assert same(decode(value, 1, store.read)[0], OBJECTS[name])


def test_every_reader_gets_a_copy_of_its_own() -> None:
    value = encode([[1], bytearray(b"abc")], None)
    first, second = decode(value, 1, None), decode(value, 1, None)
    first[0].append(2)
    first[1][:] = b""
    assert second == [[1], bytearray(b"abc")]


@pytest.mark.parametrize("name", ["array", "large array", "large Fortran array", "record array"])
def test_arrays_are_read_only_because_their_memory_is_shared(name: str, store: MemoryStore) -> None:
    found = decode(encode(OBJECTS[name], store.write), 1, store.read)
    with pytest.raises(ValueError, match="read-only"):
        found[...] = 0


def test_a_stored_array_is_not_copied_when_it_is_read(store: MemoryStore) -> None:
    value = encode(np.arange(float(MANY)), store.write)
    ((_, (memory,)),) = store.written.values()
    assert np.shares_memory(decode(value, 1, store.read), np.frombuffer(memory))


def test_encoding_leaves_no_view_of_the_object_s_memory() -> None:
    data = bytearray(100)
    encode(np.frombuffer(data, dtype="u1"), None)
    data.append(1)  # BufferError, if anybody still had a view


@pytest.mark.parametrize("name", ["bytearray", "array", "large array", "nested", "arrays"])
def test_parts_that_were_one_object_are_one_object_again(name: str, store: MemoryStore) -> None:
    part = OBJECTS[name]
    a, b = decode(encode((part, {"key": part}), store.write), 1, store.read)
    assert a is b["key"]


@pytest.mark.parametrize("stored", [True, False], ids=["with a store", "all inline"])
@pytest.mark.parametrize("obj", OBJECTS.values(), ids=OBJECTS)
def test_arguments_come_out_as_they_went_in_each_by_itself(obj: Any, stored: bool, store: MemoryStore) -> None:
    for args, kwargs in [
        ((obj,), {}),
        ((1, obj), {"k": "x"}),
        ((), {"k": obj}),
        ((obj, obj), {}),
        ((obj, 1), {"k": obj, "l": [obj]}),
    ]:
        value = encode_arguments(args, kwargs, store.write if stored else None)
        found_args, found_kwargs = decode_arguments(value, 1, store.read)
        found = [*found_args, *found_kwargs.values()]
        assert type(found_args) is tuple and list(found_kwargs) == list(kwargs)
        assert all(map(same, found, [*args, *kwargs.values()]))
        lists = [one for one in found if isinstance(one, list)]
        assert len(set(map(id, lists))) == len(lists)


def test_arguments_that_are_shared_are_not_copied() -> None:
    args, kwargs = ([1],), {"k": [2]}
    found = decode_arguments(share((args, kwargs)), 1, None)
    assert found[0] is args and found[1] is kwargs


def test_an_object_may_contain_itself() -> None:
    loop: list[Any] = []
    loop.append(loop)
    found = decode(encode(loop, None), 1, None)
    assert found[0] is found


# -- errors --------------------------------------------------------------------------------------------------------


def test_errors_come_out_as_exceptions_and_are_not_raised() -> None:
    value = (ERROR, pickle.dumps(KeyError("x")), ())
    assert repr(decode(value, 1, None)) == "KeyError('x')"


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown kind of value: 77"):
        decode((77, None, ()), 1, None)


def test_a_frame_of_pandas_travels_like_any_other_object(store: MemoryStore) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": range(MANY), "b": ["x"] * MANY})
    pandas.testing.assert_frame_equal(decode(encode(frame, store.write), 1, store.read), frame)
