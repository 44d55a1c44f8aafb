"""Random small programs of nested tasks, actors, waits and refs: their results are those of a plain computation.

A program is a tree. Each node is a number that is computed from its children's, in one of many ways that all come to
``sum of the children + own number``. So the expected result needs no runtime at all.
"""

from __future__ import annotations

import random
import threading
import time
from typing import Any

import numpy as np
import pytest

import minray

#: (how, own number, children)
Node = tuple[str, int, tuple[Any, ...]]

WAYS = ["gather", "arguments", "waits", "inside a list", "chain", "own actor", "shared actor", "arrays", "error",
        "timeouts", "options"]  # fmt: skip


def grow(rng: random.Random, depth: int) -> Node:
    children = tuple([grow(rng, depth - 1) for _ in range(rng.randint(1, 4))]) if depth else ()
    return (
        (rng.choice(WAYS) if children else rng.choice(["plain", "plain", "sleep", "burn"])),
        rng.randrange(50),
        children,
    )


def expected(node: Node) -> int:
    return node[1] + sum(map(expected, node[2]))


def make_evaluator(ray: Any) -> Any:
    """The function that computes a node with the help of tasks and actors; itself part of each of them."""

    class Oops(Exception):
        pass

    @ray.remote
    def add(*numbers: int) -> int:
        return sum(numbers)

    @ray.remote
    def add_refs(refs: list[Any]) -> int:
        return sum(minray.get(refs))

    @ray.remote
    def array_of(number: int) -> Any:
        return np.full(20_000, number)

    @ray.remote
    def first_of(array: Any) -> int:
        return int(array[0])

    @ray.remote
    def fail(number: int) -> None:
        raise Oops(number)

    @ray.remote(num_cpus=0)
    class Adder:
        def __init__(self, start: int) -> None:
            self.total = start

        def add(self, number: int) -> int:
            self.total += number
            return self.total

        def compute(self, node: Node) -> int:
            self.total += evaluate(node)
            return self.total

    @ray.remote
    def compute(node: Node) -> int:
        return evaluate(node)

    @ray.remote
    def feed(adder: Any, node: Node) -> int:
        return minray.get(adder.add.remote(evaluate(node)))

    def evaluate(node: Node) -> int:
        how, own, children = node
        if how == "sleep":
            time.sleep(own / 10_000)
        elif how == "burn":
            sum(range(own * 500))
        elif how == "gather":
            own += sum(minray.get([compute.remote(child) for child in children]))
        elif how == "arguments":
            own = minray.get(add.remote(own, *[compute.remote(child) for child in children]))
        elif how == "waits":
            pending = [compute.remote(child) for child in children]
            while pending:
                ready, pending = minray.wait(pending, timeout=random.choice([None, 0, 0.001]))
                own += sum(minray.get(ready))
        elif how == "inside a list":
            own += minray.get(add_refs.remote([compute.remote(child) for child in children]))
        elif how == "chain":
            ref = minray.put(own)
            for child in children:
                for _ in range(5):
                    ref = add.remote(ref)
                ref = add.remote(ref, compute.remote(child))
            own = minray.get(ref)
        elif how == "own actor":
            adder = Adder.remote(own)
            for child in children[:-1]:
                adder.add.remote(compute.remote(child))
            own = minray.get(adder.compute.remote(children[-1]))
        elif how == "shared actor":
            adder = Adder.remote(own)
            minray.get([feed.remote(adder, child) for child in children])
            own = minray.get(adder.add.remote(0))
        elif how == "arrays":
            own += sum(minray.get([first_of.remote(array_of.remote(compute.remote(child))) for child in children]))
        elif how == "error":
            for child in children:
                try:
                    minray.get(add.remote(1, fail.remote(compute.remote(child))))
                except Oops as error:
                    own += error.cause.args[0]  # pyright: ignore[reportAttributeAccessIssue]
        elif how == "timeouts":
            for ref in [compute.remote(child) for child in children]:
                while True:
                    try:
                        own += minray.get(ref, timeout=random.choice([0, 0.001, 0.01]))
                        break
                    except minray.exceptions.GetTimeoutError:
                        continue
        elif how == "options":
            cpus = [0, 0.5, 1, 2]
            own += sum(minray.get([compute.options(num_cpus=cpus[child[1] % 4]).remote(child) for child in children]))
        return own

    return evaluate


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("backend", ["threads", "loky"])
@pytest.mark.parametrize("seed", range(2))
def test_random_programs_compute_what_they_should(ray: Any, seed: int) -> None:
    evaluate = make_evaluator(ray)
    rng = random.Random(seed)
    trees = [grow(rng, depth) for depth in [1] * 10 + [2] * 10 + [3] * 4]
    for tree in trees:
        assert evaluate(tree) == expected(tree), tree


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("backend", ["threads", "loky"])
def test_random_programs_in_several_threads_at_once(ray: Any) -> None:
    evaluate = make_evaluator(ray)
    wrong: list[Any] = []

    def loop(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(12):
            tree = grow(rng, 2)
            result = evaluate(tree)
            if result != expected(tree):
                wrong.append((tree, result))

    threads = [threading.Thread(target=loop, args=(100 + me,)) for me in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
