"""What a call asks of its worker beyond amounts of resources: which nodes, which placement group, which environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

#: ``("zone", "in", ("a", "b"))``: a label's name, one of `in`, `not in`, `exists` and `not exists`, and values.
LabelTest = tuple[str, str, tuple[str, ...]]

#: Tests that must all be passed.
Selector = tuple[LabelTest, ...]

#: Every node has this label: its id in 56 hexadecimal digits. So the wish for a node is a test of a label.
NODE_ID = "ray.io/node-id"


#: The runtime environment of all that have chosen none, as JSON.
NO_ENVIRONMENT = "{}"


class Terms(NamedTuple):
    """Plain values that can be compared and hashed: calls with the same demand and terms share a lane.

    `choices` are selectors of nodes, the best first; the first one counts that fits any node that could ever have the
    demand. Empty: any node will do. Where no node fits, the call waits, or (`fails`) ends with an error. `spread`
    prefers the node with the least work. `group` is the id of the placement group whose resources the demand names, ""
    for none. `env` is the runtime environment of the worker as JSON, "" for the common one. `max_calls` is after how
    many calls of one function its worker ends, 0 for never.
    """

    choices: tuple[Selector, ...] = ()
    fails: bool = False
    spread: bool = False
    group: str = ""
    env: str = ""
    max_calls: int = 0


def matches(labels: Mapping[str, str], selector: Selector) -> bool:
    """Whether a node with these labels passes all tests. A label that is missing equals no value."""
    for key, operator, values in selector:
        value = labels.get(key)
        if operator == "in":
            passed = value in values
        elif operator == "not in":
            passed = value not in values
        else:
            passed = (value is not None) == (operator == "exists")
        if not passed:
            return False
    return True
