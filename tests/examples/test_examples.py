"""The programs under examples/ are run as a user runs them, print what they promise, and agree on every backend.

Each is run twice: as a script, whose functions live in `__main__` and travel by value, for what it prints; and
imported, so that they travel by name, for what its `main` returns. The tests marked `oracle` do the same on real Ray.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
AS_RAY = Path(__file__).parent / "as_ray"
RAY = "real ray"
CPUS = os.cpu_count() or 1

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Program:
    """One example: sizes that are quick, the modules it needs, and what must be in its output (regular expressions)."""

    name: str
    arguments: tuple[str, ...]
    prints: tuple[str, ...]
    needs: tuple[str, ...] = ()


PROGRAMS = [
    Program(
        "matrix",
        ("--size", "120", "--blocks", "3", "--stagger", "30"),
        prints=(
            r"^after {6}2 moves the start matters by up to \d",
            r"^  10  +\d+\.\d\d%  #+$",
            r"^Plain numpy finds the same\.$",
        ),
    ),
    Program(
        "nested_experiments",
        ("--loads", str(max(3, CPUS // 2)), "--simulations", "8", "--customers", "2000"),
        prints=(
            r"^  busy +one line for all tills +a line for each till$",
            r"^   50% +0\.\d+ ± 0\.\d+ \[0\.158\] +\d\.\d+ ± 0\.\d+ \[1\.000\]$",
            r"^Theory lies inside the confidence interval in \d+ of \d+ measurements\.$",
        ),
    ),
    Program(
        "simulator",
        ("--simulators", "4", "--seed", "2"),
        prints=(
            r"^round  1: ( +\d+){4}   best so far +\d+$",
            r"^round .* best so far 500$",
            r"^From 4 new starting points it lasts \d+, \d+, \d+, \d+ steps of 500\.$",
        ),
        needs=("gymnasium",),
    ),
    Program(
        "parameter_server",
        ("--updates", "600", "--rate", "0.2"),
        prints=(
            r"^4 workers, 1297 training images, 500 test images$",
            r"^after     0 updates +\d+\.\d%  #+$",
            r"^after   600 updates +9\d\.\d%  #+$",
            r"^The target of 93\.0% is reached\.$",
        ),
        needs=("sklearn",),
    ),
    Program(
        "index",
        ("--files", "100", "--chunk", "7", "--in-flight", "3", "--find", "self", "deque"),
        prints=(
            r"^100 files below .*, \d+ of them not readable as Python source\.$",
            r"^  identifier +occurrences  files$",
            r"^  self +[\d,]+ +\d+$",
            r"^Files with self and deque: [1-9]\d*$",
            r"^The plain loop finds the same\.$",
            r"^Tasks: \d+\.\d\d s\. Plain loop: \d+\.\d\d s\. Speed-up: \d+\.\d\d$",
        ),
    ),
]


@pytest.fixture(params=PROGRAMS, ids=lambda program: program.name)
def program(request: pytest.FixtureRequest) -> Program:
    program: Program = request.param
    for module in program.needs:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{program.name}.py needs {module}: pip install 'minray[examples]'")
    return program


@pytest.fixture(params=["threads", "loky"])
def backend(request: pytest.FixtureRequest) -> str:
    backend: str = request.param
    return backend


@pytest.fixture
def real_ray() -> str:
    if os.environ.get("MINRAY_ORACLE") != "1":
        pytest.skip("real Ray is asked only under MINRAY_ORACLE=1")
    if importlib.util.find_spec("ray") is None:
        pytest.skip("real Ray is not installed")
    return RAY


def python(backend: str, *arguments: str, path: tuple[Path, ...] = ()) -> subprocess.CompletedProcess[str]:
    """Run the interpreter with `minray` on `backend`, or with real Ray in its place."""
    environment = {**os.environ, "PYTHONUTF8": "1"}
    if backend == RAY:
        path = (AS_RAY, *path)
        environment["RAY_AUTH_MODE"] = "disabled"
    else:
        environment["MINRAY_BACKEND"] = backend
    inherited = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = os.pathsep.join([*map(str, path), *([inherited] if inherited else [])])
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", timeout=50)


def run_script(program: Program, backend: str) -> subprocess.CompletedProcess[str]:
    return python(backend, str(EXAMPLES / f"{program.name}.py"), *program.arguments)


@cache
def call_main(name: str, arguments: tuple[str, ...], backend: str) -> Any:
    """What the `main` of an example returns when another program imports and calls it."""
    code = f"import json, sys, {name}; print(json.dumps({name}.main(sys.argv[1:])))"
    done = python(backend, "-c", code, *arguments, path=(EXAMPLES,))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def rounded(value: Any) -> Any:
    """The last digits of a product of matrices depend on how many threads numpy may use."""
    if isinstance(value, float):
        return round(value, 9)
    if isinstance(value, list):
        return [rounded(item) for item in value]
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    return value


def result_of(program: Program, backend: str) -> Any:
    """What `main` returns, without what may differ from run to run."""
    result = call_main(program.name, program.arguments, backend)
    if program.name == "parameter_server":  # trained in no particular order, so each run gives another model
        return {**result, "accuracy": None, "curve": [updates for updates, _ in result["curve"]]}
    return rounded(result)


def missing_lines(program: Program, output: str) -> Iterator[str]:
    return (line for line in program.prints if not re.search(line, output, re.MULTILINE))


def check_script(program: Program, backend: str) -> None:
    done = run_script(program, backend)
    assert done.returncode == 0, done.stderr
    assert not list(missing_lines(program, done.stdout)), done.stdout
    assert "Traceback" not in done.stderr
    if program.name == "index":
        assert "indexing: " in done.stderr  # the progress bar


def test_every_example_is_listed_here_and_in_the_readme() -> None:
    files = {path.stem for path in EXAMPLES.glob("*.py")}
    assert {program.name for program in PROGRAMS} == files
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert not [name for name in files if f"{name}.py" not in readme]


def test_nothing_but_one_import_ties_an_example_to_minray(program: Program) -> None:
    source = (EXAMPLES / f"{program.name}.py").read_text(encoding="utf-8")
    code = source.split('"""', maxsplit=2)[2]
    assert [line for line in code.splitlines() if "minray" in line] == ["import minray as ray"]


