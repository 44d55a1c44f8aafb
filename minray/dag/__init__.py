"""Graphs that are written down first and run later: ``f.bind(g.bind(1)).execute()``. Ray's `ray.dag`.

`function_node`, `class_node`: calls that `.bind` makes of functions, classes and methods. `input_node`: what is only
known when the graph runs. `output_node`: several results. `dag_node`: what they have in common, and in which order they
run. `compiled_dag_node`: a graph of methods of living actors, to be run many times. The modules have Ray's names.
"""

from minray.dag.class_node import ClassMethodNode, ClassNode
from minray.dag.dag_node import DAGNode
from minray.dag.function_node import FunctionNode
from minray.dag.input_node import DAGInputData, InputAttributeNode, InputNode
from minray.dag.output_node import MultiOutputNode

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
