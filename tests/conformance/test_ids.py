"""The classes of ids: their lengths, their forms, what is nil."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

SIZES = {
    "JobID": 4,
    "ActorID": 16,
    "PlacementGroupID": 18,
    "TaskID": 24,
    "NodeID": 28,
    "WorkerID": 28,
    "FunctionID": 28,
    "ActorClassID": 28,
    "ClusterID": 28,
    "UniqueID": 28,
}


@pytest.fixture(params=SIZES)
def kind(request: Any, ray: Any) -> Any:
    return getattr(ray, request.param)


def test_an_id_is_made_of_bytes(kind: Any) -> None:
    size = SIZES[kind.__name__]
    data = bytes(range(size))
    id = kind(data)
    assert kind.size() == size
    assert id.binary() == data
    assert id.hex() == data.hex()
    assert repr(id) == str(id) == f"{kind.__name__}({data.hex()})"
    assert kind.from_binary(data) == id
    assert hash(kind.from_binary(data)) == hash(id)
    assert not id.is_nil()


def test_an_id_is_pickled(kind: Any) -> None:
    id = kind(bytes(SIZES[kind.__name__]))
    assert pickle.loads(pickle.dumps(id)) == id


def test_an_id_goes_to_a_task_and_back(ray: Any) -> None:
    id = ray.NodeID.from_random()
    assert ray.get(ray.remote(lambda it: [it]).remote(id)) == [id]


def test_the_nil_id_is_all_ones(kind: Any) -> None:
    assert kind.nil().is_nil()
    assert kind.nil().binary() == b"\xff" * SIZES[kind.__name__]


def test_anything_but_the_right_number_of_bytes_is_refused(kind: Any) -> None:
    with pytest.raises(ValueError, match="ID string needs to have length"):
        kind(b"x")
    with pytest.raises(TypeError, match="expected bytes"):
        kind("x")


@pytest.mark.parametrize("name", ["NodeID", "WorkerID", "ActorID", "PlacementGroupID", "FunctionID"])
def test_random_ids_differ(ray: Any, name: str) -> None:
    kind = getattr(ray, name)
    assert kind.from_random() != kind.from_random()
    assert kind.from_hex(kind.from_random().hex()).size() == SIZES[name]


def test_a_jobs_id_is_a_number(ray: Any) -> None:
    assert ray.JobID.from_int(5).int() == 5
    assert ray.JobID.from_int(5).hex() == "05000000"


def test_ids_of_different_kinds_are_not_equal(ray: Any) -> None:
    assert ray.NodeID(bytes(28)) != ray.WorkerID(bytes(28))
    assert ray.NodeID(bytes(28)) != "x"


def test_an_object_ref_is_an_object_id(ray: Any) -> None:
    assert isinstance(ray.put(1), ray.ObjectID)


# -- refs by their bytes -------------------------------------------------------------------------------------------


def test_a_ref_is_made_of_its_bytes(ray: Any) -> None:
    for ref in (ray.put([1]), ray.remote(lambda: [1]).remote()):
        for again in (ray.ObjectRef(ref.binary()), ray.ObjectRef.from_binary(ref.binary()), ray.ObjectID(ref.binary())):
            assert again == ref and hash(again) == hash(ref) and repr(again) == repr(ref)
            assert type(again) is type(ref)
            assert ray.get(again) == [1]
            assert ray.wait([again]) == ([ref], [])
            assert again.task_id() == ref.task_id()


def test_all_that_a_call_makes_is_of_one_task(ray: Any) -> None:
    @ray.remote(num_returns=3)
    def three() -> Any:
        return ray.get_runtime_context().get_task_id(), 2, 3

    @ray.remote
    class Actor:
        @ray.method(num_returns=2)
        def two(self) -> Any:
            return ray.get_runtime_context().get_task_id(), 2

    for refs in (three.remote(), Actor.remote().two.remote()):
        assert {ref.task_id().hex() for ref in refs} == {ray.get(refs[0])}
        assert [ref.binary()[24:] for ref in refs] == [bytes([i, 0, 0, 0]) for i in range(1, len(refs) + 1)]
        assert len(set(refs)) == len(refs)
        assert ray.get([ray.ObjectRef(ref.binary()) for ref in refs]) == ray.get(refs)


def test_the_items_of_a_generator_are_of_its_task(ray: Any) -> None:
    @ray.remote
    def numbers() -> Any:
        yield ray.get_runtime_context().get_task_id()
        yield [1]
        yield bytes(300_000)

    generator = numbers.remote()
    refs = [generator.completed(), *generator]
    assert {ref.task_id().hex() for ref in refs} == {ray.get(refs[1])}
    assert [ref.binary()[24:] for ref in refs] == [bytes([i, 0, 0, 0]) for i in range(1, 5)]
    again = [ray.ObjectRef(ref.binary()) for ref in refs[1:]]
    assert ray.get(again)[1:] == [[1], bytes(300_000)]


def test_a_ref_made_of_bytes_keeps_its_object_no_worse_than_another(ray: Any) -> None:
    ref = ray.put([1])
    for _ in range(3):
        again = ray.ObjectRef(ref.binary())
        del again
    assert ray.get(ref) == [1]


def test_any_28_bytes_are_those_of_a_ref(ray: Any) -> None:
    for data in (bytes(28), bytes(range(28)), b"\0" * 27 + b"\xff"):
        ref = ray.ObjectRef(data)
        assert ref.binary() == data and ref.hex() == data.hex() and ref == ray.ObjectRef(data)
        assert not ref.is_nil()
        assert ref.task_id().binary() == data[:24] and ref.job_id().binary() == data[20:24]


def test_bytes_that_are_none_of_a_refs_are_refused(ray: Any) -> None:
    with pytest.raises(ValueError, match="ID string needs to have length 28, got 1"):
        ray.ObjectRef(b"x")
    with pytest.raises(TypeError, match="Unsupported type: <class 'str'>, expected bytes"):
        ray.ObjectRef("x" * 28)
    with pytest.raises(TypeError, match="expected bytes"):
        ray.ObjectRef(3)
    with pytest.raises(TypeError, match="argument"):
        ray.ObjectRef()


def test_random_refs_differ(ray: Any) -> None:
    ref = ray.ObjectRef.from_random()
    assert ref != ray.ObjectRef.from_random()
    assert not ref.is_nil() and len(ref.binary()) == ray.ObjectRef.size() == 28


def test_the_ref_to_nothing(ray: Any) -> None:
    nil = ray.ObjectRef.nil()
    assert nil.is_nil() and nil == ray.ObjectRef(b"\xff" * 28) == ray.ObjectRef.nil()
    assert ray.ObjectRef(b"\xff" * 28).is_nil()
    for none in (nil, ray.ObjectRef(nil.binary())):
        with pytest.raises(ValueError, match=r"(?i)refers to no|owner is unknown"):
            ray.get(none, timeout=5)


def test_a_ref_says_nothing_of_where_it_was_made(ray: Any) -> None:
    assert ray.put(1).call_site() == ""
