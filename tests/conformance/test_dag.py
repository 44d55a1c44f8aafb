"""`dag`: graphs that are bound first and executed later."""

from __future__ import annotations

import importlib
from typing import Any

import pytest

pytestmark = pytest.mark.filterwarnings("ignore:DAGNode.execute")  # which Ray calls deprecated


@pytest.fixture
def dag(ray: Any) -> Any:
    return importlib.import_module(f"{ray.__name__}.dag")


@pytest.fixture
def add(ray: Any) -> Any:
    @ray.remote
    def add(a: Any, b: Any = 0) -> Any:
        return a + b

    return add


@pytest.fixture
def Counter(ray: Any) -> Any:
    @ray.remote(num_cpus=0)
    class Counter:
        def __init__(self, value: int = 0) -> None:
            self.value = value

        def increment(self, by: int = 1) -> int:
            self.value += by
            return self.value

        def get(self, _after: Any = None) -> int:
            return self.value

        def fail(self, _after: Any = None) -> None:
            raise ValueError("no")

        @ray.method(num_returns=2)
        def both(self, value: int) -> tuple[int, int]:
            return value, value + 1

    return Counter


# --- functions ---------------------------------------------------------------------------------------------------


def test_a_bound_call_runs_when_it_is_executed(ray: Any, dag: Any, add: Any) -> None:
    node = add.bind(1, b=2)
    assert isinstance(node, dag.FunctionNode)
    assert isinstance(node, dag.DAGNode)
    assert isinstance(node.execute(), ray.ObjectRef)
    assert ray.get(node.execute()) == 3


def test_nodes_are_arguments_of_nodes(ray: Any, add: Any) -> None:
    assert ray.get(add.bind(add.bind(1, 2), b=add.bind(3, 4)).execute()) == 10
    assert ray.get(add.bind(ray.put(1), add.bind(2)).execute()) == 3


def test_nodes_in_containers_arrive_as_refs(ray: Any, add: Any) -> None:
    @ray.remote
    def total(items: list[Any], named: dict[str, Any]) -> Any:
        return sum(ray.get(items[:2])) + items[2] + ray.get(named["x"])

    assert ray.get(total.bind([add.bind(1), add.bind(2), 3], named={"x": add.bind(4)}).execute()) == 10


def test_a_node_that_several_need_runs_once(ray: Any, add: Any, flags: Any) -> None:
    @ray.remote
    def once() -> int:
        return flags.up("ran")

    node = once.bind()
    assert ray.get(add.bind(add.bind(node, node), node).execute()) == 3
    assert ray.get(add.bind(node, node).execute()) == 4  # each execution runs it anew


def test_a_long_chain_of_nodes_runs(ray: Any, add: Any) -> None:
    node = add.bind(0)
    for _ in range(100):
        node = add.bind(node, 1)
    assert ray.get(node.execute()) == 100


def test_options_are_kept(ray: Any, add: Any) -> None:
    @ray.remote
    def name() -> Any:
        return ray.get_runtime_context().get_task_name()

    assert ray.get(name.options(name="mine").bind().execute()) == "mine"
    assert add.options(name="mine").bind(1).get_options()["name"] == "mine"


def test_a_function_with_several_results_gives_a_list(ray: Any) -> None:
    @ray.remote(num_returns=2)
    def both() -> tuple[int, int]:
        return 1, 2

    assert ray.get(both.bind().execute()) == [1, 2]


def test_a_node_tells_what_was_bound(add: Any) -> None:
    first = add.bind(1)
    node = add.bind(first, b=2)
    assert node.get_args() == (first,)
    assert node.get_kwargs() == {"b": 2}
    assert node.get_stable_uuid() != first.get_stable_uuid()


def test_wrong_arguments_fail_on_execution(ray: Any, add: Any) -> None:
    node = add.bind(1, 2, 3)
    with pytest.raises(TypeError, match="too many positional arguments"):
        node.execute()


def test_wrong_arguments_of_a_living_actors_method_fail_at_once(Counter: Any) -> None:
    with pytest.raises(TypeError, match="too many positional arguments"):
        Counter.remote().increment.bind(1, 2)


def test_a_node_is_not_called_by_remote(add: Any) -> None:
    with pytest.raises(AttributeError, match=r"use \.execute\(\)"):
        add.bind(1).remote()


