"""`minray.install_as_ray` and ``python -m minray run``: programs that import ray get minray."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a program in a process of its own; returns what it prints. `fails`: what it must complain of instead."""

    def start(program: str, *arguments: str, how: str = "run", fails: str = "", backend: str = "threads") -> str:
        (tmp_path / "program.py").write_text(textwrap.dedent(program))
        command = {
            "run": ["-m", "minray", "run", "program.py"],
            "module": ["-m", "minray", "run", "-m", "program"],
            "plain": ["program.py"],
        }[how]
        done = subprocess.run(
            [sys.executable, *command, *arguments],
            cwd=tmp_path,
            env={"MINRAY_BACKEND": backend, "PATH": ""},
            capture_output=True,
            text=True,
            timeout=50,
        )
        if fails:
            assert done.returncode and fails in done.stderr, done.stderr
        else:
            assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return done.stdout

    return start


def test_ray_and_its_modules_are_the_modules_of_minray(run: Run) -> None:
    run(
        """
        import ray, ray.exceptions, ray.remote_function, ray.util.queue, ray.experimental.internal_kv
        import ray.cloudpickle as pickle
        from ray._raylet import ObjectRefGenerator
        from ray.actor import ActorHandle
        from ray.dag.input_node import InputNode
        from ray.types import ObjectRef
        from ray.util.queue import Queue
        import minray, minray.util.queue

        assert pickle is minray.cloudpickle and InputNode is minray.dag.InputNode
        assert ObjectRefGenerator is minray.ObjectRefGenerator and ray.dag is minray.dag
        assert ray.exceptions is minray.exceptions and ray.util is minray.util
        assert Queue is minray.util.queue.Queue and ray.util.queue is minray.util.queue
        assert ray.get is minray.get and ObjectRef is minray.ObjectRef and ActorHandle is minray.actor.ActorHandle
        assert ray.remote_function is minray.remote_function and "get" in dir(ray) and "runtime" not in dir(ray)
        """
    )


def test_a_name_that_is_a_function_and_a_module_stays_the_function(run: Run) -> None:
    run(
        """
        import ray.util.placement_group
        from ray.util.placement_group import PlacementGroup
        import minray, sys

        assert callable(ray.util.placement_group) and callable(minray.util.placement_group)
        assert sys.modules["ray.util.placement_group"].PlacementGroup is PlacementGroup
        """
    )


def test_programs_are_told_the_version_of_ray_that_minray_stands_for(run: Run) -> None:
    program = """
        import importlib.metadata, importlib.util
        import ray, minray
        print(ray.__version__, importlib.metadata.version("ray"), minray.__version__ == ray.__version__)
        print(importlib.util.find_spec("ray").name, importlib.util.find_spec("ray.tune"))
        """
    assert run(program) == "2.60.0 2.60.0 False\nray None\n"


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("import ray.serve", "ModuleNotFoundError: No module named 'ray.serve': ray is minray here"),
        ("from ray.serve import run", "it is a library of its own; minray has Ray's core API"),
        ("import ray.runtime", "ModuleNotFoundError: No module named 'ray.runtime': ray is minray here"),
        ("import ray.util.nothing", "ModuleNotFoundError: No module named 'ray.util.nothing': ray is minray here"),
        (
            "import ray.actor.nothing",
            "No module named 'ray.actor.nothing'; 'ray.actor' is not a package",
        ),
        ("from ray import serve", "ImportError: cannot import name 'serve' from 'ray'"),
        ("import ray; ray.data.from_pandas_refs([])", "NotImplementedError: ray.data.from_pandas_refs: Ray Data"),
        ("import ray; ray.serve", "AttributeError: module 'minray' has no attribute 'serve': it is a library"),
    ],
)
def test_what_minray_lacks_is_an_error_that_says_so(run: Run, statement: str, error: str) -> None:
    run(statement, fails=error)


def test_ray_can_be_patched_and_its_names_unpickled(run: Run) -> None:
    run(
        """
        import pickle
        from unittest import mock
        import ray, minray

        before = minray.get
        with mock.patch("ray.get", lambda ref: 42):
            assert ray.get(None) == minray.get(None) == 42
        assert ray.get is minray.get is before
        with mock.patch.object(ray, "nothing", 1, create=True):
            assert minray.nothing == 1
        assert not hasattr(minray, "nothing")
        assert pickle.loads(b"cray.exceptions\\nGetTimeoutError\\n.") is minray.exceptions.GetTimeoutError
        assert pickle.loads(pickle.dumps(ray)) is ray
        """
    )


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["threads", "loky"])
@pytest.mark.parametrize("how", ["run", "module"])
def test_workers_import_ray_as_their_driver_does(run: Run, backend: str, how: str) -> None:
    program = """
        import sys
        import ray

        class Point:
            x = 1

        @ray.remote
        def task(ref):
            from ray.util.queue import Queue
            import ray as again
            assert again is ray and Queue.__module__ == "minray.util.queue"
            return ray.get(ref[0]), Point

        @ray.remote
        class Actor:
            def version(self):
                import ray
                return ray.__version__

        if __name__ == "__main__":
            value, point = ray.get(task.remote([ray.put(1)]))
            print(value, point is Point, ray.get(Actor.remote().version.remote()), sys.argv[1:])
        """
    assert run(program, "-x", "--backend", how=how, backend=backend) == "1 True 2.60.0 ['-x', '--backend']\n"


@pytest.mark.parametrize("how", ["run", "module"])
def test_a_program_that_is_run_is_the_main_program(run: Run, how: str) -> None:
    program = """
        import os, sys
        import __main__

        assert __main__.__dict__ is globals() and __name__ == "__main__"
        assert os.path.basename(sys.argv[0]) == os.path.basename(__file__) == "program.py"
        assert os.path.exists(os.path.join(sys.path[0], "program.py"))
        if sys.argv[1:]:
            sys.exit(f"stopped: {sys.argv[1:]}")
        """
    run(program, how=how)
    run(program, "a", how=how, fails="stopped: ['a']")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["run", "nothing.py"], "cannot read nothing.py: No such file or directory"),
        (["run", "-m", "nothing"], "no module named nothing that can be run"),
        (["run", "-m", "nothing.at.all"], "No module named 'nothing'"),
        (["run"], "the following arguments are required: PROGRAM"),
        ([], "the following arguments are required: command"),
    ],
)
def test_what_cannot_be_run_is_said(arguments: list[str], error: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "minray", *arguments], cwd=tmp_path, capture_output=True, text=True, timeout=50
    )
    assert done.returncode == 2 and error in done.stderr, done.stderr


def test_it_is_installed_once_and_in_time(run: Run) -> None:
    program = """
        import sys, types
        import minray

        minray.install_as_ray()
        minray.install_as_ray()
        import ray
        assert ray.get is minray.get
        minray.init(num_cpus=1)
        minray.install_as_ray()
        """
    run(program, how="plain")
    run(program.replace("minray.install_as_ray()\n", "minray.init()\n", 1), how="plain", fails="before minray.init()")
    late = 'sys.modules["ray"] = types.ModuleType("ray")\n'
    run(
        program.replace("minray.install_as_ray()\n", late, 1),
        how="plain",
        fails="RuntimeError: Ray has been imported already",
    )


def test_minray_does_not_stand_in_for_ray_unasked(run: Run) -> None:
    program = """
        import minray, sys
        assert "ray" not in sys.modules and "minray.as_ray.finder" not in sys.modules
        """
    run(program, how="plain")
