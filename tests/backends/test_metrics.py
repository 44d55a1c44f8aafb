"""What tasks and actors record with `util.metrics` arrives in the driver, and gets out from there."""

from __future__ import annotations

import socket
import sys
import urllib.request
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import pytest

import minray
from minray.measures import OWN
from minray.util import metrics
from minray.util.metrics import Counter, Gauge, Histogram

exports = pytest.mark.skipif(find_spec("prometheus_client") is None, reason="prometheus_client is not installed")


@pytest.fixture(params=["threads", pytest.param("loky", marks=pytest.mark.slow)])
def backend(request: pytest.FixtureRequest) -> Iterator[str]:
    name: str = request.param
    minray.shutdown()
    OWN.take()
    yield name
    minray.shutdown()
    OWN.take()


def recorded() -> dict[Any, Any]:
    """What the driver knows, by name and tags."""
    return {(name, *tags): value for (_, name, tags), _, _, value in OWN.sums()}


def test_what_a_call_has_recorded_is_there_with_its_result(backend: str) -> None:
    minray.init(backend=backend, num_cpus=2)
    counter = Counter("calls", tag_keys=("kind",))

    @minray.remote
    def record(i: int) -> None:
        counter.inc(tags={"kind": "ab"[i % 2]})
        Gauge("latest").set(7)
        Histogram("sizes", boundaries=[1, 2.5]).observe(i)

    minray.get([record.remote(i) for i in range(10)])
    counter.inc(5, tags={"kind": "a"})  # and the driver's own
    assert recorded() == {
        ("calls", ("kind", "a")): 10.0,
        ("calls", ("kind", "b")): 5.0,
        ("latest",): 7.0,
        ("sizes",): (45.0, 2, 1, 7),
    }


def test_what_a_running_task_records_arrives_meanwhile(
    backend: str, flags: Any, eventually: Callable[..., Any]
) -> None:
    minray.init(backend=backend, num_cpus=1)

    @minray.remote
    def progress() -> None:
        for step in range(3):
            Gauge("step").set(step)
        flags.wait("go")

    ref = progress.remote()
    try:
        eventually(lambda: recorded().get(("step",)) == 2.0)
    finally:
        flags.up("go")
    minray.get(ref)


def test_many_values_are_added_up(backend: str) -> None:
    minray.init(backend=backend, num_cpus=1)

    @minray.remote
    def count() -> None:
        counter = Counter("many")
        for _ in range(2500):
            counter.inc()

    minray.get([count.remote(), count.remote()])
    assert recorded() == {("many",): 5000.0}


def test_a_histogram_with_other_boundaries_begins_anew(backend: str) -> None:
    Histogram("h", boundaries=[1]).observe(5)
    Histogram("h", boundaries=[1, 2]).observe(2)
    assert recorded() == {("h",): (2.0, 0, 1, 0)}


@exports
def test_the_registry_is_what_prometheus_client_writes(backend: str) -> None:
    from prometheus_client import generate_latest

    minray.init(backend=backend, num_cpus=1)

    @minray.remote
    def record() -> None:
        Counter("calls", "how many", ("kind",)).inc(tags={"kind": "a"})
        Counter("bytes_total").inc(3)
        Gauge("size", "in bytes").set(1.5)
        histogram = Histogram("seconds", boundaries=[10, 1])
        for seconds in (0.5, 1, 7, 20):
            histogram.observe(seconds)

    minray.get(record.remote())
    lines = [line for line in generate_latest(metrics.registry()).decode().splitlines() if line]
    assert lines == [
        "# HELP ray_bytes_total ",
        "# TYPE ray_bytes_total counter",
        "ray_bytes_total 3.0",
        "# HELP ray_calls_total how many",
        "# TYPE ray_calls_total counter",
        'ray_calls_total{kind="a"} 1.0',
        "# HELP ray_size in bytes",
        "# TYPE ray_size gauge",
        "ray_size 1.5",
        "# HELP ray_seconds ",
        "# TYPE ray_seconds histogram",
        'ray_seconds_bucket{le="1.0"} 2.0',
        'ray_seconds_bucket{le="10.0"} 3.0',
        'ray_seconds_bucket{le="+Inf"} 4.0',
        "ray_seconds_count 4.0",
        "ray_seconds_sum 28.5",
    ]


@exports
@pytest.mark.slow  # the server looks for its end twice a second
def test_init_serves_metrics_on_this_machine_until_shutdown(backend: str) -> None:
    minray.init(backend=backend, num_cpus=1, _metrics_export_port=0)
    port = minray.nodes()[0]["MetricsExportPort"]
    Gauge("there").set(1)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        assert b"ray_there 1.0" in page.read()
    minray.shutdown()
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        pass


@exports
def test_a_port_that_is_taken_is_an_error_and_no_run_starts(backend: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(OSError):
        minray.init(backend=backend, _metrics_export_port=other.getsockname()[1])
    assert not minray.is_initialized()


@pytest.mark.parametrize("port", [-1, 1 << 16, "9090", 1.5])
def test_what_is_no_port_is_refused(port: Any) -> None:
    with pytest.raises(ValueError, match="_metrics_export_port must be None or a port"):
        minray.init(backend="threads", _metrics_export_port=port)


@exports
def test_a_worker_exports_nothing(backend: str) -> None:
    minray.init(backend=backend, num_cpus=1)

    @minray.remote
    def export() -> None:
        metrics.registry()

    with pytest.raises(RuntimeError, match="exported by the driver"):
        minray.get(export.remote())


def test_without_prometheus_client_only_the_export_fails(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    Counter("still_counted").inc()
    with pytest.raises(ImportError, match=r"minray\[metrics\]"):
        metrics.registry()
    with pytest.raises(ImportError, match=r"minray\[metrics\]"):
        minray.init(backend="threads", _metrics_export_port=0)
    assert not minray.is_initialized()


def test_nothing_is_served_unless_somebody_asks(backend: str) -> None:
    minray.init(backend=backend, num_cpus=1)
    assert minray.nodes()[0]["MetricsExportPort"] == 0
