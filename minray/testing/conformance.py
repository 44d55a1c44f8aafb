"""`BackendConformance`: the whole conformance suite, for who writes a backend.

    # test_mine.py
    from minray.testing import BackendConformance

    class TestMine(BackendConformance):
        backend = "mine"                    # its name in the entry-point group `minray.backends`
        capabilities = {"processes"}        # see below

and ``pytest test_mine.py`` runs minray's own tests/conformance on it, unchanged: the tests that real Ray passes.

The class itself has no tests. The plugin that comes with minray (`pytest_minray`) puts the suite's files in its place,
below a node that tells the suite's conftest what to run on. In a wheel these files are in
`minray/testing/suite`, in a checkout they are where they are written.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, ClassVar

import pytest

#: The name of the suite's conftest as a module and a plugin.
_FIXTURES = "minray_conformance"

#: What a backend can do or not. A test that needs what it lacks is skipped, and says so.
CAPABILITIES = {"processes": "tasks run outside of the driver's process, and may crash"}


class BackendConformance:
    """To be subclassed, once for each backend or way to configure it. Nothing is overridden but what is said here."""

    #: The name of the backend, as `minray.init` takes it.
    backend: ClassVar[str] = ""
    #: What it can do, out of `CAPABILITIES`.
    capabilities: ClassVar[Set[str]] = frozenset()
    #: Keywords of `minray.init` beyond those that the suite gives: two CPUs, two GPUs, two "special", a label.
    options: ClassVar[Mapping[str, Any]] = {}
    #: The files of the suite to run, by name (``"test_wait"``): while a backend is being written. Empty: all of them.
    files: ClassVar[Sequence[str]] = ()


def directory() -> Path:
    """Where the suite's files are."""
    built_in = Path(__file__).parent / "suite"
    return built_in if (built_in / "conftest.py").exists() else Path(__file__).parents[2] / "tests" / "conformance"


class Suite(pytest.Collector):
    """Stands in a session's tree for a subclass of `BackendConformance`; below it are the files of the suite."""

    conformance: type[BackendConformance]

    def collect(self) -> Iterable[pytest.Module]:
        if not self.conformance.backend:
            raise self.CollectError(f"{self.name} does not say which backend to test: set its attribute `backend`.")
        unknown = set(self.conformance.capabilities) - CAPABILITIES.keys()
        if unknown:
            raise self.CollectError(
                f"{self.name}.capabilities has {', '.join(sorted(unknown))}. There are: {', '.join(CAPABILITIES)}."
            )
        _load_fixtures(self.config.pluginmanager)
        files = {file.stem: file for file in sorted(directory().glob("test_*.py"))}
        unknown = set(self.conformance.files) - files.keys()
        if unknown:
            raise self.CollectError(f"{self.name}.files names what is not in the suite: {', '.join(sorted(unknown))}")
        return [pytest.Module.from_parent(self, path=files[name]) for name in self.conformance.files or files]

    def teardown(self) -> None:
        """The tests of the suite share a run. Those that come next have nothing to do with it."""
        import minray

        minray.shutdown()


def collected(collector: Any, name: str, obj: object) -> Suite | None:
    """What pytest finds instead of a subclass of `BackendConformance`; None for everything else."""
    if not (isinstance(obj, type) and issubclass(obj, BackendConformance)) or obj is BackendConformance:
        return None
    suite: Suite = Suite.from_parent(collector, name=name)
    suite.conformance = obj
    return suite


def _load_fixtures(plugins: pytest.PytestPluginManager) -> None:
    """Make the suite's conftest a plugin, once: pytest itself loads one for files in its directory alone."""
    if plugins.has_plugin(_FIXTURES):
        return
    spec = importlib.util.spec_from_file_location(_FIXTURES, directory() / "conftest.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules[_FIXTURES] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    plugins.register(module, _FIXTURES)
