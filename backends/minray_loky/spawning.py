"""How the template is started: by loky, in a way that nobody else in the process who uses loky or joblib notices.

Signals that are sent to the whole group do not reach it before it has said that it ignores them.
"""

from __future__ import annotations

import multiprocessing.context as mp_context
import signal
from collections.abc import Callable
from multiprocessing import process as mp_process
from multiprocessing.reduction import DupFd
from typing import Any

# Loky registers itself as a start method of multiprocessing, and joblib the copy of loky that it has inside: by the
# same name, under which each looks itself up. Whoever comes second takes the place of the first, which then mixes up
# the trackers of both. So what was there is put back, and we do without the name.
_methods: dict[str, Any] = mp_context._concrete_contexts  # type: ignore[attr-defined]
_before = dict(_methods)
import loky  # noqa: E402
from loky.backend import resource_tracker  # noqa: E402
from loky.backend.context import LokyContext  # noqa: E402

_methods.update(_before)

loky_tracker: Any = resource_tracker
cpu_count: Callable[[], int] = loky.cpu_count

__all__ = ["GROUP_SIGNALS", "Inherited", "cpu_count", "loky_tracker", "start_process"]

#: What a terminal sends to the whole group: it ends the driver, or means something to it, and to nobody else.
GROUP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Inherited:
    """A descriptor on its way to the template, where it arrives as an int."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def __reduce__(self) -> Any:
        return _adopt, (DupFd(self._fd),)


def _adopt(fd: Any) -> int:
    adopted: int = fd.detach()
    return adopted


def start_process(target: Callable[..., None], args: tuple[Any, ...], name: str, environment: dict[str, str]) -> Any:
    """Start a process that runs ``target(*args)``, with no module of the driver's but those that these need.

    `GROUP_SIGNALS` are blocked in it: Ctrl-C must not end it while Python starts, with a traceback on the terminal. It
    unblocks them when it has said what they are to do.
    """
    started: Any = LokyContext().Process(target=target, args=args, name=name, daemon=True, env=environment)
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, GROUP_SIGNALS)
    try:
        started.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    mp_process._children.discard(started)  # type: ignore[attr-defined]  # or a fork of the driver would end it, too
    return started
