"""Runtime environments without workers: what is refused, merged, packed."""

from __future__ import annotations

import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from minray import environments
from minray.packing import Packer, package_path
from minray.runtime_env import RuntimeEnv, RuntimeEnvConfig


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for name in ("keep.py", "notes.log", "sub/keep.py", "sub/notes.log", "data/big.bin", ".git/config", "old.txt"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return root


def files(directory: str) -> set[str]:
    return {
        os.path.relpath(os.path.join(where, name), directory)
        for where, _, names in os.walk(directory)
        for name in names
    }


def test_what_is_excluded_is_not_packed(tmp_path: Path, project: Path) -> None:
    (project / ".gitignore").write_text("# comment\n*.log\n!sub/notes.log\n")
    pack = Packer(str(tmp_path), ["/data/", "old.txt"])

    name = pack(str(project))

    assert files(package_path(str(tmp_path), name)) == {"keep.py", "sub/keep.py", "sub/notes.log", ".gitignore"}


def test_a_package_keeps_its_name_and_a_module_its_file(tmp_path: Path, project: Path) -> None:
    pack = Packer(str(tmp_path), ["*.log", "data", "old.txt"])

    package, module = pack(str(project), inside=True), pack(str(project / "keep.py"), inside=True)

    assert files(package_path(str(tmp_path), package)) == {"project/keep.py", "project/sub/keep.py"}
    assert files(package_path(str(tmp_path), module)) == {"keep.py"}


def test_archives_are_unpacked(tmp_path: Path, project: Path) -> None:
    path = tmp_path / "project.tar.gz"
    with tarfile.open(path, "w:gz") as packed:
        packed.add(project / "keep.py", "keep.py")

    name = Packer(str(tmp_path), [])(str(path))

    assert files(package_path(str(tmp_path), name)) == {"keep.py"}


def test_what_is_too_large_is_refused(tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minray.packing._MAX_BYTES", 10)
    with pytest.raises(ValueError, match="excludes"):
        Packer(str(tmp_path), [])(str(project))


@pytest.mark.parametrize("field", ["conda", "container", "image_uri", "py_executable"])
def test_what_is_not_supported_is_named_with_what_is(field: str) -> None:
    with pytest.raises(NotImplementedError, match=rf"runtime_env\['{field}'\].*env_vars, working_dir and py_modules"):
        environments.wrong_runtime_env({field: "x"})
    with pytest.raises(NotImplementedError, match=field):
        environments.check_job({field: "x"})


def test_packages_that_are_there_need_no_installation() -> None:
    assert environments.wrong_runtime_env({"pip": ["pytest"]}) is None
    assert environments.wrong_runtime_env({"uv": {"packages": [f"pytest=={pytest.__version__}"]}}) is None
    for missing in (["no-such-package"], ["pytest==0.0.1"], ["pytest>=1"], "requirements.txt"):
        with pytest.raises(NotImplementedError, match="pip"):
            environments.wrong_runtime_env({"pip": missing})


def test_other_protocols_than_files_are_refused() -> None:
    with pytest.raises(NotImplementedError, match="only file:// URIs"):
        environments.wrong_runtime_env({"working_dir": "https://example.org/a.zip"})
    with pytest.raises(NotImplementedError, match="file:// URIs"):
        environments.check_job({"working_dir": "s3://bucket/a.zip"})


def test_a_child_inherits_field_by_field_and_variable_by_variable() -> None:
    parent = {"env_vars": {"A": "1", "B": "1"}, "working_dir": "package://1"}
    assert environments.merge(parent, {"env_vars": {"B": "2"}}) == {
        "env_vars": {"A": "1", "B": "2"},
        "working_dir": "package://1",
    }
    assert environments.merge(parent, {"working_dir": "file://a.zip"})["working_dir"] == "file://a.zip"


def test_what_makes_no_difference_is_left_out() -> None:
    env = RuntimeEnv(env_vars={"A": "1"}, config={"setup_timeout_seconds": 3}, excludes=["x"])
    assert json.loads(environments.dumps(env)) == {"env_vars": {"A": "1"}}


def test_threads_have_the_environment_of_their_process(session: Any) -> None:
    session.in_process = True
    session.runtime_env = '{"env_vars": {"A": "1"}}'
    assert environments.of_call(session, {"env_vars": {"A": "1"}}) == ""
    with pytest.raises(NotImplementedError, match="threads backend cannot give a task or an actor a runtime_env"):
        environments.of_call(session, {"env_vars": {"A": "2"}})


def test_a_job_on_threads_lends_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("B", "before")
    package = tmp_path / "lent_package"
    package.mkdir()
    (package / "__init__.py").write_text("VALUE = 3\n")
    env = {"env_vars": {"A": "1", "B": "${B}, then"}, "py_modules": [str(package)]}

    undo = environments.lend_process(environments.of_job(env, None))

    assert (os.environ["A"], os.environ["B"], __import__("lent_package").VALUE) == ("1", "before, then", 3)
    undo()
    assert (os.environ.get("A"), os.environ["B"]) == (None, "before")
    with pytest.raises(NotImplementedError, match="current directory"):
        environments.lend_process(environments.of_job({"working_dir": str(tmp_path)}, None))


def test_a_config_says_what_it_was_given() -> None:
    assert RuntimeEnvConfig() == {"setup_timeout_seconds": 600, "eager_install": True, "log_files": []}
    assert RuntimeEnv(config={"eager_install": False, "unknown": 3}).to_dict() == {
        "config": {"setup_timeout_seconds": 600, "eager_install": False, "log_files": []}
    }
    with pytest.raises(TypeError, match="log_files"):
        RuntimeEnvConfig(log_files=[3])  # type: ignore[list-item]


def test_an_environment_answers_as_rays_does() -> None:
    env = RuntimeEnv(env_vars={"A": "1"}, py_modules=["file://a.zip"], _validate=False)
    assert (env.env_vars(), env.py_modules(), env.working_dir(), env.has_working_dir()) == (
        {"A": "1"},
        ["file://a.zip"],
        "",
        False,
    )
    assert RuntimeEnv.deserialize(env.serialize()) == env
    assert not env.has_pip() and not env.has_uv() and not env.has_conda()
    assert env.py_executable() is None and env.image_uri() is None
    env.set("env_vars", {"B": "2"})
    assert env.env_vars() == {"B": "2"}
