"""The nodes of a graph, and how they are run.

A node is a call that has not been made. Its arguments may be nodes, at any depth of lists, tuples, sets and dicts: each
is run once per `execute`, before those that need it, and stands for the ref that it gives.
"""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from minray.dag.compiled import CompiledDAG

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
        from minray.dag.compiled import CompiledDAG

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


class FunctionNode(DAGNode):
    """A call of a remote function: ``f.bind(...)``."""

    def __init__(self, function: Any, args: Sequence[Any], kwargs: dict[str, Any], options: dict[str, Any]) -> None:
        super().__init__(args, kwargs, options)
        self._function = function

    def _run(self, values: dict[DAGNode, Any], given: Given) -> Any:
        return self._call(self._function, values)

    def __repr__(self) -> str:
        return f"<FunctionNode {self._function.__name__}>"


class ClassNode(DAGNode):
    """An actor to be made: ``A.bind(...)``. Every `execute` makes a new one.

    ``node.method.bind(...)`` is a call of it; a call comes after those that were bound before.
    """

    def __init__(self, actor_class: Any, args: Sequence[Any], kwargs: dict[str, Any], options: dict[str, Any]) -> None:
        from minray.dag.inputs import InputNode

        super().__init__(args, kwargs, options)
        self._actor_class = actor_class
        self._last_call: ClassMethodNode | None = None
        if any(isinstance(node, InputNode) for node in self._needs()):
            raise ValueError(
                "InputNode handles user dynamic input the DAG, and cannot be used as args, kwargs, or "
                "other_args_to_resolve in ClassNode constructor because it is not available at class construction or "
                "binding time."
            )

    def _run(self, values: dict[DAGNode, Any], given: Given) -> Any:
        return self._call(self._actor_class, values)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_actor_class":  # pickle asks before there is anything
            raise AttributeError(name)
        if name == "bind" and not hasattr(self._actor_class.__wrapped__, "bind"):
            raise AttributeError(f".bind() cannot be used again on {type(self)}")
        getattr(self._actor_class.__wrapped__, name)
        return _UnboundMethod(self, name, {})

    def __repr__(self) -> str:
        return f"<ClassNode {self._actor_class.__name__}>"


class _UnboundMethod:
    """A method of a `ClassNode`, to be bound."""

    def __init__(self, actor: ClassNode, name: str, options: dict[str, Any]) -> None:
        self._actor = actor
        self._name = name
        self._options = options

    def bind(self, *args: Any, **kwargs: Any) -> ClassMethodNode:
        node = ClassMethodNode(self._name, args, kwargs, self._options, self._actor, self._actor._last_call)
        self._actor._last_call = node
        return node

    def options(self, **options: Any) -> _UnboundMethod:
        return _UnboundMethod(self._actor, self._name, options)

    @property
    def remote(self) -> Any:
        raise AttributeError(
            ".remote() cannot be used on ClassMethodNodes. Use .bind() instead to express an symbolic actor call."
        )


class ClassMethodNode(DAGNode):
    """A call of a method: of an actor that lives (``handle.m.bind(...)``), or of one to be made (`ClassNode`)."""

    def __init__(
        self,
        name: str,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        options: dict[str, Any],
        actor: Any,
        after: ClassMethodNode | None = None,
        method: Any = None,
    ) -> None:
        """`actor`: a handle, and `method` of it, or a `ClassNode`. `after`: the call that comes before this one."""
        super().__init__(args, kwargs, options)
        self._name = name
        self._actor = actor
        self._after = after
        self._method = method

    def get_method_name(self) -> str:
        """The name of the method."""
        return self._name

    def _get_actor_handle(self) -> Any:
        """The actor, if it lives; else None."""
        return None if isinstance(self._actor, ClassNode) else self._actor

    def _needs(self) -> list[DAGNode]:
        before = [node for node in (self._actor, self._after) if isinstance(node, DAGNode)]
        return [*before, *super()._needs()]

    def _run(self, values: dict[DAGNode, Any], given: Given) -> Any:
        method = self._method
        if method is None:
            method = getattr(values[self._actor], self._name)
            method = method.options(**self._bound_options) if self._bound_options else method
        return self._call(method, values)

    def __repr__(self) -> str:
        return f"<ClassMethodNode {self._name}>"


def bind_method(
    handle: Any, name: str, method: Any, args: Sequence[Any], kwargs: dict[str, Any], options: dict[str, Any]
) -> ClassMethodNode | tuple[DAGNode, ...]:
    """``handle.name.bind(...)``: the call's node, or one for each of several results."""
    node = ClassMethodNode(name, args, kwargs, options, handle, method=method)
    num_returns = options.get("num_returns")
    if isinstance(num_returns, int) and num_returns > 1:
        return tuple([_ResultNode(node, index) for index in range(num_returns)])
    return node


class _ResultNode(DAGNode):
    """One of the results of a call that has several."""

    def __init__(self, call: ClassMethodNode, index: int) -> None:
        super().__init__((call, index), {}, {})

    def _run(self, values: dict[DAGNode, Any], given: Given) -> Any:
        call, index = self._bound_args
        return values[call][index]

    def __repr__(self) -> str:
        call, index = self._bound_args
        return f"<result {index} of {call!r}>"


class MultiOutputNode(DAGNode):
    """Several results: executing it gives the list of what each of `args`, a list or tuple, gives."""

    def __init__(self, args: list[Any] | tuple[Any, ...]) -> None:
        if not isinstance(args, (list, tuple)):
            raise ValueError(f"Invalid input type for `args`, {type(args)}. A list or tuple of nodes is allowed.")
        super().__init__(args, {}, {})

    def _run(self, values: dict[DAGNode, Any], given: Given) -> Any:
        return fill(list(self._bound_args), values)

    def __repr__(self) -> str:
        return f"<MultiOutputNode {list(self._bound_args)}>"


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
