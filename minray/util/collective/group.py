"""`Group`: one member's end of a collective group. `Rendezvous`: the actor through which the members meet.

    rank 0: allreduce ──meet("3", its array)──┐
    rank 1: allreduce ──meet("3", its array)──┤ Rendezvous: answers all when the last has come,
    rank 2: allreduce ──meet("3", its array)──┘ each with what all have brought

An operation is one call of the rendezvous; each member computes what it needs from what the others have brought, in the
order of the ranks, so that all get the same bits. Large arrays are stored, and only their refs pass through the actor.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np

import minray
from minray import ObjectRef
from minray.util.collective.types import ReduceOp
from minray.util.sharing import LARGE

_FUNCTIONS: dict[ReduceOp, Callable[[Any, Any], Any]] = {
    ReduceOp.SUM: np.add,
    ReduceOp.PRODUCT: np.multiply,
    ReduceOp.MIN: np.minimum,
    ReduceOp.MAX: np.maximum,
}


class Group:
    """A member of a group. Making one waits until all members have joined.

    Its methods work in place, on arrays of one shape and type, and return nothing. Members call the same methods in the
    same order. RuntimeError: they do not, or the others were not there in time.
    """

    def __init__(self, rendezvous: Any, world_size: int, rank: int, name: str, timeout: float) -> None:
        self.world_size = world_size
        self.rank = rank
        self.group_name = name
        self._rendezvous = rendezvous
        self._timeout = timeout
        self._generation = 0
        self._steps = itertools.count()
        self._letters: dict[tuple[int, int], itertools.count[int]] = defaultdict(itertools.count)
        self._generation = self._wait(rendezvous.join.remote(rank, world_size), "join")

    def backend(self) -> str:
        """The name of the way in which this group communicates."""
        return "GLOO"

    def allreduce(self, array: np.ndarray[Any, Any], op: ReduceOp) -> None:
        """Make `array` the reduction of those of all members."""
        _fill(array, _reduced(self._meet("allreduce", array), op))

    def reduce(self, array: np.ndarray[Any, Any], dst_rank: int, op: ReduceOp) -> None:
        """Make `array` the reduction of those of all members, at `dst_rank` alone."""
        brought = self._meet("reduce", array)
        if self.rank == dst_rank:
            _fill(array, _reduced(brought, op))

    def broadcast(self, array: np.ndarray[Any, Any], src_rank: int) -> None:
        """Make `array` that of `src_rank`."""
        brought = self._meet("broadcast", array if self.rank == src_rank else None)
        if self.rank != src_rank:
            _fill(array, _opened(brought[src_rank]))

    def allgather(self, arrays: list[np.ndarray[Any, Any]], array: np.ndarray[Any, Any]) -> None:
        """Make `arrays` those of all members, by rank."""
        for into, brought in zip(arrays, self._meet("allgather", array)):
            _fill(into, _opened(brought))

    def reducescatter(self, array: np.ndarray[Any, Any], arrays: list[np.ndarray[Any, Any]], op: ReduceOp) -> None:
        """Make `array` the reduction of what all members have in `arrays` at this member's rank."""
        brought = self._meet("reducescatter", *arrays)
        _fill(array, _reduced([parts[self.rank] for parts in brought], op))

    def barrier(self) -> None:
        """Wait until all members are here."""
        self._meet("barrier", None)

    def send(self, array: np.ndarray[Any, Any], dst_rank: int) -> None:
        """Leave `array` for `dst_rank`. Returns as soon as the rendezvous has it."""
        letter = self.rank, dst_rank
        call = self._rendezvous.post.remote(self._generation, letter, next(self._letters[letter]), [_packed(array)])
        self._wait(call, "send")

    def recv(self, array: np.ndarray[Any, Any], src_rank: int) -> None:
        """Wait for what `src_rank` sends; make `array` that."""
        letter = src_rank, self.rank
        call = self._rendezvous.collect.remote(self._generation, letter, next(self._letters[letter]))
        _fill(array, _opened(self._wait(call, "recv")[0]))

    def destroy_group(self) -> None:
        """Leave the group; when all have left, its rendezvous ends."""
        try:
            if minray.get(self._rendezvous.leave.remote(self.rank)):
                minray.kill(self._rendezvous)
        except minray.exceptions.RayActorError:
            return  # another has ended it

    def _meet(self, what: str, *arrays: np.ndarray[Any, Any] | None) -> list[Any]:
        """What each member has brought, by rank: an item, or a list if these are several."""
        items = [_packed(array) for array in arrays]
        call = self._rendezvous.meet.remote((self._generation, next(self._steps)), self.rank, what, items)
        brought = self._wait(call, what)
        return brought if what == "reducescatter" else [items[0] for items in brought]

    def _wait(self, call: ObjectRef[Any], what: str) -> Any:
        try:
            return minray.get(call, timeout=self._timeout)
        except minray.exceptions.GetTimeoutError:
            raise RuntimeError(
                f"{what} of the collective group '{self.group_name}' (rank {self.rank} of {self.world_size}): the "
                f"others were not there within {self._timeout} s. All have to make the same calls in the same order."
            ) from None


