"""`experimental.tqdm_ray`: bars of tasks, drawn by the driver."""

from __future__ import annotations

import importlib
from typing import Any

import pytest


@pytest.fixture
def tqdm_ray(ray: Any) -> Any:
    return importlib.import_module(f"{ray.__name__}.experimental.tqdm_ray")


def test_iterating_over_a_bar_gives_the_items_and_counts_them(tqdm_ray: Any) -> None:
    bar = tqdm_ray.tqdm(range(5), desc="items")
    assert bar.total == 5
    assert list(bar) == [0, 1, 2, 3, 4]
    assert bar.n == 5
    bar.close()


def test_a_bar_without_items_is_counted_by_hand(tqdm_ray: Any) -> None:
    bar = tqdm_ray.tqdm(total=10, unit="B", position=1)
    bar.update(3)
    bar.update()
    bar.set_description("bytes")
    bar.refresh()
    assert (bar.n, bar.total) == (4, 10)
    bar.close()
    with pytest.raises(ValueError, match="No iterable"):
        list(bar)


def test_a_bar_need_not_know_its_total(tqdm_ray: Any) -> None:
    bar = tqdm_ray.tqdm(iter("abc"))
    assert bar.total is None
    assert list(bar) == ["a", "b", "c"]
    bar.close()


def test_tasks_and_actors_have_bars(ray: Any, tqdm_ray: Any) -> None:
    name = tqdm_ray.__name__

    @ray.remote
    def count(n: int) -> Any:
        bar = importlib.import_module(name).tqdm(range(n), desc="counting", flush_interval_s=0)
        total = sum(bar)
        bar.close()
        return total

    assert ray.get([count.remote(3), count.remote(4)]) == [3, 6]
