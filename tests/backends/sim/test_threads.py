"""Threads and locks of the program's own are part of the simulation."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import minray
from minray.exceptions import DeadlockError
from minray.experimental import tqdm_ray
from minray_sim import outside

ray: Any = minray


def test_threads_of_a_task_run_under_the_schedule(simulate: Any) -> None:
    def program() -> list[int]:
        @ray.remote
        def spawn() -> list[int]:
            seen: list[int] = []

            def work(i: int) -> None:
                time.sleep(0.1)
                seen.append(i)

            threads = [threading.Thread(target=work, args=(i,)) for i in range(3)]
            for thread in threads:
                thread.start()
            assert threads[0].is_alive()
            for thread in threads:
                thread.join()
            assert not threads[0].is_alive()
            return seen

        return list(ray.get(spawn.remote()))

    orders = {tuple(simulate(program, seed=seed, strategy="random")[0]) for seed in range(40)}
    assert len(orders) > 2


def test_locks_events_queues_and_executors_wait_in_the_simulation(simulate: Any) -> None:
    def program() -> Any:
        @ray.remote
        def use() -> Any:
            lock, event, items = threading.RLock(), threading.Event(), queue.SimpleQueue[int]()
            with lock, lock:
                assert not event.wait(timeout=5)
            with ThreadPoolExecutor(2) as pool:
                futures = [pool.submit(pow, 2, i) for i in range(4)]
                pool.submit(items.put, 7)
                pool.submit(event.set)
                assert event.wait(timeout=60)
                return [future.result() for future in futures], items.get(timeout=60)

        return ray.get(use.remote())

    for seed in range(10):
        assert simulate(program, seed=seed, strategy="random")[0] == ([1, 2, 4, 8], 7)


def test_a_lock_has_the_manners_of_a_lock(simulate: Any) -> None:
    def program() -> None:
        lock = threading.Lock()
        assert lock.acquire() and lock.locked()
        assert not lock.acquire(blocking=False)
        assert not lock.acquire(timeout=1)
        lock.release()
        with pytest.raises(RuntimeError, match="unlocked"):
            lock.release()

    simulate(program)


def test_a_future_of_a_ref_can_be_waited_for(simulate: Any) -> None:
    def program() -> Any:
        @ray.remote
        def f() -> str:
            time.sleep(1)
            return "done"

        return f.remote().future().result(timeout=60)

    assert simulate(program)[0] == "done"


def test_the_calls_of_a_threaded_actor_take_turns_where_they_wait(simulate: Any) -> None:
    def program() -> int:
        @ray.remote(max_concurrency=3)
        class Racy:
            def __init__(self) -> None:
                self.n = 0

            def add(self) -> int:
                n = self.n
                time.sleep(0.01)
                self.n = n + 1
                return self.n

        racy = Racy.remote()
        return int(max(ray.get([racy.add.remote() for _ in range(3)])))

    assert {simulate(program, seed=seed, strategy="random")[0] for seed in range(30)} >= {1, 2}


def test_bars_are_drawn_though_an_earlier_run_has_ended_with_one_open(simulate: Any, capsys: Any) -> None:
    def program() -> None:
        tqdm_ray.tqdm(total=4, desc="left").update()

    simulate(program)
    bar = tqdm_ray.tqdm(total=4, desc="later", flush_interval_s=0)
    bar.update(3)
    bar.close()
    deadline, text = time.monotonic() + 20, ""
    while "later:  75%" not in text:
        assert time.monotonic() < deadline, text
        time.sleep(0.01)
        text += capsys.readouterr().err


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    """One that was there before the run: its thread is a real one."""
    with ThreadPoolExecutor(1) as executor:
        executor.submit(int).result()
        yield executor


@pytest.mark.parametrize("seconds", [0, 0.1])
def test_a_real_thread_may_answer_through_a_queue_of_the_run(simulate: Any, executor: Any, seconds: float) -> None:
    really_sleep = time.sleep

    def program() -> list[int]:
        answers: queue.Queue[int] = queue.Queue()

        def answer(number: int) -> None:
            really_sleep(seconds)
            answers.put(number)

        for number in range(3):
            executor.submit(answer, number)
        return [answers.get() for _ in range(3)]

    assert simulate(program)[0] == [0, 1, 2]


def test_a_real_thread_waits_for_a_lock_of_the_run(simulate: Any, executor: Any) -> None:
    def program() -> list[str]:
        lock = threading.Lock()
        order: list[str] = []

        def wait() -> None:
            with lock:
                order.append("real")

        def let_go() -> None:
            time.sleep(1)
            order.append("simulated")
            lock.release()

        lock.acquire()
        threading.Thread(target=let_go).start()
        waiting = executor.submit(wait)
        waiting.result()
        return order

    assert simulate(program)[0] == ["simulated", "real"]


@pytest.mark.slow
def test_idle_threads_are_not_waited_for_long_again(simulate: Any, executor: Any) -> None:
    def program() -> None:
        queue.Queue[int]().get()

    took = []
    for _ in range(2):
        before = time.monotonic()
        with pytest.raises(DeadlockError, match="main waits in a lock"):
            simulate(program)
        took.append(time.monotonic() - before)
    assert took[1] < min(took[0], outside.SECONDS / 2)


@pytest.mark.slow
def test_a_thread_that_was_idle_counts_again_when_it_has_answered(simulate: Any, executor: Any) -> None:
    def program() -> list[int]:
        answers: queue.Queue[int] = queue.Queue()
        with pytest.raises(DeadlockError):
            answers.get()
        executor.submit(answers.put, 1).result()
        first = answers.get()
        executor.submit(really_sleep, 0.1)
        executor.submit(answers.put, 2)
        return [first, answers.get()]

    really_sleep = time.sleep
    assert simulate(program)[0] == [1, 2]
