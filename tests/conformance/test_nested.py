"""Tasks that submit tasks, actors that create actors, refs and handles that travel."""

from __future__ import annotations

import gc
import threading
from typing import Any

import numpy as np
import pytest


@pytest.fixture
def double(ray: Any) -> Any:
    @ray.remote
    def double(x: int) -> int:
        return 2 * x

    return double


@pytest.fixture
def Cell(ray: Any) -> Any:
    """An actor that holds something."""

    @ray.remote
    class Cell:
        def __init__(self, content: Any = None) -> None:
            self.content = content

        def set(self, content: Any) -> None:
            self.content = content

        def get(self) -> Any:
            return self.content

    return Cell


def test_a_task_submits_tasks_and_waits_for_them(ray: Any, double: Any) -> None:
    @ray.remote
    def total(n: int) -> int:
        return sum(ray.get([double.remote(i) for i in range(n)]))

    assert ray.get(total.remote(10)) == 90


def test_a_remote_function_calls_itself(ray: Any) -> None:
    @ray.remote
    def fibonacci(n: int) -> int:
        return n if n < 2 else sum(ray.get([fibonacci.remote(n - 1), fibonacci.remote(n - 2)]))

    assert ray.get(fibonacci.remote(6)) == 8


@pytest.mark.slow
def test_a_chain_of_waiting_tasks_may_be_longer_than_there_are_cpus(ray: Any) -> None:
    @ray.remote
    def descend(n: int) -> int:
        return 0 if n == 0 else 1 + ray.get(descend.remote(n - 1))

    assert ray.get(descend.remote(5)) == 5


def test_more_waiting_parents_than_cpus(ray: Any, double: Any) -> None:
    @ray.remote
    def parent(n: int) -> int:
        return sum(ray.get([double.remote(i) for i in range(n)]))

    assert ray.get([parent.remote(4) for _ in range(6)]) == [12] * 6


@pytest.mark.slow
def test_parents_that_wait_for_each_others_children(ray: Any, flags: Any) -> None:
    """All four parents must wait in `get` at one time, for none of their children ends before the last has started."""

    @ray.remote
    def child() -> int:
        flags.up("child")
        return 1

    @ray.remote
    def parent(refs: list[Any]) -> int:
        flags.up("parent")
        return sum(ray.get(refs))

    @ray.remote
    def meet() -> int:
        flags.wait("parent", 4)
        return ray.get(child.remote())

    refs = [meet.remote()]
    assert ray.get([parent.remote(refs) for _ in range(4)]) == [1] * 4


@pytest.mark.parametrize("how", ["get", "wait"])
def test_a_task_that_waits_gives_its_cpus_to_others(ray: Any, how: str) -> None:
    @ray.remote(num_cpus=2)
    def child() -> str:
        return "ran"

    @ray.remote(num_cpus=2)
    def parent() -> Any:
        ref = child.remote()
        if how == "wait":
            ray.wait([ref])
        return ray.get(ref)

    assert ray.get(parent.remote()) == "ran"


def test_a_task_returns_refs_to_tasks_and_objects_that_outlive_it(ray: Any, double: Any) -> None:
    @ray.remote
    def make() -> Any:
        return {"task": double.remote(4), "object": ray.put("stored"), "large": ray.put(np.ones(300_000))}

    refs = ray.get(make.remote())
    assert ray.get(refs["task"]) == 8
    assert ray.get(refs["object"]) == "stored"
    assert ray.get(refs["large"]).sum() == 300_000


def test_a_task_may_return_before_the_tasks_whose_refs_it_returns(ray: Any, flags: Any) -> None:
    @ray.remote
    def late() -> str:
        flags.wait("go")
        return "late"

    @ray.remote
    def make() -> Any:
        return [late.remote()]

    (ref,) = ray.get(make.remote())
    assert ray.wait([ref], timeout=0) == ([], [ref])
    flags.up("go")
    assert ray.get(ref) == "late"


def test_a_ref_passes_through_several_tasks_in_containers(ray: Any) -> None:
    @ray.remote
    def forward(box: Any, hops: int) -> Any:
        return box if hops == 0 else ray.get(forward.remote({"box": box["box"]}, hops - 1))

    ref = ray.put("travelled")
    box = ray.get(forward.remote({"box": ref}, 2))
    assert box == {"box": ref}
    assert ray.get(box["box"]) == "travelled"


