"""Programs that survive whatever happens to their workers, with the result that they would have had in peace.

The short form has a few kills for each; with MINRAY_CHAOS_KILLS=1000 (`tox -e chaos`) there are so many in all.
"""

from __future__ import annotations

import importlib
import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tqdm import tqdm

import minray
from tests.faults.chaos import STORE_BYTES, Chaos

ray: Any = minray

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

LONG = int(os.environ.get("MINRAY_CHAOS_KILLS", "0"))
SEED = int(os.environ.get("MINRAY_CHAOS_SEED", "1"))
EVERYTHING = {"kill": 6, "kill_all": 1, "remove": 3, "fill": 1, "delay": 3}
#: As many deaths as a task's retries make up for, unless told otherwise.
RETRIES = 3
EXAMPLES = Path(__file__).parents[2] / "examples"


def map_reduce() -> Any:
    """Words are counted in many tasks, whose results are merged two by two."""

    @ray.remote(max_retries=-1)
    def count(part: int) -> Counter[str]:
        time.sleep(0.002)
        return Counter(f"word{part * n % 37}" for n in range(200))

    @ray.remote(max_retries=-1)
    def merge(one: Counter[str], other: Counter[str]) -> Counter[str]:
        return one + other

    refs = [count.remote(part) for part in range(32)]
    while len(refs) > 1:
        refs = [merge.remote(*refs[:2]), *refs[2:]][::-1]
    return ray.get(refs[0])


def large_results() -> Any:
    """Arrays go through the store, are read by several tasks, and may be lost at any time."""
    import numpy as np

    @ray.remote(max_retries=-1)
    def make(x: int) -> Any:
        return np.full(20_000, x)

    @ray.remote(max_retries=-1)
    def add(one: Any, other: Any) -> Any:
        time.sleep(0.002)
        return one + other

    rows = [make.remote(x) for x in range(8)]
    for _ in range(4):
        rows = [add.remote(row, rows[(at + 1) % len(rows)]) for at, row in enumerate(rows)]
    return [int(array.sum()) for array in ray.get(rows)]


def nested() -> Any:
    """A tree of tasks that wait for the tasks they make."""

    @ray.remote(max_retries=-1)
    def leaves(depth: int) -> int:
        if not depth:
            time.sleep(0.002)
            return 1
        return sum(ray.get([leaves.remote(depth - 1) for _ in range(3)]))

    return ray.get(leaves.remote(3))


def parameter_server() -> Any:
    """Stateless workers compute steps for a server that can be restarted from what it was told."""

    @ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
    class Server:
        def __init__(self) -> None:
            self.steps: dict[int, int] = {}

        def apply(self, steps: dict[int, int]) -> int:
            self.steps.update(steps)
            return sum(self.steps.values())

    @ray.remote(max_retries=-1)
    def step(number: int, weight: int) -> int:
        time.sleep(0.002)
        return (number * 7 + weight) % 11

    server = Server.remote()
    steps: dict[int, int] = {}
    weight = 0
    for round in range(6):
        numbers = range(round * 4, round * 4 + 4)
        steps.update(zip(numbers, ray.get([step.remote(number, weight) for number in numbers])))
        weight = ray.get(server.apply.remote(dict(steps)))
    return weight


def tree_of_actors() -> Any:
    """Actors that own actors; each can be made again, with its children."""

    @ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
    class Node:
        def __init__(self, depth: int) -> None:
            self.children = [Node.remote(depth - 1) for _ in range(2)] if depth else []

        def total(self, x: int) -> int:
            if not self.children:
                time.sleep(0.002)
                return x
            return sum(ray.get([child.total.remote(x + at) for at, child in enumerate(self.children)]))

    root = Node.remote(2)
    return ray.get([root.total.remote(x) for x in range(8)])


def ledger() -> Any:
    """An actor that writes down what it is told before it answers: its next life goes on where the last one ended."""

    @ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
    class Ledger:
        def __init__(self, path: str) -> None:
            self.path = path
            self.entries: list[int] = []
            if os.path.exists(path):
                with open(path) as file:
                    self.entries = json.load(file)

        def add(self, number: int, amount: int) -> int:
            if number == len(self.entries):
                self.entries.append(amount)
                with open(f"{self.path}.new", "w") as file:
                    json.dump(self.entries, file)
                os.replace(f"{self.path}.new", self.path)
            return sum(self.entries[: number + 1])

    @ray.remote(max_retries=-1)
    def price(number: int) -> int:
        time.sleep(0.002)
        return number * number % 7

    with tempfile.TemporaryDirectory() as directory:
        actor = Ledger.remote(f"{directory}/ledger")
        return ray.get([actor.add.remote(number, price.remote(number)) for number in range(24)])


