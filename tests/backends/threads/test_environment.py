"""Threads have the environment of their process: a job may lend it its own, a task may not."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

import minray


@pytest.fixture
def job() -> Any:
    """Starts a run with a runtime environment."""
    yield lambda **env: minray.init(backend="threads", num_cpus=1, runtime_env=env)
    minray.shutdown()


def test_a_task_cannot_have_an_environment_of_its_own(job: Any) -> None:
    job(env_vars={"LENT": "job"})
    same = minray.remote(lambda: os.environ["LENT"]).options(runtime_env={"env_vars": {"LENT": "job"}})
    assert minray.get(same.remote()) == "job"
    with pytest.raises(NotImplementedError, match=r"threads backend cannot give .* use init\(backend='loky'\)"):
        same.options(runtime_env={"env_vars": {"LENT": "task"}}).remote()


def test_what_a_job_has_lent_is_taken_back(job: Any) -> None:
    job(env_vars={"LENT": "job"})
    assert os.environ["LENT"] == "job"
    minray.shutdown()
    assert "LENT" not in os.environ


def test_another_current_directory_is_refused(job: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotImplementedError, match="current directory"):
        job(working_dir=str(tmp_path))
    assert not minray.is_initialized()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "of_the_job.py").write_text("VALUE = 4\n")
    job(working_dir=str(tmp_path))
    assert minray.get(minray.remote(lambda: __import__("of_the_job").VALUE).remote()) == 4


def test_gpus_are_told_and_not_set(job: Any) -> None:
    minray.init(backend="threads", num_cpus=1, num_gpus=1)
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    task = minray.remote(num_gpus=1)(lambda: (minray.get_gpu_ids(), os.environ.get("CUDA_VISIBLE_DEVICES")))
    assert minray.get(task.remote()) == ([0], before)


def test_an_environment_whose_hook_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hook() -> None:
        raise RuntimeError("no luck")

    monkeypatch.delenv("OF_THE_JOB", raising=False)
    environment = {"env_vars": {"OF_THE_JOB": "1"}, "py_modules": [str(tmp_path)], "worker_process_setup_hook": hook}
    before = list(sys.path)
    with pytest.raises(RuntimeError, match="no luck"):
        minray.init(backend="threads", runtime_env=environment)
    assert "OF_THE_JOB" not in os.environ
    assert sys.path == before
    assert not minray.is_initialized()
