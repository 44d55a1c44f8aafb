"""The constant parts of a call: what `f.options(...)` fixes once, and `.remote(...)` reuses every time.

A template is built when options are chosen, so that a call itself carries only a reference to it. Templates
are compared by `key`, a content hash: a worker or an owner that has seen a key never needs the body again.
"""

from __future__ import annotations

from copy import copy
from typing import Any, TypeVar

from minray.core.terms import Terms

#: Resource amounts are integers in units of 1/10,000, so that fractions add up exactly.
RESOURCE_UNIT = 10_000

#: ``(("CPU", 10_000), ("GPU", 5_000))``: sorted by name, zero amounts left out.
Demand = tuple[tuple[str, int], ...]

#: What calls that may share a worker have in common: their demand, and their terms if they have any.
LaneKey = Demand | tuple[Demand, Terms]


def lane_key(demand: Demand, terms: Terms | None) -> LaneKey:
    """A bare demand for calls without terms: nearly all are, and it is quicker to hash."""
    return demand if terms is None else (demand, terms)


T = TypeVar("T", "TaskTemplate", "ActorTemplate")


class Code:
    """A function or class, pickled once. `key` is the hash of `blob`; `refs` are the objects it closes over."""

    __slots__ = ("blob", "key", "name", "refs")

    def __init__(self, key: bytes, blob: bytes, name: str, refs: tuple[int, ...] = ()) -> None:
        self.key = key
        self.blob = blob
        self.name = name
        self.refs = refs

    def __repr__(self) -> str:
        return f"<Code {self.name} {self.key.hex()[:8]}>"


class TaskTemplate:
    """What every call of one remote function under one set of options has in common.

    `num_returns` is the number of objects a call makes (at least 0); `max_retries` is -1 for "for ever";
    `retry_exceptions` is False, True, or the `Code` of a tuple of exception types; `stream` is None, or of a generator
    whose items are streamed how many of them may be unread (0: any number); `extra` is what else the worker has to
    know, as plain values by name, or None. `terms` are what it asks of its worker beyond `demand`, or None. `captured`:
    a task in a placement group takes these calls into it (None: if it captures its child tasks).
    """

    __slots__ = (
        "captured",
        "code",
        "demand",
        "extra",
        "key",
        "lane_key",
        "max_retries",
        "name",
        "num_returns",
        "pace",
        "retry_exceptions",
        "stream",
        "terms",
    )

    def __init__(
        self,
        key: bytes,
        code: Code,
        name: str,
        num_returns: int = 1,
        demand: Demand = (("CPU", RESOURCE_UNIT),),
        max_retries: int = 3,
        retry_exceptions: Any = False,
        stream: int | None = None,
        extra: dict[str, Any] | None = None,
        terms: Terms | None = None,
        captured: bool | None = None,
    ) -> None:
        self.key = key
        self.code = code
        self.name = name
        self.num_returns = num_returns
        self.stream = stream
        self.demand = demand
        self.terms = terms
        self.lane_key = lane_key(demand, terms)
        self.captured = captured
        self.max_retries = max_retries
        self.retry_exceptions = retry_exceptions
        self.extra = extra
        self.pace: float | None = None  # seconds a call took lately: the scheduler's, None before the first

    def __repr__(self) -> str:
        return f"<TaskTemplate {self.name}>"


class MethodTemplate:
    """What every call of one method under one set of options has in common.

    `name` is what errors and listings call it (``"Class.method"``); `max_retries` is how often a call may be run
    again after its actor was restarted, or after an exception that `retry_exceptions` asks for. The rest is as in
    `TaskTemplate`.
    """

    __slots__ = (
        "extra",
        "key",
        "max_retries",
        "method",
        "name",
        "num_returns",
        "retry_exceptions",
        "stream",
    )

    def __init__(
        self,
        key: bytes,
        method: str,
        name: str,
        num_returns: int = 1,
        max_retries: int = 0,
        retry_exceptions: Any = False,
        stream: int | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        self.key = key
        self.method = method
        self.name = name
        self.num_returns = num_returns
        self.stream = stream
        self.max_retries = max_retries
        self.retry_exceptions = retry_exceptions
        self.extra = extra

    def __repr__(self) -> str:
        return f"<MethodTemplate {self.name}>"


class ActorTemplate:
    """What every actor made from one class under one set of options has in common.

    `demand` is held for the actor's whole life. `in_order`: calls reach it in the order in which each caller made
    them; else as soon as their arguments are there. `concurrent`: it may run several calls at once.
    `max_pending_calls` is how many unfinished calls each caller may have there; -1 is "any number". `methods` maps a
    public method's name to its `@method` options (``{"num_returns": 2}``), so that a handle that arrives in another
    process knows what it may call. `max_unread` is how many items of all its streams together may be unread, None for
    any number. `terms` and `captured` are as in `TaskTemplate`.
    """

    __slots__ = (
        "captured",
        "code",
        "concurrent",
        "demand",
        "extra",
        "in_order",
        "key",
        "lane_key",
        "lifetime",
        "max_concurrency",
        "max_pending_calls",
        "max_restarts",
        "max_task_retries",
        "max_unread",
        "methods",
        "name",
        "namespace",
        "packed",
        "registered_name",
        "terms",
    )

    def __init__(
        self,
        key: bytes,
        code: Code,
        name: str,
        methods: dict[str, dict[str, Any]],
        demand: Demand = (),
        max_restarts: int = 0,
        max_task_retries: int = 0,
        max_concurrency: int | None = None,
        registered_name: str | None = None,
        namespace: str | None = None,
        lifetime: str | None = None,
        max_unread: int | None = None,
        extra: dict[str, Any] | None = None,
        in_order: bool = True,
        concurrent: bool = False,
        max_pending_calls: int = -1,
        terms: Terms | None = None,
        captured: bool | None = None,
    ) -> None:
        self.key = key
        self.code = code
        self.name = name
        self.methods = methods
        self.max_unread = max_unread
        self.demand = demand
        self.terms = terms
        self.lane_key = lane_key(demand, terms)
        self.captured = captured
        self.max_restarts = max_restarts
        self.max_task_retries = max_task_retries
        self.max_concurrency = max_concurrency
        self.registered_name = registered_name
        self.packed: bytes | None = None  # pickled without its code: what handles carry
        self.namespace = namespace
        self.lifetime = lifetime
        self.extra = extra
        self.in_order = in_order
        self.concurrent = concurrent
        self.max_pending_calls = max_pending_calls

    def without_code(self) -> ActorTemplate:
        """As much of it as a handle needs."""
        light = copy(self)
        light.code = Code(self.code.key, b"", self.code.name)
        return light

    def __repr__(self) -> str:
        return f"<ActorTemplate {self.name}>"


def placed(template: T, key: bytes, demand: Demand, terms: Terms, extra: dict[str, Any]) -> T:
    """The same calls somewhere else."""
    moved = copy(template)
    moved.key = key
    moved.demand = demand
    moved.terms = terms
    moved.lane_key = lane_key(demand, terms)
    moved.extra = extra
    moved.captured = False
    return moved
