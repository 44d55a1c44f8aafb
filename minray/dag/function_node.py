"""`FunctionNode`: a call of a remote function, to be made when the graph runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minray.dag.dag_node import DAGNode, Given


class FunctionNode(DAGNode):
    """A call of a remote function: ``f.bind(...)``."""

    def __init__(self, function: Any, args: Sequence[Any], kwargs: dict[str, Any], options: dict[str, Any]) -> None:
        super().__init__(args, kwargs, options)
        self._function = function

    def _run(self, values: dict[DAGNode, Any], given: Given) -> Any:
        return self._call(self._function, values)

    def __repr__(self) -> str:
        return f"<FunctionNode {self._function.__name__}>"
