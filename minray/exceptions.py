"""Every error that minray raises, under Ray's names and in Ray's hierarchy (`ray.exceptions`).

What a user meets most is `RayTaskError`: a task or actor method raised, somewhere else. It travels in three steps:

1. The worker calls `RayTaskError.from_exception(name, exc, ...)`, which keeps the exception (`cause`) and the text of
   its traceback, from the user's first frame on: a traceback object itself cannot leave its process.
2. The error is pickled, stored as the value of each of the call's results, and handed on to the calls that depend on
   them.
3. `minray.get` raises `error.as_instanceof_cause()`: an instance of both `RayTaskError` and the cause's own type, so
   that ``except ValueError`` works at the caller as it would have worked inside the task.

This module imports nothing of minray but `causes`, so that every layer may use it.
"""

from __future__ import annotations

import os
from typing import Any

from minray.causes import combine, pack, unpack

_PACKAGE = os.path.dirname(__file__) + os.sep


class RayError(Exception):
    """The base of everything that minray itself raises about a task, an actor or an object.

    Subclasses pass all their arguments on to `Exception`, which makes them picklable as they are. `_message` is what an
    error of the class says before whatever it was made with.
    """

    _message = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self._message, super().__str__())))


class _WithMessage(RayError):
    @property
    def message(self) -> Any:
        """What the error was made with."""
        return self.args[0] if self.args else None


class _WithErrorMessage(RayError):
    @property
    def error_message(self) -> Any:
        """What the error was made with."""
        return self.args[0] if self.args else None


# --- A task raised -----------------------------------------------------------------------------------------------


class RayTaskError(RayError):
    """A task or an actor's method raised an exception, which is `cause`.

    `function_name` is what the task is called, `traceback_str` the remote traceback's text, `pid` the process in which
    it ran. `actor_repr` and `actor_id` are set for errors of actors.
    """

    def __init__(
        self,
        function_name: str,
        traceback_str: str,
        cause: BaseException,
        proctitle: str | None = None,
        pid: int | None = None,
        ip: str | None = None,
        actor_repr: str | None = None,
        actor_id: str | None = None,
    ) -> None:
        self.function_name = function_name
        self.traceback_str = traceback_str
        self.cause = cause
        self.proctitle = proctitle or f"minray::{function_name}"
        self.pid = pid or os.getpid()
        self.ip = ip
        self.actor_repr = actor_repr
        self._actor_id = actor_id
        super().__init__(function_name, traceback_str, cause, self.proctitle, self.pid, ip, actor_repr, actor_id)

    @classmethod
    def from_exception(
        cls,
        name: str,
        exc: BaseException,
        pid: int | None = None,
        *,
        actor_repr: str | None = None,
        actor_id: str | None = None,
    ) -> RayTaskError:
        """What the worker stores when user code raised `exc` in the task `name`.

        If `exc` is itself the error of a task (which this one waited for), its cause is kept and its text shows both
        tasks. If `exc` cannot be pickled, the result's cause is a `RayError` that says so and shows its repr.
        """
        text = _user_traceback(exc)
        cause = exc.cause if isinstance(exc, RayTaskError) else exc
        try:
            pack(cause)
        except Exception as error:  # whatever pickle and the user's __reduce__ raise
            what = f"The exception {_safe_repr(cause)} could not be pickled: {type(error).__name__}: {error}"
            cause = RayError(f"{what}\nIt was raised here:\n{text}")
        return cls(name, text, cause, pid=pid or os.getpid(), actor_repr=actor_repr, actor_id=actor_id)

    def for_dependant(self, name: str) -> RayTaskError:
        """The error of the task `name`, which could not run because this error stands for one of its arguments."""
        text = (
            "Traceback (most recent call last):\n"
            "  At least one of the input arguments for this task could not be computed:\n"
            f"{_type_name(RayTaskError)}: {self}"
        )
        return RayTaskError(name, text, self.cause, pid=self.pid, ip=self.ip)

    def as_instanceof_cause(self) -> RayTaskError:
        """This error as an instance of the cause's type too.

        Its `args` are ``(cause,)``; attributes and methods of the cause work on it. A cause whose type cannot be
        derived from (`__init_subclass__` forbids it, say) or that `RayTaskError` already is an instance of leaves
        ``self``.
        """
        if issubclass(RayTaskError, type(self.cause)):
            return self
        try:
            return combine(self, self.cause)
        except Exception:  # the user's metaclass, __init_subclass__ or __setattr__ may raise anything
            return self

    def __str__(self) -> str:
        where = f"{self.proctitle}() (pid={self.pid}"
        if self.ip:
            where += f", ip={self.ip}"
        if self.actor_repr:
            where += f", actor_id={self._actor_id}, repr={self.actor_repr}"
        header, _, rest = self.traceback_str.strip().partition("\n")
        if not header.startswith("Traceback "):  # an exception group draws a frame around its traceback
            return f"{where})\n{self.traceback_str.strip()}"
        return f"{where})\n{rest}"

    def __reduce__(self) -> tuple[Any, ...]:
        # The cause goes as bytes of its own: so plain pickle is enough for the error, whatever the cause is made of.
        return _restore, (pack(self.cause), *self.args[:2], None, *self.args[3:])