def test_script_prints_its_result(program: Program, backend: str) -> None:
    check_script(program, backend)


@pytest.mark.timeout(120)
def test_main_returns_the_same_on_both_backends(program: Program) -> None:
    assert result_of(program, "threads") == result_of(program, "loky")


@pytest.mark.oracle
def test_script_prints_its_result_on_real_ray(program: Program, real_ray: str) -> None:
    check_script(program, real_ray)


@pytest.mark.timeout(120)
@pytest.mark.oracle
def test_main_returns_on_real_ray_what_it_returns_on_threads(program: Program, real_ray: str) -> None:
    assert result_of(program, real_ray) == result_of(program, "threads")


def test_more_experiments_are_blocked_than_there_are_cpus(backend: str) -> None:
    program = next(program for program in PROGRAMS if program.name == "nested_experiments")
    result = call_main(program.name, program.arguments, backend)
    assert result["parents"] > CPUS
    assert result["inside"] >= len(result["loads"])  # of twice as many measurements


def test_learned_controller_balances_the_pole_from_new_starting_points(backend: str) -> None:
    pytest.importorskip("gymnasium", reason="simulator.py needs gymnasium: pip install 'minray[examples]'")
    program = next(program for program in PROGRAMS if program.name == "simulator")
    proof = call_main(program.name, program.arguments, backend)["proof"]
    assert len(proof) == 4
    assert min(proof) >= 200  # pushes at random last about 22


def test_index_gives_lines_and_skips_what_is_not_python_source(backend: str, tmp_path: Path) -> None:
    (tmp_path / "package" / "site-packages").mkdir(parents=True)
    (tmp_path / "package" / "site-packages" / "theirs.py").write_text("found = 1\n")
    (tmp_path / "bad_coding.py").write_bytes(b"# coding: no-such-coding\nfound = 1\n")
    (tmp_path / "bad_bytes.py").write_bytes(b"found = '\xff'\n")
    (tmp_path / "latin.py").write_bytes(b"# coding: latin-1\ncaf\xe9 = found\n")
    (tmp_path / "package" / "good.py").write_text(
        '"""found\nfound"""\nfound = b"found" + found  # found\n\nif found: x = 0xfound\n'
    )

    arguments = ("--root", str(tmp_path), "--find", "found", "café", "missing", "--chunk", "1", "--top", "2")
    result = call_main("index", arguments, backend)

    assert result["files"] == 4
    assert result["skipped"] == ["bad_bytes.py", "bad_coding.py"]
    assert result["found"] == {
        "found": {"latin.py": [2], "package/good.py": [3, 3, 5]},
        "café": {"latin.py": [2]},
        "missing": {},
    }
    assert result["top"] == [["found", 4, 2], ["café", 1, 1]]
    assert result["same_as_serial"]


def test_index_says_so_when_there_is_nothing_to_index(tmp_path: Path) -> None:
    done = python("threads", str(EXAMPLES / "index.py"), "--root", str(tmp_path))
    assert done.returncode == 2
    assert f"there are no Python source files below {tmp_path}" in done.stderr
