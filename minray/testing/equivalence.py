"""Does a program come to the same on every backend? `assert_equivalent` runs it and compares.

A program is a function of the module `ray`, or an object with a method `run` that is one (`minray.testing.Program`). It
comes to an `Outcome`: what it returns, or the error that it ends with, as its type and the user's message.
"""

from __future__ import annotations

import threading
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from minray.testing.reference import Serial

Runnable = Callable[[Any], Any]


@dataclass(frozen=True)
class Outcome:
    """What a program came to."""

    value: Any = None
    error: str | None = None  #: the type's name, and what the user said: ``"ValueError: no such row"``

    def same(self, other: Outcome) -> bool:
        """Whether the two are alike: errors by their text, values by type and value, arrays item by item."""
        return self.error == other.error and (self.error is not None or _same(self.value, other.value))

    def __str__(self) -> str:
        return f"raises {self.error}" if self.error is not None else f"returns {self.value!r}"


class Hung(AssertionError):
    """A program did not end in the time that it was given."""


def outcome(program: Any, ray: Any, timeout: float | None = None) -> Outcome:
    """Run a program on `ray`: a module with Ray's API that is initialised, or a `Serial`.

    `Hung` is raised if it takes more than `timeout` seconds; it loses its run then. KeyboardInterrupt and SystemExit of
    the program are raised; every other exception is its outcome.
    """
    run: Runnable = getattr(program, "run", program)
    with _limit(timeout, ray):
        try:
            return Outcome(value=run(ray))
        except Exception as error:
            return Outcome(error=_told(error))


def assert_equivalent(
    program: Any,
    backends: Sequence[Any] = ("threads", "loky"),
    *,
    reference: bool = True,
    timeout: float | None = None,
    **options: Any,
) -> Outcome:
    """Run a program on each backend, and in series on the reference; the outcomes must be the same, and are returned.

    Args:
        program: A function of the module `ray`, or an object with a method `run` that is one. It has to be insensitive
            to the schedule, and defines its remote functions inside, as workers of loky cannot import a test module.
        backends: Names of backends. A run of minray that is alive on one of them is used and left alive; for the others
            one is started and shut down, so no other run may be alive. An initialised module with Ray's API counts as a
            backend too (real Ray).
        reference: False leaves the reference out: the first backend is what the others are compared with.
        timeout: How many seconds each run may take (None: any). What takes longer loses its run, and fails.
        options: Keywords of `minray.init` for the runs that are started. Default: ``num_cpus=2``.

    Raises:
        AssertionError: Two outcomes differ (the message names the backend and shows the program), or a run hung.
        RuntimeError: A run is alive on a backend that is not asked for.
    """
    outcomes: list[tuple[str, Outcome]] = [("the serial reference", outcome(program, Serial()))] if reference else []
    for backend in backends:
        name = backend.__name__ if isinstance(backend, types.ModuleType) else backend
        try:
            with session(backend, **options) as ray:
                outcomes.append((name, outcome(program, ray, timeout)))
        except Hung as hung:
            raise AssertionError(f"On {name} the program {hung}\n\n{_shown(program)}") from None
        expected, got = outcomes[0], outcomes[-1]
        if not expected[1].same(got[1]):
            raise AssertionError(
                f"On {name} the program {got[1]}\non {expected[0]} it {expected[1]}\n\n{_shown(program)}"
            )
    return outcomes[0][1]


@contextmanager
def session(backend: Any, **options: Any) -> Iterator[Any]:
    """minray with a run on the backend of that name: the one that is alive, or a new one that is shut down at the end.

    A module is given back as it is. RuntimeError: a run is alive on another backend.
    """
    if isinstance(backend, types.ModuleType):
        yield backend
        return
    import minray

    if minray.is_initialized():
        alive = minray.init(ignore_reinit_error=True)["backend"]
        if alive != backend:
            raise RuntimeError(
                f"A run is alive on the backend {alive!r}, so none can be started on {backend!r}. Call "
                "minray.shutdown() before."
            )
        yield minray
        return
    minray.init(backend=backend, **{"num_cpus": 2, **options})
    try:
        yield minray
    finally:
        minray.shutdown()


@contextmanager
def _limit(seconds: float | None, ray: Any) -> Iterator[None]:
    """Shuts the run down after so many seconds, which makes the program fail where it waits; then raises `Hung`."""
    if seconds is None:
        yield
        return
    over = threading.Event()

    def expire() -> None:
        over.set()
        ray.shutdown()

    timer = threading.Timer(seconds, expire)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        if over.is_set():
            raise Hung(f"did not end within {seconds} s")


def _shown(program: Any) -> str:
    """The program's text, where there is one."""
    if not isinstance(program, types.FunctionType):
        return repr(program)
    import inspect

    try:
        return inspect.getsource(program)
    except OSError:
        return repr(program)


def _told(error: BaseException) -> str:
    """The type of the user's exception and its message, whatever it is wrapped in; of a system's error the type."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, BaseException):
        error = cause
    name = type(error).__name__
    return name if _is_system(type(error)) else f"{name}: {error}"


def _is_system(kind: type) -> bool:
    """Whether the wording of such an error is the system's own."""
    return any(base.__module__ in ("minray.exceptions", "ray.exceptions") for base in kind.__mro__)


def _same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        # A class that the program defines is another one on each run.
        named_alike = type(one).__qualname__ == type(other).__qualname__ and "<locals>" in type(one).__qualname__
        return named_alike and _same(vars(one), vars(other))
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict):
        return _alike(list(one), list(other)) and all(_same(one[key], other[key]) for key in one)
    return _alike(one, other)


def _alike(one: Any, other: Any) -> bool:
    if hasattr(one, "dtype"):
        return bool(one.dtype == other.dtype and one.shape == other.shape and (one == other).all())
    return bool(one == other) or (one != one and other != other)
