"""Runtime environments: what tasks and actors find around them."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def look(ray: Any) -> Any:
    """A remote function that returns environment variables."""

    @ray.remote(num_cpus=0)
    def look(*names: str) -> Any:
        return [os.environ.get(name) for name in names]

    return look


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A directory with a module and a file in it."""
    directory = tmp_path / "project"
    directory.mkdir()
    (directory / "in_project.py").write_text("VALUE = 'from the project'\n")
    (directory / "data.txt").write_text("data\n")
    (directory / "left_out.txt").write_text("not needed\n")
    return directory


@pytest.fixture
def archive(tmp_path: Path, project: Path) -> Path:
    """The same, packed with its folder."""
    path = tmp_path / "project.zip"
    with zipfile.ZipFile(path, "w") as packed:
        for file in project.iterdir():
            packed.write(file, f"project/{file.name}")
    return path


@pytest.fixture
def around() -> Any:
    """A function that returns what is in the current directory, and what modules have as VALUE."""

    def around(*modules: str) -> Any:
        return sorted(os.listdir()), [__import__(name).VALUE for name in modules]

    return around


# --- Environment variables ---------------------------------------------------------------------------------------


@pytest.mark.needs("processes")
def test_a_task_gets_variables_that_others_do_not_see(ray: Any, look: Any) -> None:
    with_it = look.options(runtime_env={"env_vars": {"SOME": "thing"}})
    assert ray.get(with_it.remote("SOME")) == ["thing"]
    assert ray.get(look.remote("SOME")) == [None]
    assert ray.get(with_it.remote("SOME")) == ["thing"]
    assert os.environ.get("SOME") is None


@pytest.mark.needs("processes")
def test_an_actor_keeps_its_variables(ray: Any, look: Any) -> None:
    @ray.remote(runtime_env={"env_vars": {"SOME": "actor"}})
    class Actor:
        def __init__(self) -> None:
            self.first = os.environ["SOME"]

        def look(self) -> Any:
            return self.first, os.environ["SOME"], ray.get(look.remote("SOME"))

    assert ray.get(Actor.remote().look.remote()) == ("actor", "actor", ["actor"])


@pytest.mark.needs("processes")
def test_variables_are_inherited_one_by_one(ray: Any, look: Any) -> None:
    @ray.remote(num_cpus=0)
    def parent(**options: Any) -> Any:
        return ray.get(look.options(**options).remote("A", "B"))

    parent = parent.options(runtime_env={"env_vars": {"A": "parent", "B": "parent"}})
    assert ray.get(parent.remote()) == ["parent", "parent"]
    assert ray.get(parent.remote(runtime_env={"env_vars": {"B": "child"}})) == ["parent", "child"]
    assert ray.get(parent.remote(runtime_env={})) == ["parent", "parent"]


@pytest.mark.needs("processes")
def test_variables_may_refer_to_what_is_there(ray: Any, look: Any) -> None:
    env = {"env_vars": {"PATH": "${PATH}:/more"}}
    assert ray.get(look.options(runtime_env=env).remote("PATH")) == [os.environ["PATH"] + ":/more"]


@pytest.mark.needs("processes")
def test_the_class_is_a_dict_as_good_as_any(ray: Any, look: Any, module: Any) -> None:
    env = module("runtime_env").RuntimeEnv(env_vars={"SOME": "thing"})
    assert isinstance(env, dict) and env == {"env_vars": {"SOME": "thing"}}
    assert ray.get(look.options(runtime_env=env).remote("SOME")) == ["thing"]


@pytest.mark.needs("processes")
def test_the_context_tells_the_environment(ray: Any) -> None:
    @ray.remote(num_cpus=0)
    def told() -> Any:
        return dict(ray.get_runtime_context().runtime_env)

    assert ray.get(told.remote()) == {}
    env = {"env_vars": {"SOME": "thing"}}
    assert ray.get(told.options(runtime_env=env).remote()) == env


