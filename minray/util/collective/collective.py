"""The functions of `minray.util.collective`: check what the user gave, and find the caller's group.

The backend "gloo" is `minray.util.collective.group`: through minray's own objects, on the CPU. "nccl" needs GPUs that
talk to each other and is not there.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

import minray
from minray.util.collective.group import Group, Rendezvous
from minray.util.collective.types import Backend, ReduceOp

#: The groups of this process: by worker, as in the threads backend all workers are one process, and by name.
_groups: dict[tuple[str, str], Group] = {}
_lock = threading.RLock()


# --- Groups ------------------------------------------------------------------------------------------------------


def is_backend_available(backend: str) -> bool:
    """Whether a group can communicate so: "gloo" alone."""
    return backend.upper() == Backend.GLOO


def gloo_available() -> bool:
    """Whether the backend "gloo" is there: True."""
    return True


def nccl_available() -> bool:
    """Whether the backend "nccl" is there: False."""
    return False


def init_collective_group(
    world_size: int,
    rank: int,
    backend: str = Backend.NCCL,
    group_name: str = "default",
    gloo_timeout: int = 30000,
) -> None:
    """Join a group, in an actor or task; waits until all have joined.

    Args:
        world_size: How many members it has.
        rank: Which of them this is, from 0.
        backend: "gloo".
        group_name: Its name.
        gloo_timeout: For how many milliseconds its operations wait for the others.

    Raises RuntimeError in a driver, if it has joined already, or if the others do not come in time; ValueError if the
    backend is not there.
    """
    _me()
    if not group_name:
        raise ValueError(f"group_name '{group_name}' needs to be a string.")
    if is_group_initialized(group_name):
        raise RuntimeError("Trying to initialize a group a second time.")
    assert world_size > 0, f"world_size must be positive, not {world_size}"
    assert 0 <= rank < world_size, f"rank must be at least 0 and below world_size ({world_size}), not {rank}"
    if not is_backend_available(backend):
        raise ValueError(f"Backend {backend.upper()} not registered: minray has GLOO alone.")
    actor_class: Any = minray.remote(Rendezvous)
    options = {"name": f"info_{group_name}", "get_if_exists": True, "lifetime": "detached", "num_cpus": 0}
    try:
        _join(actor_class.options(**options).remote(), world_size, rank, group_name, gloo_timeout / 1000)
    except minray.exceptions.ActorDiedError:  # that was the end of an earlier group of this name
        _join(actor_class.options(**options).remote(), world_size, rank, group_name, gloo_timeout / 1000)


def create_collective_group(
    actors: list[Any],
    world_size: int,
    ranks: list[int],
    backend: str = Backend.NCCL,
    group_name: str = "default",
    gloo_timeout: int = 30000,
) -> None:
    """Declare, in the driver, that `actors` are a group; each joins when it first communicates.

    Args:
        actors: Their handles.
        world_size: How many members there are.
        ranks: The rank of each actor.
        backend, group_name, gloo_timeout: As for `init_collective_group`.

    Raises RuntimeError if there is such a group, if the numbers do not fit, or if the backend is not there.
    """
    name = f"info_{group_name}"
    try:
        minray.get_actor(name)
    except ValueError:
        pass
    else:
        raise RuntimeError("Trying to initialize a group twice.")
    if len(ranks) != len(actors):
        raise RuntimeError(
            f"Each actor should correspond to one rank. Got '{len(ranks)}' ranks but '{len(actors)}' actors"
        )
    if set(ranks) != set(range(len(ranks))):
        raise RuntimeError(f"Ranks must be a permutation from 0 to '{len(ranks)}'. Got '{ranks}'.")
    if world_size <= 0:
        raise RuntimeError(f"World size must be greater than zero. Got '{world_size}'.")
    if world_size < len(ranks):
        raise RuntimeError(f"Ranks cannot be greater than world_size. Got ranks {ranks} and '{world_size}'.")
    if not is_backend_available(backend):
        raise RuntimeError(f"Backend {backend.upper()} is not registered: minray has GLOO alone.")
    members = {actor._actor_id.hex(): rank for actor, rank in zip(actors, ranks)}
    actor_class: Any = minray.remote(Rendezvous)
    options = {"name": name, "lifetime": "detached", "num_cpus": 0}
    declared = members, world_size, gloo_timeout / 1000
    minray.get(actor_class.options(**options).remote(declared).declared.remote())


def destroy_collective_group(group_name: str = "default") -> None:
    """Leave a group; without effect if this is no member."""
    with _lock:
        group = _groups.pop((_me(), group_name), None)
    if group is not None:
        group.destroy_group()


def is_group_initialized(group_name: str) -> bool:
    """Whether this actor or task has joined the group."""
    return (minray.get_runtime_context().get_worker_id(), group_name) in _groups


def get_rank(group_name: str = "default") -> int:
    """The rank of this actor or task; -1: it has not joined."""
    group = _groups.get((_me(), group_name))
    return -1 if group is None else group.rank


def get_collective_group_size(group_name: str = "default") -> int:
    """How many members the group has; -1: this actor or task has not joined."""
    group = _groups.get((_me(), group_name))
    return -1 if group is None else group.world_size


def get_group_handle(group_name: str = "default") -> Group:
    """This member's end of the group; joins it if it was declared. RuntimeError: this is no member."""
    group = _groups.get((_me(), group_name))
    if group is not None:
        return group
    try:
        rendezvous = minray.get_actor(f"info_{group_name}")
        declared: Any = minray.get(rendezvous.declared.remote()) or ({}, 0, 0.0)
        members, world_size, timeout = declared
        rank = members[minray.get_runtime_context().get_actor_id()]
    except (ValueError, KeyError) as error:
        raise RuntimeError(f"The collective group '{group_name}' is not initialized in the process.") from error
    return _join(rendezvous, world_size, rank, group_name, timeout)