def test_errors_reach_those_that_depend_on_them(ray: Any, add: Any, Counter: Any) -> None:
    with pytest.raises(ValueError, match="no"):
        ray.get(add.bind(Counter.remote().fail.bind(), 1).execute())


# --- inputs ------------------------------------------------------------------------------------------------------


def test_the_input_is_what_execute_is_given(ray: Any, dag: Any, add: Any) -> None:
    with dag.InputNode() as given:
        node = add.bind(given, add.bind(given, 1))
    assert [ray.get(node.execute(value)) for value in (1, 5)] == [3, 11]


def test_parts_of_the_input_are_arguments(ray: Any, dag: Any, add: Any) -> None:
    with dag.InputNode() as given:
        by_index = add.bind(given[0], given[1])
        mixed = add.bind(given[0], given.x)
        by_name = add.bind(given["x"], given["y"])
    assert ray.get(by_index.execute(1, 2)) == 3
    assert ray.get(mixed.execute(1, x=2)) == 3
    assert ray.get(by_name.execute(x=1, y=2)) == 3


def test_parts_of_one_argument_are_items_and_attributes(ray: Any, dag: Any, add: Any) -> None:
    with dag.InputNode() as given:
        by_index = add.bind(given[0], given[1])
        by_key = add.bind(given["x"], given["y"])
        by_attribute = add.bind(given.real, given.imag)
    assert ray.get(by_index.execute([1, 2])) == 3
    assert ray.get(by_key.execute({"x": 1, "y": 2})) == 3
    assert ray.get(by_attribute.execute(1 + 2j)) == 3


def test_missing_parts_of_the_input_are_errors(dag: Any, add: Any) -> None:
    with dag.InputNode() as given:
        node = add.bind(given["x"], given["y"])
    with pytest.raises(KeyError, match="y"):
        node.execute(x=1, y_=2)


def test_inputs_are_checked(dag: Any, add: Any) -> None:
    with pytest.raises(ValueError, match="should not take any args"):
        dag.InputNode(1)
    with dag.InputNode() as given, pytest.raises(AssertionError, match="int index or str"):
        given[1.5]
    with pytest.raises(AssertionError, match="context manager"):
        add.bind(dag.InputNode(), 1).execute(1)


def test_several_outputs_are_a_list(ray: Any, dag: Any, add: Any) -> None:
    with dag.InputNode() as given:
        node = dag.MultiOutputNode([add.bind(given, 1), add.bind(given, 2)])
    assert ray.get(node.execute(1)) == [2, 3]
    assert ray.get(dag.MultiOutputNode((add.bind(1), add.bind(2))).execute()) == [1, 2]
    with pytest.raises(ValueError, match="Invalid input type"):
        dag.MultiOutputNode(add.bind(1))


# --- actors ------------------------------------------------------------------------------------------------------


def test_methods_of_a_living_actor_are_bound(ray: Any, dag: Any, Counter: Any) -> None:
    counter = Counter.remote(10)
    with dag.InputNode() as given:
        node = counter.increment.bind(given)
    assert isinstance(node, dag.ClassMethodNode)
    assert [ray.get(node.execute(1)), ray.get(node.execute(2))] == [11, 13]


def test_a_method_with_several_results_is_several_nodes(ray: Any, add: Any, Counter: Any) -> None:
    first, second = Counter.remote().both.bind(3)
    assert ray.get(first.execute()) == 3
    assert ray.get(add.bind(first, second).execute()) == 7


def test_an_actor_may_be_part_of_the_graph(ray: Any, dag: Any, add: Any, Counter: Any) -> None:
    counter = Counter.bind(10)
    assert isinstance(counter, dag.ClassNode)
    first = counter.increment.bind()
    second = counter.increment.bind(5)
    value = counter.get.bind()
    for _ in range(2):  # each execution makes an actor of its own, and calls it as far as is needed
        assert ray.get(first.execute()) == 11
        assert ray.get(second.execute()) == 16
        assert ray.get(add.bind(first, value).execute()) == 27


def test_executing_a_class_gives_a_handle(ray: Any, Counter: Any, add: Any) -> None:
    counter = Counter.bind(add.bind(1, 2)).execute()
    assert ray.get(counter.get.remote()) == 3


