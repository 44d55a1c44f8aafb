"""What the public API asks of whoever serves it, and which session serves the calling thread.

Three things are sessions: the driver's `minray.runtime.Runtime`, a worker's `minray.worker.Client`, and (for
backends that schedule for themselves) the engine's adapter. `minray.api`, `ObjectRef` and actor handles know only
this protocol, so that the same user code runs in a driver, in a task and in an actor.

Identifiers are ints, unique in a run. A call that makes n objects owns n consecutive ids, the first of which names the
task. An actor's id is an object id too: handles are counted as references are.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from minray import interrupts
from minray.exceptions import GetTimeoutError

if TYPE_CHECKING:
    from minray.core.template import ActorTemplate, Code, MethodTemplate, TaskTemplate
    from minray.measures import Measured


class Session(Protocol):
    """Serves the public API in one process (or, in the threads backend, in one worker thread)."""

    closed: bool  #: the run has ended: refs and handles of this session are of no use any more
    in_worker: bool  #: what runs here are tasks, not the driver
    resident: tuple[int, type] | None  #: the actor that lives here, and its class
    in_process: bool  #: workers are threads of the driver's process
    env: str  #: the runtime environment of this worker as in `minray.core.terms.Terms`: "" for the job's
    runtime_env: str  #: and written out, as JSON
    #: What the running call has got beyond its arguments: its `gpus`, its placement `group` and if that `captures`.
    given: Mapping[str, Any] | None

    def submit(self, template: TaskTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        """Submit a task; return its id. What `minray.core.numbering.counted_for` names is counted for the caller."""
        ...

    def create_actor(self, template: ActorTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        """Ask for an actor; return its id, counted once for the caller. ValueError: its name is taken."""
        ...

    def call(self, actor: int, template: MethodTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        """Queue a method call behind the caller's earlier ones; return its first object's id, as `submit` does."""
        ...

    def get(self, ids: Sequence[int], timeout: float | None) -> list[Any]:
        """Wait for all of `ids`; return fresh copies of their values.

        Raises the first failed object's error, and `GetTimeoutError` after `timeout` seconds.
        """
        ...

    def put(self, value: Any) -> int:
        """Store a value; return its id, counted once for the caller."""
        ...

    def wait(self, ids: Sequence[int], num_returns: int, timeout: float | None) -> set[int]:
        """Wait until `num_returns` of `ids` are ready or `timeout` seconds are over; return all that are ready."""
        ...

    def take(self, stream: int, timeout: float | None) -> Sequence[int] | None:
        """Wait for items of a stream (the handle's id: the one after its call's); the ids of some, each counted for the
        caller. Empty: there was none within `timeout` seconds. None: all have been taken."""
        ...

    def peek(self, stream: int) -> int:
        """The id of an object that is ready as soon as `take` would not wait: not counted, and not for `get`."""
        ...

    def kill(self, actor: int, no_restart: bool) -> None:
        """End an actor at once, whatever it is doing."""
        ...

    def is_cancelled(self) -> bool:
        """Whether somebody has cancelled the call that asks. RuntimeError: in an async actor, which hears otherwise."""
        ...

    def exit_actor(self) -> NoReturn:
        """End the calling actor, by an exception that leaves its method. TypeError: no actor's method calls this."""
        ...

    def find_actor(self, name: str, namespace: str | None) -> tuple[int, ActorTemplate]:
        """Look a named actor up. The id is not counted for the caller. ValueError: there is none."""
        ...

    def fetch(
        self,
        id: int,
        callback: Callable[[Callable[[], Any]], None],
        future: Any = None,
        on_loop: bool = False,
    ) -> None:
        """Call ``callback(read)`` once, from any thread, when the object is ready or failed (perhaps at once).

        ``read()`` does what `get` does, in a list of one, and never blocks; `callback` itself must not block either.
        `future` is what it finishes, for which the calling call may wait; `on_loop`: on the event loop of the calling
        thread, which does other things meanwhile.
        """
        ...

    def when_ready(self, id: int, callback: Callable[[], None], on_loop: bool = False) -> None:
        """Call `callback` once, from any thread, when the object is ready or failed (perhaps at once).

        `id` need not be counted for the caller. `callback` must not block. `on_loop` as for `fetch`.
        """
        ...

    def retain(self, id: int) -> None:
        """Count one more reference to `id` from this process."""
        ...

    def release(self, id: int) -> None:
        """Drop one reference. Called from `__del__`: takes no lock, never blocks, never raises."""
        ...

    def give_back(self) -> None:
        """References may have been dropped outside of any call: let the owner know. Any thread."""
        ...

    def pin(self, id: int) -> None:
        """Keep `id` until the run ends: it left by hand (`pickle.dumps(ref)`), so nobody can count it."""
        ...

    def code(self, target: Any, name: str) -> Code:
        """Pickle a function or class once. TypeError names the path to what cannot be pickled."""
        ...

    def ask(self, topic: str, *args: Any) -> Any:
        """Ask the owner (`minray.serving.Serving.questions`); `args` and the answer are plain values.

        Raises KeyError, RuntimeError, TypeError or ValueError, as the topic says.
        """
        ...

    def measured(self) -> Measured:
        """Where to note what is counted and measured in this process (`minray.util.metrics`)."""
        ...


class _Thread(threading.local):
    session: Session | None = None


_thread = _Thread()
_driver: Session | None = None
_starter: Callable[[], object] | None = None


def current() -> Session | None:
    """The session of the calling thread: its worker's if it runs inside a task, else the process's."""
    return _thread.session or _driver


def ensure() -> Session:
    """`current()`, after starting a run with all defaults if there is none."""
    if interrupts.put_off:
        interrupts.deliver()
    session = current()
    if session is None:
        assert _starter is not None, "minray.starting is imported"
        _starter()
        session = current()
        assert session is not None
    return session


def asked_about(refs: Session) -> Session:
    """The session to ask about refs that belong to `refs`: the calling thread's own, if it has one.

    A thread that a task starts in the threads backend has none, and the driver may not have heard yet of what the task
    has submitted: its refs know better.
    """
    if interrupts.put_off:
        interrupts.deliver()
    return _thread.session or refs


def timed_out(timeout: float | None) -> GetTimeoutError:
    """What `Session.get` raises when its time is over."""
    return GetTimeoutError(f"Get timed out: some object(s) not ready. Waited {timeout} seconds.")


def set_starter(start: Callable[[], object]) -> None:
    """Say how `ensure` starts a run: `minray.starting` gives its `init`, which those below it cannot import."""
    global _starter
    _starter = start


def set_driver(session: Session | None) -> None:
    """Make `session` the one for every thread of this process that has none of its own."""
    global _driver
    _driver = session


def set_thread(session: Session | None) -> None:
    """Make `session` the one for the calling thread (the threads backend's workers)."""
    _thread.session = session
