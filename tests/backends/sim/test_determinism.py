"""The same seed and program give the same events, whatever else is different: the process, its hashes, what has run in
it before, the Python."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import minray
from tests.backends.sim.rich_programs import Cell, got
from tests.backends.sim.sweep import sweep

ray: Any = minray

#: What `sweep(1)` comes to on every Python. When the steps of a run become others, so does it.
DIGESTS = {
    "counting": "9f976c0e9602c62b",
    "nesting": "c04b419167ca8c16",
    "concurrent": "aa9abe868b65f884",
    "trees": "be131dbbd4dd6458",
    "chains": "238147b746cf5e1e",
    "generators": "0848042d7c94ad13",
    "cancelling": "eb477a321b9582f7",
    "timers": "7fb03e5a0c44be84",
    "groups": "eef910ad6410f3ea",
    "names": "c04e71167f731afc",
    "lasting": "f62954b8116d41d8",
    "sets": "ad308590783a1186",
    "loops": "a57c9055a79abd40",
    "queues": "3e855838bd407ae6",
    "threads": "043539bcf9cd9b44",
    "primitives": "6b58cd057c64c37d",
    "libraries": "84911ed36438dc7f",
}


def elsewhere(seeds: int, hashes: str) -> dict[str, str]:
    """The sweep in a process of its own, with other hashes of strings."""
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONHASHSEED": hashes, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "tests.backends.sim.sweep", str(seeds)]
    found = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True)
    digests: dict[str, str] = json.loads(found.stdout)
    return digests


def test_rich_programs_do_the_same_in_every_process_and_on_every_python() -> None:
    assert sweep(1) == DIGESTS
    assert elsewhere(1, hashes="1") == DIGESTS


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_rich_programs_do_the_same_in_every_process_for_many_seeds() -> None:
    assert elsewhere(4, hashes="2") == elsewhere(4, hashes="3") == sweep(4)


def test_what_was_run_before_makes_no_difference(simulate: Any) -> None:
    def ids() -> Any:
        cell = Cell.remote()
        group = ray.util.placement_group([{"CPU": 1}])
        context = ray.get_runtime_context()
        return repr(cell), cell.get.remote().hex(), group.id.hex(), context.get_node_id(), context.namespace

    assert simulate(ids) == simulate(ids)


def test_refs_and_handles_are_in_sets_in_the_same_order_in_every_run(simulate: Any) -> None:
    def sets() -> Any:
        cells = {Cell.remote(i) for i in range(9)}
        values = ray.get([cell.get.remote() for cell in cells])
        refs = {ray.put(i) for i in range(9)}
        return values, ray.get(list(refs))

    assert simulate(sets)[0] == simulate(sets)[0]


def test_a_handle_of_an_earlier_run_is_no_handle_of_this_one(simulate: Any) -> None:
    kept: list[Any] = []

    def keep() -> None:
        kept.append(Cell.remote("earlier"))

    def use() -> Any:
        @ray.remote
        def ask(cells: list[Any]) -> Any:
            return got(cells[0].get.remote())

        own = Cell.remote("this one")
        return got(ask.remote(kept)), got(own.get.remote())

    simulate(keep)
    assert simulate(use)[0] == ("ActorDiedError", "this one")


def test_threads_and_futures_come_out_of_sets_in_the_order_in_which_they_were_made(simulate: Any) -> None:
    def order() -> Any:
        threads = [threading.Thread(name=str(i)) for i in range(8)]
        futures: list[Any] = [concurrent.futures.Future() for _ in range(8)]
        for number, future in enumerate(futures):
            future.set_result(number)
        in_order = [future.result() for future in concurrent.futures.as_completed(futures)]
        return [thread.name for thread in set(threads)], in_order

    names, numbers = simulate(order)[0]
    assert [int(name) for name in names] == list(range(8))
    assert sorted(numbers) == list(range(8))
    assert simulate(order)[0] == (names, numbers)


def test_tasks_of_asyncio_come_out_of_sets_in_the_same_order_and_have_the_same_names(simulate: Any) -> None:
    def order() -> Any:
        async def name() -> str:
            task = asyncio.current_task()
            assert task is not None
            return task.get_name()

        async def main() -> Any:
            tasks = [asyncio.ensure_future(name()) for _ in range(8)]
            futures = {asyncio.get_running_loop().create_future() for _ in range(8)}
            for number, future in enumerate(futures):
                future.set_result(number)
            done, _ = await asyncio.wait(tasks)
            return [task.result() for task in done], [future.result() for future in futures]

        return asyncio.run(main())

    assert simulate(order)[0] == simulate(order)[0]


def test_waiting_for_a_coroutine_takes_as_many_rounds_of_the_loop_on_every_python(simulate: Any) -> None:
    def rounds() -> Any:
        async def waited_for() -> str:
            order.append("waited for")
            return "result"

        async def other() -> None:
            order.append("other")

        async def main() -> Any:
            another = asyncio.ensure_future(other())
            result = await asyncio.wait_for(waited_for(), 5)
            await another
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.sleep(9), 1)
            return result, order

        order: list[str] = []
        return asyncio.run(main())

    assert simulate(rounds)[0] == ("result", ["waited for", "other"])


def test_who_is_cancelled_while_it_waits_for_a_coroutine_is_cancelled(simulate: Any) -> None:
    def cancelled() -> Any:
        async def main() -> Any:
            waiting = asyncio.ensure_future(asyncio.wait_for(asyncio.sleep(9), 5))
            await asyncio.sleep(1)
            waiting.cancel()
            await asyncio.wait([waiting])
            return waiting.cancelled()

        return asyncio.run(main())

    assert simulate(cancelled)[0] is True