@pytest.mark.slow
def test_a_thousand_refs_in_one_list(ray: Any, double: Any) -> None:
    @ray.remote
    def total(refs: list[Any]) -> int:
        return sum(ray.get(refs))

    assert ray.get(total.remote([double.remote(i) for i in range(1000)])) == 999_000


def test_an_object_lives_while_an_actor_holds_its_ref(ray: Any, Cell: Any) -> None:
    @ray.remote
    def total(refs: list[Any]) -> float:
        return float(ray.get(refs[0]).sum())

    cell = Cell.remote()
    ref = ray.put(np.ones(300_000))
    ray.get(cell.set.remote([ref]))
    del ref
    gc.collect()
    assert ray.get(total.remote(cell.get.remote())) == 300_000
    (back,) = ray.get(cell.get.remote())
    assert ray.get(back).sum() == 300_000


def test_an_object_lives_while_another_object_holds_its_ref(ray: Any) -> None:
    outer = ray.put([ray.put([ray.put(np.ones(300_000))])])
    gc.collect()
    assert ray.get(ray.get(ray.get(outer)[0])[0]).sum() == 300_000


def test_an_object_lives_while_a_pending_task_needs_it(ray: Any, flags: Any, held: Any) -> None:
    @ray.remote
    def read(_: Any, x: Any, refs: list[Any]) -> float:
        return float(x.sum() + ray.get(refs[0]).sum())

    ref = read.remote(held(), ray.put(np.ones(300_000)), [ray.put(np.ones(200_000))])
    gc.collect()
    flags.up("go")
    assert ray.get(ref) == 500_000


def test_an_object_that_an_actor_stored_is_read_by_others(ray: Any) -> None:
    @ray.remote
    class Store:
        def store(self, n: int) -> Any:
            return [ray.put(np.ones(n))]

    @ray.remote
    def total(refs: list[Any]) -> float:
        return float(ray.get(refs[0]).sum())

    store = Store.remote()
    small, large = store.store.remote(10), store.store.remote(300_000)
    assert ray.get([total.remote(small), total.remote(large)]) == [10, 300_000]


def test_a_function_may_close_over_a_ref(ray: Any) -> None:
    def make() -> Any:
        ref = ray.put(10)
        return ray.remote(lambda: ray.get(ref) + 1)

    f = make()
    gc.collect()
    assert ray.get(f.remote()) == 11
    assert ray.get(f.remote()) == 11


def test_a_function_may_close_over_a_handle(ray: Any, Cell: Any) -> None:
    cell = Cell.remote("in the cell")
    assert ray.get(ray.remote(lambda: ray.get(cell.get.remote())).remote()) == "in the cell"


def test_remote_functions_are_arguments(ray: Any, double: Any) -> None:
    @ray.remote
    def apply(f: Any, x: Any) -> Any:
        return ray.get(f.remote(x))

    assert ray.get(apply.remote(double, 4)) == 8


def test_actor_classes_are_arguments(ray: Any, Cell: Any) -> None:
    @ray.remote
    def create_and_ask(cls: Any) -> Any:
        return ray.get(cls.remote("made in a task").get.remote())

    assert ray.get(create_and_ask.remote(Cell)) == "made in a task"


def test_methods_of_handles_are_arguments(ray: Any, Cell: Any) -> None:
    @ray.remote
    def ask(method: Any) -> Any:
        return ray.get(method.remote())

    cell = Cell.remote("asked")
    assert ray.get(ask.remote(cell.get)) == "asked"


@pytest.mark.parametrize("wrap", [lambda h: h, lambda h: [h], lambda h: {"h": h}], ids=["bare", "list", "dict"])
def test_handles_are_arguments(ray: Any, Cell: Any, wrap: Any) -> None:
    @ray.remote
    def write(x: Any) -> None:
        handle = x[0] if isinstance(x, list) else x["h"] if isinstance(x, dict) else x
        ray.get(handle.set.remote("written by a task"))

    cell = Cell.remote()
    ray.get(write.remote(wrap(cell)))
    assert ray.get(cell.get.remote()) == "written by a task"


