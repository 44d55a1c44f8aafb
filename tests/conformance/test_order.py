"""The order in which an actor runs the calls it gets."""

from __future__ import annotations

import time
from typing import Any

import pytest


@pytest.fixture
def Journal(ray: Any) -> Any:
    @ray.remote
    class Journal:
        def __init__(self, first: Any = None) -> None:
            self.entries = [] if first is None else [first]

        def write(self, entry: Any, *others: Any) -> None:
            self.entries.append(entry)

        def fail(self) -> None:
            raise ValueError("failed on purpose")

        def read(self) -> Any:
            return self.entries

    return Journal


def test_calls_run_in_the_order_they_were_made(ray: Any, Journal: Any) -> None:
    journal = Journal.remote()
    for i in range(500):
        journal.write.remote(i)
    assert ray.get(journal.read.remote()) == list(range(500))


def test_calls_made_before_the_actor_exists_run_in_order_after_its_constructor(
    ray: Any, Journal: Any, flags: Any, held: Any
) -> None:
    journal = Journal.remote(held("constructed"))
    for i in range(5):
        journal.write.remote(i)
    ref = journal.read.remote()
    assert ray.wait([ref], timeout=0.05) == ([], [ref])
    flags.up("go")
    assert ray.get(ref) == ["constructed", 0, 1, 2, 3, 4]


def test_a_call_whose_argument_is_late_holds_up_the_calls_after_it(
    ray: Any, Journal: Any, flags: Any, held: Any
) -> None:
    journal = Journal.remote()
    journal.write.remote("first")
    journal.write.remote(held("late"))
    after = journal.write.remote("after")
    assert ray.get(ray.remote(lambda: "others run").remote()) == "others run"
    assert ray.wait([after], timeout=0.05) == ([], [after])
    flags.up("go")
    assert ray.get(journal.read.remote()) == ["first", "late", "after"]


def test_order_holds_whichever_argument_is_late(ray: Any, Journal: Any, flags: Any) -> None:
    @ray.remote
    def wait_for(name: str) -> str:
        flags.wait(name)
        return name

    journal = Journal.remote()
    a, b = wait_for.remote("a"), wait_for.remote("b")
    journal.write.remote(a, b)
    journal.write.remote(b, b)
    journal.write.remote("c")
    flags.up("b")
    ray.get(b)
    flags.up("a")
    assert ray.get(journal.read.remote()) == ["a", "b", "c"]


def test_failed_calls_and_failed_arguments_do_not_change_the_order(ray: Any, Journal: Any) -> None:
    @ray.remote
    def fail() -> None:
        raise KeyError("no argument")

    journal = Journal.remote()
    journal.write.remote(1)
    journal.fail.remote()
    journal.write.remote(fail.remote())
    journal.write.remote(2)
    assert ray.get(journal.read.remote()) == [1, 2]


def test_each_caller_has_its_own_order(ray: Any, Journal: Any) -> None:
    @ray.remote
    def write(journal: Any, who: str) -> None:
        for i in range(50):
            journal.write.remote((who, i))
        ray.get(journal.read.remote())

    journal = Journal.remote()
    refs = [write.remote(journal, who) for who in ("a", "b", "c")]
    for i in range(50):
        journal.write.remote(("driver", i))
    ray.get(refs)
    entries = ray.get(journal.read.remote())
    assert len(entries) == 200
    for who in ("a", "b", "c", "driver"):
        assert [i for name, i in entries if name == who] == list(range(50))


def test_a_caller_sees_its_own_calls_done_before_those_it_makes_later(ray: Any, Journal: Any) -> None:
    """What the driver has waited for comes before what a task that starts later does."""

    @ray.remote
    def write(journal: Any) -> None:
        ray.get(journal.write.remote("task"))

    journal = Journal.remote()
    ray.get(journal.write.remote("before"))
    ray.get(write.remote(journal))
    journal.write.remote("after")
    assert ray.get(journal.read.remote()) == ["before", "task", "after"]


def test_an_actor_runs_one_call_at_a_time(ray: Any) -> None:
    @ray.remote
    class Solo:
        def span(self) -> tuple[float, float]:
            start = time.monotonic()
            time.sleep(0.01)
            return start, time.monotonic()

    @ray.remote
    def call_five_times(solo: Any) -> Any:
        return ray.get([solo.span.remote() for _ in range(5)])

    solo = Solo.remote()
    callers = [call_five_times.remote(solo) for _ in range(3)]
    spans = sorted(span for spans in ray.get(callers) for span in spans)
    assert len(spans) == 15
    assert all(end <= start for (_, end), (start, _) in zip(spans, spans[1:]))  # noqa: RUF007


def test_a_waiting_actor_holds_up_its_next_call(ray: Any, flags: Any, held: Any) -> None:
    @ray.remote
    class Waiter:
        def wait_for(self, refs: list[Any]) -> Any:
            return ray.get(refs)

        def hello(self) -> str:
            return "hello"

    waiter = Waiter.remote()
    waiting, hello = waiter.wait_for.remote([held("value")]), waiter.hello.remote()
    assert ray.wait([hello], timeout=0.05) == ([], [hello])
    flags.up("go")
    assert ray.get([waiting, hello]) == [["value"], "hello"]


def test_actors_do_not_hold_each_other_up(ray: Any, flags: Any, Journal: Any) -> None:
    @ray.remote
    class Busy:
        def work(self) -> None:
            flags.wait("go")

    busy, journal = Busy.remote(), Journal.remote()
    ref = busy.work.remote()
    journal.write.remote(1)
    assert ray.get(journal.read.remote()) == [1]
    flags.up("go")
    ray.get(ref)