def _join(rendezvous: Any, world_size: int, rank: int, name: str, timeout: float) -> Group:
    group = Group(rendezvous, world_size, rank, name, timeout)
    with _lock:
        _groups[_me(), name] = group
    return group


def _me() -> str:
    """The id of this worker. RuntimeError: this is a driver."""
    worker: str = minray.get_runtime_context().get_worker_id()
    if worker.endswith("f" * 48):  # a driver's id has its job, and nothing else
        raise RuntimeError("The collective APIs shall be only used inside a Ray actor or task.")
    return worker


# --- Operations --------------------------------------------------------------------------------------------------


def allreduce(tensor: Any, group_name: str = "default", op: ReduceOp = ReduceOp.SUM) -> None:
    """Make `tensor`, of every member, the reduction of those of all."""
    array = _array(tensor)
    get_group_handle(group_name).allreduce(array, op)


def reduce(tensor: Any, dst_rank: int = 0, group_name: str = "default", op: ReduceOp = ReduceOp.SUM) -> None:
    """Make `tensor`, of the member `dst_rank`, the reduction of those of all. That of the others stays as it is."""
    array = _array(tensor)
    _with_rank(group_name, dst_rank).reduce(array, dst_rank, op)


def broadcast(tensor: Any, src_rank: int = 0, group_name: str = "default") -> None:
    """Make `tensor`, of every member, that of `src_rank`."""
    array = _array(tensor)
    _with_rank(group_name, src_rank).broadcast(array, src_rank)


def allgather(tensor_list: list[Any], tensor: Any, group_name: str = "default") -> None:
    """Make `tensor_list`, of every member, the `tensor` of all, by rank."""
    array, arrays = _array(tensor), _arrays(tensor_list)
    group = get_group_handle(group_name)
    if len(arrays) != group.world_size:
        raise RuntimeError("The length of the tensor list operands to allgather must be equal to world_size.")
    group.allgather(arrays, array)


def reducescatter(
    tensor: Any, tensor_list: list[Any], group_name: str = "default", op: ReduceOp = ReduceOp.SUM
) -> None:
    """Make `tensor`, of each member, the reduction of what all have in `tensor_list` at that member's rank."""
    array, arrays = _array(tensor), _arrays(tensor_list)
    group = get_group_handle(group_name)
    if len(arrays) != group.world_size:
        raise RuntimeError("The length of the tensor list operands to reducescatter must be equal to world_size.")
    group.reducescatter(array, arrays, op)


def barrier(group_name: str = "default") -> None:
    """Wait until all members are here."""
    get_group_handle(group_name).barrier()


def send(tensor: Any, dst_rank: int, group_name: str = "default") -> None:
    """Send `tensor` to a member, who has to `recv` it. Does not wait for that."""
    array = _array(tensor)
    _with_other_rank(group_name, dst_rank).send(array, dst_rank)


def recv(tensor: Any, src_rank: int, group_name: str = "default") -> None:
    """Make `tensor` the next that the member `src_rank` sends here."""
    array = _array(tensor)
    _with_other_rank(group_name, src_rank).recv(array, src_rank)


def _needs_gpus(*_args: Any, **_kwargs: Any) -> None:
    """Of several GPUs in a process. RuntimeError: they would need NCCL."""
    raise RuntimeError("Multigpu calls requires NCCL and Cupy.")


allgather_multigpu: Callable[..., None] = _needs_gpus
allreduce_multigpu: Callable[..., None] = _needs_gpus
broadcast_multigpu: Callable[..., None] = _needs_gpus
recv_multigpu: Callable[..., None] = _needs_gpus
reduce_multigpu: Callable[..., None] = _needs_gpus
reducescatter_multigpu: Callable[..., None] = _needs_gpus
send_multigpu: Callable[..., None] = _needs_gpus


def _array(tensor: Any) -> np.ndarray[Any, Any]:
    """`tensor` as an array on the same memory. RuntimeError: it is neither an array nor a tensor on the CPU."""
    if isinstance(tensor, np.ndarray):
        return tensor
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(tensor, torch.Tensor) and tensor.device.type == "cpu":
        array: np.ndarray[Any, Any] = tensor.detach().numpy()
        return array
    raise RuntimeError(
        f"Unrecognized tensor type '{type(tensor)}'. Supported types are: np.ndarray, torch.Tensor (on the CPU)."
    )


def _arrays(tensors: Any) -> list[np.ndarray[Any, Any]]:
    if not isinstance(tensors, list):
        raise RuntimeError(f"The input must be a list of tensors. Got '{type(tensors)}'.")
    if not tensors:
        raise RuntimeError("Got an empty list of tensors.")
    return [_array(tensor) for tensor in tensors]


def _with_rank(group_name: str, rank: int) -> Group:
    group = get_group_handle(group_name)
    if rank < 0:
        raise ValueError(f"rank '{rank}' is negative.")
    if rank >= group.world_size:
        raise ValueError(f"rank '{rank}' must be less than world size '{group.world_size}'")
    return group


def _with_other_rank(group_name: str, rank: int) -> Group:
    group = _with_rank(group_name, rank)
    if rank == group.rank:
        raise RuntimeError(f"The destination rank '{rank}' is self.")
    return group
