"""`ActorPool`: calls handed to whichever of some actors is free. Ray's `ray.util.ActorPool`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeAlias, TypeVar

import minray
from minray import ObjectRef

A = TypeVar("A")
V = TypeVar("V")

#: What a call gave: a ref, or a list of them (``num_returns=2``).
_Result: TypeAlias = "ObjectRef[Any] | list[ObjectRef[Any]]"
_LATE = "Timed out waiting for result"


class ActorPool(Generic[A]):
    """A pool of actors, each of which runs one call at a time.

    A call is a function of ``(actor, value)`` that returns the `ObjectRef` of a method call, such as
    ``lambda actor, value: actor.double.remote(value)``. It is made as soon as an actor is free. An actor is free again
    when the result of its call has been fetched from the pool, not before; one that died leaves the pool.
    """

    def __init__(self, actors: Iterable[A]) -> None:
        self._idle_actors: list[A] = list(actors)
        #: refs of a running call -> its number and its actor
        self._future_to_actor: dict[tuple[ObjectRef[Any], ...], tuple[int, A]] = {}
        self._index_to_future: dict[int, _Result] = {}
        self._pending_submits: deque[tuple[Callable[[A, Any], Any], Any]] = deque()
        self._next_task_index = 0
        self._next_return_index = 0

    def map(self, fn: Callable[[A, V], Any], values: Iterable[V]) -> Iterator[Any]:
        """Call `fn` for all `values`; iterate over the results in the order of the values.

        The first calls start at once, the others as results are fetched. Results of earlier calls that nobody has
        fetched are dropped.
        """
        self._drop_earlier(lambda: self.get_next(timeout=0, ignore_if_timedout=True))
        for value in values:
            self.submit(fn, value)
        return self._results(self.get_next)

    def map_unordered(self, fn: Callable[[A, V], Any], values: Iterable[V]) -> Iterator[Any]:
        """Call `fn` for all `values`; iterate over the results as they come. Otherwise as `map`."""
        self._drop_earlier(lambda: self.get_next_unordered(timeout=0))
        for value in values:
            self.submit(fn, value)
        return self._results(self.get_next_unordered)

    def submit(self, fn: Callable[[A, V], Any], value: V) -> None:
        """Call ``fn(actor, value)`` with a free actor, or later, when one is free. `get_next` has the result."""
        if not self._idle_actors:
            self._pending_submits.append((fn, value))
            return
        actor = self._idle_actors.pop()
        result = fn(actor, value)
        self._future_to_actor[_refs(result)] = self._next_task_index, actor
        self._index_to_future[self._next_task_index] = result
        self._next_task_index += 1

    def has_next(self) -> bool:
        """Whether there are results that nobody has fetched, finished or not."""
        return bool(self._future_to_actor)

    def get_next(self, timeout: float | None = None, ignore_if_timedout: bool = False) -> Any:
        """Wait for the next result, in the order of submission.

        Args:
            timeout: How many seconds to wait at most. None means: for ever.
            ignore_if_timedout: A result that is late is dropped, and its actor counts as free.

        Raises:
            The error of the call, if it failed. The actor is free again, or has left the pool if it died.
            TimeoutError: The result was not there in time.
            StopIteration: There are no results to come.
            ValueError: `get_next_unordered` has taken later results already.
        """
        if not self.has_next():
            raise StopIteration("No more results to get")
        if self._next_return_index >= self._next_task_index:
            raise ValueError("It is not allowed to call get_next() after get_next_unordered().")
        result = self._index_to_future[self._next_return_index]
        refs = list(_refs(result))
        late = timeout is not None and bool(minray.wait(refs, num_returns=len(refs), timeout=timeout)[1])
        return self._take(_refs(result), late, ignore_if_timedout)

    def get_next_unordered(self, timeout: float | None = None, ignore_if_timedout: bool = False) -> Any:
        """Wait for whichever result comes next. Arguments and errors as for `get_next`.

        If none is there in time, `ignore_if_timedout` drops that of the oldest call.
        """
        if not self.has_next():
            raise StopIteration("No more results to get")
        first = {refs[0]: refs for refs in self._future_to_actor}  # a call's results are ready all at once
        ready, others = minray.wait(list(first), num_returns=1, timeout=timeout)
        return self._take(first[(ready or others)[0]], not ready, ignore_if_timedout)

    def has_free(self) -> bool:
        """Whether an actor is free and nothing waits for one."""
        return bool(self._idle_actors) and not self._pending_submits

    def pop_idle(self) -> A | None:
        """Take a free actor out of the pool. None: none is free."""
        return self._idle_actors.pop() if self.has_free() else None

    def push(self, actor: A) -> None:
        """Add an actor to the pool. ValueError: it is in the pool already."""
        if actor in self._idle_actors or any(actor == busy for _, busy in self._future_to_actor.values()):
            raise ValueError("Actor already belongs to current ActorPool")
        self._free(actor)

    def _take(self, refs: tuple[ObjectRef[Any], ...], late: bool, drop_if_late: bool) -> Any:
        """Forget a call and return its result."""
        if late and not drop_if_late:
            raise TimeoutError(_LATE)
        index, actor = self._future_to_actor.pop(refs)
        result = self._index_to_future.pop(index)
        self._next_return_index = max(self._next_return_index, index + 1)
        if late:
            self._free(actor)
            raise TimeoutError(f"{_LATE}. The task {result} has been ignored.")
        try:
            value = minray.get(result)
        except minray.exceptions.ActorDiedError:
            self._start_pending()
            raise
        except BaseException:
            self._free(actor)
            raise
        self._free(actor)
        return value

    def _free(self, actor: A) -> None:
        self._idle_actors.append(actor)
        self._start_pending()

    def _start_pending(self) -> None:
        if self._pending_submits and self._idle_actors:
            self.submit(*self._pending_submits.popleft())

    def _drop_earlier(self, drop: Callable[[], Any]) -> None:
        while self.has_next():
            try:
                drop()
            except TimeoutError:
                continue

    def _results(self, fetch: Callable[[], Any]) -> Iterator[Any]:
        while self.has_next():
            yield fetch()


def _refs(result: _Result) -> tuple[ObjectRef[Any], ...]:
    return tuple(result) if isinstance(result, list) else (result,)
