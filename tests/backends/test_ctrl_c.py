"""A Ctrl-C in the middle of the driver's work loses nothing. (How programs end is in loky/test_interrupt.py.)"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from minray.core.graph import TaskGraph

pytestmark = [
    pytest.mark.parametrize("backend", ["threads", "loky"]),
    pytest.mark.skipif(sys.platform == "win32", reason="sends signals to threads"),
]


@pytest.fixture(autouse=True)
def default_handler() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_handler_may_end_the_run_while_this_thread_has_the_lock(
    default_handler: None, ray: Any, monkeypatch: Any
) -> None:
    @ray.remote
    def one() -> int:
        time.sleep(0.02)
        return 1

    running = one.remote()
    original = TaskGraph.submitted
    service = next(thread for thread in threading.enumerate() if thread.name == "minray-service")

    def submitted(self: TaskGraph, *args: Any) -> Any:
        monkeypatch.undo()
        time.sleep(0.15)  # the service thread has the result of `running`, and waits for the lock
        started = time.monotonic()
        ray.shutdown()  # as a handler of SIGTERM might, that is called right here
        assert time.monotonic() - started < 4
        return original(self, *args)

    monkeypatch.setattr(TaskGraph, "submitted", submitted)
    one.remote()
    del running
    service.join(10)
    assert not service.is_alive()


@pytest.mark.parametrize("event", ["submitted", "finished", "complete", "watched", "ticked", "stored"])
def test_a_decision_is_not_left_half_way(default_handler: None, ray: Any, event: str, monkeypatch: Any) -> None:
    @ray.remote
    def double(x: int) -> int:
        return 2 * x

    @ray.remote
    class Counter:
        def __init__(self) -> None:
            self.count = 0

        def add(self, x: int) -> int:
            self.count += x
            return self.count

    # Ctrl-C, as it were, whenever the graph is about to be told of something; the graph's own frames are minray's.
    original = getattr(TaskGraph, event)
    pressed = caught = calls = 0
    armed, arming = False, threading.Lock()

    def interrupted(self: TaskGraph, *args: Any, **kwargs: Any) -> Any:
        nonlocal pressed, calls
        with arming:
            calls += armed
            if armed and pressed == caught and calls % 7 == 1:
                pressed += 1
                signal.raise_signal(signal.SIGINT)
        return original(self, *args, **kwargs)

    def insist(step: Callable[[], Any]) -> Any:
        """The result of `step`, which is begun again after a Ctrl-C. None is on its way when this returns."""
        nonlocal caught, armed
        while True:
            try:
                armed = True
                result = step()
                with arming:
                    armed = False
                while caught < pressed:
                    threading.Event().wait(0.01)
                return result
            except KeyboardInterrupt:
                caught += 1

    wanted = [2 * x for x in range(100)]
    refs: list[Any] = []
    adds: list[Any] = []
    held: list[Any] = []
    counter = Counter.remote()

    def submit() -> None:
        while len(refs) < len(wanted):  # a call is made whole, or not at all
            refs.append(double.remote(len(refs)))
            adds.append(counter.add.remote(1))
            held.append(ray.put(len(refs)))

    def lost(unraisable: Any) -> None:
        """Python loses what is raised in a weak reference's callback, or in one of its garbage collector."""
        nonlocal caught
        if unraisable.exc_type is KeyboardInterrupt:
            caught += 1
        else:
            before(unraisable)

    before = sys.unraisablehook
    monkeypatch.setattr(sys, "unraisablehook", lost)
    monkeypatch.setattr(TaskGraph, event, interrupted)
    insist(submit)
    assert insist(lambda: ray.get(refs)) == wanted
    counts = insist(lambda: ray.get(adds))
    assert counts == sorted(set(counts))
    assert len(insist(lambda: ray.wait(refs, num_returns=len(refs)))[0]) == len(refs)
    for _ in range(100):  # the graph may not have been told of it so far: of ticks where results come at once, say
        if not caught:
            insist(lambda: ray.get([double.remote(x) for x in range(20)]))
    monkeypatch.undo()
    assert caught
    assert ray.get(double.remote(4)) == 8
