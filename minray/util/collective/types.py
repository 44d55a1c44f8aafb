"""`Backend` and `ReduceOp`."""

from __future__ import annotations

from enum import Enum


class Backend(str):
    """The name of a way to communicate: ``Backend("gloo")`` is "GLOO". ValueError: Ray knows no such name."""

    NCCL = "NCCL"
    GLOO = "GLOO"
    UNRECOGNIZED = "unrecognized"

    def __new__(cls, name: str) -> Backend:
        """One of the names in capitals."""
        known = {"NCCL": cls.NCCL, "GLOO": cls.GLOO, "TORCH_GLOO": cls.GLOO}
        if name.upper() not in known:
            raise ValueError(f"Unrecognized backend: '{name}'. Only NCCL and GLOO are supported")
        return str.__new__(cls, known[name.upper()])


class ReduceOp(Enum):
    """How several arrays become one."""

    SUM = 0
    PRODUCT = 1
    MIN = 2
    MAX = 3
