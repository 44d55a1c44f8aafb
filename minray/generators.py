"""`ObjectRefGenerator`: what calling a remote generator gives, refs to its items as they come.

The first `next` that finds nothing waits for the next item, or for the end. Where no limit is set the refs of all items
that are there come at once and are handed out one by one, so that taking an item costs no message and no lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from minray import interrupts
from minray.exceptions import GetTimeoutError
from minray.refs import ObjectRef
from minray.session import Session

if TYPE_CHECKING:
    import asyncio

T_co = TypeVar("T_co", covariant=True)


class ObjectRefGenerator(Generic[T_co]):
    """Refs to what a generator yields, in its order: an iterator, and an asynchronous one (``async for``).

    An exception in the generator is its last item: a ref whose `get` raises. So is what ended it from outside (its
    worker died, say), where no retry is left. The generator runs ahead of its reader, by at most
    `_generator_backpressure_num_objects` items if that was given. Dropping an `ObjectRefGenerator` frees the items that
    were not taken; the generator runs to its end all the same.

    It belongs to the process that made the call and cannot be pickled. Not for several threads at a time. (To type
    checkers a call gives this only where the function says ``num_returns="streaming"``.)
    """

    def __init__(self, generator_ref: ObjectRef[None], session: Session) -> None:
        """Adopt one count of the stream's handle, whose id is the one after that of `generator_ref`.

        Only `.remote()` makes these.
        """
        self._generator_ref = generator_ref
        self._session = session
        self._stream = generator_ref._id + 1
        self._taken: deque[ObjectRef[T_co]] = deque()
        self._generator_task_raised = False

    def __iter__(self) -> ObjectRefGenerator[T_co]:
        return self

    def __next__(self) -> ObjectRef[T_co]:
        """The ref of the next item, as soon as that is there. StopIteration: there will be none any more."""
        taken = self._taken
        return taken.popleft() if taken else self._next_sync()

    def __aiter__(self) -> ObjectRefGenerator[T_co]:
        return self

    async def __anext__(self) -> ObjectRef[T_co]:
        """As `__next__`, without blocking the event loop. StopAsyncIteration: there will be none any more."""
        return await self._next_async()

    def completed(self) -> ObjectRef[None]:
        """A ref that is ready when the generator has ended.

        Its value is None, also after an exception in the generator; getting it raises if a failure of the system (a
        lost worker, a dead actor) ended it.
        """
        return self._generator_ref

    def next_ready(self) -> bool:
        """Whether `next` has a ref to give now. Does not wait."""
        if self._taken:
            return True
        return not self.is_finished() and self._is_ready()

    def is_finished(self) -> bool:
        """Whether `next` would raise StopIteration now. Does not wait."""
        if self._taken or self._peek() != self._generator_ref._id:
            return False
        if not self._generator_task_raised:
            try:
                self._session.get([self._generator_ref._id], 0)
            except Exception:  # what ended it is still to be taken, or it has not ended
                return False
        return True

    def _is_ready(self) -> bool:
        id = self._peek()
        return id in self._session.wait([id], 1, 0)

    def _peek(self) -> int:
        """The id of an object that is ready as soon as `next` would not wait."""
        self._check_open()
        return self._taken[0]._id if self._taken else self._session.peek(self._stream)

    def _check_open(self) -> None:
        if self._session.closed:
            raise ValueError(
                f"{self!r} was made in an earlier session, which minray.shutdown() has ended, and its items with it."
            )

    def _fill(self, timeout: float | None) -> bool:
        """Take what is there, waiting for it if need be. False: all has been taken."""
        if interrupts.put_off:
            interrupts.deliver()
        self._check_open()
        ids = self._session.take(self._stream, timeout)
        if ids is None:
            return False
        session = self._session
        self._taken.extend([ObjectRef(id, session) for id in ids])
        return True

    def _next_sync(self, timeout_s: float | None = None) -> ObjectRef[T_co]:
        """The ref of the next item, waiting at most `timeout_s` seconds (None or negative: for ever) for it.

        After that `ObjectRef.nil()`. StopIteration: there will be none any more.
        """
        timeout = None if timeout_s is None or timeout_s < 0 else timeout_s
        taken = self._taken
        if not taken and not self._fill(timeout):
            last = None if self._generator_task_raised else self._failure(timeout)
            if last is None:
                raise StopIteration
            return last
        return taken.popleft() if taken else ObjectRef.nil()

    def _failure(self, timeout: float | None) -> ObjectRef[Any] | None:
        """After the last item: the ref of what ended it from outside, once; None if nothing did."""
        try:
            self._session.get([self._generator_ref._id], timeout)
        except GetTimeoutError:
            return ObjectRef.nil()
        except Exception:
            self._generator_task_raised = True
            return self._generator_ref
        return None

    async def _next_async(self, timeout_s: float | None = None) -> ObjectRef[T_co]:
        """As `_next_sync`, without blocking the event loop. StopAsyncIteration: there will be none any more."""
        while True:
            if not self._taken and not await self._until_ready(timeout_s):
                return ObjectRef.nil()
            try:
                ref = self._next_sync(0)
            except StopIteration:
                raise StopAsyncIteration from None
            if not ref.is_nil():  # another task of the loop may have taken it
                return ref

    async def _until_ready(self, timeout: float | None) -> bool:
        import asyncio

        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        def finish() -> None:
            if not future.done():
                future.set_result(None)

        def ready() -> None:
            try:
                loop.call_soon_threadsafe(finish)
            except RuntimeError:  # the loop was closed: nobody waits any more
                return

        self._session.when_ready(self._peek(), ready, on_loop=True)
        try:
            await asyncio.wait_for(future, None if timeout is None or timeout < 0 else timeout)
        except asyncio.TimeoutError:
            return False
        return True

    # -- what Python's generators have, and these have not ---------------------------------------------------------

    def send(self, value: Any) -> Any:
        raise NotImplementedError("`gen.send` is not supported.")

    def throw(self, value: Any) -> Any:
        raise NotImplementedError("`gen.throw` is not supported.")

    def close(self) -> None:
        raise NotImplementedError("`gen.close` is not supported.")

    async def asend(self, value: Any) -> Any:
        raise NotImplementedError("`gen.asend` is not supported.")

    async def athrow(self, value: Any) -> Any:
        raise NotImplementedError("`gen.athrow` is not supported.")

    async def aclose(self) -> None:
        raise NotImplementedError("`gen.aclose` is not supported.")

    def __reduce__(self) -> Any:
        raise TypeError(
            "You cannot return or pass a generator to other task. Serializing a ObjectRefGenerator is not allowed. "
            "Pass the refs that it yields, or list(generator)."
        )

    def __del__(self) -> None:
        try:
            self._session.release(self._stream)
        except Exception:  # see ObjectRef.__del__
            return


class DynamicObjectRefGenerator(Generic[T_co]):
    """The value of a call with ``num_returns="dynamic"``: refs to what its generator has yielded, in its order.

    Iterating takes the refs out, once; `len` says how many are left.
    """

    def __init__(self, refs: Iterable[ObjectRef[T_co]]) -> None:
        self._refs = deque(refs)

    def __iter__(self) -> Iterator[ObjectRef[T_co]]:
        while self._refs:
            yield self._refs.popleft()

    def __len__(self) -> int:
        return len(self._refs)
