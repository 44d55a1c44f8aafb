"""Searching the schedules of a program for one that breaks it: `explore`, `find`, `outcomes` and `@explored`.

      find:  run 0 first-in-first-out, then run after run under the strategy ──fails──> shrink ──> Failure
                                                                       a file for MINRAY_REPLAY, and a chart <──┘

The program is a function that uses minray as any driver does. Each run is one of its own, in this process.
"""

from __future__ import annotations

import functools
import json
import os
import pickle
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from minray.exceptions import RayTaskError
from minray.testing.chart import chart
from minray.testing.runs import Pairs, ProgramFunction, Run, Runner, simulator
from minray.testing.shrink import shrink as shrink_run

#: Steps after which a run counts as one that never ends.
MAX_STEPS = 20_000
#: Schedules that are tried for each example of the inputs.
RUNS_EACH = 100
#: Examples of the inputs that are tried.
EXAMPLES = 50
#: Deviations that are listed in a report.
LISTED = 12


@dataclass
class Failure:
    """A schedule that breaks a program."""

    error: BaseException  #: what the program has raised
    seed: int  #: the run's seed
    pairs: Pairs  #: the schedule: what has happened instead of what
    runs: int  #: how many runs it took to find it
    found: int  #: how many deviations it had when it was found
    run: Run
    path: str = ""  #: the file for MINRAY_REPLAY

    @property
    def faults(self) -> int:
        """How many faults it needs."""
        return sum(chosen.startswith("fault ") or chosen.endswith(", as a fault") for _, chosen in self.pairs)

    def __str__(self) -> str:
        lines = [f"{type(_cause(self.error)).__name__}: {_cause(self.error)}", ""]
        lines.append(
            f"Found in run {self.runs}. " + ("It fails first-in-first-out." if not self.pairs else "What differs:")
        )
        lines += [f"  {chosen}, before {usual}" for usual, chosen in self.pairs[:LISTED]]
        if len(self.pairs) > LISTED:
            lines.append(f"  ... and {len(self.pairs) - LISTED} more")
        if self.run.pool is not None:
            lines += ["", chart(self.run.pool)]
        if self.path:
            lines += ["", "Replay it, also under a debugger:", f"  MINRAY_REPLAY={self.path} {_command()}"]
        return "\n".join(lines)


class ScheduleError(AssertionError):
    """There is a schedule that breaks the program: `failure` tells it."""

    def __init__(self, failure: Failure, about: str = "") -> None:
        super().__init__(f"{about}{failure}")
        self.failure = failure


def find(
    program: ProgramFunction,
    *,
    runs: int = 1000,
    strategy: Any = "random",
    seed: int = 0,
    faults: Any = None,
    invariant: Callable[[Any], Any] | None = None,
    max_steps: int = MAX_STEPS,
    shrink: bool = True,
) -> Failure | None:
    """Search for a schedule under which `program` raises, or `invariant(what it returned)` is False or raises.

    Args:
        program: Called without arguments, once for each run.
        runs: How many schedules to try, the first of them first-in-first-out.
        strategy: ``"random"``, ``"pct"``, ``"pctcp"``, ``"pos"``, ``"delay"``, ``"fifo"``, or an object with the
            methods of `minray_sim.strategies.Strategy`.
        seed: Of the first run; each that follows has the next number.
        faults: What may break in a run, as for ``init(backend="sim", faults=...)``.
        invariant: What has to hold for the result.
        max_steps: Steps after which a run counts as one that never ends.
        shrink: Whether to look for a smaller schedule that fails in the same way.

    Returns:
        The failure; None if there was none.

    KeyboardInterrupt passes. RuntimeError: a run is on already. Under MINRAY_REPLAY the schedule of that file is the
    only one.
    """
    sim = simulator()
    replayed = os.environ.get("MINRAY_REPLAY")
    if replayed:
        return _replay(sim, replayed, program, invariant)
    breaks = sim.Faults.of(faults) if faults else None
    with Runner(program, invariant, max_steps) as runner:
        first = runner.run(seed, sim.Fifo(), breaks)
        chooser = _fitting(sim, strategy, first)
        run, at = first, seed
        while run.error is None:
            if runner.number >= runs or getattr(chooser, "exhausted", False):
                return None
            at += 1
            run = runner.run(at, chooser, breaks)
            _learn(chooser, run)
        tried, found = runner.number, len(run.pairs)
        if shrink:
            kind = _kind(run)

            def again(pairs: Pairs) -> Run:
                return runner.run(at, sim.Deviations(pairs), breaks)

            def next_from(number: int) -> Iterator[Run]:
                few = sim.DelayBounded(number, flat=True)
                while not few.exhausted:
                    yield runner.run(at, few, breaks)
                    few.done()

            run = shrink_run(run, again, next_from, lambda other: other.error is not None and _kind(other) == kind)
        assert run.error is not None
        failure = Failure(run.error, at, run.pairs, tried, found, run)
        failure.path = _save(sim, failure, breaks, max_steps, program)
        return failure


def _replay(sim: Any, path: str, program: ProgramFunction, invariant: Any) -> Failure | None:
    """The failure of a schedule that was saved; None if it fails no more."""
    settings = sim.load(path)
    with Runner(program, invariant, settings.max_steps) as runner:
        run = runner.run(settings.seed, settings.strategy, settings.faults)
    return None if run.error is None else Failure(run.error, settings.seed, run.pairs, 1, len(run.pairs), run, path)


