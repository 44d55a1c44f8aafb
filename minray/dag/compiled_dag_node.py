"""`CompiledDAG`: a graph of methods of living actors, checked and put in order once, run many times.

Ray builds channels between the actors for it. Calls of minray go from actor to actor by reference as they are, so that
what is left to prepare is the order; results are plain refs, which can be waited for and fetched more than once.
"""

from __future__ import annotations

from typing import Any

import minray
from minray.dag.class_node import ClassMethodNode, ClassNode
from minray.dag.dag_node import DAGNode, Given, in_order, nodes_in, run
from minray.dag.function_node import FunctionNode
from minray.dag.input_node import InputAttributeNode, InputNode

_CHANNELS = frozenset(
    {
        "_submit_timeout",
        "_buffer_size_bytes",
        "_max_inflight_executions",
        "_max_buffered_results",
        "_overlap_gpu_communication",
        "_default_communicator",
    }
)


class CompiledDAG:
    """A graph to be run many times: ``compiled.execute(x)`` gives a ref (a list of refs for a `MultiOutputNode`).

    The graph has one `InputNode`, and every other node is a method of an actor that exists, with a node among its
    arguments. Methods of one actor run in the order in which they were bound. Raises what Ray raises for other graphs:
    NotImplementedError for functions and for several inputs, ValueError for the rest.
    """

    def __init__(self, root: DAGNode, enable_asyncio: bool, about_channels: dict[str, Any]) -> None:
        for name in about_channels:
            if name not in _CHANNELS:
                raise TypeError(f"experimental_compile() got an unexpected keyword argument '{name}'")
        if root.__dict__.get("_compiled"):
            raise ValueError(
                "It is not allowed to call `experimental_compile` on the same DAG object multiple times no matter "
                "whether `teardown` is called or not. Please reuse the existing compiled DAG or create a new one."
            )
        # What a node needs was made before it, so the order in which they were bound is one in which they can run.
        self._nodes = sorted(in_order(root), key=lambda node: node._number)
        self._positional, self._by_name = _check(self._nodes)
        self._asyncio = enable_asyncio
        self._closed = False
        root.__dict__["_compiled"] = True

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        """Run the graph. ValueError: these are not the arguments that it uses. RayChannelError: it was torn down."""
        if self._asyncio:
            raise ValueError("Use execute_async if enable_asyncio=True")
        return self._run(args, kwargs)

    async def execute_async(self, *args: Any, **kwargs: Any) -> Any:
        """Run a graph that was compiled with ``enable_asyncio=True``; what it gives can be awaited. As `execute`."""
        if not self._asyncio:
            raise ValueError("Use execute if enable_asyncio=False")
        return self._run(args, kwargs)

    def teardown(self, kill_actors: bool = False) -> None:
        """Take no more executions; end the actors too, if `kill_actors`."""
        self._closed = True
        if kill_actors:
            for actor in {node._get_actor_handle() for node in self._nodes if isinstance(node, ClassMethodNode)}:
                minray.kill(actor)

    def _run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._closed:
            raise minray.exceptions.RayChannelError("Channel closed.")
        count = 1 if self._positional is None else self._positional
        if len(args) != count:
            raise ValueError(
                f"dag.execute() or dag.execute_async() must be called with {count} positional args, got {len(args)}"
            )
        for name in self._by_name:
            if name not in kwargs:
                raise ValueError(f"dag.execute() or dag.execute_async() must be called with kwarg `{name}`")
        return run(self._nodes, Given(args, kwargs, split=self._positional is not None))


def _check(nodes: list[DAGNode]) -> tuple[int | None, list[str]]:
    """How many positional arguments the graph takes, and which by name; None: one, as a whole. Raises if it cannot be
    compiled."""
    whole = False
    for node in nodes:
        if isinstance(node, FunctionNode):
            raise NotImplementedError("Compiled DAGs currently only support actor method nodes")
        if isinstance(node, ClassNode):
            raise ValueError(
                "Compiled DAGs can only bind methods to an actor that is already created with Actor.remote()"
            )
        if isinstance(node, ClassMethodNode) and not any(nodes_in(node._bound_args)):
            raise ValueError(
                "Compiled DAGs require each task to take a minray.dag.InputNode or at least one other DAGNode as an "
                f"input. Invalid task node: {node!r}. Please bind the task to proper DAG nodes."
            )
        if not isinstance(node, InputAttributeNode):
            whole = whole or any(isinstance(needed, InputNode) for needed in node._needs())
    if sum(isinstance(node, InputNode) for node in nodes) != 1:
        raise NotImplementedError("Compiled DAGs currently require exactly one InputNode")
    keys = [node.key for node in nodes if isinstance(node, InputAttributeNode)]
    if whole and keys:
        raise ValueError(
            "All tasks must either use InputNode() directly, or they must index to specific args or kwargs."
        )
    if whole:
        return None, []
    indices = [key for key in keys if isinstance(key, int)]
    return max(indices, default=-1) + 1, [key for key in keys if isinstance(key, str)]
