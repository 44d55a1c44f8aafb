"""Large values: written once into shared memory, mapped by readers, freed when nobody needs them."""

from __future__ import annotations

import gc
import glob
import os
import re
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

import minray

LARGE = 1_000_000  #: numbers of 8 bytes


# Workers cannot import a test module: what tasks use of this one travels with them.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


def run_files() -> list[str]:
    """The files of this process's run."""
    return glob.glob(f"/dev/shm/minray-{os.getpid()}-*/*")


def used() -> int:
    """Bytes of memory that they take."""
    found = 0
    for path in run_files():
        with suppress(FileNotFoundError):  # removed since
            found += os.stat(path).st_blocks * 512
    return found


def mapped_file(array: Any) -> str | None:
    """The file that an array's memory belongs to, if any, and whether it is mapped read-only."""
    address = array.__array_interface__["data"][0]
    for line in Path("/proc/self/maps").read_text().splitlines():
        begin, end, mode, path = re.match(r"(\w+)-(\w+) (\S+) \S+ \S+ \S+ *(.*)", line).groups()  # type: ignore[union-attr]
        if int(begin, 16) <= address < int(end, 16):
            return f"{path} {mode}" if path else None
    raise AssertionError("an array that is nowhere")


def test_an_array_is_read_without_a_copy_wherever_it_is_read(ray: Any) -> None:
    @ray.remote
    def look(array: Any) -> tuple[str | None, bool, float]:
        return mapped_file(array), array.flags.writeable, float(array.sum())

    array = np.arange(LARGE, dtype=np.float64)
    ref = ray.put(array)
    file = mapped_file(ray.get(ref))
    assert file is not None and re.fullmatch(rf"/dev/shm/minray-{os.getpid()}-\w+/driver-1 r--s", file)
    assert ray.get(look.remote(ref)) == (file, False, array.sum())
    assert ray.get(look.remote(array))[0] is not None, "arguments that are no refs are put there too"


def test_a_workers_array_is_read_without_a_copy(ray: Any) -> None:
    @ray.remote
    def make() -> Any:
        return {"array": np.ones(LARGE), "name": "mine"}

    @ray.remote
    def look(result: Any) -> str | None:
        return mapped_file(result["array"])

    ref = make.remote()
    result = ray.get(ref)
    file = mapped_file(result["array"])
    assert file is not None and re.fullmatch(r"/dev/shm/minray-\d+-\w+/w\d+-1 r--s", file)
    assert ray.get(look.remote(ref)) == file
    assert result["name"] == "mine"


def test_two_readers_share_the_memory(ray: Any) -> None:
    ref = ray.put(np.ones(LARGE))
    first, second = ray.get([ref, ref])
    assert first is not second and np.shares_memory(first, second)


def test_writing_to_an_array_that_was_read_is_an_error(ray: Any) -> None:
    array = ray.get(ray.put(np.ones(LARGE)))
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        array.flags.writeable = True


def test_small_values_take_no_file(ray: Any) -> None:
    @ray.remote
    def small() -> bytes:
        return b"x" * 50_000

    refs = [ray.put(np.ones(1000)), ray.put("x" * 50_000), small.remote()]
    ray.get(refs)
    assert run_files() == []


def test_large_bytes_and_strings_and_lists_go_there_too(ray: Any) -> None:
    @ray.remote
    def echo(value: Any) -> Any:
        return value

    for value in (b"x" * 10_000_000, "ü" * 3_000_000, list(range(300_000)), {"a": [np.ones(100_000)] * 2}):
        result = ray.get(echo.remote(ray.get(ray.put(value))))
        if isinstance(value, dict):
            assert all((array == 1).all() for array in result["a"]) and result["a"][0] is result["a"][1]
        else:
            assert result == value
    assert run_files()


def test_the_directories_are_private_and_the_files_too(ray: Any) -> None:
    @ray.remote
    def make() -> Any:
        return np.ones(LARGE)

    refs = [ray.put(np.ones(LARGE)), make.remote()]
    ray.wait(refs, num_returns=2)
    assert len(run_files()) == 2
    for path in run_files():
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
        assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700


def test_every_kind_of_array_comes_back_as_it_was(ray: Any) -> None:
    arrays = [
        np.asfortranarray(np.arange(200_000.0).reshape(400, 500)),
        np.arange(400_000)[::2],
        np.arange(100_000).astype("S7"),
        np.array([{"a": 1}, None, "x"] * 10_000, dtype=object),
        np.zeros((0, 100_000)),
        np.zeros(50_000, dtype=[("x", "i4"), ("y", "f8")]),
        np.arange(100_000).astype(">i4"),
        np.ma.masked_array(np.arange(100_000), mask=np.arange(100_000) % 2 == 1),
    ]
    for array, result in zip(arrays, ray.get([ray.put(array) for array in arrays])):
        assert result.dtype == array.dtype and result.shape == array.shape
        assert np.array_equal(result, array)
        assert result.flags.f_contiguous == array.flags.f_contiguous or not array.flags.contiguous


# --- Freed when nobody needs it ----------------------------------------------------------------------------------


def test_a_loop_of_puts_uses_the_same_memory_again(ray: Any) -> None:
    array = np.ones(LARGE)
    for _ in range(100):
        assert ray.get(ray.put(array))[0] == 1
    assert used() <= 4 * array.nbytes


