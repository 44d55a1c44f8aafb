"""Wherever a driver runs, it works and leaves nothing: notebooks, debuggers, a REPL, a read-only system, and others."""

from __future__ import annotations

import importlib.util
import os
import signal
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

import minray
from tests.backends.conftest import directories
from tests.backends.loky.test_exit import BUSY

pytestmark = pytest.mark.slow

WORK = """
    import os, sys
    import minray
    import numpy as np

    @minray.remote
    def total(array):
        return float(array.sum())

    @minray.remote
    class Counter:
        def __init__(self):
            self.number = 0

        def up(self):
            self.number += 1
            return self.number

    minray.init(num_cpus=2)
    counter = Counter.remote()
    ref = minray.put(np.ones(200_000))
    print(minray.get([total.remote(ref), counter.up.remote(), counter.up.remote()]))
"""
WORKED = "[200000.0, 1, 2]\n"


# -- how soon ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "seconds"),
    [(signal.SIGINT, 0.3), (signal.SIGTERM, 1.0), (signal.SIGKILL, 1.0)],
    ids=["Ctrl-C", "SIGTERM", "SIGKILL"],
)
def test_nothing_is_left_soon(start: Callable[..., Any], number: signal.Signals, seconds: float) -> None:
    """The best of a few, as the machine may do much else."""
    best = 60.0
    for _ in range(5):
        program = start(BUSY + "    minray.get(refs[1:])\n")
        program.says("here\n")
        family = program.family()
        begun = time.monotonic()
        if number == signal.SIGINT:
            program.interrupt()
            program.process.wait(20)
        else:
            os.kill(program.pid, number)
            program.process.wait(20)
            while any(process.is_running() and process.status() != psutil.STATUS_ZOMBIE for process in family):
                time.sleep(0.005)
        best = min(best, time.monotonic() - begun)
        program.ends()
        if best < seconds:
            return
    raise AssertionError(f"the best of five took {best} s")


def test_fifty_runs_in_one_process_leak_nothing(eventually: Callable[..., Any]) -> None:
    """MINRAY_RUNS=1000 for the long form."""
    me = psutil.Process()
    rounds = int(os.environ.get("MINRAY_RUNS", "50"))
    before = (0, 0, 0)
    for round in range(rounds):
        minray.init(backend="loky", num_cpus=1)
        minray.shutdown()
        if round == rounds // 5:
            before = me.num_fds(), me.num_threads(), me.memory_info().rss
    assert me.num_fds() <= before[0]
    eventually(lambda: me.num_threads() <= before[1])
    assert me.memory_info().rss - before[2] < 4_000_000 + 2_000 * rounds
    eventually(lambda: not me.children(recursive=True))


# -- who runs the driver ----------------------------------------------------------------------------------------------


def test_a_debugger_that_is_killed(start: Callable[..., Any], tmp_path: Path) -> None:
    """The driver stands in the debugger when that is killed, with all that it has under way."""
    os.mkfifo(tmp_path / "keyboard")
    reader = os.open(tmp_path / "keyboard", os.O_RDWR)  # nobody ever types anything
    program = start(BUSY + f"    sys.stdin = open({str(tmp_path / 'keyboard')!r})\n    breakpoint()\n    print('on')\n")
    program.says("(Pdb)")
    os.kill(program.pid, signal.SIGKILL)
    assert program.ends(5) == -signal.SIGKILL
    os.close(reader)


def test_a_program_under_pdb(start: Callable[..., Any]) -> None:
    program = start(WORK, args=["-m", "pdb", "-c", "continue"])
    assert program.ends() == 0
    assert WORKED in program.out


def test_a_repl(start: Callable[..., Any]) -> None:
    """Functions and classes are typed in, and typed in anew."""
    text = textwrap.dedent(
        """
        import minray
        import numpy as np
        ref = minray.put(np.ones(200_000))
        @minray.remote
        def total(array):
            return float(array.sum())

        print(minray.get(total.remote(ref)))
        @minray.remote
        class Counter:
            def up(self):
                return "up"

        print(minray.get(Counter.remote().up.remote()))
        """
    ) + textwrap.dedent(
        """
        @minray.remote
        def total(array):
            return "redefined"

        print(minray.get(total.remote(ref)))
        """
    )
    program = start(text, how="stdin", args=["-i", "-q"])
    assert program.ends() == 0
    assert program.out.splitlines() == ["200000.0", "up", "redefined"]


@pytest.mark.skipif(importlib.util.find_spec("xdist") is None, reason="pytest-xdist is not installed (tox -e around)")
def test_tests_that_run_in_several_processes_at_once(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        textwrap.dedent(
            """
            import minray, pytest

            @pytest.fixture(scope="module")
            def ray():
                with minray.init(backend="loky", num_cpus=1):
                    yield minray

            @pytest.mark.parametrize("number", range(8))
            def test_it(ray, number):
                @ray.remote
                class Actor:
                    def double(self, x):
                        return 2 * x

                actor = Actor.options(num_cpus=0, name=f"a{number}").remote()
                assert ray.get(actor.double.remote(number)) == 2 * number
            """
        )
    )
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", str(tmp_path)]
    output = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert "8 passed" in output.stdout, output.stdout + output.stderr


