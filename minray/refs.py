"""`ObjectRef`: a future value, and one counted reference to it.

A ref is an id and the session that counts it. Whoever makes one has had the session count it already; the ref gives
that count back when it is collected. So an object lives for as long as any process holds a ref to it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from minray.ids import JobID, TaskID, bytes_to_id, id_to_bytes
from minray.session import Session, current

if TYPE_CHECKING:
    import asyncio
    import concurrent.futures

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class ObjectRef(Generic[T_co]):
    """A reference to a value of type `T` that a task computes, or that `minray.put` stored.

    Get the value with `minray.get(ref)` or ``await ref``; give the ref to another task as an argument, which then waits
    for the value itself. Refs are hashable and compare by identity of the object, in every process.
    """

    __slots__ = ("_id", "_session")

    def __init__(self, id: int | bytes, session: Session | None = None) -> None:
        """The ref with these bytes, as `binary()` gave them, in this session.

        It is of use for as long as other refs keep its object; an id that no object has is that of one which was lost.
        TypeError, ValueError: `id` is not 28 bytes.
        """
        if session is None:
            self._id, self._session = _known(id)
        else:  # minray's own: adopt one count of `id` that `session` has already taken
            assert isinstance(id, int)
            self._id = id
            self._session = session

    def __del__(self) -> None:
        try:
            self._session.release(self._id)
        except Exception:  # at interpreter shutdown anything may be gone already, and so is the run
            return

    if not TYPE_CHECKING:  # to a type checker a name that is not here is wrong

        def __getattr__(self, name: str) -> Any:
            text = f"'ObjectRef' object has no attribute '{name}'"
            if not name.startswith("__"):  # not looked for by pickle, numpy and others, who know what to do
                text += ". If the value has it, write minray.get(ref) first."
            raise AttributeError(text)

    def __hash__(self) -> int:
        return hash(self._id)

    def __eq__(self, other: object) -> bool:
        return self._id == other._id if isinstance(other, ObjectRef) else NotImplemented

    def __repr__(self) -> str:
        return f"ObjectRef({self.hex()})"

    @classmethod
    def from_binary(cls, id_bytes: bytes) -> ObjectRef[Any]:
        """The ref with these bytes: see `ObjectRef`."""
        return cls(id_bytes)

    @classmethod
    def from_random(cls) -> ObjectRef[Any]:
        """A ref with an id that no object has."""
        return cls(os.urandom(cls.size()))

    def binary(self) -> bytes:
        """The object's id as 28 bytes."""
        return id_to_bytes(self._id)

    def hex(self) -> str:
        """The object's id as 56 hexadecimal digits."""
        return self.binary().hex()

    @classmethod
    def nil(cls) -> ObjectRef[Any]:
        """A ref to nothing: what `ObjectRefGenerator._next_sync` gives after a time-out."""
        return _NilRef()

    def is_nil(self) -> bool:
        """Whether it refers to nothing."""
        return self._id == _NIL

    def task_id(self) -> TaskID:
        """The task that makes the object: what ``get_runtime_context().get_task_id()`` says inside it."""
        return TaskID(self.binary()[: TaskID.size()])

    def job_id(self) -> JobID:
        """The job that made the ref."""
        return self.task_id().job_id()

    def call_site(self) -> str:
        """Where it was made: "", as in Ray, which records that only for who debugs its memory."""
        return ""

    @staticmethod
    def size() -> int:
        """The length of `binary()`."""
        return 28

    def __reduce__(self) -> tuple[Callable[[int], ObjectRef[Any]], tuple[int]]:
        # Pickled by hand, so nobody knows how many refs will come out of the bytes, or when: the object stays.
        self._session.pin(self._id)
        return restore_ref, (self._id,)

    def __copy__(self) -> ObjectRef[T_co]:
        self._session.retain(self._id)
        return ObjectRef(self._id, self._session)

    def __deepcopy__(self, memo: dict[int, Any]) -> ObjectRef[T_co]:
        return self.__copy__()

    def future(self) -> concurrent.futures.Future[T_co]:
        """A `concurrent.futures.Future` of the value. Cancelling the future leaves the task alone."""
        import concurrent.futures

        future: concurrent.futures.Future[T_co] = concurrent.futures.Future()

        def finish(read: Callable[[], Any]) -> None:
            if future.set_running_or_notify_cancel():
                self._finish(read, future.set_result, future.set_exception)

        self._session.fetch(self._id, finish)
        return future

    def as_future(self) -> asyncio.Future[T_co]:
        """An `asyncio.Future` of the value, in the running event loop."""
        import asyncio

        loop = asyncio.get_running_loop()
        future: asyncio.Future[T_co] = loop.create_future()

        def fail(error: BaseException) -> None:
            if isinstance(error, StopIteration):  # would look like the end of the coroutine that awaits it (PEP 479)
                error, stop = RuntimeError(str(error)), error
                error.__cause__ = stop
            future.set_exception(error)

        def finish(read: Callable[[], Any]) -> None:
            if not future.done():
                self._finish(read, future.set_result, fail)
                # The step of a coroutine that this wakes has the value, or the error and so the frames that it came
                # through, until it is over, which may be the end of the call.
                loop.call_soon(self._session.give_back)

        def ready(read: Callable[[], Any]) -> None:
            try:
                loop.call_soon_threadsafe(finish, read)
            except RuntimeError:  # the loop was closed: nobody waits any more
                return

        self._session.fetch(self._id, ready, on_loop=True)
        return future

    def __await__(self) -> Generator[Any, None, T_co]:
        return self.as_future().__await__()

    def _finish(
        self,
        read: Callable[[], Any],
        set_result: Callable[[Any], None],
        set_exception: Callable[[BaseException], None],
    ) -> None:
        try:
            value = read()[0]
        except BaseException as error:
            # Its traceback has this frame, which knows the future: a cycle, with all that the error will pass through.
            set_exception(error.with_traceback(None))
        else:
            set_result(value)