def test_an_actor_lives_while_a_task_holds_its_handle(ray: Any, Cell: Any, flags: Any) -> None:
    @ray.remote
    def ask(handles: list[Any]) -> Any:
        flags.up("asking")
        flags.wait("go")
        return ray.get(handles[0].get.remote())

    cell = Cell.remote("still here")
    ref = ask.remote([cell])
    flags.wait("asking")
    del cell
    gc.collect()
    flags.up("go")
    assert ray.get(ref) == "still here"


def test_an_actor_lives_while_an_object_holds_its_handle(ray: Any, Cell: Any) -> None:
    cell = Cell.remote("still here")
    ref = ray.put({"cell": cell})
    ray.get(cell.get.remote())
    del cell
    gc.collect()
    assert ray.get(ray.get(ref)["cell"].get.remote()) == "still here"


def test_a_task_returns_an_actor_that_outlives_it(ray: Any, Cell: Any) -> None:
    @ray.remote
    def create() -> Any:
        cell = Cell.remote()
        ray.get(cell.set.remote("set by its creator"))  # callers have no order among each other
        return cell

    cell = ray.get(create.remote())
    assert ray.get(cell.get.remote()) == "set by its creator"


def test_actors_submit_tasks_and_create_actors(ray: Any, double: Any, Cell: Any) -> None:
    @ray.remote
    class Boss:
        def __init__(self) -> None:
            self.cell = Cell.remote("from the boss")

        def compute(self) -> Any:
            return ray.get([double.remote(i) for i in range(3)])

        def ask(self) -> Any:
            return ray.get(self.cell.get.remote())

        def introduce(self) -> Any:
            return self.cell

    boss = Boss.remote()
    assert ray.get(boss.compute.remote()) == [0, 2, 4]
    assert ray.get(boss.ask.remote()) == "from the boss"
    cell = ray.get(boss.introduce.remote())
    assert ray.get(cell.get.remote()) == "from the boss"


def test_actors_call_each_other(ray: Any) -> None:
    @ray.remote
    class Node:
        def __init__(self, following: Any = None) -> None:
            self.following = following

        def length(self) -> Any:
            return 1 if self.following is None else 1 + ray.get(self.following.length.remote())

    assert ray.get(Node.remote(Node.remote(Node.remote())).length.remote()) == 3


def test_the_result_of_an_actor_is_an_argument_of_a_task_and_back(ray: Any, double: Any, Cell: Any) -> None:
    cell = Cell.remote(1)
    for _ in range(5):
        cell.set.remote(double.remote(cell.get.remote()))
    assert ray.get(cell.get.remote()) == 32


def test_a_tree_of_tasks(ray: Any) -> None:
    @ray.remote
    def leaf(x: int) -> int:
        return x

    @ray.remote
    def add(*xs: int) -> int:
        return sum(xs)

    level = [leaf.remote(i) for i in range(64)]
    while len(level) > 1:
        level = [add.remote(*level[i : i + 4]) for i in range(0, len(level), 4)]
    assert ray.get(level[0]) == sum(range(64))


def test_a_thread_that_a_task_starts_gets_what_the_task_has_submitted(ray: Any) -> None:
    @ray.remote
    def same(value: int) -> int:
        return value

    @ray.remote(num_cpus=0)
    def use_threads() -> list[int]:
        got: list[int] = []

        def fetch(ref: Any) -> None:
            ray.wait([ref])
            got.append(ray.get(ref) + ray.get([ref])[0])

        for value in range(20):
            thread = threading.Thread(target=fetch, args=(same.remote(value),))
            thread.start()
            thread.join()
        return got

    assert ray.get(use_threads.remote()) == list(range(0, 40, 2))


@pytest.mark.needs("processes")
def test_what_a_task_changes_of_its_own_function_does_not_travel_with_its_calls(ray: Any) -> None:
    depth = 0

    @ray.remote
    def deeper(n: int) -> int:  # each call has a worker of its own, as its caller waits
        nonlocal depth
        depth += 1
        return depth if n == 0 else int(ray.get(deeper.remote(n - 1)))

    assert ray.get(deeper.remote(2)) == 1


def test_an_actor_class_may_make_actors_of_itself(ray: Any) -> None:
    @ray.remote(num_cpus=0)
    class Node:
        def __init__(self, depth: int) -> None:
            self.child = Node.remote(depth - 1) if depth else None

        def depth(self) -> int:
            return 1 + ray.get(self.child.depth.remote()) if self.child is not None else 0

    assert ray.get(Node.remote(3).depth.remote()) == 3