@pytest.mark.skipif(
    importlib.util.find_spec("ipykernel") is None or importlib.util.find_spec("jupyter_client") is None,
    reason="ipykernel and jupyter_client are not installed (tox -e around)",
)
@pytest.mark.filterwarnings("ignore")
def test_a_notebook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., Any]) -> None:
    """Cells run, are interrupted, redefine functions; the kernel is restarted, and ends."""
    from jupyter_client.manager import KernelManager

    for name in ("JUPYTER_RUNTIME_DIR", "IPYTHONDIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    manager: Any = KernelManager()
    manager.kernel_spec.argv[0] = sys.executable
    manager.start_kernel()
    client = manager.client()
    client.start_channels()
    client.wait_for_ready(timeout=60)

    def run(code: str) -> str:
        """What a cell prints, and the name of its error."""
        said: list[str] = []

        def hear(message: Any) -> None:
            content = message["content"]
            said.append(content.get("text", "") + content.get("ename", ""))

        client.execute_interactive(textwrap.dedent(code), timeout=60, output_hook=hear)
        return "".join(said)

    def children() -> list[psutil.Process]:
        kernel = psutil.Process(manager.provisioner.pid)
        return kernel.children(recursive=True)

    try:
        assert WORKED in run(WORK)
        again = """
            @minray.remote
            def total(array):
                print("from a task")
                return "redefined"

            print(minray.get(total.remote(ref)))
        """
        assert "redefined" in run(again)
        family = children()
        assert family
        kernels = [manager.provisioner.pid]
        manager.restart_kernel(now=True)
        client.wait_for_ready(timeout=60)
        eventually(lambda: not any(one.is_running() for one in family), 5)
        kernels.append(manager.provisioner.pid)
        assert WORKED in run(WORK)
        family = children()
    finally:
        manager.shutdown_kernel(now=True)
        client.stop_channels()
    eventually(lambda: not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in family), 5)
    eventually(lambda: not any(map(directories, kernels)), 5)


# -- where it runs ----------------------------------------------------------------------------------------------------


def in_a_namespace(script: str, setup: str, tmp_path: Path, prefix: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program after `setup`, shell commands that change which file systems it sees. Skips where that is not
    allowed."""
    if os.getuid() or subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs root and unshare, for a mount namespace of its own")
    (tmp_path / "program.py").write_text(textwrap.dedent(script))
    command = f"set -e; {setup}; exec {prefix} {sys.executable} {tmp_path}/program.py"
    environment = {**os.environ, "MINRAY_BACKEND": "loky", "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/"}
    environment.pop("TMPDIR", None)
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", command], capture_output=True, text=True, env=environment, check=False
    )


def test_a_read_only_container_with_a_small_shared_memory(tmp_path: Path) -> None:
    """As ``docker run --read-only``: nothing can be written but 64 MB of /dev/shm."""
    setup = "mount --make-rprivate /; mount -o remount,ro,bind /; mount -t tmpfs -o size=64m tmpfs /dev/shm"
    for at in ("/tmp", "/var/tmp", str(tmp_path)):
        if os.path.ismount(at):
            setup += f"; mount -o remount,ro,bind {at}"
    done = in_a_namespace(WORK + "    print(os.access('/tmp', os.W_OK))\n", setup, tmp_path)
    assert (done.stdout, done.stderr) == (WORKED + "False\n", "")


def test_another_user(tmp_path: Path) -> None:
    """Nobody in particular, who owns no file and has no home."""
    setup = "mount --make-rprivate /"
    kept = Path(f"/dev/shm/kept-{os.getpid()}")
    for number, prefix in enumerate((sys.base_prefix, sys.prefix)):
        closed = [path for path in Path(prefix).parents if not path.stat().st_mode & stat.S_IXOTH]
        if closed:  # the interpreter, or its environment, is in a directory of somebody's own: show that alone
            setup += (
                f"; mkdir -p {kept}/{number}; mount --bind {prefix} {kept}/{number}; "
                f"mount -t tmpfs -o mode=755 tmpfs {closed[-1]}; mkdir -p {prefix}; "
                f"mount --bind {kept}/{number} {prefix}"
            )
    for path in (tmp_path, *tmp_path.parents):
        if path.owner() and path != Path("/") and not path.stat().st_mode & stat.S_IXOTH:
            path.chmod(path.stat().st_mode | stat.S_IXOTH | stat.S_IROTH)
    as_nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups"
    try:
        done = in_a_namespace(WORK + "    print(os.getuid())\n", setup, tmp_path, as_nobody)
    finally:
        for empty in (kept / "0", kept / "1", kept):  # what was mounted there, was in that namespace alone
            if empty.is_dir():
                empty.rmdir()
    assert (done.stdout, done.stderr) == (WORKED + "65534\n", "")
