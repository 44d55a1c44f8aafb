"""One suite, several systems: every test here runs unchanged on each backend of minray and on real Ray.

A test takes the fixture `ray`: the module under test, already initialised with `SHARED`. Where Ray and minray could
disagree Ray is right, so ``MINRAY_ORACLE=1 pytest tests/conformance`` (or ``--oracle``) runs the suite on Ray itself.

Remote functions and classes are defined inside the tests: workers cannot import a test module, so what they run has to
travel by value. Tests that call `init` or `shutdown` are marked `own_session` and find no session when they start.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

# A script that runs the tests in its background ignores Ctrl-C, as does all that it starts: and by that signal real Ray
# cancels tasks.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass(frozen=True)
class System:
    """What the suite runs on: the module, how to start it, and what it can do beyond the common ground."""

    name: str
    module: str
    start: dict[str, Any] = field(default_factory=dict)
    can: frozenset[str] = frozenset()


def system(name: str, module: str, requires: str, start: dict[str, Any], can: set[str]) -> Any:
    missing = pytest.mark.skipif(find_spec(requires) is None, reason=f"{requires} is not installed")
    return pytest.param(System(name, module, start, frozenset(can)), id=name, marks=missing)


#: The matrix. Capabilities: "processes" means that tasks run outside the driver's process, and may crash; "clock" that
#: time is the world's; "pipes" that what is not minray's may be waited for; "store" that memory for values is limited.
BACKENDS = [
    system("threads", "minray", "minray_threads", start={"backend": "threads"}, can={"clock", "pipes", "store"}),
    system("loky", "minray", "minray_loky", start={"backend": "loky"}, can={"clock", "pipes", "processes", "store"}),
    system("sim", "minray", "minray_sim", start={"backend": "sim"}, can=set()),  # first-in-first-out: see `ray`
]
ORACLE = [system("ray", "ray", "ray", start={"include_dashboard": False}, can={"clock", "pipes", "processes", "store"})]

#: The session that all tests but those with one of their own share.
SHARED: dict[str, Any] = {"num_cpus": 2, "num_gpus": 2, "resources": {"special": 2}, "labels": {"zone": "a"}}


#: How sim orders what could happen in any order. Most tests hold under any schedule (``MINRAY_STRATEGY=random``, with
#: another MINRAY_SEED each time); some say what happens where nobody is in a hurry.
SCHEDULE = os.environ.get("MINRAY_STRATEGY", "fifo")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--oracle", action="store_true", help="run the conformance suite on real Ray (or MINRAY_ORACLE=1)")


def theirs(test: pytest.Item) -> list[Any]:
    """A backend of somebody else's, whose `BackendConformance` has led here."""
    its: Any = next(filter(None, (getattr(node, "conformance", None) for node in test.listchain())), None)
    if its is None:
        return []
    start = {"backend": its.backend, **its.options}
    return [pytest.param(System(its.backend, "minray", start, frozenset(its.capabilities)), id=its.backend)]


def on_oracle(config: pytest.Config) -> bool:
    # The default counts where this file is found only after the command line has been read.
    return bool(config.getoption("--oracle", default=False)) or os.environ.get("MINRAY_ORACLE") == "1"


def pytest_configure(config: pytest.Config) -> None:
    if on_oracle(config):
        # Ray leaves its servers' Popen objects to the garbage collector, which complains in whatever test comes next.
        config.addinivalue_line("filterwarnings", "ignore::pytest.PytestUnraisableExceptionWarning")
    config.addinivalue_line("markers", "slow: takes over 0.25 s")
    config.addinivalue_line("markers", "own_session: calls init() or shutdown() itself; gets no shared session")
    config.addinivalue_line("markers", "needs(*capabilities): skipped on a system that lacks one of these")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    # As a plugin of somebody else's session (`minray.testing.conformance`) this file is asked about their tests too.
    if "target" in metafunc.fixturenames and metafunc.definition.path.parent == Path(__file__).parent:
        systems = theirs(metafunc.definition) or (ORACLE if on_oracle(metafunc.config) else BACKENDS)
        metafunc.parametrize("target", systems, indirect=True, scope="session")


@pytest.fixture(scope="session")
def target(request: pytest.FixtureRequest) -> Iterator[System]:
    """The system under test. Being of session scope, it makes pytest run all tests on one system before the next."""
    yield request.param
    importlib.import_module(request.param.module).shutdown()
    gc.collect()  # what Ray's servers leave complains now, while such complaints are ignored


@pytest.hookimpl(trylast=True)  # after the fixtures, which may still have to do with it
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    # Other tests find no session: pytest-xdist gives a worker its files in any order.
    system = getattr(getattr(item, "callspec", None), "params", {}).get("target")
    if isinstance(system, System) and nextitem is not None and nextitem.path.parent != item.path.parent:
        importlib.import_module(system.module).shutdown()


