"""The memory for values: it has a limit, what finds no room in it goes to disk and is read from there."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = [pytest.mark.own_session, pytest.mark.slow, pytest.mark.needs("store")]

MiB = 1 << 20


@pytest.fixture
def start(ray: Any, tmp_path: Path) -> Callable[..., Any]:
    """Starts a run with 80 MiB of memory for values."""

    def start(**more: Any) -> Any:
        if ray.__name__ == "ray":
            more["include_dashboard"] = False
        ray.init(num_cpus=2, object_store_memory=80 * MiB, object_spilling_directory=str(tmp_path), **more)
        return ray

    return start


@pytest.fixture
def on_disk(tmp_path: Path) -> Callable[[], int]:
    """How many bytes are in the directory for what finds no room, in files with a name or (of this process) without."""

    def on_disk() -> int:
        found = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
        for file in Path("/proc/self/fd").iterdir():
            with suppress(OSError):
                if file.readlink().is_relative_to(tmp_path):
                    found += file.stat().st_size
        return found

    return on_disk


def block(number: int) -> Any:
    return np.full(20 * MiB, number, np.uint8)


def test_values_beyond_the_limit_go_to_disk_and_are_read_from_there(
    start: Any, on_disk: Any, eventually: Callable[..., Any]
) -> None:
    ray = start()
    refs = [ray.put(block(number)) for number in range(8)]
    assert eventually(lambda: on_disk() >= 80 * MiB)
    assert [int(ray.get(ref)[-1]) for ref in refs] == list(range(8))
    del refs
    eventually(lambda: ray.available_resources()["object_store_memory"] == 80 * MiB)


def test_what_is_free_of_the_limit_can_be_asked_for(start: Any, eventually: Callable[..., Any]) -> None:
    ray = start()
    assert ray.cluster_resources()["object_store_memory"] == 80 * MiB
    ref = ray.put(block(1))
    eventually(lambda: 59 * MiB < ray.available_resources()["object_store_memory"] <= 60 * MiB)
    del ref
    eventually(lambda: ray.available_resources()["object_store_memory"] == 80 * MiB)


def test_what_is_read_stays_as_it_is_while_other_values_take_its_room(start: Any) -> None:
    ray = start()
    kept = [ray.get(ray.put(block(number))) for number in range(3)]
    refs = [ray.put(block(10 + number)) for number in range(8)]
    assert [int(view[0]) for view in kept] == [0, 1, 2]
    assert [int(view[-1]) for view in ray.get(refs)] == list(range(10, 18))
    assert [int(view[-1]) for view in kept] == [0, 1, 2]


def test_results_and_arguments_of_tasks_beyond_the_limit_go_to_disk_too(start: Any, on_disk: Any) -> None:
    ray = start()

    @ray.remote
    def make(number: int) -> Any:
        return np.full(20 * 2**20, number, np.uint8)

    @ray.remote
    def last(array: Any) -> int:
        return int(array[-1])

    refs = [make.remote(number) for number in range(8)]
    assert ray.get([last.remote(ref) for ref in refs]) == list(range(8))
    assert ray.get([last.remote(block(number)) for number in range(8)]) == list(range(8))
    assert on_disk() > 0


def test_one_value_may_be_larger_than_the_limit(start: Any) -> None:
    ray = start()

    @ray.remote
    def make() -> Any:
        return np.ones(100 * 2**20, np.uint8)

    assert ray.get(ray.put(np.ones(100 * MiB, np.uint8))).nbytes == 100 * MiB
    assert ray.get(make.remote()).nbytes == 100 * MiB


def test_a_full_disk_is_an_error_in_the_call_that_needed_it_and_the_run_goes_on(start: Any) -> None:
    ray = start(_system_config={"local_fs_capacity_threshold": 0.000001})
    error = ray.exceptions.OutOfDiskError

    @ray.remote
    def make() -> Any:
        return np.ones(30 * 2**20, np.uint8)

    @ray.remote
    def put() -> Any:
        return ray.put(np.ones(30 * 2**20, np.uint8))

    @ray.remote
    def take(array: Any) -> int:
        return int(array[0])

    refs: list[Any] = []

    def fill() -> None:  # those before the error are kept
        for number in range(8):
            refs.append(ray.put(block(number)))  # noqa: PERF401

    with pytest.raises(error):
        fill()
    assert 2 <= len(refs) < 8
    for call in (make, put):
        with pytest.raises(error) as raised:
            ray.get(call.remote())
        assert isinstance(raised.value, ray.exceptions.RayTaskError)
    with pytest.raises(error):
        take.remote(np.ones(30 * MiB, np.uint8))
    assert [int(ray.get(ref)[0]) for ref in refs] == list(range(len(refs)))
    refs.clear()
    assert ray.get(take.remote(ray.put(block(7)))) == 7


def test_the_place_on_disk_can_be_chosen_by_environment(
    ray: Any, tmp_path: Path, on_disk: Any, monkeypatch: pytest.MonkeyPatch, eventually: Any
) -> None:
    monkeypatch.setenv("RAY_object_spilling_directory", str(tmp_path / "made"))
    ray.init(num_cpus=1, object_store_memory=80 * MiB)
    refs = [ray.put(block(number)) for number in range(8)]
    eventually(lambda: on_disk() >= 80 * MiB)
    ray.shutdown()
    assert not refs or on_disk() == 0, "nothing is left of a run"


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"object_store_memory": 1000}, ValueError, "at 1000 bytes, but the minimum allowed is 78643200 bytes"),
        ({"object_store_memory": -5}, ValueError, "minimum allowed"),
        ({"object_store_memory": "x"}, TypeError, "str|number"),
        ({"object_spilling_directory": 5}, ValueError, "directory"),
        ({"object_spilling_directory": "/proc/nothing"}, OSError, "/proc/nothing"),
        ({"_system_config": 5}, TypeError, "_system_config must be a dict"),
        ({"_object_spilling_directory": "/tmp"}, RuntimeError, "Unknown keyword"),
    ],
)
def test_bad_values_are_refused(ray: Any, options: dict[str, Any], error: type[Exception], text: str) -> None:
    if os.environ.get("MINRAY_ORACLE") == "1" and "/proc/nothing" in options.values():
        pytest.skip("Ray leaves its servers running")
    with pytest.raises(error, match=text):
        ray.init(num_cpus=1, **options)
    assert not ray.is_initialized()
