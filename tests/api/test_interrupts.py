"""Ctrl-C comes where it breaks nothing: in the user's code, in a wait, or a moment later."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from types import FunctionType
from typing import Any

import pytest

from minray import interrupts

pytestmark = pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="sends signals to threads")


def as_part_of(package: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` as if a module of `package` had it."""
    assert isinstance(function, FunctionType)
    return FunctionType(function.__code__, {**function.__globals__, "__name__": f"{package}.module"})


@pytest.fixture(autouse=True)
def guarded() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupts.guard("somebackend.pool")
    yield
    interrupts.unguard()
    interrupts._guarded.discard("somebackend")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, before)


def press() -> None:
    signal.raise_signal(signal.SIGINT)


def in_steps(steps: list[str], wait: Callable[[], object]) -> None:
    press()
    steps.append("half")
    wait()
    steps.append("whole")


def test_the_users_code_is_interrupted_at_once() -> None:
    steps: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        in_steps(steps, int)
    assert steps == []


@pytest.mark.parametrize("package", ["minray", "somebackend"])
def test_a_function_of_minrays_is_not_left_half_way(package: str) -> None:
    steps: list[str] = []

    def user() -> None:
        as_part_of(package, in_steps)(steps, int)
        threading.Event().wait(10)

    with pytest.raises(KeyboardInterrupt):
        user()
    assert steps == ["half", "whole"]


def test_none_is_lost_if_the_next_look_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread that interrupts once more may run before the handler that has started it goes on."""

    def start(function: Callable[[], None], args: tuple[()]) -> None:
        monkeypatch.undo()
        thread = threading.Thread(target=function)
        thread.start()
        thread.join()

    def user() -> None:
        as_part_of("minray", in_steps)([], int)
        threading.Event().wait(10)

    monkeypatch.setattr("minray.interrupts._thread.start_new_thread", start)
    with pytest.raises(KeyboardInterrupt):
        user()


def test_none_is_lost_that_does_not_wake_the_main_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """It came between its last look at signals and its sleep."""
    sent: list[int] = []

    def send() -> None:
        sent.append(1)
        if len(sent) == 3:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def user() -> None:
        as_part_of("minray", in_steps)([], int)
        threading.Event().wait(10)

    monkeypatch.setattr(interrupts, "_send", send)
    with pytest.raises(KeyboardInterrupt):
        user()
    threading.Event().wait(0.1)
    assert len(sent) == 3, "and no more come then"


def test_a_wait_inside_one_is_interrupted() -> None:
    def wait() -> None:
        threading.Event().wait(10)

    interrupts.interruptible(wait)
    steps: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        as_part_of("minray", in_steps)(steps, wait)
    assert steps == ["half"]


def test_what_a_wait_calls_is_not_left_half_way_either() -> None:
    steps: list[str] = []

    def wait() -> None:
        as_part_of("minray", in_steps)(steps, int)
        threading.Event().wait(10)

    interrupts.interruptible(wait)
    with pytest.raises(KeyboardInterrupt):
        wait()
    assert steps == ["half", "whole"]


def test_it_is_not_put_off_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "LIMIT_SECONDS", 0.02)
    steps: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        as_part_of("minray", in_steps)(steps, lambda: threading.Event().wait(10))
    assert steps == ["half"]


def test_one_that_was_put_off_comes_with_the_next_call_and_only_once() -> None:
    def user() -> None:
        for _ in range(100):  # where the main thread never gives up the interpreter's lock outside of minray
            as_part_of("minray", press)()
            interrupts.deliver()

    with pytest.raises(KeyboardInterrupt):
        user()
    threading.Event().wait(0.02)
    interrupts.deliver()


def test_one_that_was_put_off_comes_at_the_end_of_the_run_at_the_latest() -> None:
    def end() -> None:
        press()
        interrupts.unguard()

    with pytest.raises(KeyboardInterrupt):
        as_part_of("minray", end)()
    threading.Event().wait(0.02)


def test_a_handler_of_the_users_stays() -> None:
    seen: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: seen.append(number))
    interrupts.guard("minray")
    press()
    interrupts.unguard()
    press()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    assert seen == [signal.SIGINT, signal.SIGINT]


def test_another_thread_leaves_the_handlers_alone() -> None:
    ours = signal.getsignal(signal.SIGINT)

    def other() -> None:
        interrupts.unguard()
        interrupts.guard("minray")

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGINT) is ours
