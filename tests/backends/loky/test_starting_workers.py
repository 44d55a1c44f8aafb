"""Where no worker can be started, the calls fail and say so: nothing hangs, and what the child said is seen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

PROGRAM = """
    import sys
    import minray

    @minray.remote
    def one():
        return 1

    @minray.remote
    class Actor:
        def ping(self):
            return "pong"

    {break_it}
    minray.init(num_cpus=2)
    try:
        minray.get(one.remote())
    except minray.exceptions.WorkerCrashedError as error:
        print("task:", error)
    try:
        minray.get(Actor.remote().ping.remote())
    except minray.exceptions.ActorDiedError as error:
        print("actor:", error)
    {mend_it}
"""


@pytest.mark.slow
def test_an_interpreter_that_is_not_there(start: Callable[..., Any]) -> None:
    """And once it is, everything works."""
    program = start(
        PROGRAM.format(
            break_it="there, sys.executable = sys.executable, '/nowhere/python'",
            mend_it="""
    sys.executable = there
    import time
    time.sleep(1)
    print("mended:", minray.get(one.remote()), minray.get(Actor.remote().ping.remote()))
    """,
        )
    )
    assert program.ends() == 0, program.err
    assert "task: The worker died" in program.out and "could not be started" in program.out
    assert "actor: The actor died" in program.out and program.out.endswith("mended: 1 pong\n")


@pytest.mark.slow
def test_an_interpreter_that_fails_to_start_is_heard(start: Callable[..., Any], tmp_path: Any) -> None:
    (tmp_path / "sitecustomize.py").write_text("import os\nif 'BROKEN' in os.environ: raise SystemExit('no luck')\n")
    break_it = f"import os; os.environ.update(BROKEN='1', PYTHONPATH={str(tmp_path)!r})"
    program = start(PROGRAM.format(break_it=break_it, mend_it=""))
    assert program.ends() == 0, program.err
    assert "could not be started: it ended with status 1" in program.out
    assert "no luck" in program.err


def test_a_module_that_is_broken_is_an_error_of_the_tasks_that_need_it(ray: Any, tmp_path: Any) -> None:
    (tmp_path / "broken_module.py").write_text("raise RuntimeError('broken module')\n")

    @ray.remote
    def need() -> None:
        import sys

        sys.path.insert(0, str(tmp_path))
        import broken_module  # type: ignore[import-not-found]  # noqa: F401

    with pytest.raises(RuntimeError, match="broken module"):
        ray.get(need.remote())