def _restore(packed: bytes, name: str, text: str, _: None, *rest: Any) -> RayTaskError:
    try:
        cause = unpack(packed)
    except Exception as error:  # a module that is missing here, a constructor that behaves differently here
        cause = UnserializableException(f"{text}\n(It could not be rebuilt here: {type(error).__name__}: {error})")
    return RayTaskError(name, text, cause, *rest)


def _safe_repr(cause: BaseException) -> str:
    try:
        return repr(cause)
    except Exception:  # the user's __repr__ may raise anything
        return object.__repr__(cause)


def _type_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _user_traceback(exc: BaseException) -> str:
    """The text of a traceback from the first frame that is not minray's own; of minray's errors, up to the last."""
    import traceback

    tb = exc.__traceback__
    while tb is not None and tb.tb_frame.f_globals.get("__name__", "").partition(".")[0] == "minray":
        tb = tb.tb_next
    text = traceback.TracebackException(type(exc), exc, tb)
    if isinstance(exc, RayError):
        while text.stack and text.stack[-1].filename.startswith(_PACKAGE):
            text.stack.pop()
    return "".join(text.format())


# --- Cancellation and time-outs ----------------------------------------------------------------------------------


class TaskCancelledError(RayError):
    """The task was cancelled before it finished."""

    def __init__(self, task_id: Any = None, error_message: str | None = None) -> None:
        super().__init__(task_id, error_message)
        self.task_id = task_id
        self.error_message = error_message

    def __str__(self) -> str:
        task = f"Task: {self.task_id} was cancelled. " if self.task_id else ""
        return task + (self.error_message or "")


class GetTimeoutError(RayError, TimeoutError):
    """`minray.get` was given a time-out, and an object was not ready in time."""


class DeadlockError(RayError):
    """Tasks wait for each other in a circle, so none of them can ever finish. (Ray would hang.)

    The message lists who waits for whom.
    """


class LivelockError(RayError):
    """A simulated run has not ended after very many steps: something goes on for ever. (Ray would, too.)"""


# --- Workers, actors and nodes that died -------------------------------------------------------------------------


class WorkerCrashedError(RayError):
    """The process that ran the task died under it."""

    _message = "The worker died unexpectedly while executing this task."


class LocalRayletDiedError(RayError):
    """The node's own scheduler died."""

    _message = "The task's node died."


class NodeDiedError(_WithMessage):
    """A machine died, or can no longer be reached."""


class OutOfMemoryError(_WithMessage):
    """The worker was ended because its machine ran out of memory."""


class RayActorError(RayError):
    """An actor could not finish a call: it is dead (`ActorDiedError`) or out of reach (`ActorUnavailableError`)."""

    BASE_ERROR_MSG = "The actor experienced an error before finishing this task."

    def __init__(
        self,
        actor_id: str | None = None,
        error_msg: str = BASE_ERROR_MSG,
        actor_init_failed: bool = False,
        preempted: bool = False,
    ) -> None:
        super().__init__(actor_id, error_msg, actor_init_failed, preempted)
        self.actor_id = actor_id
        self.error_msg = error_msg
        self.actor_init_failed = actor_init_failed
        self.preempted = preempted

    def __str__(self) -> str:
        return self.error_msg


class ActorDiedError(RayActorError):
    """The actor is dead, and it will not come back.

    `cause` is the `RayTaskError` of its `__init__`, or words that say why it died, or None if nobody knows.
    """

    BASE_ERROR_MSG = "The actor died unexpectedly before finishing this task."

    def __init__(self, cause: RayTaskError | str | None = None, actor_id: str | None = None) -> None:
        if isinstance(cause, RayTaskError):
            message = f"The actor died because of an error raised in its creation task, {cause}"
            super().__init__(actor_id or cause._actor_id, message, True)
        else:
            super().__init__(actor_id, "\n".join(filter(None, (self.BASE_ERROR_MSG, cause))))
        self.args = (cause, actor_id)


class ActorUnavailableError(RayActorError):
    """The actor cannot be reached at the moment (it is being restarted): the call may or may not have run."""

    def __init__(self, error_message: str, actor_id: bytes | str | None = None) -> None:
        name = actor_id.hex() if isinstance(actor_id, bytes) else actor_id
        hint = "The task may or may not have been executed on the actor."
        super().__init__(name, f"The actor {name} is unavailable: {error_message}. {hint}")
        self.args = (error_message, actor_id)


class ActorAlreadyExistsError(ValueError, _WithErrorMessage):
    """The name asked for belongs to a living actor of the same namespace."""


class ActorHandleNotFoundError(ValueError, _WithErrorMessage):
    """The handle belongs to a session that is over."""


class AsyncioActorExit(RayError):
    """An async actor ended itself with `exit_actor()`."""


class PendingCallsLimitExceeded(RayError):
    """The actor has `max_pending_calls` calls waiting already."""


# --- Objects -----------------------------------------------------------------------------------------------------