def test_a_loop_of_puts_without_reading_uses_the_same_memory_again(ray: Any) -> None:
    array = np.ones(LARGE)
    for _ in range(100):
        ray.put(array)
    assert used() <= 4 * array.nbytes


def test_a_loop_of_large_results_uses_the_same_memory_again(ray: Any) -> None:
    @ray.remote
    def make(x: int) -> Any:
        return np.full(LARGE, x)

    for x in range(100):
        assert ray.get(make.remote(x))[0] == x
    assert used() <= 10 * LARGE * 8


def test_a_loop_of_large_arguments_uses_the_same_memory_again(ray: Any) -> None:
    @ray.remote
    def first(array: Any) -> float:
        return float(array[0])

    array = np.ones(LARGE)
    for x in range(100):
        array[0] = x
        assert ray.get(first.remote(array)) == x
    assert used() <= 6 * array.nbytes


def test_a_loop_of_puts_in_a_task_uses_the_same_memory_again(ray: Any) -> None:
    @ray.remote
    def loop() -> None:
        for x in range(100):
            assert minray.get(minray.put(np.full(LARGE, x)))[0] == x

    ray.get(loop.remote())
    assert used() <= 6 * LARGE * 8


def test_an_actor_that_keeps_replacing_its_state_uses_the_same_memory_again(ray: Any) -> None:
    @ray.remote
    class Keeper:
        def __init__(self) -> None:
            self.array: Any = None

        def replace(self, array: Any) -> None:
            self.array = array

        def read(self) -> Any:
            return self.array

    keeper = Keeper.remote()
    for x in range(50):
        ray.get(keeper.replace.remote(np.full(LARGE, x)))
        assert ray.get(keeper.read.remote())[0] == x
    assert used() <= 10 * LARGE * 8


def test_an_array_outlives_its_ref(ray: Any) -> None:
    ref = ray.put(np.arange(LARGE))
    array = ray.get(ref)
    part = array[10:20]
    del ref, array
    gc.collect()
    for _ in range(10):
        ray.put(np.zeros(LARGE))
    assert part.tolist() == list(range(10, 20))


def test_an_array_in_an_actor_outlives_its_ref(ray: Any) -> None:
    @ray.remote
    class Keeper:
        def __init__(self, array: Any) -> None:
            self.part = array[10:20]

        def read(self) -> Any:
            return self.part

    keeper = Keeper.remote(np.arange(LARGE))
    ray.get(keeper.read.remote())
    for _ in range(10):
        ray.put(np.zeros(LARGE))
    assert ray.get(keeper.read.remote()).tolist() == list(range(10, 20))


def test_a_workers_array_outlives_its_ref_and_its_worker(ray: Any, eventually: Callable[..., Any]) -> None:
    @ray.remote
    class Maker:
        def make(self) -> Any:
            return np.arange(LARGE)

        def put(self) -> Any:
            return [minray.put(np.arange(LARGE))]

    maker = Maker.remote()
    first, (second,) = maker.make.remote(), ray.get(maker.put.remote())
    array = ray.get(first)
    ray.kill(maker)
    with pytest.raises(minray.exceptions.ActorDiedError):
        ray.get(maker.make.remote())
    assert ray.get(first)[-1] == ray.get(second)[-1] == LARGE - 1

    @ray.remote
    def last(array: Any) -> int:
        return int(array[-1])

    assert ray.get([last.remote(first), last.remote(second)]) == [LARGE - 1] * 2
    del first, second
    assert array[-1] == LARGE - 1


@pytest.mark.parametrize("how", ["killed", "out of scope"])
def test_memory_of_actors_that_are_gone_is_given_back(ray: Any, eventually: Callable[..., Any], how: str) -> None:
    @ray.remote
    class Maker:
        def make(self) -> Any:
            return np.ones(4 * LARGE)

    maker = Maker.remote()
    ref = maker.make.remote()
    assert ray.get(ref)[0] == 1
    before = used()
    if how == "killed":
        ray.kill(maker)
    del maker, ref
    eventually(lambda: ray.put(1) and used() <= before - 4 * LARGE * 8 * 0.9)


def test_refs_inside_values_keep_what_they_refer_to(ray: Any) -> None:
    @ray.remote
    def wrap() -> Any:
        return {"inner": [minray.put(np.arange(LARGE))]}

    outer = wrap.remote()
    ray.wait([outer])
    for _ in range(10):
        ray.put(np.zeros(LARGE))
    inner = ray.get(outer)["inner"][0]
    del outer
    assert ray.get(inner)[-1] == LARGE - 1


def test_pickling_a_view_gives_a_copy_that_can_be_written_to(ray: Any) -> None:
    import pickle

    array = pickle.loads(pickle.dumps(ray.get(ray.put(np.ones(LARGE)))))
    array[0] = 5
    assert array[0] == 5


def test_nothing_of_a_run_can_be_read_after_it_but_what_was_read_before(ray: Any) -> None:
    ref = ray.put(np.arange(LARGE))
    array = ray.get(ref)
    ray.shutdown()
    assert run_files() == []
    assert array[-1] == LARGE - 1


def test_many_threads_of_the_driver_may_read_and_write_at_once(ray: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    def loop(me: int) -> bool:
        refs = [(x, ray.put(np.full(20_000, 100 * me + x))) for x in range(30)]
        return all((ray.get(ref) == 100 * me + x).all() for x, ref in refs)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(loop, range(8)))