def arrays_of_actors() -> Any:
    """Actors make large arrays of those that they and others have made, which may be lost at any time."""
    import numpy as np

    @ray.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1)
    class Maker:
        def make(self, x: int) -> Any:
            return np.full(20_000, x)

        def add(self, one: Any, other: Any) -> Any:
            time.sleep(0.002)
            return one + other

    makers = [Maker.remote() for _ in range(3)]
    rows = [makers[x % 3].make.remote(x) for x in range(8)]
    for _ in range(4):
        rows = [makers[at % 3].add.remote(row, rows[(at + 1) % len(rows)]) for at, row in enumerate(rows)]
    return [int(array.sum()) for array in ray.get(rows)]


def streams() -> Any:
    """Generators of large items, which are read late and may be lost before that."""
    import numpy as np

    @ray.remote(max_retries=-1)
    def rows(start: int) -> Any:
        for x in range(4):
            time.sleep(0.002)
            yield np.full(20_000, start + x)

    @ray.remote(max_retries=-1)
    def total(row: Any) -> int:
        return int(row.sum())

    items = [list(stream) for stream in [rows.remote(start) for start in (0, 10, 20)]]
    totals = ray.get([total.remote(ref) for refs in items for ref in refs])
    return totals, [int(row[0]) for refs in items for row in ray.get(refs)]


PROGRAMS = [map_reduce, large_results, nested, parameter_server, tree_of_actors, ledger, arrays_of_actors, streams]


def collected(program: Callable[[], Any], chaos: Chaos | None) -> list[Any]:
    """The results of a program that runs until there was enough chaos, once if there is none."""
    results = []
    deadline = time.monotonic() + (20 if not LONG else 3000)
    while True:
        results.append(program())
        if chaos is None or chaos.over or time.monotonic() > deadline:
            return results


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_program_gives_what_it_gives_in_peace(program: Callable[[], Any]) -> None:
    kills = LONG // len(PROGRAMS) if LONG else 5
    with minray.init(backend="loky", num_cpus=2, log_to_driver=False, object_store_memory=STORE_BYTES):
        (expected,) = collected(program, None)
        with Chaos(SEED, kills, EVERYTHING, pause=0.02) as chaos:
            results = collected(program, chaos)
    assert chaos.over, f"too little happened: {chaos.done}"
    assert all(result == expected for result in results)


@pytest.mark.parametrize(
    ("name", "arguments", "kinds"),
    [
        ("matrix", "--size 120 --blocks 3 --stagger 30", {"kill": 6, "kill_all": 1, "delay": 3}),
        ("nested_experiments", "--loads 3 --simulations 8 --customers 2000", {"kill": 6, "kill_all": 1, "delay": 3}),
        ("index", "--files 60 --chunk 7 --in-flight 3", {"kill": 6, "kill_all": 1, "delay": 3}),
        # Their actors have a state that nobody could give back to them.
        ("simulator", "--simulators 4 --seed 2", {"delay": 1}),
        ("parameter_server", "--updates 600 --rate 0.2", {"delay": 1}),
    ],
    ids=lambda value: value if isinstance(value, str) and "-" not in value else "",
)
def test_an_example_gives_what_it_gives_in_peace(
    name: str, arguments: str, kinds: dict[str, int], monkeypatch: Any, capsys: Any
) -> None:
    needs = {"simulator": "gymnasium", "parameter_server": "sklearn"}
    pytest.importorskip(needs.get(name, "minray"))
    monkeypatch.setattr(tqdm, "monitor_interval", 0)  # no thread of its own
    monkeypatch.setenv("MINRAY_BACKEND", "loky")
    monkeypatch.syspath_prepend(str(EXAMPLES))
    program = importlib.import_module(name)

    def result() -> Any:
        try:
            found = program.main(arguments.split())
        finally:
            minray.shutdown()
        # Trained in no particular order, each run gives another model; but it takes as many updates.
        return [updates for updates, _ in found["curve"]] if name == "parameter_server" else found

    expected = result()
    for turn in range(10 if LONG else 1):
        with Chaos(SEED + turn, RETRIES, kinds, pause=0.05) as chaos:
            assert result() == expected
        assert chaos.done, "nothing happened"
