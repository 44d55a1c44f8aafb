"""Other users of processes and shared memory in the driver are not disturbed by a run, nor by its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

SCRIPT = """
    import os, sys
    import minray
    import numpy as np

    @minray.remote
    def double(x):
        return 2 * x

    def run():
        with minray.init(num_cpus=2):
            assert minray.get(double.remote(np.ones(100_000)))[0] == 2
"""


@pytest.mark.parametrize("first", [True, False])
def test_shared_memory_of_the_user_outlives_our_runs(start: Callable[..., Any], first: bool) -> None:
    program = start(
        SCRIPT
        + f"""
    from multiprocessing import shared_memory

    if not {first}:
        run()
    memory = shared_memory.SharedMemory(create=True, size=1000)
    memory.buf[:5] = b"hello"
    for _ in range(2):
        run()
    again = shared_memory.SharedMemory(memory.name)
    print(bytes(again.buf[:5]))
    again.close()
    memory.close()
    memory.unlink()
    run()
    """
    )
    assert program.runs() == "b'hello'\n"


def test_shared_memory_that_the_user_forgets_is_still_cleaned_up_and_reported(start: Callable[..., Any]) -> None:
    program = start(
        SCRIPT
        + """
    from multiprocessing import shared_memory

    run()
    memory = shared_memory.SharedMemory(create=True, size=1000, name=f"minray-test-{os.getpid()}")
    run()
    """
    )
    assert program.ends() == 0
    assert "There appear to be 1 leaked shared_memory objects" in program.err


@pytest.mark.parametrize("first", [True, False])
def test_loky_executors_of_the_user_work_beside_a_run_and_after_it(start: Callable[..., Any], first: bool) -> None:
    program = start(
        SCRIPT
        + f"""
    import loky

    if not {first}:
        run()
    with loky.ProcessPoolExecutor(2) as pool:
        print(list(pool.map(abs, [-1, -2])))
        minray.init(num_cpus=2)
        print(minray.get(double.remote(3)), list(pool.map(abs, [-1, -2])))
        minray.shutdown()
        print(list(pool.map(abs, [-1, -2])))
        run()
    """
    )
    assert program.runs() == "[1, 2]\n6 [1, 2]\n[1, 2]\n"


def test_joblib_with_memory_mapped_arrays_works_beside_a_run_and_after_it(start: Callable[..., Any]) -> None:
    pytest.importorskip("joblib")
    program = start(
        SCRIPT
        + """
    from joblib import Parallel, delayed

    array = np.ones(1_000_000)
    minray.init(num_cpus=2)
    with Parallel(n_jobs=2, max_nbytes=1000) as parallel:
        print(parallel(delayed(np.sum)(array) for _ in range(2)))
        minray.shutdown()
        print(parallel(delayed(np.sum)(array) for _ in range(2)))
        run()
        print(parallel(delayed(np.sum)(array) for _ in range(2)))
    """
    )
    assert program.runs().replace("np.float64(1000000.0)", "1e6") == "[1e6, 1e6]\n" * 3


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing_pools_of_the_user_work_beside_a_run_and_after(start: Callable[..., Any], method: str) -> None:
    program = start(
        SCRIPT
        + f"""
    import multiprocessing

    if __name__ == "__main__":
        minray.init(num_cpus=2)
        with multiprocessing.get_context({method!r}).Pool(2) as pool:
            print(pool.map(abs, [-1, -2]), minray.get(double.remote(3)))
            minray.shutdown()
            print(pool.map(abs, [-1, -2]))
            pool.close()
            pool.join()
        run()
    """
    )
    assert program.runs() == "[1, 2] 6\n[1, 2]\n"


def test_a_process_of_the_user_is_not_ended_by_us(start: Callable[..., Any]) -> None:
    program = start(
        SCRIPT
        + """
    import subprocess

    child = subprocess.Popen([sys.executable, "-c", "input(); print('alive')"], stdin=subprocess.PIPE, text=True)
    run()
    run()
    assert child.poll() is None
    child.communicate("\\n")
    assert child.returncode == 0
    """
    )
    assert program.runs() == "alive\n"


def test_a_task_may_use_shared_memory_and_joblib(start: Callable[..., Any]) -> None:
    pytest.importorskip("joblib")
    program = start(
        SCRIPT
        + """
    @minray.remote
    def share():
        from multiprocessing import shared_memory
        memory = shared_memory.SharedMemory(create=True, size=1000)
        memory.buf[0] = 7
        value = memory.buf[0]
        memory.close()
        memory.unlink()
        return value

    @minray.remote
    def parallel():
        from joblib import Parallel, delayed
        from joblib.externals.loky import get_reusable_executor
        values = Parallel(n_jobs=2)(delayed(abs)(x) for x in (-1, -2))
        get_reusable_executor().shutdown(wait=True)  # a process of joblib's that is still starting would complain
        return values

    minray.init(num_cpus=2)
    print(minray.get([share.remote(), parallel.remote()]))
    """
    )
    assert program.runs() == "[7, [1, 2]]\n"
