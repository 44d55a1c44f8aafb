"""Nobody but the run can talk to it, and what a worker sends is not executed before it is known to be a worker's."""

from __future__ import annotations

import os
import pickle
import socket
import stat
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

import minray
from minray.wire import framing, messages
from minray.wire.framing import Framer


def sockets(process: psutil.Process) -> list[Any]:
    return process.net_connections("all")


def test_no_process_of_a_run_listens_anywhere_and_all_sockets_are_nameless_pairs(ray: Any) -> None:
    @ray.remote
    class Actor:
        def ping(self) -> str:
            return "pong"

    actor = Actor.remote()
    ray.get(actor.ping.remote())
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        for one in sockets(process):
            assert one.status != psutil.CONN_LISTEN, (process, one)
            if one.family == socket.AF_UNIX and process.pid != os.getpid():
                assert not one.laddr, f"{process} has a socket that others can connect to: {one}"
    assert not any(path.is_socket() for at in files(os.getpid()) for path in at.rglob("*"))


def files(pid: int) -> list[Path]:
    places = {Path("/dev/shm"), Path(tempfile.gettempdir())}
    return [path for at in places if at.is_dir() for path in at.glob(f"minray-{pid}-*")]


def test_directories_and_files_are_their_owners_alone(ray: Any) -> None:
    import numpy as np

    old = os.umask(0)  # whatever the user's
    try:
        ref = ray.put(np.ones(100_000))
    finally:
        os.umask(old)
    found = files(os.getpid())
    assert found
    for directory in found:
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700 and directory.stat().st_uid == os.getuid()
        for path in directory.rglob("*"):
            assert not stat.S_IMODE(path.stat().st_mode) & 0o077, path
    del ref


class Executed(Exception):
    pass


class Bomb:
    """What unpickles to a call of a function."""

    def __reduce__(self) -> Any:
        return _explode, ()


def _explode() -> None:
    raise Executed


@pytest.mark.parametrize(
    "message",
    [
        (messages.DONE, 1, ((2, pickle.dumps(Bomb()), ()),), 0.0),
        (messages.FAILED, 1, (8, pickle.dumps(Bomb()), ()), False, 0.0),
        (messages.PUT, 1 << 40, (2, pickle.dumps(Bomb()), ())),
    ],
)
def test_framing_makes_plain_values_of_bytes_and_unpickles_nothing(message: Any) -> None:
    assert Framer().feed(framing.frame([message])) == [message]


def test_what_is_no_frame_ends_the_worker_that_sent_it(
    ray: Any,
) -> None:
    """A worker whose channel carries rubbish is killed; the driver goes on."""

    @ray.remote(max_retries=0)
    def scribble() -> None:
        for fd in range(3, 64):
            try:
                if stat.S_ISSOCK(os.fstat(fd).st_mode):
                    os.write(fd, b"\xff" * 64)
            except OSError:
                continue
        time.sleep(60)

    with pytest.raises(minray.exceptions.WorkerCrashedError):
        ray.get(scribble.remote())
    assert ray.get(ray.remote(lambda: 1).remote()) == 1