def explore(program: Callable[..., Any], *, inputs: Any = None, **search: Any) -> None:
    """`find`, and raise what is found: a ScheduleError, whose text has the schedule, a chart and the line to replay it.

    With `inputs`, a strategy of Hypothesis's, `program` takes an example of it; the smallest input that fails is
    looked for first, with `RUNS_EACH` schedules for each, then the smallest schedule for that. Other keywords are those
    of `find`.
    """
    about = ""
    if inputs is not None:
        smallest = _saved_input() or _smallest(program, inputs, search)
        if smallest is None:
            return
        about = f"With the input {smallest[0]!r}:\n"
        program = _WithInput(program, smallest[0])
    failure = find(program, **search)
    if failure is not None:
        raise ScheduleError(failure, about) from failure.error


class _WithInput:
    """A program and its input."""

    def __init__(self, program: Callable[[Any], Any], value: Any) -> None:
        self._program = program
        self.value = value

    def __call__(self) -> Any:
        return self._program(self.value)


def _saved_input() -> tuple[Any] | None:
    """The input in the file of MINRAY_REPLAY."""
    path = os.environ.get("MINRAY_REPLAY")
    if not path:
        return None
    with open(path, encoding="utf-8") as file:
        text = json.load(file).get("input")
    return (pickle.loads(bytes.fromhex(text)),) if text else None


def explored(**search: Any) -> Callable[[Callable[..., Any]], Callable[..., None]]:
    """A decorator for tests: the test is the program, and is explored. Keywords as for `explore` but for `inputs`; what
    pytest gives the test as arguments, it gets in every run."""

    def decorate(test: Callable[..., Any]) -> Callable[..., None]:
        @functools.wraps(test)
        def explore_test(*args: Any, **kwargs: Any) -> None:
            explore(functools.partial(test, *args, **kwargs), **search)

        return explore_test

    return decorate


def outcomes(
    program: ProgramFunction,
    *,
    runs: int = 1000,
    strategy: Any = "random",
    seed: int = 0,
    faults: Any = None,
    max_steps: int = MAX_STEPS,
) -> set[Any]:
    """The distinct results of a program over schedules: one, if it does not depend on them.

    What cannot be hashed counts by its repr. A run that raises counts as an exception of that type, with its text.
    """
    sim = simulator()
    breaks = sim.Faults.of(faults) if faults else None
    found: dict[Any, Any] = {}
    with Runner(program, None, max_steps) as runner:
        run = runner.run(seed, sim.Fifo(), breaks)
        chooser = _fitting(sim, strategy, run)
        while True:
            outcome: Any = run.result
            if run.error is not None:
                cause = _cause(run.error)
                outcome = f"{type(cause).__name__}: {cause}"
            try:
                hash(outcome)
            except TypeError:
                outcome = repr(outcome)
            found[outcome] = None
            if runner.number >= runs or getattr(chooser, "exhausted", False):
                return set(found)
            seed += 1
            run = runner.run(seed, chooser, breaks)
            _learn(chooser, run)


def _fitting(sim: Any, strategy: Any, run: Run) -> Any:
    """The strategy; one that has to know how long a run is learns that from those so far."""
    made = sim.make(strategy)
    if isinstance(strategy, str) and hasattr(made, "length"):
        made.length = max(1, run.choices)
    return made


def _learn(strategy: Any, run: Run) -> None:
    if hasattr(strategy, "length"):
        strategy.length = max(strategy.length, run.choices)
    if hasattr(strategy, "done"):
        strategy.done()


def _smallest(program: Any, inputs: Any, search: dict[str, Any]) -> tuple[Any] | None:
    """The smallest input for which a schedule fails."""
    import hypothesis

    last: list[tuple[Any]] = []

    quietly = hypothesis.settings(
        database=None, deadline=None, derandomize=True, max_examples=EXAMPLES, verbosity=hypothesis.Verbosity.quiet
    )

    @quietly
    @hypothesis.given(inputs)
    def look(value: Any) -> None:
        each = {**search, "runs": min(search.get("runs", RUNS_EACH), RUNS_EACH), "shrink": False}
        failure = find(functools.partial(program, value), **each)
        if failure is not None:
            last[:] = [(value,)]
            raise ScheduleError(failure)

    try:
        look()
    except ScheduleError:
        return last[0]
    return None


def _cause(error: BaseException) -> BaseException:
    return error.cause if isinstance(error, RayTaskError) else error


def _kind(run: Run) -> type | None:
    """What a run must share with another to fail in the same way."""
    return None if run.error is None else type(_cause(run.error))


def _save(sim: Any, failure: Failure, faults: Any, max_steps: int, program: Any) -> str:
    """Write the schedule to a file of its own, in MINRAY_REPLAYS or the temporary directory; its path."""
    directory = os.environ.get("MINRAY_REPLAYS") or tempfile.gettempdir()
    os.makedirs(directory, exist_ok=True)
    handle, path = tempfile.mkstemp(".json", "minray-replay-", directory)
    os.close(handle)
    settings = sim.Settings(failure.seed, sim.Fifo(), faults, max_steps)
    value = pickle.dumps(program.value).hex() if isinstance(program, _WithInput) else ""
    what = f"{type(_cause(failure.error)).__name__}: {_cause(failure.error)}"
    sim.save(path, settings, failure.pairs, what, value)
    return path


def _command() -> str:
    """How this very program was called, as far as that can be told."""
    test = os.environ.get("PYTEST_CURRENT_TEST")
    if test and "pytest" in sys.modules:
        return f"pytest {shlex.quote(test.partition(' (')[0])}"
    main = sys.modules.get("__main__")
    file = getattr(main, "__file__", None)
    package = getattr(main, "__package__", None)
    if package:
        return shlex.join(["python", "-m", package, *sys.argv[1:]])
    return shlex.join(["python", os.path.relpath(file) if file else "script.py", *sys.argv[1:]])
