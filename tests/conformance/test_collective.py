"""`util.collective`: actors and tasks that exchange arrays. On Ray it needs torch (`gloo`)."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

_names = itertools.count()


@pytest.fixture
def collective(ray: Any) -> Any:
    module = importlib.import_module(f"{ray.__name__}.util.collective")
    if not module.gloo_available():
        pytest.skip("Ray's gloo needs torch")
    return module


@pytest.fixture
def ReduceOp(collective: Any) -> Any:
    return importlib.import_module(f"{collective.__name__}.types").ReduceOp


@pytest.fixture
def Member(ray: Any, collective: Any) -> Any:
    name = collective.__name__

    @ray.remote(num_cpus=0)
    class Member:
        def __init__(self, rank: int) -> None:
            self.rank = rank
            self.collective = importlib.import_module(name)

        def init(self, size: int, **options: Any) -> None:
            self.collective.init_collective_group(size, self.rank, **options)

        def run(self, function: Any) -> Any:
            return function(self.collective, self.rank)

    return Member


@pytest.fixture
def together(ray: Any, Member: Any) -> Iterator[Any]:
    """Calls a function of ``(collective, rank)`` in three members of the group "default"; returns all results."""
    members = [Member.remote(rank) for rank in range(3)]
    ray.get([member.init.remote(3, backend="gloo") for member in members])

    def together(function: Any) -> Any:
        return ray.get([member.run.remote(function) for member in members], timeout=50)

    yield together
    together(lambda collective, rank: collective.destroy_collective_group())


@pytest.fixture
def array() -> Any:
    """Makes [1, 2] for rank 0, [2, 4] for rank 1, [3, 6] for rank 2."""
    return lambda rank: np.array([1.0, 2.0]) * (rank + 1)


@pytest.mark.slow
@pytest.mark.parametrize(("op", "result"), [("SUM", [6, 12]), ("PRODUCT", [6, 48]), ("MIN", [1, 2]), ("MAX", [3, 6])])
def test_allreduce_gives_all_the_same(together: Any, ReduceOp: Any, array: Any, op: str, result: list[float]) -> None:
    def allreduce(collective: Any, rank: int) -> Any:
        tensor = array(rank)
        assert collective.allreduce(tensor, op=ReduceOp[op]) is None
        return tensor.tolist()

    assert together(allreduce) == [result] * 3


def test_allreduce_keeps_the_type_and_the_shape(together: Any) -> None:
    def allreduce(collective: Any, rank: int) -> Any:
        tensor = np.full((2, 3), rank, dtype=np.int64)
        collective.allreduce(tensor)
        return tensor.dtype.name, tensor.tolist()

    assert together(allreduce) == [("int64", [[3] * 3] * 2)] * 3


def test_large_arrays_are_reduced_too(together: Any) -> None:
    def allreduce(collective: Any, rank: int) -> Any:
        tensor = np.arange(100_000.0) * (rank + 1)
        collective.allreduce(tensor)
        return float(tensor[-1])

    assert together(allreduce) == [6.0 * 99_999] * 3


def test_reduce_gives_one_the_result(together: Any, array: Any) -> None:
    def reduce(collective: Any, rank: int) -> Any:
        tensor = array(rank)
        collective.reduce(tensor, dst_rank=1)
        return tensor.tolist()

    assert together(reduce)[1] == [6, 12]


def test_broadcast_gives_all_that_of_one(together: Any, array: Any) -> None:
    def broadcast(collective: Any, rank: int) -> Any:
        tensor = array(rank)
        collective.broadcast(tensor, src_rank=2)
        return tensor.tolist()

    assert together(broadcast) == [[3, 6]] * 3


def test_allgather_gives_all_those_of_all(together: Any, array: Any) -> None:
    def allgather(collective: Any, rank: int) -> Any:
        tensors = [np.zeros(2) for _ in range(3)]
        collective.allgather(tensors, array(rank))
        return [tensor.tolist() for tensor in tensors]

    assert together(allgather) == [[[1, 2], [2, 4], [3, 6]]] * 3


def test_reducescatter_gives_each_a_part_of_the_reduction(together: Any) -> None:
    def reducescatter(collective: Any, rank: int) -> Any:
        tensor = np.zeros(1)
        collective.reducescatter(tensor, [np.array([float(10 * part + rank)]) for part in range(3)])
        return tensor.tolist()

    assert together(reducescatter) == [[3], [33], [63]]


def test_what_one_sends_another_receives_in_order(together: Any) -> None:
    def exchange(collective: Any, rank: int) -> Any:
        tensor = np.zeros(1)
        if rank == 0:
            for value in (1.0, 2.0, 3.0):
                collective.send(np.array([value]), dst_rank=2)
        if rank == 2:
            got = []
            for _ in range(3):
                collective.recv(tensor, src_rank=0)
                got.append(tensor.tolist())
            return got
        return None

    assert together(exchange) == [None, None, [[1], [2], [3]]]


def test_a_barrier_waits_for_all(together: Any, flags: Any) -> None:
    def meet(collective: Any, rank: int) -> Any:
        flags.up("here")
        collective.barrier()
        return flags.count("here")

    assert together(meet) == [3] * 3


def test_members_know_their_rank_and_the_size_of_the_group(together: Any) -> None:
    def ask(collective: Any, rank: int) -> Any:
        return collective.get_rank(), collective.get_collective_group_size(), collective.is_group_initialized("default")

    assert together(ask) == [(0, 3, True), (1, 3, True), (2, 3, True)]

    def ask_for_another(collective: Any, rank: int) -> Any:
        name = "another"
        return (
            collective.get_rank(name),
            collective.get_collective_group_size(name),
            collective.is_group_initialized(name),
        )

    assert together(ask_for_another) == [(-1, -1, False)] * 3


def test_a_group_that_was_left_can_be_joined_again(together: Any, array: Any) -> None:
    def again(collective: Any, rank: int) -> Any:
        collective.destroy_collective_group()
        left = collective.get_rank()
        collective.init_collective_group(3, rank, backend="gloo")
        tensor = array(rank)
        collective.allreduce(tensor)
        return left, tensor.tolist()

    assert together(again) == [(-1, [6, 12])] * 3


def test_actors_can_be_declared_a_group(ray: Any, collective: Any, Member: Any, array: Any) -> None:
    name = f"declared {next(_names)}"
    members = [Member.remote(rank) for rank in range(2)]
    collective.create_collective_group(members, 2, [1, 0], backend="gloo", group_name=name)
    with pytest.raises(RuntimeError, match="group twice"):
        collective.create_collective_group(members, 2, [1, 0], backend="gloo", group_name=name)

    def allreduce(collective: Any, rank: int) -> Any:
        before = collective.is_group_initialized(name)
        tensor = array(rank)
        collective.allreduce(tensor, group_name=name)
        joined = collective.get_rank(name)
        return before, joined, tensor.tolist()

    found = ray.get([member.run.remote(allreduce) for member in members], timeout=50)
    assert found == [(False, 1, [3, 6]), (False, 0, [3, 6])]
    ray.get(
        [member.run.remote(lambda collective, rank: collective.destroy_collective_group(name)) for member in members]
    )


def test_tasks_can_be_a_group(ray: Any, collective: Any, array: Any) -> None:
    module, name = collective.__name__, f"tasks {next(_names)}"

    @ray.remote(num_cpus=0)
    def member(rank: int) -> Any:
        collective = importlib.import_module(module)
        collective.init_collective_group(2, rank, backend="gloo", group_name=name)
        tensor = array(rank)
        collective.allreduce(tensor, name)
        collective.destroy_collective_group(name)
        return tensor.tolist()

    assert ray.get([member.remote(rank) for rank in range(2)], timeout=50) == [[3, 6]] * 2


def test_an_actor_may_be_in_several_groups(ray: Any, Member: Any, array: Any) -> None:
    members = [Member.remote(rank) for rank in range(2)]
    names = [f"several {next(_names)}" for _ in range(2)]
    for name in names:
        ray.get([member.init.remote(2, backend="gloo", group_name=name) for member in members])

    def allreduce(collective: Any, rank: int) -> Any:
        tensor = array(rank)
        for name in names:
            collective.allreduce(tensor, group_name=name)
        return tensor.tolist()

    assert ray.get([member.run.remote(allreduce) for member in members], timeout=50) == [[6, 12]] * 2


# --- what is refused ---------------------------------------------------------------------------------------------


def test_a_driver_is_no_member(collective: Any) -> None:
    for call in (
        lambda: collective.init_collective_group(1, 0, backend="gloo"),
        collective.get_rank,
        collective.get_collective_group_size,
        lambda: collective.allreduce(np.ones(1)),
    ):
        with pytest.raises(RuntimeError, match="only used inside a Ray actor or task"):
            call()


def test_only_members_communicate(ray: Any, Member: Any) -> None:
    member = Member.remote(0)
    with pytest.raises(RuntimeError, match="group 'nobody' is not initialized"):
        ray.get(member.run.remote(lambda collective, rank: collective.allreduce(np.ones(1), "nobody")))


def test_a_group_is_joined_once(together: Any) -> None:
    def init(collective: Any, rank: int) -> None:
        collective.init_collective_group(3, rank, backend="gloo")

    with pytest.raises(RuntimeError, match="a second time"):
        together(init)


def test_backends_are_named(collective: Any) -> None:
    assert collective.is_backend_available("gloo")
    assert not collective.is_backend_available("nonsense")
    types = importlib.import_module(f"{collective.__name__}.types")
    assert (types.Backend("gloo"), types.Backend("torch_gloo"), types.Backend("nccl")) == ("GLOO", "GLOO", "NCCL")
    with pytest.raises(ValueError, match="Only NCCL and GLOO"):
        types.Backend("nonsense")


def test_wrong_groups_are_refused(ray: Any, collective: Any, Member: Any) -> None:
    member = Member.remote(0)
    for error, options in (
        (ValueError, {"size": 1, "backend": "nonsense"}),
        (ValueError, {"size": 1, "backend": "gloo", "group_name": ""}),
        (AssertionError, {"size": 0, "backend": "gloo"}),
    ):
        with pytest.raises(error):
            ray.get(member.init.remote(**options))
    for size, ranks, backend in ((1, [0, 1], "gloo"), (1, [1], "gloo"), (0, [0], "gloo"), (1, [0], "nonsense")):
        with pytest.raises(RuntimeError):
            collective.create_collective_group([member], size, ranks, backend=backend, group_name="refused")


def test_wrong_arguments_are_refused(together: Any) -> None:
    refused: list[tuple[Any, str, Any]] = [
        (RuntimeError, "Unrecognized tensor type", lambda c, rank: c.allreduce([1])),
        (RuntimeError, "must be a list", lambda c, rank: c.allgather(np.ones(1), np.ones(1))),
        (RuntimeError, "equal to world_size", lambda c, rank: c.allgather([np.ones(1)], np.ones(1))),
        (RuntimeError, "equal to world_size", lambda c, rank: c.reducescatter(np.ones(1), [np.ones(1)])),
        (RuntimeError, "is self", lambda c, rank: c.send(np.ones(1), rank)),
        (RuntimeError, "is self", lambda c, rank: c.recv(np.ones(1), rank)),
        (ValueError, "less than world size", lambda c, rank: c.broadcast(np.ones(1), src_rank=3)),
        (ValueError, "is negative", lambda c, rank: c.reduce(np.ones(1), dst_rank=-1)),
        (RuntimeError, "NCCL", lambda c, rank: c.allreduce_multigpu([np.ones(1)])),
    ]
    for error, message, call in refused:
        with pytest.raises(error, match=message):
            together(call)
