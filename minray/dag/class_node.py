"""Nodes of actors: `ClassNode`, one to be made when the graph runs, and `ClassMethodNode`, a call of a method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minray.dag.dag_node import DAGNode, Given
from minray.dag.input_node import InputNode


class ClassNode(DAGNode):
    """An actor to be made: ``A.bind(...)``. Every `execute` makes a new one.

    ``node.method.bind(...)`` is a call of it; a call comes after those that were bound before.
    """

    def __init__(self, actor_class: Any, args: Sequence[Any], kwargs: dict[str, Any], options: dict[str, Any]) -> None:
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