class ObjectLostError(RayError):
    """No copy of the object is left, and it cannot be made again."""

    reason: Any = "All copies of it have been lost."

    def __init__(self, object_ref_hex: str, owner_address: bytes | None = None, call_site: str = "") -> None:
        super().__init__(object_ref_hex, owner_address, call_site)
        self.object_ref_hex = object_ref_hex
        self.owner_address = owner_address
        self.call_site = call_site

    def __str__(self) -> str:
        made = f" The ObjectRef was created at: {self.call_site}" if self.call_site else ""
        return f"Failed to retrieve object {self.object_ref_hex}. {self.reason}{made}"


class ObjectFetchTimedOutError(ObjectLostError):
    """Nobody who has the object answered in time."""

    reason = "Nobody who might have a copy answered in time."


class ReferenceCountingAssertionError(ObjectLostError, AssertionError):
    """The object was deleted while a reference to it still existed. This is a bug."""

    reason = "It was deleted while a reference to it still existed, which should not happen."


class ObjectFreedError(ObjectLostError):
    """The object was freed by hand."""

    reason = "It was freed by hand; free an object only when nothing needs it any more."


class OwnerDiedError(ObjectLostError):
    """The process that made the reference (by `.remote()` or `put`) is gone, and the object with it."""

    reason = "The process that owned it (which called `.remote()` or `put`) has exited."


class ObjectReconstructionFailedError(ObjectLostError):
    """The object was lost, and running its task again did not bring it back."""

    reason = "It was lost, and could not be computed again."

    def __init__(
        self,
        object_ref_hex: str,
        reason: Any = None,
        reason_message: str | None = None,
        owner_address: bytes | None = None,
        call_site: str = "",
    ) -> None:
        super().__init__(object_ref_hex, owner_address, call_site)
        self.args = (object_ref_hex, reason, reason_message, owner_address, call_site)
        self.reason = reason_message or type(self).reason


class ObjectStoreFullError(RayError):
    """The store is full of objects that are still referred to."""

    _message = "The object store is full of objects that are still in use. Drop references to some of them."


class OutOfDiskError(RayError):
    """An object has to go to disk, and the disk is full."""

    _message = "The object store and the disk that it spills to are full."


class PlasmaObjectNotAvailable(RayError):
    """An object was not in the store in time."""


class ObjectRefStreamEndOfStreamError(RayError):
    """A generator task has no more references to give."""


class UnserializableException(RayError):
    """An error arrived that could not be unpickled here; the message is the original's text."""

    _message = "Failed to deserialize an exception. It was:\n"


class OufOfBandObjectRefSerializationException(RayError):
    """An ObjectRef was pickled by hand although that is forbidden. (The spelling is Ray's.)"""


# --- Everything else ---------------------------------------------------------------------------------------------


class RaySystemError(RayError):
    """Something inside minray went wrong."""

    def __init__(self, client_exc: Any, traceback_str: str | None = None) -> None:
        super().__init__(client_exc, traceback_str)
        self.client_exc = client_exc
        self.traceback_str = traceback_str

    def __str__(self) -> str:
        trace = f"\ntraceback: {self.traceback_str}" if self.traceback_str else ""
        return f"System error: {self.client_exc}{trace}"


class StreamingGeneratorReplayInconsistentError(RaySystemError):
    """An item of a generator was lost, and when the generator was run again it yielded fewer items than before."""


class RayChannelError(RaySystemError):
    """A compiled graph was run after its `teardown`."""


class RayChannelTimeoutError(RayChannelError, TimeoutError):
    """A compiled graph's channel was not ready in time. minray has none, and raises `GetTimeoutError`."""


class RayCgraphCapacityExceeded(RaySystemError):
    """Too many runs of a compiled graph are under way. minray sets no limit."""


class RayDirectTransportError(RaySystemError):
    """Tensors could not be handed from GPU to GPU. minray does not do that."""


class RuntimeEnvSetupError(_WithErrorMessage):
    """The `runtime_env` that a task or actor asks for could not be made."""

    _message = "Failed to set up runtime environment."


class TaskPlacementGroupRemoved(RayError):
    """The placement group that the task was to run in is gone."""

    _message = "The placement group corresponding to this task has been removed."


class ActorPlacementGroupRemoved(RayError):
    """The placement group that the actor lived in is gone."""

    _message = "The placement group corresponding to this Actor has been removed."


class TaskUnschedulableError(_WithErrorMessage):
    """The task can never run where it asks to run."""

    _message = "The task is not schedulable:"


class ActorUnschedulableError(_WithErrorMessage):
    """The actor can never live where it asks to live."""

    _message = "The actor is not schedulable:"


class AuthenticationError(_WithMessage):
    """A cluster did not accept this client."""


class CrossLanguageError(RayError):
    """An error from another language (of a Ray cluster)."""


class RpcError(_WithMessage):
    """The network failed between two processes."""

    def __init__(self, message: str, rpc_code: int | None = None) -> None:
        super().__init__(message, rpc_code)
        self.rpc_code = rpc_code

    def __str__(self) -> str:
        return str(self.message)


class UserCodeException(RayError):
    """Wraps an exception of the user's code, for libraries that run it."""
