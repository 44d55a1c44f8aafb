"""What the threads backend is for: the tools that work on a plain program work inside tasks and actors."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import pytest

SHOP = """
import minray


def price(item):
    return {"tea": 3}[item]


class Till:
    def total(self, items):
        return sum(price(item) for item in items)


@minray.remote
def bill(items):
    return Till().total(items)


@minray.remote
def cost(item):
    return price(item)


@minray.remote
class Clerk:
    def cost(self, item):
        return price(item)
"""


#: A decorated function is no attribute of its module, so it is pickled by value, and with it the globals that it names.
@pytest.fixture
def shop(ray: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """An importable module with remote functions and what they call."""
    (tmp_path / "shop_of_the_test.py").write_text(SHOP)
    monkeypatch.syspath_prepend(tmp_path)
    import shop_of_the_test  # type: ignore[import-not-found]

    yield shop_of_the_test
    del sys.modules["shop_of_the_test"]


def test_a_breakpoint_in_a_task_stops_in_the_debugger(start: Callable[..., Any]) -> None:
    program = start(
        """
        import minray

        @minray.remote
        def half(x):
            y = x / 2
            breakpoint()
            return y

        print("result:", minray.get(half.remote(42)))
        """,
        stdin="p y + 1000\nlist\np x + 1000\ny = 5\nc\n",
    )
    out = program.runs()
    assert "(Pdb) 1021.0" in out
    assert "(Pdb) 1042" in out
    assert "y = x / 2" in out, "the debugger shows the source"
    assert "result: 5" in out, "the debugger can change variables"


def test_a_breakpoint_in_a_method_of_an_actor_shows_the_actor(start: Callable[..., Any]) -> None:
    program = start(
        """
        import minray

        @minray.remote
        class Counter:
            def __init__(self):
                self.count = 7

            def read(self):
                breakpoint()
                return self.count

        counter = Counter.remote()
        print("result:", minray.get(counter.read.remote()))
        """,
        stdin="p self.count + 1000\nup\ndown\nc\n",
    )
    out = program.runs()
    assert "(Pdb) 1007" in out
    assert "result: 7" in out


def test_a_patched_attribute_of_another_module_is_seen_inside_a_task(ray: Any) -> None:
    @ray.remote
    def where() -> str:
        import os

        return os.getcwd()

    real = ray.get(where.remote())
    with mock.patch("os.getcwd", return_value="elsewhere"):
        assert ray.get(where.remote()) == "elsewhere"
    assert ray.get(where.remote()) == real


def test_a_patched_name_in_the_module_of_a_task_is_seen_by_it(ray: Any, shop: ModuleType) -> None:
    with mock.patch("shop_of_the_test.price", return_value=100):
        assert ray.get(shop.cost.remote("tea")) == 100
    assert ray.get(shop.cost.remote("tea")) == 3


def test_a_patch_is_seen_by_a_task_that_has_run_before_it(ray: Any, shop: ModuleType) -> None:
    assert ray.get(shop.cost.remote("tea")) == 3
    with mock.patch("shop_of_the_test.price", return_value=100):
        assert ray.get(shop.cost.remote("tea")) == 100
    assert ray.get(shop.cost.remote("tea")) == 3


def test_a_patch_is_seen_by_what_a_task_calls(ray: Any, shop: ModuleType) -> None:
    assert ray.get(shop.bill.remote(["tea", "tea"])) == 6
    with mock.patch("shop_of_the_test.price", side_effect=len):
        assert ray.get(shop.bill.remote(["tea", "coffee"])) == 9
    with mock.patch.object(shop.Till, "total", return_value=-1):
        assert ray.get(shop.bill.remote(["tea"])) == -1


def test_a_patch_is_seen_by_an_actor_that_lives_already(ray: Any, shop: ModuleType) -> None:
    clerk = shop.Clerk.remote()
    assert ray.get(clerk.cost.remote("tea")) == 3
    with mock.patch("shop_of_the_test.price", return_value=100):
        assert ray.get(clerk.cost.remote("tea")) == 100


def test_a_mock_records_the_calls_of_tasks(ray: Any, shop: ModuleType) -> None:
    with mock.patch("shop_of_the_test.price", return_value=1) as price:
        ray.get([shop.cost.remote(item) for item in ("tea", "milk")])
    assert sorted(call.args[0] for call in price.call_args_list) == ["milk", "tea"]


def test_a_tracer_counts_the_lines_of_tasks_and_actors(start: Callable[..., Any]) -> None:
    # `trace` uses the same hook as coverage and as debuggers: threading.settrace.
    program = start(
        """
        import minray

        @minray.remote
        def task(x):
            if x:
                return "taken"
            return "not taken"

        @minray.remote
        class Actor:
            def method(self):
                return "method"

        print(minray.get(task.remote(1)), minray.get(Actor.remote().method.remote()))
        minray.shutdown()
        """,
        args=["-m", "trace", "--count", "--missing", "--coverdir", "cover", "--ignore-dir", sys.prefix],
    )
    assert program.ends() == 0, program.err
    lines = (program.where / "cover" / "program.cover").read_text().splitlines()
    counts = {line[7:].strip(): line[:6].strip(" :") for line in lines}
    assert counts['return "taken"'] == "1"
    assert counts['return "not taken"'] == ">>>>>>"
    assert counts['return "method"'] == "1"


def test_an_error_has_the_line_of_the_task_in_its_text(ray: Any, shop: ModuleType) -> None:
    with pytest.raises(KeyError) as caught:
        ray.get(shop.cost.remote("coffee"))
    assert 'return {"tea": 3}[item]' in str(caught.value)
    assert "shop_of_the_test.py" in str(caught.value)
