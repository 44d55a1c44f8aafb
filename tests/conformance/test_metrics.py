"""`util.metrics`: counters, gauges and histograms. What is exported is shown in tests/backends/test_metrics.py."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def metrics(module: Callable[[str], Any]) -> Any:
    return module("util.metrics")


def test_metrics_are_recorded_in_tasks_and_actors(ray: Any, metrics: Any) -> None:
    counter = metrics.Counter("calls", "how many", tag_keys=("kind",))

    @ray.remote
    def count() -> Any:
        counter.inc(tags={"kind": "task"})
        return counter.info

    @ray.remote
    class Measuring:
        def __init__(self) -> None:
            self.sizes = metrics.Histogram("sizes", boundaries=[1, 10])

        def observe(self, size: float) -> None:
            self.sizes.observe(size)

    assert ray.get(count.remote())["name"] == "calls"
    assert ray.get(Measuring.remote().observe.remote(2)) is None


@pytest.mark.own_session
def test_metrics_can_be_recorded_where_there_is_no_session(metrics: Any, ray: Any) -> None:
    metrics.Counter("early").inc()
    metrics.Gauge("early_gauge").set(-1)
    assert not ray.is_initialized()


def test_a_metric_tells_what_it_is(metrics: Any) -> None:
    counter = metrics.Counter("c", "d", tag_keys=("a", "b"))
    assert counter.info == {"name": "c", "description": "d", "tag_keys": ("a", "b"), "default_tags": {}}
    assert metrics.Gauge("g").info == {"name": "g", "description": "", "tag_keys": (), "default_tags": {}}
    histogram = metrics.Histogram("h", "d", [1.0], ("a",))
    assert histogram.info["boundaries"] == histogram.boundaries == [1.0]


def test_default_tags_are_set_on_the_metric_itself(metrics: Any) -> None:
    counter = metrics.Counter("c", tag_keys=("a",))
    assert counter.set_default_tags({"a": "1"}) is counter
    assert counter.info["default_tags"] == {"a": "1"}
    counter.inc()


def test_a_pickled_metric_loses_its_default_tags(metrics: Any) -> None:
    counter = metrics.Counter("c", "d", tag_keys=("a",)).set_default_tags({"a": "1"})
    assert pickle.loads(pickle.dumps(counter)).info == {**counter.info, "default_tags": {}}
    histogram = metrics.Histogram("h", "d", [1.0, 2.0], ("a",))
    assert pickle.loads(pickle.dumps(histogram)).info == histogram.info


def test_every_tag_key_needs_a_value(metrics: Any) -> None:
    counter = metrics.Counter("c", tag_keys=("a", "b"))
    with pytest.raises(ValueError, match=r"Missing value for tag key\(s\): a,b"):
        counter.inc()
    with pytest.raises(ValueError, match=r"tag key\(s\): b"):
        counter.inc(tags={"a": "1"})
    counter.inc(tags={"a": "1", "b": "2", "more": "3"})


def test_tags_are_strings(metrics: Any) -> None:
    counter = metrics.Counter("c", tag_keys=("a",))
    with pytest.raises(TypeError, match="Tag values must be str"):
        counter.inc(tags={"a": 1})
    with pytest.raises(TypeError, match="Tag values must be str"):
        counter.set_default_tags({"a": 1})
    with pytest.raises(ValueError, match="Unrecognized tag key b"):
        counter.set_default_tags({"b": "1"})


@pytest.mark.parametrize("tag_keys", [["a"], "ab", (1,)])
def test_tag_keys_are_a_tuple_of_strings(metrics: Any, tag_keys: Any) -> None:
    with pytest.raises(TypeError, match=r"(?i)tag.keys"):
        metrics.Counter("c", tag_keys=tag_keys)


def test_a_counter_only_grows(metrics: Any) -> None:
    counter = metrics.Counter("c")
    for value in (0, -1):
        with pytest.raises(ValueError, match="value must be >0"):
            counter.inc(value)
    counter.inc(0.5)
    counter.inc(True)


def test_values_are_numbers(metrics: Any) -> None:
    with pytest.raises(TypeError, match="must be int or float"):
        metrics.Counter("c").inc("1")
    with pytest.raises(TypeError, match="must be int or float"):
        metrics.Gauge("g").set("1")
    with pytest.raises(TypeError, match="must be int or float"):
        metrics.Histogram("h", boundaries=[1]).observe("1")


def test_a_gauge_set_to_none_stays_as_it_is(metrics: Any) -> None:
    assert metrics.Gauge("g", tag_keys=("a",)).set(None) is None


@pytest.mark.parametrize("boundaries", [None, [], [0, 1], [1, -1]])
def test_boundaries_are_positive_numbers(metrics: Any, boundaries: Any) -> None:
    with pytest.raises(ValueError, match="boundaries"):
        metrics.Histogram("h", boundaries=boundaries)


def test_boundaries_may_come_in_any_order(metrics: Any) -> None:
    metrics.Histogram("h", boundaries=[2, 1, 1]).observe(-4)


def test_a_name_that_prometheus_refuses_is_warned_of_and_nothing_recorded(metrics: Any) -> None:
    with pytest.raises(ValueError, match="Empty name"):
        metrics.Counter("")
    with pytest.raises(TypeError):
        metrics.Counter(3)
    with pytest.warns(UserWarning, match="Invalid metric name: 1a"):
        counter = metrics.Counter("1a", tag_keys=("a",))
    counter.inc()
    with pytest.warns(FutureWarning, match="contains a : character"):
        metrics.Gauge("a:b")
