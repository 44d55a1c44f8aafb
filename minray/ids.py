"""Ids as users see them: Ray's classes, lengths and texts, made from minray's ints.

Inside minray an id is an int (see `minray.session`). Outside it has the bytes that Ray's would have:

    JobID      4   the job's number, little endian; a run has one job, number 1
    ActorID   16   the actor's int (12), then its job
    TaskID    24   the int of the task's first object (8), then an ActorID: nil (12) and the job for all but actors'
                   creations
    object    28   a TaskID, then an index (4)
    NodeID, WorkerID ... 28   made once in a run

An id is nil if all its bytes are 0xff.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, ClassVar

from typing_extensions import Self

from minray.core.numbering import NEXT, call_of

__all__ = [
    "ActorClassID",
    "ActorID",
    "BaseID",
    "ClusterID",
    "FunctionID",
    "JobID",
    "NodeID",
    "PlacementGroupID",
    "TaskID",
    "UniqueID",
    "WorkerID",
]

_JOB = b"\x01\x00\x00\x00"
_INDEX = 4
_TASK_INT = 8
_ACTOR_INT = 12
_NO_ACTOR = b"\xff" * _ACTOR_INT + _JOB
_NO_TASK = b"\xff" * _TASK_INT
_OBJECT = 28
#: Ids that minray did not make are ints from here on.
_OTHERS = 1 << 8 * _OBJECT


class BaseID:
    """Some bytes, compared and hashed with their type."""

    __slots__ = ("_bytes",)
    _size: ClassVar[int] = 0

    def __init__(self, id: bytes) -> None:
        """TypeError: `id` is no bytes. ValueError: it has the wrong length."""
        if not isinstance(id, bytes):
            raise TypeError(f"Unsupported type: {type(id)}, expected bytes")
        if len(id) != self._size:
            raise ValueError(f"ID string needs to have length {self._size}, got {len(id)}")
        self._bytes = id

    @classmethod
    def from_binary(cls, id_bytes: bytes) -> Self:
        """The id of these bytes."""
        return cls(id_bytes)

    @classmethod
    def from_hex(cls, hex_id: str) -> Self:
        """The id of these hexadecimal digits; a nil one if there is a wrong number of them."""
        return cls(bytes.fromhex(hex_id)) if len(hex_id) == 2 * cls._size else cls.nil()

    @classmethod
    def nil(cls) -> Self:
        """The id of nothing."""
        return cls(b"\xff" * cls._size)

    @classmethod
    def size(cls) -> int:
        """How many bytes an id of this kind has."""
        return cls._size

    def binary(self) -> bytes:
        """Its bytes."""
        return self._bytes

    def hex(self) -> str:
        """Its bytes as hexadecimal digits."""
        return self._bytes.hex()

    def is_nil(self) -> bool:
        """Whether it is the id of nothing."""
        return self._bytes == b"\xff" * self._size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BaseID) and type(self) is type(other) and self._bytes == other._bytes

    def __hash__(self) -> int:
        return hash((type(self).__name__, self._bytes))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.hex()})"

    def __reduce__(self) -> tuple[Callable[[bytes], Any], tuple[bytes]]:
        return type(self), (self._bytes,)


class UniqueID(BaseID):
    """28 bytes, chosen at random."""

    __slots__ = ()
    _size = 28

    @classmethod
    def from_random(cls) -> Self:
        """A new id that no other is like."""
        return cls(os.urandom(cls._size))


class NodeID(UniqueID):
    """A machine's."""

    __slots__ = ()


class WorkerID(UniqueID):
    """A worker's, or the driver's: its job and nothing more."""

    __slots__ = ()


class FunctionID(UniqueID):
    """A remote function's."""

    __slots__ = ()


class ActorClassID(UniqueID):
    """A class of actors'."""

    __slots__ = ()


class ClusterID(UniqueID):
    """A cluster's: a run's."""

    __slots__ = ()


class JobID(BaseID):
    """A job's: all that one driver does."""

    __slots__ = ()
    _size = 4

    @classmethod
    def from_int(cls, value: int) -> Self:
        """The id of job number `value`."""
        return cls(value.to_bytes(cls._size, "little"))

    def int(self) -> int:
        """The job's number."""
        return int.from_bytes(self._bytes, "little")


class ActorID(BaseID):
    """An actor's. Ends with its job's."""

    __slots__ = ()
    _size = 16

    @classmethod
    def from_random(cls) -> Self:
        """A new id that no actor has."""
        return cls(os.urandom(14) + b"\xff\xff")

    @property
    def job_id(self) -> JobID:
        """The job that made it."""
        return JobID(self._bytes[_ACTOR_INT:])


class TaskID(BaseID):
    """A task's. Ends with an actor's, nil but for its job if the task is no actor's."""

    __slots__ = ()
    _size = 24

    def actor_id(self) -> ActorID:
        """The actor that it ends with."""
        return ActorID(self._bytes[_TASK_INT:])

    def job_id(self) -> JobID:
        """The job that made it."""
        return JobID(self._bytes[-4:])


class PlacementGroupID(BaseID):
    """A placement group's."""

    __slots__ = ()
    _size = 18

    @classmethod
    def from_random(cls) -> Self:
        """A new id that no other is like."""
        return cls(os.urandom(cls._size))


THE_JOB = JobID(_JOB)


def actor_id(actor: int) -> ActorID:
    """How an actor's int is shown."""
    return ActorID(actor.to_bytes(_ACTOR_INT, "big") + _JOB)


def actor_int(hex_id: str) -> int | None:
    """The way back from `actor_id(...).hex()`; None for what is no such text."""
    return _int_of(hex_id, _ACTOR_INT, _JOB)


def task_id(task: int) -> TaskID:
    """How the int of a task (that of its first object) is shown."""
    return TaskID(task.to_bytes(_TASK_INT, "big") + _NO_ACTOR)


def creation_id(actor: int) -> TaskID:
    """The id of the task that creates an actor."""
    return TaskID(_NO_TASK + actor_id(actor).binary())


def id_to_bytes(id: int) -> bytes:
    """How an object's int is shown. The way back is `bytes_to_id`."""
    if 0 <= id < _OTHERS:
        return task_id(call_of(id)).binary() + (id // NEXT + 1).to_bytes(_INDEX, "little")
    return (id & _OTHERS - 1).to_bytes(_OBJECT, "big")


def bytes_to_id(data: bytes) -> int:
    """The int that `id_to_bytes` shows as these 28 bytes; -1 for those of nothing. What minray did not make becomes an
    int that no object has."""
    call, index = data[:_TASK_INT], int.from_bytes(data[-_INDEX:], "little")
    if data[_TASK_INT:-_INDEX] == _NO_ACTOR and index:
        return int.from_bytes(call, "big") + (index - 1) * NEXT
    return -1 if data == b"\xff" * _OBJECT else int.from_bytes(data, "big") | _OTHERS


def _int_of(hex_id: str, size: int, rest: bytes) -> int | None:
    if len(hex_id) != 2 * (size + len(rest)) or hex_id[2 * size :] != rest.hex():
        return None
    try:
        return int(hex_id[: 2 * size], 16)
    except ValueError:
        return None
