"""What the nodes of a graph have in common, and how they are run.

A node is a call that has not been made. Its arguments may be nodes, at any depth of lists, tuples, sets and dicts: each
is run once per `execute`, before those that need it, and stands for the ref that it gives.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from minray.dag.compiled_dag_node import CompiledDAG

#: Numbers nodes in the order in which they were made: what a node needs has a lower number.
_numbers = itertools.count()


class Given(NamedTuple):
    """The arguments of one `execute`."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    #: Parts of the input are arguments even if there is but one (compiled graphs), and not parts of that one.
    split: bool = False


class DAGNode:
    """Something that a graph is made of; a graph is the node that gives its result, and all that it needs."""

    def __init__(self, args: Sequence[Any], kwargs: dict[str, Any], options: dict[str, Any]) -> None:
        self._bound_args = tuple(args)
        self._bound_kwargs = kwargs
        self._bound_options = options
        self._stable_uuid = uuid.uuid4().hex
        self._number = next(_numbers)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._number = next(_numbers)  # what it needs has been unpickled before

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        """Run the graph: returns at once with an `ObjectRef` (an actor's handle for a `ClassNode`).

        The arguments are what the graph's `InputNode` stands for. Raises what `.remote` raises for wrong arguments.
        """
        return run(in_order(self), Given(args, kwargs))

    def experimental_compile(self, enable_asyncio: bool = False, **about_channels: Any) -> CompiledDAG:
        """Prepare the graph to be run many times. See `CompiledDAG`, which says what the graph has to be like.

        Options about Ray's channels (`_buffer_size_bytes`, `_max_inflight_executions` ...) have no effect.
        """
        from minray.dag.compiled_dag_node import CompiledDAG

        return CompiledDAG(self, enable_asyncio, about_channels)

    def get_args(self) -> tuple[Any, ...]:
        """The positional arguments, with nodes where they were given."""
        return self._bound_args

    def get_kwargs(self) -> dict[str, Any]:
        """The keyword arguments, with nodes where they were given."""
        return dict(self._bound_kwargs)

    def get_options(self) -> dict[str, Any]:
        """The options of the call."""
        return dict(self._bound_options)

    def get_stable_uuid(self) -> str:
        """The name of this node, which its copies have too."""
        return self._stable_uuid

    def _needs(self) -> list[DAGNode]:
        """The nodes that have to run before."""
        return list(nodes_in((self._bound_args, self._bound_kwargs)))

    def _run(self, values: dict[DAGNode, Any], given: Given) -> Any:
        """Make the call; `values` has the results of those that it needs."""
        raise NotImplementedError

    def _call(self, function: Any, values: dict[DAGNode, Any]) -> Any:
        args, kwargs = fill((self._bound_args, self._bound_kwargs), values)
        return function.remote(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name == "remote":
            raise AttributeError(
                f".remote() cannot be used on {type(self)}. To execute the task graph for this node, use .execute()."
            )
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


def in_order(root: DAGNode) -> list[DAGNode]:
    """`root` and all that it needs, each after what it needs itself."""
    done: dict[DAGNode, None] = {}
    left = [(root, False)]
    while left:  # no recursion: a chain may be longer than Python's stack
        node, needs_done = left.pop()
        if node in done:
            continue
        if needs_done:
            done[node] = None
        else:
            left.append((node, True))
            left += [(needed, False) for needed in reversed(node._needs())]
    return list(done)


def run(nodes: list[DAGNode], given: Given) -> Any:
    """Run `nodes` in this order; return what the last one gives."""
    values: dict[DAGNode, Any] = {}
    for node in nodes:
        values[node] = node._run(values, given)
    return values[nodes[-1]]


def nodes_in(value: Any) -> Iterator[DAGNode]:
    """The nodes in `value`, through containers."""
    if isinstance(value, DAGNode):
        yield value
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from nodes_in(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from nodes_in(item)


def fill(value: Any, values: dict[DAGNode, Any]) -> Any:
    """`value` with what nodes gave in their places. Containers without nodes stay as they are."""
    if isinstance(value, DAGNode):
        return values[value]
    if next(nodes_in(value), None) is None:
        return value
    if isinstance(value, dict):
        return type(value)((key, fill(item, values)) for key, item in value.items())
    items = [fill(item, values) for item in value]
    return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)  # a named tuple takes them singly