@pytest.mark.needs("processes")
def test_workers_are_used_again_for_the_same_environment_alone(ray: Any) -> None:
    @ray.remote(num_cpus=0)
    def pid() -> int:
        return os.getpid()

    first, second = ({"env_vars": {"SOME": value}} for value in ("first", "second"))
    pids = [ray.get(pid.options(runtime_env=env).remote()) for env in (first, first, second, None, first)]
    assert len({pids[0], pids[2], pids[3]}) == 3


@pytest.mark.own_session
@pytest.mark.slow
def test_a_job_gives_its_variables_to_all(ray: Any) -> None:
    ray.init(num_cpus=2, runtime_env={"env_vars": {"JOB": "job"}})

    @ray.remote
    def look() -> Any:
        return os.environ.get("JOB"), dict(ray.get_runtime_context().runtime_env)["env_vars"]["JOB"]

    @ray.remote
    class Actor:
        def look(self) -> Any:
            return os.environ.get("JOB")

    assert ray.get(look.remote()) == ("job", "job")
    assert ray.get(Actor.remote().look.remote()) == "job"
    ray.shutdown()
    assert os.environ.get("JOB") is None


@pytest.mark.own_session
@pytest.mark.needs("processes")
@pytest.mark.slow
def test_a_task_adds_to_the_variables_of_its_job(ray: Any) -> None:
    ray.init(num_cpus=1, runtime_env={"env_vars": {"A": "job", "B": "job"}})

    @ray.remote(runtime_env={"env_vars": {"B": "task"}})
    def look() -> Any:
        return os.environ.get("A"), os.environ.get("B")

    assert ray.get(look.remote()) == ("job", "task")
    assert os.environ.get("A") is None


# --- Files -------------------------------------------------------------------------------------------------------


@pytest.mark.own_session
@pytest.mark.needs("processes")
@pytest.mark.slow
def test_a_job_takes_a_directory_with_it(ray: Any, project: Path) -> None:
    ray.init(num_cpus=1, runtime_env={"working_dir": str(project), "excludes": ["left_out.txt"]})
    here = os.getcwd()
    (project / "data.txt").write_text("changed\n")

    @ray.remote
    def read() -> Any:
        with open("data.txt") as file:
            return sorted(os.listdir()), __import__("in_project").VALUE, file.read(), os.getcwd()

    names, value, text, where = ray.get(read.remote())
    assert (names, value) == (["data.txt", "in_project.py"], "from the project")
    assert text == "data\n", "it is a copy"
    assert os.path.realpath(where) != os.path.realpath(project) and os.getcwd() == here


@pytest.mark.own_session
@pytest.mark.needs("processes")
@pytest.mark.slow
def test_a_job_takes_modules_with_it(ray: Any, around: Any, tmp_path: Path, project: Path) -> None:
    package = tmp_path / "a_package"
    package.mkdir()
    (package / "__init__.py").write_text("VALUE = 'from the package'\n")
    ray.init(num_cpus=1, runtime_env={"py_modules": [str(package), str(project / "in_project.py")]})

    names = ray.remote(around).remote("a_package", "in_project")

    assert ray.get(names)[1] == ["from the package", "from the project"]


@pytest.mark.needs("processes")
@pytest.mark.slow
def test_tasks_name_archives(ray: Any, around: Any, archive: Path) -> None:
    task = ray.remote(num_cpus=0)(around)
    uri = f"file://{archive}"
    in_it = task.options(runtime_env={"working_dir": uri})
    assert ray.get(in_it.remote("in_project")) == (
        ["data.txt", "in_project.py", "left_out.txt"],
        ["from the project"],
    )
    beside = task.options(runtime_env={"py_modules": [uri]})
    assert ray.get(beside.remote("in_project"))[1] == ["from the project"]


@pytest.mark.needs("processes")
@pytest.mark.slow
def test_an_environment_that_cannot_be_made_is_an_error_of_the_call(ray: Any, look: Any, tmp_path: Path) -> None:
    env = {"working_dir": f"file://{tmp_path}/missing.zip"}

    @ray.remote(num_cpus=0, runtime_env=env)
    class Actor:
        def hello(self) -> None: ...

    with pytest.raises(ray.exceptions.RuntimeEnvSetupError, match=r"missing\.zip"):
        ray.get(look.options(runtime_env=env).remote())
    with pytest.raises(ray.exceptions.RayError, match=r"missing\.zip"):
        ray.get(Actor.remote().hello.remote())


