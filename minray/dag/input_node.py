"""`InputNode`: what a graph is given when it runs."""

from __future__ import annotations

from typing import Any

from minray.dag.dag_node import DAGNode, Given


class InputNode(DAGNode):
    """Stands for the arguments of `execute`: ``with InputNode() as given: graph = f.bind(given)``.

    If there is one positional argument, it is that; else a `DAGInputData` of all. ``given[0]``, ``given["x"]`` and
    ``given.x`` are parts of it: an item or an attribute of the one argument, or else that argument of several.
    """

    def __init__(self, *args: Any, input_type: Any = None, **kwargs: Any) -> None:
        """`input_type` is accepted for Ray's sake: it is for its user interface."""
        if args or kwargs:
            raise ValueError("InputNode should not take any args or kwargs.")
        super().__init__((), {}, {})
        self._entered = False
        self._parts: dict[tuple[Any, bool], InputAttributeNode] = {}

    def __enter__(self) -> InputNode:
        self._entered = True
        return self

    def __exit__(self, *error: object) -> None:
        return

    def _run(self, values: dict[DAGNode, Any], given: Given) -> Any:
        assert self._entered, (
            "InputNode is a singleton instance that should be only used in context manager for dag building and "
            "execution: with InputNode() as given: ..."
        )
        if len(given.args) == 1 and not given.kwargs and not given.split:
            return given.args[0]
        return DAGInputData(*given.args, **given.kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # pickle and inspect ask for names that mean something to them
            raise AttributeError(name)
        return self._part(name, by_attribute=True)

    def __getitem__(self, key: int | str) -> InputAttributeNode:
        assert isinstance(key, (int, str)), (
            "Please only use int index or str as first-level key to access fields of dag input."
        )
        return self._part(key, by_attribute=False)

    def _part(self, key: int | str, by_attribute: bool) -> InputAttributeNode:
        found = self._parts.get((key, by_attribute))
        if found is None:
            found = self._parts[key, by_attribute] = InputAttributeNode(self, key, by_attribute)
        return found

    def __repr__(self) -> str:
        return "<InputNode>"


class InputAttributeNode(DAGNode):
    """A part of what a graph is given."""

    def __init__(self, whole: InputNode, key: int | str, by_attribute: bool) -> None:
        super().__init__((whole,), {}, {})
        self._key = key
        self._by_attribute = by_attribute

    @property
    def key(self) -> int | str:
        """The index or name."""
        return self._key

    def _run(self, values: dict[DAGNode, Any], given: Given) -> Any:
        whole = values[self._bound_args[0]]
        if self._by_attribute and not isinstance(whole, DAGInputData):
            return getattr(whole, str(self._key))
        return whole[self._key]

    def __repr__(self) -> str:
        return f"<InputAttributeNode {self._key!r}>"


class DAGInputData:
    """Several arguments of `execute` in one: by index the positional ones, by name the others."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._args = list(args)
        self._kwargs = kwargs

    def __getitem__(self, key: int | str) -> Any:
        if isinstance(key, int):
            return self._args[key]
        if isinstance(key, str):
            return self._kwargs[key]
        raise ValueError("Please only use int index or str as first-level key to access fields of dag input.")
