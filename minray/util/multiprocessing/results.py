"""What a `Pool` gives back: results that are waited for, and iterators over results.

They hold the refs of the calls and ask for them in the thread that waits: no thread of their own, unless somebody wants
to be called back.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing import TimeoutError
from typing import TYPE_CHECKING, Any, TypeAlias

import minray
from minray import ObjectRef

if TYPE_CHECKING:
    from minray.util.multiprocessing.pool import Pool


class PoolTaskError(Exception):
    """Stands for an exception of the pool's function: `underlying`. Its text is the traceback in the worker."""

    def __init__(self, underlying: BaseException, traceback: str = "") -> None:
        super().__init__(underlying, traceback)
        self.underlying = underlying
        self.traceback = traceback

    def __str__(self) -> str:
        return f"\n{self.traceback}" if self.traceback else str(self.underlying)

    def __repr__(self) -> str:
        return f"PoolTaskError({self.underlying!r})"


#: What an actor gives for a chunk of arguments: the results, and whether there are errors among them. (To look at each
#: of 10,000 results takes longer than all the rest of a `map`.)
Chunk: TypeAlias = tuple[list[Any], bool]


def failed(item: Any) -> bool:
    """Whether `item` stands for an error: of the function, or of the actor that was to call it."""
    return isinstance(item, (PoolTaskError, minray.exceptions.RayError))


def outcome(ref: ObjectRef[Chunk]) -> Chunk:
    """The results of a chunk; one error if its actor could not give any."""
    try:
        return minray.get(ref)
    except minray.exceptions.RayError as error:
        return [error], True


def _put_together(dealt: list[list[Any]]) -> list[Any]:
    """The results in order, of arguments that were dealt out; or errors alone, if a whole chunk is one."""
    total = sum(map(len, dealt))
    items: list[Any] = [None] * total
    try:
        for first, results in enumerate(dealt):
            items[first :: len(dealt)] = results
    except ValueError:  # an actor has died: one error stands for all of its results
        return [results[0] for results in dealt if failed(results[0])]
    return items


class AsyncResult:
    """The result of `apply_async`, `map_async` and `starmap_async`, now or later."""

    def __init__(
        self,
        refs: list[ObjectRef[Chunk]],
        callback: Callable[[Any], Any] | None = None,
        error_callback: Callable[[Any], Any] | None = None,
        single_result: bool = False,
        dealt: bool = False,
    ) -> None:
        """`dealt`: of n chunks, the first has the results of arguments 0, n, 2n ..., and so on."""
        self._refs = refs
        self._single = single_result
        self._dealt = dealt
        self._fetching = threading.Lock()
        self._fetched: tuple[list[Any], BaseException | None] | None = None
        self._thread: threading.Thread | None = None
        if callback is not None or error_callback is not None:
            self._thread = threading.Thread(
                target=self._call_back, args=(callback, error_callback), name="pool callback", daemon=True
            )
            self._thread.start()

    def get(self, timeout: float | None = None) -> Any:
        """Wait for the result, at most `timeout` seconds.

        Raises what the function raised, for the first argument for which it did, and `multiprocessing.TimeoutError`.
        """
        if (timeout is not None or self._thread is not None) and not self._done(timeout):
            raise TimeoutError
        items, error = self._fetch()
        if isinstance(error, PoolTaskError):
            raise error.underlying from error
        if error is not None:
            raise error
        return items[0] if self._single else items

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the result is there and callbacks have been called, at most `timeout` seconds."""
        self._done(timeout)

    def ready(self) -> bool:
        """Whether the result is there and callbacks have been called."""
        return self._done(0)

    def successful(self) -> bool:
        """Whether the function has raised nothing. ValueError: the result is not there yet."""
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return self._fetch()[1] is None

    def _done(self, timeout: float | None) -> bool:
        timeout = timeout if timeout is None else max(timeout, 0)
        if self._thread is not None:
            self._thread.join(timeout)
            return not self._thread.is_alive()
        if not self._refs or self._fetched is not None:
            return True
        return not minray.wait(self._refs, num_returns=len(self._refs), timeout=timeout)[1]

    def _fetch(self) -> tuple[list[Any], BaseException | None]:
        """All results and the first error; the same objects every time, as in the standard library."""
        with self._fetching:
            if self._fetched is None:
                try:
                    chunks = minray.get(self._refs)
                except minray.exceptions.RayError:
                    chunks = [outcome(ref) for ref in self._refs]
                lists = [results for results, _ in chunks]
                items = _put_together(lists) if self._dealt else list(itertools.chain.from_iterable(lists))
                error = next(filter(failed, items), None) if any(any_failed for _, any_failed in chunks) else None
                self._fetched = items, error
                self._refs = []
            return self._fetched

    def _call_back(self, callback: Callable[[Any], Any] | None, error_callback: Callable[[Any], Any] | None) -> None:
        items, error = self._fetch()
        if error is not None:
            if error_callback is not None:
                error_callback(error)
        elif callback is not None:
            callback(items[0] if self._single else items)


class IMapIterator:
    """Results one by one. Each actor has one chunk of arguments at a time, so the arguments may be without end.

    What failed is an item like any other, a `PoolTaskError` (as in Ray), so that the iterator can go on.
    """

    def __init__(self, pool: Pool, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int) -> None:
        self._pool = pool
        self._func = func
        self._arguments = iter(iterable)
        self._chunksize = chunksize
        self._submitted = 0
        #: chunks that run: ref -> the chunk's number, and the place of its actor in the pool
        self._running: dict[ObjectRef[Chunk], tuple[int, int]] = {}
        self._items: deque[Any] = deque()
        for place in range(pool.size):
            self._submit(place)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return self.next()

    def next(self, timeout: float | None = None) -> Any:
        """The next result. `multiprocessing.TimeoutError`: it was not there within `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._items:
            if not self._running:
                raise StopIteration
            left = None if deadline is None else max(deadline - time.monotonic(), 0)
            ready, _ = minray.wait(list(self._running), num_returns=1, timeout=left)
            if not ready:
                raise TimeoutError
            number, place = self._running.pop(ready[0])
            self._submit(place)
            self._arrived(number, outcome(ready[0])[0])
        return self._items.popleft()

    def submit_rest(self) -> None:
        """Submit all chunks that are left: the pool is about to be closed."""
        for place in itertools.cycle(range(self._pool.size)):
            if not self._submit(place):
                return

    def _submit(self, place: int) -> bool:
        chunk = list(itertools.islice(self._arguments, self._chunksize))
        if not chunk:
            return False
        ref = self._pool.run(place, self._func, chunk)
        self._running[ref] = self._submitted, place
        self._submitted += 1
        return True

    def _arrived(self, number: int, results: list[Any]) -> None:
        raise NotImplementedError


class OrderedIMapIterator(IMapIterator):
    """What `imap` returns: results in the order of the arguments."""

    def __init__(self, pool: Pool, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int) -> None:
        self._early: dict[int, list[Any]] = {}
        self._next = 0
        super().__init__(pool, func, iterable, chunksize)

    def _arrived(self, number: int, results: list[Any]) -> None:
        self._early[number] = results
        while self._next in self._early:
            self._items += self._early.pop(self._next)
            self._next += 1


class UnorderedIMapIterator(IMapIterator):
    """What `imap_unordered` returns: results as they come."""

    def _arrived(self, number: int, results: list[Any]) -> None:
        self._items += results
