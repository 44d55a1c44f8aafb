"""Who may import whom, read from the source. The layers are import-linter's job; here is what it cannot say."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: The core and the wire format are functions of their arguments: ids, and what time it is, are handed to them.
IMPURE = {
    "_thread", "asyncio", "concurrent", "datetime", "importlib", "multiprocessing", "os", "random", "secrets",
    "select", "selectors", "signal", "socket", "subprocess", "tempfile", "threading", "time", "uuid",
}  # fmt: skip

#: What a backend may know of the frontend.
CONTRACT = (
    *("minray.backend", "minray.exceptions", "minray.machine", "minray.wire", "minray.worker"),
    *("minray.disk_space", "minray.leases"),  # what stores have in common
    "minray.stepping",  # sessions for a backend that decides who goes on
)

#: What `import minray` must not pay for: each costs more than all of minray.
HEAVY = {"asyncio", "cloudpickle", "loky", "multiprocessing", "numpy", "tqdm"}


def imports(source: str) -> Iterator[str]:
    """Every module that `source` names in an import, at any depth; ``from a import b`` names ``a.b``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(module: str, *packages: str) -> bool:
    """Whether `module` is one of `packages` or inside one."""
    return any(module == package or module.startswith(package + ".") for package in packages)


def sources(*folders: str) -> list[Path]:
    """The Python files below `folders`, as paths from the root of the project."""
    return sorted(path.relative_to(ROOT) for folder in folders for path in (ROOT / folder).rglob("*.py"))


def backends() -> list[str]:
    """The import packages under backends/."""
    return sorted(path.parent.name for path in (ROOT / "backends").glob("*/__init__.py"))


def test_the_scan_sees_an_import_wherever_it_is() -> None:
    source = """
import os.path as p, sys
from minray import exceptions, session as s
def f():
    from time import sleep
    if p: import random
"""
    assert sorted(imports(source)) == [
        "minray.exceptions", "minray.session", "os.path", "random", "sys", "time.sleep",
    ]  # fmt: skip


@pytest.mark.parametrize("path", sources("minray/core", "minray/wire"), ids=str)
def test_core_and_wire_reach_no_clock_thread_socket_or_randomness(path: Path) -> None:
    source = (ROOT / path).read_text()

    assert [name for name in imports(source) if within(name, *IMPURE)] == []
    assert "__import__" not in source


@pytest.mark.parametrize("path", sources("minray", "backends", "tests", "examples", "benchmarks"), ids=str)
def test_backends_is_never_imported_as_a_package(path: Path) -> None:
    assert [name for name in imports((ROOT / path).read_text()) if within(name, "backends")] == []


@pytest.mark.parametrize("path", sources("minray"), ids=str)
def test_the_frontend_imports_no_backend(path: Path) -> None:
    assert [name for name in imports((ROOT / path).read_text()) if within(name, *backends())] == []


@pytest.mark.parametrize("path", sources("backends"), ids=str)
def test_a_backend_imports_only_the_contract(path: Path) -> None:
    names = [name for name in imports((ROOT / path).read_text()) if within(name, "minray")]

    assert [name for name in names if not within(name, *CONTRACT)] == []


def test_import_minray_loads_nothing_heavy(tmp_path: Path) -> None:
    program = f"import sys, minray; print(*sorted({HEAVY!r} & set(sys.modules)))"

    # Coverage measures subprocesses too, and would be seen loading what it needs.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}

    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )

    assert done.stdout.split() == []