#: The id of nothing.
_NIL = -1


class _NilRef(ObjectRef[Any]):
    """The ref to nothing, also where minray does not run. Nobody counts it."""

    __slots__ = ()

    def __init__(self) -> None:
        self._id = _NIL

    def __del__(self) -> None:
        """Nothing to give back."""

    def __reduce__(self) -> Any:
        return _NilRef, ()

    def __copy__(self) -> ObjectRef[Any]:
        return self


def id_of(ref: ObjectRef[Any]) -> int:
    """The id of a ref that is about to be used. ValueError: its run has ended, or it refers to nothing."""
    if ref._id < 0:
        raise ValueError(f"{ref!r} refers to no object: nothing can be waited for or got.")
    if ref._session.closed:
        raise ValueError(
            f"{ref!r} was made in an earlier session, which minray.shutdown() has ended, and its object with it. "
            "Make it again in this session."
        )
    return ref._id


_session_of, _number_of = attrgetter("_session"), attrgetter("_id")


def ids_of(refs: Sequence[Any]) -> list[int] | None:
    """`id_of` each, if they are refs of one session that lives, as nearly all long lists are; None: look at each."""
    if set(map(type, refs)) == {ObjectRef}:
        sessions = set(map(_session_of, refs))
        if len(sessions) == 1 and not sessions.pop().closed:
            return list(map(_number_of, refs))
    return None


def _known(id: Any) -> tuple[int, Session]:
    """The int of an id that a user has, and the session that counts it from here on."""
    if not isinstance(id, bytes):
        raise TypeError(f"Unsupported type: {type(id)}, expected bytes")
    if len(id) != ObjectRef.size():
        raise ValueError(f"ID string needs to have length {ObjectRef.size()}, got {len(id)}")
    session = current()
    if session is None:
        raise RuntimeError("An ObjectRef was made where minray is not running. Call minray.init() first.")
    number = bytes_to_id(id)
    session.retain(number)
    return number, session


def restore_ref(id: int) -> ObjectRef[Any]:
    """Unpickle a ref in the process, and in the session, that it arrived in."""
    session = current()
    if session is None:
        raise RuntimeError(
            "An ObjectRef was unpickled where minray is not running. Call minray.init() first; a ref is only of use in "
            "the session that it was made in."
        )
    session.retain(id)
    return ObjectRef(id, session)
