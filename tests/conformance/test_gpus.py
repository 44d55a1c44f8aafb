"""GPUs: amounts of them are given out as particular ones."""

from __future__ import annotations

import os
from typing import Any

import pytest


@pytest.fixture
def which(ray: Any) -> Any:
    """A remote function that tells the ids of its GPUs."""

    @ray.remote
    def which() -> Any:
        return ray.get_gpu_ids()

    return which


@pytest.fixture
def owner(ray: Any) -> Any:
    """An actor class that tells the ids of its GPUs."""

    @ray.remote(num_cpus=0)
    class Owner:
        def which(self) -> Any:
            return ray.get_gpu_ids()

    return Owner


def test_a_driver_has_no_gpus(ray: Any) -> None:
    ray.cluster_resources()
    assert ray.get_gpu_ids() == []


def test_a_task_gets_as_many_gpus_as_it_asks_for(ray: Any, which: Any) -> None:
    assert ray.get(which.remote()) == []
    assert ray.get(which.options(num_gpus=2).remote()) == [0, 1]
    assert len(ray.get(which.options(num_gpus=1).remote())) == 1
    assert ray.get(which.remote()) == []


def test_actors_keep_gpus_of_their_own(ray: Any, owner: Any, which: Any) -> None:
    actors = [owner.options(num_gpus=1).remote() for _ in range(2)]
    assert sorted(ray.get([actor.which.remote() for actor in actors])) == [[0], [1]]
    waiting = which.options(num_gpus=0.1).remote()
    assert ray.wait([waiting], timeout=0.1)[0] == []

    given = ray.get(actors[0].which.remote())
    ray.kill(actors[0])

    assert ray.get(waiting) == given


def test_parts_of_a_gpu_are_of_the_same_one(ray: Any, owner: Any) -> None:
    halves = [owner.options(num_gpus=0.5).remote() for _ in range(2)]
    whole = owner.options(num_gpus=1).remote()
    first, second, other = ray.get([actor.which.remote() for actor in [*halves, whole]])
    assert first == second != other


@pytest.mark.needs("processes")
def test_cuda_sees_the_gpus_of_the_task_alone(ray: Any) -> None:
    @ray.remote
    def visible() -> Any:
        return ray.get_gpu_ids(), os.environ.get("CUDA_VISIBLE_DEVICES")

    assert ray.get(visible.options(num_gpus=2).remote()) == ([0, 1], "0,1")
    ids, seen = ray.get(visible.options(num_gpus=0.5).remote())
    assert seen == str(ids[0])
    assert ray.get(visible.remote()) == ([], None)


@pytest.mark.needs("processes")
def test_cuda_sees_the_gpus_of_the_actor_alone(ray: Any) -> None:
    @ray.remote(num_gpus=1, num_cpus=0)
    class Owner:
        def __init__(self) -> None:
            self.first = os.environ.get("CUDA_VISIBLE_DEVICES")

        def visible(self) -> Any:
            return self.first, os.environ.get("CUDA_VISIBLE_DEVICES"), ray.get_gpu_ids()

    first, seen, ids = ray.get(Owner.remote().visible.remote())
    assert first == seen == str(ids[0])


def test_the_context_tells_of_gpus(ray: Any) -> None:
    @ray.remote
    def told() -> Any:
        context = ray.get_runtime_context()
        return context.get_accelerator_ids()["GPU"], context.get_assigned_resources()

    assert ray.get(told.options(num_gpus=2).remote()) == (["0", "1"], {"CPU": 1.0, "GPU": 2.0})
    assert ray.get(told.options(num_cpus=0).remote()) == ([], {})


@pytest.mark.parametrize("amount", [1.5, -1, 0.00001])
def test_amounts_of_gpus_that_cannot_be(ray: Any, which: Any, amount: float) -> None:
    with pytest.raises(ValueError):
        which.options(num_gpus=amount).remote()


@pytest.mark.needs("processes")
@pytest.mark.slow
def test_a_worker_that_had_a_gpu_is_not_used_again(ray: Any) -> None:
    @ray.remote(num_gpus=1)
    def pid() -> int:
        return os.getpid()

    assert len(set(ray.get([pid.remote() for _ in range(3)]))) == 3


@pytest.mark.own_session
@pytest.mark.slow
def test_gpus_keep_the_names_that_the_driver_knows_them_by(ray: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    with pytest.raises(ValueError, match="CUDA_VISIBLE_DEVICES"):
        ray.init(num_gpus=3)
    ray.init(num_cpus=1, num_gpus=2)

    @ray.remote(num_gpus=2)
    def which() -> Any:
        return [int(gpu) for gpu in ray.get_gpu_ids()]

    assert sorted(ray.get(which.remote())) == [3, 5]
