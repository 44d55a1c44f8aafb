"""Graphs that are written down first and run later: ``f.bind(g.bind(1)).execute()``. Ray's `ray.dag`.

`nodes`: calls that `.bind` makes of functions, classes and methods, and in which order they run. `inputs`: what is only
known when the graph runs. `compiled`: a graph of methods of living actors, to be run many times.
"""

from minray.dag.inputs import DAGInputData, InputAttributeNode, InputNode
from minray.dag.nodes import ClassMethodNode, ClassNode, DAGNode, FunctionNode, MultiOutputNode

__all__ = [
    "ClassMethodNode",
    "ClassNode",
    "DAGInputData",
    "DAGNode",
    "FunctionNode",
    "InputAttributeNode",
    "InputNode",
    "MultiOutputNode",
]
