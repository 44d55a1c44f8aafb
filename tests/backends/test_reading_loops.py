"""An event loop that reads its worker's channel: what is to be heard although the loop is busy, and what comes when."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

pytestmark = pytest.mark.parametrize("backend", ["threads", "loky"])


@pytest.fixture
def one(ray: Any) -> Any:
    return ray.remote(num_cpus=0)(lambda x=1: x)


def is_alive(ray: Any, id: str) -> bool:
    return any(worker.is_alive for worker in ray.util.state.list_workers() if worker.worker_id == id)


def test_a_coroutine_may_block_the_loop_until_a_future_is_done(ray: Any, one: Any) -> None:
    @ray.remote
    class Actor:
        async def blocking(self) -> Any:
            return one.remote(1).future().result(timeout=30)

        async def getting(self) -> Any:
            return ray.get(one.remote(2), timeout=30)

        async def waiting(self) -> Any:
            return len(ray.wait([one.remote(3)], timeout=30)[0])

        async def in_a_thread(self) -> Any:
            found: list[Any] = []
            thread = threading.Thread(target=lambda: found.append(one.remote(4).future().result(timeout=30)))
            thread.start()
            thread.join()
            return found[0]

        async def awaiting(self) -> Any:
            return await asyncio.gather(one.remote(5), one.remote(6))

        async def in_an_executor(self) -> Any:
            return await asyncio.get_running_loop().run_in_executor(None, lambda: ray.get(one.remote(7)))

    actor = Actor.remote()
    calls = [actor.blocking, actor.getting, actor.waiting, actor.in_a_thread, actor.awaiting, actor.in_an_executor]
    for _ in range(2):
        assert [ray.get(call.remote(), timeout=60) for call in calls] == [1, 2, 1, 4, [5, 6], 7]
    assert ray.get([call.remote() for call in calls], timeout=60) == [1, 2, 1, 4, [5, 6], 7]


def test_calls_begin_in_order_whoever_reads_them(ray: Any, one: Any) -> None:
    @ray.remote
    class Actor:
        def __init__(self) -> None:
            self.seen: list[int] = []
            self.over = False
            self.threads = [threading.Thread(target=self.read) for _ in range(2)]
            for thread in self.threads:
                thread.start()

        def read(self) -> None:
            while not self.over:
                ray.get(one.remote())

        async def note(self, x: int) -> None:
            self.seen.append(x)

        async def end(self) -> list[int]:
            self.over = True
            for thread in self.threads:
                thread.join()
            return self.seen

    actor = Actor.remote()
    for i in range(0, 2000, 100):
        refs = [actor.note.remote(j) for j in range(i, i + 100)]
        ray.get(refs[-1])
    assert ray.get(actor.end.remote()) == list(range(2000))


def test_an_actor_with_a_busy_loop_ends_when_nobody_needs_it(ray: Any, eventually: Any, flags: Any) -> None:
    @ray.remote
    class Actor:
        async def be_busy(self) -> Any:
            asyncio.get_running_loop().call_later(0.05, self.work)
            return ray.get_runtime_context().get_worker_id()

        def work(self) -> None:
            flags.up("busy")
            while not flags.count("go on"):
                time.sleep(0.01)

    actor = Actor.remote()
    worker = ray.get(actor.be_busy.remote())
    assert is_alive(ray, worker)
    flags.wait("busy")
    del actor
    eventually(lambda: not is_alive(ray, worker))
    flags.up("go on")


def test_an_actor_whose_code_has_stopped_the_loop_ends_all_the_same(ray: Any, eventually: Any) -> None:
    @ray.remote
    class Actor:
        async def stop(self) -> Any:
            loop = asyncio.get_running_loop()
            loop.call_later(0.05, loop.stop)
            return ray.get_runtime_context().get_worker_id()

    actor = Actor.remote()
    worker = ray.get(actor.stop.remote())
    assert is_alive(ray, worker)
    time.sleep(0.2)
    del actor
    eventually(lambda: not is_alive(ray, worker))


def test_groups_do_not_wait_for_each_other(ray: Any, flags: Any) -> None:
    @ray.remote(concurrency_groups={"io": 1})
    class Actor:
        async def block(self) -> None:
            flags.up("blocks")
            while not flags.count("go on"):
                time.sleep(0.01)  # noqa: ASYNC251

        @ray.method(concurrency_group="io")
        async def answer(self) -> str:
            return "here"

    actor = Actor.remote()
    ref = actor.block.remote()
    flags.wait("blocks")
    assert ray.get(actor.answer.remote(), timeout=30) == "here"
    flags.up("go on")
    ray.get(ref)


def test_a_long_burst_comes_through(ray: Any) -> None:
    @ray.remote
    class Actor:
        async def echo(self, x: Any) -> Any:
            return x

    actor = Actor.remote()
    large = bytes(300_000)
    refs = [actor.echo.remote(i if i % 50 else large) for i in range(3000)]
    found = ray.get(refs)
    assert [x for x in found if isinstance(x, int)] == [i for i in range(3000) if i % 50]


def test_what_another_thread_leaves_unread_is_read(ray: Any, one: Any) -> None:
    @ray.remote
    class Actor:
        def __init__(self) -> None:
            self.threads: list[threading.Thread] = []

        async def begin(self) -> None:
            self.threads.append(threading.Thread(target=one.remote().future().result))
            self.threads[-1].start()

        async def end(self) -> None:
            for thread in self.threads:
                thread.join()

    actor = Actor.remote()
    for _ in range(300):
        ray.get(actor.begin.remote(), timeout=30)
    ray.get(actor.end.remote(), timeout=30)


def test_the_run_may_end_while_another_thread_reads(ray: Any, flags: Any, one: Any) -> None:
    @ray.remote
    def wait() -> None:
        flags.wait("never")

    @ray.remote
    class Actor:
        async def begin(self) -> None:
            self.future = wait.remote().future()

    for _ in range(3):
        actor = Actor.remote()
        ray.get([actor.begin.remote(), one.remote()])
        del actor  # its thread is gone when the test is over, or the leak check tells
