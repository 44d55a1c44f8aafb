"""`MultiOutputNode`: a graph that gives several results."""

from __future__ import annotations

from typing import Any

from minray.dag.dag_node import DAGNode, Given, fill


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