class Rendezvous:
    """Where the members of one group meet; an actor, named after the group."""

    def __init__(self, declared: tuple[dict[str, int], int, float] | None = None) -> None:
        """`declared`, by `create_collective_group`: actor's id -> rank, the number of members, and the time-out."""
        self._declared = declared
        self._size = 0
        self._generation = 0
        self._joined: set[int] = set()
        self._left: set[int] = set()
        self._complete = asyncio.Event()
        self._meetings: dict[Any, _Meeting] = defaultdict(_Meeting)
        self._letters: dict[Any, asyncio.Future[Any]] = defaultdict(asyncio.get_running_loop().create_future)

    async def declared(self) -> tuple[dict[str, int], int, float] | None:
        """What `create_collective_group` has declared."""
        return self._declared

    async def join(self, rank: int, size: int) -> int:
        """Wait until all have joined. Returns how many times that has happened."""
        if self._joined and size != self._size:
            raise RuntimeError(f"Rank {rank} says that the group has {size} members; others say {self._size}.")
        if rank in self._joined:
            raise RuntimeError(f"There are two members of rank {rank}.")
        self._size = size
        self._left.discard(rank)
        self._joined.add(rank)
        complete = self._complete
        if len(self._joined) < size:
            await complete.wait()
        else:
            self._joined = set()
            self._complete = asyncio.Event()
            self._generation += 1
            complete.set()
        return self._generation

    async def meet(self, step: tuple[int, int], rank: int, what: str, items: list[Any]) -> list[list[Any]]:
        """Wait until all are at this step; return what each has brought. RuntimeError: they do different things."""
        meeting = self._meetings[step]
        meeting.brought[rank] = items
        meeting.what[rank] = what
        if len(meeting.brought) < self._size:
            await meeting.all_here.wait()
        else:
            del self._meetings[step]
            meeting.all_here.set()
        if len(set(meeting.what.values())) > 1:
            raise RuntimeError(f"The members of the group do different things at a time: {meeting.what}.")
        return [meeting.brought[rank] for rank in range(self._size)]

    async def post(self, generation: int, letter: tuple[int, int], number: int, items: list[Any]) -> None:
        """Keep what one member sends to another."""
        self._letters[generation, letter, number].set_result(items)

    async def collect(self, generation: int, letter: tuple[int, int], number: int) -> list[Any]:
        """Wait for what one member sends to another."""
        items: list[Any] = await self._letters[generation, letter, number]
        del self._letters[generation, letter, number]
        return items

    async def leave(self, rank: int) -> bool:
        """Returns whether all have left."""
        self._left.add(rank)
        return len(self._left) == self._size and not self._joined


class _Meeting:
    """One step, while not all have come."""

    def __init__(self) -> None:
        self.brought: dict[int, list[Any]] = {}
        self.what: dict[int, str] = {}
        self.all_here = asyncio.Event()


def _packed(array: np.ndarray[Any, Any] | None) -> Any:
    return minray.put(array) if array is not None and array.nbytes >= LARGE else array


def _opened(item: Any) -> Any:
    return minray.get(item) if isinstance(item, ObjectRef) else item


def _reduced(items: list[Any], op: ReduceOp) -> Any:
    arrays = [_opened(item) for item in items]
    if len({array.shape for array in arrays}) > 1:
        raise ValueError(f"The arrays of the members have different shapes: {[array.shape for array in arrays]}.")
    return functools.reduce(_FUNCTIONS[op], arrays)


def _fill(array: np.ndarray[Any, Any], value: Any) -> None:
    if array.shape != value.shape:
        raise ValueError(f"An array of shape {array.shape} cannot take one of shape {value.shape}.")
    array[...] = value