@pytest.mark.own_session
@pytest.mark.slow
def test_something_can_be_run_in_each_new_worker(ray: Any) -> None:
    def hook() -> None:
        os.environ["HOOK"] = "ran"

    ray.init(num_cpus=1, runtime_env={"worker_process_setup_hook": hook})
    try:
        assert ray.get(ray.remote(lambda: os.environ.get("HOOK")).remote()) == "ran"
    finally:
        os.environ.pop("HOOK", None)  # threads share it


# --- Wrong ones --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "error", "words"),
    [
        ({"env_vars": 3}, TypeError, ""),
        ({"env_vars": {1: "a"}}, TypeError, "the key 1"),
        ({"env_vars": {"a": 1}}, TypeError, "the value 1"),
        ({"working_dir": 3}, TypeError, "working_dir"),
        ({"working_dir": "/nope"}, ValueError, "/nope is not a valid path"),
        ({"working_dir": "."}, ValueError, "only supported at the job level"),
        ({"working_dir": "file://a.txt"}, ValueError, "Only .zip"),
        ({"py_modules": 3}, TypeError, "py_modules"),
        ({"py_modules": [3]}, TypeError, "py_module"),
        ({"py_modules": ["/nope"]}, ValueError, "/nope is not a valid path"),
        ({"config": 3}, TypeError, "config"),
        ({"config": {"setup_timeout_seconds": -5}}, ValueError, "setup_timeout_seconds"),
        ({"config": {"eager_install": 3}}, TypeError, "eager_install"),
        ({"excludes": 3}, TypeError, "excludes"),
        ({"pip": 3}, TypeError, "pip"),
        ({"pip": ["x"], "conda": "y"}, ValueError, "cannot be specified at the same time"),
        ({"container": {"image": "x"}, "working_dir": "."}, ValueError, "container"),
    ],
    ids=str,
)
def test_wrong_environments(ray: Any, look: Any, env: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words or None):
        look.options(runtime_env=env).remote()


@pytest.mark.own_session
@pytest.mark.parametrize(
    ("env", "error", "words"),
    [
        ({"working_dir": 3}, TypeError, "working_dir"),
        ({"working_dir": "/nope"}, ValueError, "/nope"),
        ({"py_modules": 3}, TypeError, "py_modules"),
        ({"py_modules": [3]}, TypeError, "py_modules"),
        ({"py_modules": ["/nope"]}, ValueError, "/nope"),
        ({"env_vars": {"a": None}}, TypeError, "env_vars"),
    ],
    ids=str,
)
@pytest.mark.slow
def test_wrong_environments_of_a_job(ray: Any, env: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        ray.init(num_cpus=1, runtime_env=env)


def test_fields_that_nobody_knows_change_nothing(ray: Any, module: Any) -> None:
    assert module("runtime_env").RuntimeEnv(nope=1, env_vars=None) == {"nope": 1}


# --- max_calls ---------------------------------------------------------------------------------------------------


@pytest.mark.needs("processes")
@pytest.mark.slow
def test_a_worker_ends_after_so_many_calls(ray: Any) -> None:
    @ray.remote(max_calls=2)
    def pid() -> int:
        return os.getpid()

    one, two, three, four = (ray.get(pid.remote()) for _ in range(4))
    assert one == two != three == four


@pytest.mark.slow
def test_calls_that_end_their_workers_all_run(ray: Any) -> None:
    @ray.remote(max_calls=1, max_retries=0)
    def double(x: int) -> int:
        if x == 3:
            raise ValueError(x)
        return 2 * x

    refs = [double.remote(x) for x in range(8)]
    assert ray.get(refs[:3] + refs[4:]) == [0, 2, 4, 8, 10, 12, 14]
    with pytest.raises(ValueError, match="3"):
        ray.get(refs[3])
