"""What the histories of the core call: functions, generators, classes and methods under some options, and values."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any, TypeVar

from minray.core.numbering import counted_for
from minray.core.placement import inside
from minray.core.template import RESOURCE_UNIT, ActorTemplate, Code, Demand, MethodTemplate, TaskTemplate, placed
from minray.core.terms import Terms
from minray.core.value import PICKLED, STORED, Value

T = TypeVar("T", TaskTemplate, ActorTemplate)
CODE = Code(b"code", b"", "f")
#: Where values are stored, one after the other.
locations = count(1)


def amounts(**resources: float) -> Demand:
    """``amounts(CPU=0.5)``: what a call asks for, or what a node has."""
    return tuple(sorted((name, round(amount * RESOURCE_UNIT)) for name, amount in resources.items() if amount))


def value(*refs: int, stored: bool = False) -> Value:
    """A value with `refs` inside; each stored one has a location of its own."""
    return (STORED, next(locations), refs) if stored else (PICKLED, b"", refs)


def function(num_returns: int = 1, retries: int = 0, **demand: float) -> TaskTemplate:
    """A remote function under some options; it asks for one CPU unless `demand` is given."""
    asked = amounts(**(demand or {"CPU": 1}))
    key = f"f {num_returns} {retries} {demand}".encode()  # under other options it is as good as another function
    return TaskTemplate(key, CODE, "f", num_returns=num_returns, demand=asked, max_retries=retries)


def generator(limit: int, retries: int = 0, /, **demand: float) -> TaskTemplate:
    """A generator, of whose items `limit` may be unread (0: any number)."""
    asked = amounts(**(demand or {"CPU": 1}))
    return TaskTemplate(b"g", CODE, "g", demand=asked, max_retries=retries, stream=limit)


def actor_class(
    restarts: int = 0, detached: bool = False, concurrent: bool = False, pending: int = -1, **demand: float
) -> ActorTemplate:
    """An actor class under some options; it asks for nothing unless `demand` is given."""
    return ActorTemplate(
        b"a",
        CODE,
        "A",
        {},
        amounts(**demand),
        restarts,
        lifetime="detached" if detached else None,
        in_order=not concurrent,
        concurrent=concurrent,
        max_pending_calls=pending,
    )


def within(template: T, group: str, bundle: int = -1) -> T:
    """The same calls in a bundle of a placement group."""
    return placed(template, b"g", inside(template.demand, group, bundle), Terms(group=group), {})


def on_terms(template: T, **terms: Any) -> T:
    """The same calls on other terms."""
    return placed(template, b"t", template.demand, Terms(**terms), {})


def method(num_returns: int = 1, retries: int = 0, stream: int | None = None) -> MethodTemplate:
    """A method under some options."""
    return MethodTemplate(b"m", "m", "A.m", num_returns, retries, stream=stream)


#: A method under no options.
METHOD = method()


def counted(call: int, template: TaskTemplate | MethodTemplate) -> Sequence[int]:
    """What is counted for whoever makes a call."""
    return counted_for(call, template.num_returns, template.stream is not None)