@pytest.fixture
def ray(target: System, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module under test, `ray` or `minray`, with the shared session (or with none: `own_session`)."""
    for capability in {name for mark in request.node.iter_markers("needs") for name in mark.args} - target.can:
        pytest.skip(f"{target.name} has no {capability}")
    module = importlib.import_module(target.module)
    if request.node.get_closest_marker("own_session"):
        monkeypatch.setenv("MINRAY_BACKEND", target.name)
        monkeypatch.setenv("MINRAY_STRATEGY", SCHEDULE)
        module.shutdown()
        yield module
        module.shutdown()
    else:
        if not module.is_initialized():
            monkeypatch.setenv("MINRAY_STRATEGY", SCHEDULE)
            module.init(**target.start, **SHARED)
        yield module
        if "clock" not in target.can:  # between tests the clock and the locks of the world are pytest's
            module.shutdown()


@pytest.fixture
def flags(tmp_path: Path) -> Any:
    """Flags that the test and its tasks raise, count and wait for. Files, so that they owe nothing to what is tested.

    Waiting for a flag keeps a task busy, and its CPU taken; waiting in `ray.get` would give the CPU back.
    """

    class Flags:
        def __init__(self, directory: str) -> None:
            self.directory = directory

        def up(self, name: str) -> int:
            """Raise a flag once more; return how often it has been raised."""
            with open(os.path.join(self.directory, name), "ab") as file:
                file.write(b"x")
            return self.count(name)

        def count(self, name: str) -> int:
            path = os.path.join(self.directory, name)
            return os.path.getsize(path) if os.path.exists(path) else 0

        def wait(self, name: str, times: int = 1) -> None:
            """Return when the flag has been raised `times` times."""
            deadline = time.monotonic() + 30
            while self.count(name) < times:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"flag {name!r} was raised {self.count(name)} times, not {times} times")
                time.sleep(0.005)

    return Flags(str(tmp_path))


@pytest.fixture
def held(ray: Any, flags: Any) -> Iterator[Callable[..., Any]]:
    """Submits a task that returns its argument, but not before ``flags.up("go")``: at the latest when the test ends.

    ``flags.wait("held")`` waits until such a task runs.
    """

    @ray.remote
    def wait_for_go(value: Any) -> Any:
        flags.up("held")
        flags.wait("go")
        return value

    refs: list[Any] = []

    def submit(value: Any = None) -> Any:
        refs.append(wait_for_go.remote(value))
        return refs[-1]

    yield submit
    flags.up("go")
    if refs:
        ray.wait(refs, num_returns=len(refs))


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """Repeats a call until it returns something true, for what happens soon but at no promised moment."""

    def repeat(condition: Callable[[], Any], seconds: float = 20) -> Any:
        deadline = time.monotonic() + seconds
        while not (result := condition()):
            assert time.monotonic() < deadline, f"{condition} was not true within {seconds} s"
            time.sleep(0.01)
        return result

    return repeat


@pytest.fixture
def kill(ray: Any, flags: Any) -> Callable[[Any], None]:
    """Kills an actor that runs a call, and returns when its callers know. Ray's `kill` does not wait: an actor at
    leisure may answer once more."""

    def kill(actor: Any) -> None:
        busy = actor.__ray_call__.remote(lambda self: flags.wait("killed"))
        ray.kill(actor)
        with pytest.raises(ray.exceptions.ActorDiedError):
            ray.get(busy)
        flags.up("killed")  # in a thread, a killed actor's method goes on until it returns to Python

    return kill


@pytest.fixture
def module(ray: Any) -> Callable[[str], Any]:
    """Imports a module of the system under test by what comes after its name: ``module("util.queue")``."""
    return lambda name: importlib.import_module(f"{ray.__name__}.{name}")


# -- generators ---------------------------------------------------------------------------------------------------
# They do not say ``yield from range(n)``: Ray resumes what it runs by `send`, which the iterator of a range lacks.


@pytest.fixture
def numbers(ray: Any) -> Any:
    """A generator of `n` numbers."""

    @ray.remote
    def numbers(n: int) -> Iterator[int]:
        for i in range(n):
            yield i

    return numbers


@pytest.fixture
def failing(ray: Any) -> Any:
    """A generator of `n` numbers that raises ValueError after them."""

    @ray.remote
    def failing(n: int) -> Iterator[int]:
        for i in range(n):
            yield i
        raise ValueError("boom")

    return failing


@pytest.fixture
def stepwise(ray: Any, flags: Any) -> Iterator[Any]:
    """A generator that yields a number whenever the flag "step" is raised once more."""

    @ray.remote
    def stepwise(n: int) -> Iterator[int]:
        for i in range(n):
            flags.wait("step", i + 1)
            yield i

    yield stepwise
    for _ in range(10):
        flags.up("step")
