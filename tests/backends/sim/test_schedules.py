"""One schedule a seed: what is chosen, what never is, and that it comes out the same each time."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import minray
from tests.backends.sim.programs import PROGRAMS

ray: Any = minray

STRATEGIES = ["fifo", "random", "pct", "pctcp", "pos"]
#: Of the logs and results of all programs, strategies and the first three seeds: the same on every Python. When the
#: steps of a run become others, so does it.
DIGEST = "55db2f79c426dc84"
#: Of two tasks that ask one actor, first-in-first-out.
LOG = """\
1 start Counter.1
2 start bump.2
3 start bump.3
4 end Counter.1
5 call bump.2/Counter.get.1
6 end bump.2/Counter.get.1
7 call bump.3/Counter.get.1
8 resume bump.2 #1
9 end bump.3/Counter.get.1
10 end bump.2
11 resume bump.3 #1
12 end bump.3
13 resume main #1
"""
#: The seeds of the long form, in which each is run twice.
SEEDS = 10_000 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 20


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_same_seed_gives_the_same_log_and_result(simulate: Any, program: Any, strategy: str) -> None:
    first = simulate(program, seed=3, strategy=strategy)
    assert first[1]
    assert simulate(program, seed=3, strategy=strategy) == first


def test_logs_are_the_same_on_every_python_to_the_letter(simulate: Any) -> None:
    digest = hashlib.sha256()
    for program in PROGRAMS:
        for strategy in STRATEGIES:
            for seed in range(3):
                result, log = simulate(program, seed=seed, strategy=strategy)
                digest.update(f"{result!r}{log}".encode())
    assert digest.hexdigest()[:16] == DIGEST


def test_many_seeds_are_replayed_to_the_letter(simulate: Any) -> None:
    program = PROGRAMS[0]
    for seed in range(SEEDS):
        assert simulate(program, seed=seed, strategy="random") == simulate(program, seed=seed, strategy="random")


def test_the_log_names_events_by_where_they_come_from(simulate: Any) -> None:
    def program() -> None:
        @ray.remote
        class Counter:
            def get(self) -> int:
                return 0

        @ray.remote
        def bump(counter: Any) -> None:
            ray.get(counter.get.remote())

        counter = Counter.remote()
        ray.get([bump.remote(counter), bump.remote(counter)])

    _, log = simulate(program)
    assert log == LOG


def test_another_seed_gives_another_schedule(simulate: Any) -> None:
    logs = {simulate(PROGRAMS[0], seed=seed, strategy="random")[1] for seed in range(10)}
    assert len(logs) > 5


def test_the_environment_gives_seed_and_strategy(monkeypatch: Any, simulate: Any) -> None:
    expected = simulate(PROGRAMS[0], seed=7, strategy="random")
    monkeypatch.setenv("MINRAY_SEED", "7")
    monkeypatch.setenv("MINRAY_STRATEGY", "random")
    assert simulate(PROGRAMS[0], strategy=None) == expected


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"seed": "x"}, TypeError, "seed must be an int"),
        ({"seed": True}, TypeError, "seed must be an int"),
        ({"strategy": "luck"}, ValueError, "no strategy 'luck'.*fifo, random"),
        ({"strategy": 3}, TypeError, "a name or have methods"),
        ({"max_steps": 0}, ValueError, "max_steps must be an int above 0"),
        ({"faults": {"death": -1}}, ValueError, "from 0 on"),
        ({"faults": {"fire": 1}}, ValueError, "no fault 'fire'.*death"),
        ({"faults": 1.5}, TypeError, "faults must be a number"),
        ({"speed": 1}, RuntimeError, "Unknown keyword"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        minray.init(backend="sim", **options)
    assert not minray.is_initialized()


def test_a_seed_in_the_environment_has_to_be_a_number(monkeypatch: Any) -> None:
    monkeypatch.setenv("MINRAY_SEED", "many")
    with pytest.raises(ValueError, match="MINRAY_SEED must be a whole number"):
        minray.init(backend="sim")


def test_other_backends_do_not_take_its_keywords() -> None:
    with pytest.raises(RuntimeError, match="Unknown keyword"):
        minray.init(backend="threads", seed=1)


def _orders(simulate: Callable[..., Any], program: Callable[[], Any], seeds: int = 40) -> set[Any]:
    return {tuple(simulate(program, seed=seed, strategy="random")[0]) for seed in range(seeds)}


def test_calls_of_one_caller_keep_their_order(simulate: Any) -> None:
    def program() -> list[int]:
        @ray.remote
        class Log:
            def __init__(self) -> None:
                self.seen: list[int] = []

            def note(self, i: int) -> list[int]:
                self.seen.append(i)
                return self.seen

        log = Log.remote()
        return list(ray.get([log.note.remote(i) for i in range(4)])[-1])

    assert _orders(simulate, program) == {(0, 1, 2, 3)}


def test_calls_of_several_callers_come_in_any_order(simulate: Any) -> None:
    def program() -> list[int]:
        @ray.remote
        class Log:
            def __init__(self) -> None:
                self.seen: list[int] = []

            def note(self, i: int) -> None:
                self.seen.append(i)

            def read(self) -> list[int]:
                return self.seen

        @ray.remote
        def note(log: Any, i: int) -> None:
            ray.get(log.note.remote(i))

        log = Log.remote()
        ray.get([note.remote(log, i) for i in range(3)])
        return list(ray.get(log.read.remote()))

    assert len(_orders(simulate, program, 100)) == 6


def test_tasks_run_and_end_in_any_order(simulate: Any) -> None:
    def program() -> list[int]:
        @ray.remote
        def f(i: int) -> int:
            return i

        left = [f.remote(i) for i in range(3)]
        seen = []
        while left:
            ready, left = ray.wait(left)
            seen += ray.get(ready)
        return seen

    assert len(_orders(simulate, program, 100)) == 6


def test_as_many_tasks_run_at_once_as_there_are_cpus(simulate: Any) -> None:
    def program() -> None:
        @ray.remote
        def work() -> None:
            time.sleep(0.1)

        ray.get([work.remote() for _ in range(6)])

    most = 0
    for seed in range(20):
        running = 0
        for line in simulate(program, seed=seed, strategy="random", num_cpus=2)[1].splitlines():
            running += (" start " in line) - (" end " in line)
            most = max(most, running)
    assert most == 2


def test_items_of_a_generator_can_be_taken_before_it_goes_on(simulate: Any) -> None:
    def program() -> list[Any]:
        @ray.remote
        class Log:
            def __init__(self) -> None:
                self.seen: list[Any] = []

            def note(self, what: str) -> None:
                self.seen.append(what)

            def read(self) -> list[Any]:
                return self.seen

        @ray.remote
        def numbers(log: Any) -> Iterator[int]:
            for i in range(2):
                ray.get(log.note.remote(f"makes {i}"))
                yield i

        log = Log.remote()
        for ref in numbers.remote(log):
            ray.get(log.note.remote(f"takes {ray.get(ref)}"))
        return list(ray.get(log.read.remote()))

    orders = _orders(simulate, program)
    assert ("makes 0", "takes 0", "makes 1", "takes 1") in orders
    assert ("makes 0", "makes 1", "takes 0", "takes 1") in orders


def test_a_worker_killed_in_the_middle_does_nothing_more(simulate: Any) -> None:
    def program() -> tuple[list[str], bool]:
        @ray.remote
        class Log:
            def __init__(self) -> None:
                self.seen: list[str] = []

            def note(self, what: str) -> None:
                self.seen.append(what)

            def read(self) -> list[str]:
                return self.seen

        @ray.remote
        class Victim:
            def work(self, log: Any) -> None:
                ray.get(log.note.remote("begun"))
                try:
                    ray.get(log.note.remote("in the middle"))
                finally:
                    log.note.remote("cleaned up")

        log, victim = Log.remote(), Victim.remote()
        ref = victim.work.remote(log)
        while "begun" not in ray.get(log.read.remote()):
            pass
        ray.kill(victim)
        try:
            ray.get(ref)
            killed = False
        except ray.exceptions.RayActorError:
            killed = True
        return ray.get(log.read.remote()), killed

    ends = [simulate(program, seed=seed, strategy="random")[0] for seed in range(30)]
    assert {killed for _, killed in ends} == {True, False}
    assert any("cleaned up" not in seen for seen, killed in ends if killed)
    assert all("in the middle" in seen for seen, _ in ends if "cleaned up" in seen)


def test_a_thread_that_is_not_simulated_cannot_wait_for_what_is(simulate: Any) -> None:
    import _thread
    import threading

    failed: list[str] = []

    def program() -> None:
        @ray.remote
        def f() -> int:
            return 1

        ref, done = f.remote(), real_lock

        def wait() -> None:
            try:
                ray.get(ref)
            except RuntimeError as error:
                failed.append(str(error))
            done.release()

        _thread.start_new_thread(wait, ())
        done.acquire()

    real_lock = threading.Lock()
    real_lock.acquire()
    simulate(program)
    assert "not simulated" in failed[0]
