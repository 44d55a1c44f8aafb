"""What can never run is named on stderr, once, and waits."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.parametrize("backend", ["threads", "loky"])


def test_what_no_node_can_have_is_named_once(ray: Any, capfd: pytest.CaptureFixture[str]) -> None:
    @ray.remote(num_cpus=0, resources={"tpu": 2})
    def task() -> None: ...

    @ray.remote(num_cpus=1000)
    class Actor: ...

    refs = [task.remote() for _ in range(3)]
    actor = Actor.remote()
    group = ray.util.placement_group([{"CPU": 500}])
    labelled = task.options(resources={}, label_selector={"zone": "nowhere"}).remote()

    ready, _ = ray.wait([*refs, labelled, group.ready()], timeout=0.05)

    assert not ready
    err = capfd.readouterr().err
    assert err.count("tpu: 2 asked for, no node has any") == 1
    assert err.count("CPU: 1000 asked for, no node has more than") == 1
    assert err.count("CPU: 500 asked for, no node has more than") == 1
    assert err.count("no node has the labels") == 1
    assert err.count("Warning") == 4
    del actor


def test_what_only_waits_for_others_is_not_named(ray: Any, capfd: pytest.CaptureFixture[str]) -> None:
    first = ray.util.placement_group([{"CPU": ray.cluster_resources()["CPU"]}])
    second = ray.util.placement_group([{"CPU": 1}])
    assert first.wait(10)
    assert not ray.wait([second.ready(), ray.remote(lambda: 1).remote()], timeout=0.05)[0]
    assert "Warning" not in capfd.readouterr().err