def test_what_cannot_be_bound_is_refused(dag: Any, Counter: Any) -> None:
    counter = Counter.bind()
    with pytest.raises(AttributeError, match="nonsense"):
        counter.nonsense
    with pytest.raises(AttributeError, match="cannot be used again"):
        counter.bind()
    with pytest.raises(AttributeError, match=r"Use \.bind\(\) instead"):
        counter.get.remote()
    with dag.InputNode() as given, pytest.raises(ValueError, match="InputNode"):
        Counter.bind(given)


# --- compiled graphs ---------------------------------------------------------------------------------------------


@pytest.fixture
def compile(ray: Any) -> Any:
    compiled: list[Any] = []

    def compile(node: Any, **options: Any) -> Any:
        compiled.append(node.experimental_compile(**options))
        return compiled[-1]

    yield compile
    for graph in compiled:
        graph.teardown()


def test_a_compiled_graph_runs_again_and_again(ray: Any, dag: Any, Counter: Any, compile: Any) -> None:
    one, two = Counter.remote(), Counter.remote()
    with dag.InputNode() as given:
        graph = compile(two.increment.bind(one.increment.bind(given)))
    assert [ray.get(graph.execute(1)) for _ in range(3)] == [1, 3, 6]
    assert ray.get([graph.execute(0) for _ in range(3)]) == [9, 12, 15]


def test_a_compiled_graph_may_have_several_inputs_and_outputs(ray: Any, dag: Any, Counter: Any, compile: Any) -> None:
    one, two = Counter.remote(), Counter.remote()
    with dag.InputNode() as given:
        graph = compile(dag.MultiOutputNode([one.increment.bind(given[0]), two.increment.bind(given.x)]))
    assert ray.get(graph.execute(1, x=2)) == [1, 2]
    with pytest.raises(ValueError, match="1 positional args, got 0"):
        graph.execute(x=2)
    with pytest.raises(ValueError, match="kwarg `x`"):
        graph.execute(1)


def test_parts_of_the_input_of_a_compiled_graph_are_arguments(ray: Any, dag: Any, Counter: Any, compile: Any) -> None:
    counter = Counter.remote()
    with dag.InputNode() as given:
        graph = compile(counter.increment.bind(given[0]))
    assert ray.get(graph.execute(1)) == 1
    with pytest.raises(TypeError):
        ray.get(graph.execute([1]))


def test_errors_of_a_compiled_graph_are_raised_by_get(ray: Any, dag: Any, Counter: Any, compile: Any) -> None:
    with dag.InputNode() as given:
        graph = compile(Counter.remote().fail.bind(given))
    for _ in range(2):
        with pytest.raises(ValueError, match="no"):
            ray.get(graph.execute(1))


def test_a_compiled_graph_is_checked(dag: Any, add: Any, Counter: Any) -> None:
    counter = Counter.remote()
    refused: list[Any] = [
        (NotImplementedError, "actor method nodes", lambda given: add.bind(given)),
        (ValueError, "already created", lambda given: Counter.bind().increment.bind(given)),
        (ValueError, "Input", lambda given: counter.increment.bind()),
        (
            ValueError,
            "All tasks must either use InputNode",
            lambda given: dag.MultiOutputNode([counter.get.bind(given), counter.increment.bind(given[0])]),
        ),
    ]
    for error, message, make in refused:
        with dag.InputNode() as given, pytest.raises(error, match=message):
            make(given).experimental_compile()


def test_a_graph_is_compiled_once(dag: Any, Counter: Any, compile: Any) -> None:
    with dag.InputNode() as given:
        node = Counter.remote().increment.bind(given)
    compile(node)
    with pytest.raises(ValueError, match="multiple times"):
        node.experimental_compile()


def test_a_graph_that_was_torn_down_is_closed_and_its_actors_live(
    ray: Any, dag: Any, Counter: Any, compile: Any
) -> None:
    counter = Counter.remote()
    with dag.InputNode() as given:
        graph = compile(counter.increment.bind(given))
    assert ray.get(graph.execute(1)) == 1
    graph.teardown()
    with pytest.raises(ray.exceptions.RayChannelError):
        graph.execute(1)
    assert ray.get(counter.get.remote()) == 1
