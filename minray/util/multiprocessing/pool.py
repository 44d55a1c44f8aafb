"""`Pool`: the interface of `multiprocessing.Pool`, with an actor for each process.

`map` deals its arguments out to the actors, like cards, if they are small; else it cuts them into chunks, four for each
actor. A chunk is one call: its function is stored once for all, its arguments travel as one sequence.
"""

from __future__ import annotations

import itertools
import logging
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any
from weakref import WeakSet

import minray
from minray import ObjectRef
from minray.util.multiprocessing.results import (
    AsyncResult,
    Chunk,
    IMapIterator,
    OrderedIMapIterator,
    PoolTaskError,
    UnorderedIMapIterator,
)
from minray.util.sharing import size_of

__all__ = ["AsyncResult", "IMapIterator", "OrderedIMapIterator", "Pool", "PoolTaskError", "UnorderedIMapIterator"]

logger = logging.getLogger(__name__)

_Callback = Callable[[Any], Any]

#: Up to so many bytes the arguments of a `map` are one call for each actor: to wake a process up four times takes as
#: long as to call a quick function 10,000 times. Larger ones are pickled while the first of them are worked on.
_DEALT_OUT = 1_000_000


class Pool:
    """A pool of actors that call functions, with the methods of the standard library's `multiprocessing.Pool`.

    Args:
        processes: How many actors. Default: as many as the run has CPUs; more than that is a ValueError.
        initializer: Called in each actor when it starts, with `initargs`.
        maxtasksperchild: After how many calls (a chunk of `map` is one) an actor is replaced by a new one. None or 0:
            never.
        context: Accepted for the standard library's sake; has no effect, and says so in the log.
        ray_address: Where to start a run, if there is none: what `minray.init` takes.
        ray_remote_args: Options of the actors. By default they take no CPU.

    Leaving it as a context manager ends it with `terminate`. If `initializer` fails, this raises ActorDiedError.
    """

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., Any] | None = None,
        initargs: Iterable[Any] | None = None,
        maxtasksperchild: int | None = None,
        context: Any = None,
        ray_address: str | None = None,
        ray_remote_args: dict[str, Any] | None = None,
    ) -> None:
        if maxtasksperchild is not None and maxtasksperchild < 0:
            raise ValueError(f"maxtasksperchild must be None or a number of calls, not {maxtasksperchild}.")
        if context is not None:
            logger.warning("The 'context' argument of Pool has no effect: minray starts the workers.")
        self._closed = False
        self._max_calls = maxtasksperchild or None
        self._submitting = threading.RLock()  # callbacks may submit, in threads of their own
        self._iterators: WeakSet[IMapIterator] = WeakSet()
        #: actors that are to end after their last call, and the refs that say when they have
        self._ending: list[tuple[Any, ObjectRef[Any]]] = []
        self.size = _start_run(processes, ray_address)
        options: dict[str, Any] = {"num_cpus": 0, **(ray_remote_args or {})}
        actor_class: Any = minray.remote(_PoolActor).options(**options)
        arguments = initializer, tuple(initargs or ())
        self._new_actor: Callable[[], Any] = lambda: actor_class.remote(*arguments)
        self._actors: list[Any] = [self._new_actor() for _ in range(self.size)]
        self._calls = [0] * self.size
        self._places = itertools.cycle(range(self.size))
        minray.get([actor.ping.remote() for actor in self._actors])

    def __getstate__(self) -> dict[str, Any]:
        """A task may be given the pool, and uses the same actors."""
        own = ("_submitting", "_iterators", "_ending", "_places")
        return {name: value for name, value in vars(self).items() if name not in own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _submitting=threading.RLock(), _iterators=WeakSet(), _ending=[])
        self._places = itertools.cycle(range(self.size))

    # --- one call ------------------------------------------------------------------------------------------------

    def apply(
        self, func: Callable[..., Any], args: Iterable[Any] | None = None, kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """``func(*args, **kwargs)`` in one of the actors. Raises what it raises."""
        return self.apply_async(func, args, kwargs).get()

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        callback: _Callback | None = None,
        error_callback: _Callback | None = None,
    ) -> AsyncResult:
        """Begin ``func(*args, **kwargs)`` in one of the actors.

        `callback` gets the result, or else `error_callback` a `PoolTaskError` (whose `underlying` is the function's
        exception), in a thread of this process.
        """
        self._check_running()
        call = tuple(args or ()), dict(kwargs or {})
        ref = self.run(next(self._places), func, [call], "call")
        return AsyncResult([ref], callback, error_callback, single_result=True)

    # --- many calls ----------------------------------------------------------------------------------------------

    def map(self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int | None = None) -> list[Any]:
        """``[func(x) for x in iterable]``, in the actors, `chunksize` arguments at a time. Raises as `func` does."""
        results: list[Any] = self.map_async(func, iterable, chunksize).get()
        return results

    def map_async(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: _Callback | None = None,
        error_callback: _Callback | None = None,
    ) -> AsyncResult:
        """Begin a `map`. `callback` gets all results, or else `error_callback` the first `PoolTaskError`."""
        return self._run_all(func, iterable, chunksize, "one", callback, error_callback)

    def starmap(
        self, func: Callable[..., Any], iterable: Iterable[Iterable[Any]], chunksize: int | None = None
    ) -> list[Any]:
        """``[func(*args) for args in iterable]``; otherwise as `map`."""
        results: list[Any] = self.starmap_async(func, iterable, chunksize=chunksize).get()
        return results

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        callback: _Callback | None = None,
        error_callback: _Callback | None = None,
        chunksize: int | None = None,
    ) -> AsyncResult:
        """Begin a `starmap`. The order of the parameters is Ray's; the standard library has `chunksize` first."""
        return self._run_all(func, iterable, chunksize, "star", callback, error_callback)

    def imap(
        self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int | None = 1
    ) -> OrderedIMapIterator:
        """Iterate over the results in the order of the arguments, which are taken only as they are needed.

        `chunksize` None means: as `map` cuts them, if `iterable` has a length.
        """
        iterator: OrderedIMapIterator = self._iterate(OrderedIMapIterator, func, iterable, chunksize)
        return iterator

    def imap_unordered(
        self, func: Callable[[Any], Any], iterable: Iterable[Any], chunksize: int | None = 1
    ) -> UnorderedIMapIterator:
        """Iterate over the results as they come; otherwise as `imap`."""
        iterator: UnorderedIMapIterator = self._iterate(UnorderedIMapIterator, func, iterable, chunksize)
        return iterator

    # --- the end -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Take no more calls; the actors end when they have run those that were made."""
        if self._closed:
            return
        for iterator in list(self._iterators):
            iterator.submit_rest()
        with self._submitting:
            self._closed = True
            for actor in self._actors:
                self._end(actor)

    def terminate(self) -> None:
        """Take no more calls and end the actors at once: results that are not there yet raise ActorDiedError."""
        with self._submitting:
            self._iterators.clear()
            self.close()
            for actor, _ in self._ending:
                minray.kill(actor)

    def join(self) -> None:
        """Wait until the actors of a closed pool have ended. ValueError: the pool is open."""
        if not self._closed:
            raise ValueError("Pool is still running")
        if self._ending:
            minray.wait([ended for _, ended in self._ending], num_returns=len(self._ending))
            self._ending.clear()

    def __enter__(self) -> Pool:
        self._check_running()
        return self

    def __exit__(self, *error: object) -> None:
        self.terminate()

    # --- chunks --------------------------------------------------------------------------------------------------

    def run(self, place: int, func: Any, chunk: Sequence[Any], how: str = "one") -> ObjectRef[Chunk]:
        """Have the actor at `place` call `func` (or what a ref of it stands for) for each item of `chunk`."""
        with self._submitting:
            actor = self._actors[place]
            ref: ObjectRef[Chunk] = actor.run.remote(func, chunk, how)
            self._calls[place] += 1
            if self._calls[place] == self._max_calls:
                self._end(actor)
                self._actors[place] = self._new_actor()
                self._calls[place] = 0
        return ref

    def _run_all(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Any],
        chunksize: int | None,
        how: str,
        callback: _Callback | None,
        error_callback: _Callback | None,
    ) -> AsyncResult:
        self._check_running()
        items = iterable if isinstance(iterable, (list, tuple, range)) else list(iterable)
        total, size = len(items), self._chunksize(items, chunksize)
        dealt = (
            chunksize is None and self._max_calls is None and total * size_of(items[0] if items else 0) <= _DEALT_OUT
        )
        if dealt:
            chunks = [items[first :: self.size] for first in range(min(self.size, total))]
        else:
            chunks = [items[start : start + size] for start in range(0, total, size)]
        shared = minray.put(func) if len(chunks) > 1 else func
        places = itertools.cycle(range(self.size))
        refs = [self.run(place, shared, chunk, how) for place, chunk in zip(places, chunks)]
        return AsyncResult(refs, callback, error_callback, dealt=dealt)

    def _iterate(self, kind: Any, func: Callable[..., Any], iterable: Iterable[Any], chunksize: int | None) -> Any:
        self._check_running()
        iterator = kind(self, minray.put(func), iterable, self._chunksize(iterable, chunksize))
        self._iterators.add(iterator)
        return iterator

    def _chunksize(self, iterable: Iterable[Any], chunksize: int | None) -> int:
        if chunksize is None:
            return max(-(-len(iterable) // (4 * self.size)), 1) if isinstance(iterable, Sized) else 1
        if chunksize < 1:
            raise ValueError(f"Chunksize must be 1+, not {chunksize}")  # the standard library's words
        return chunksize

    def _end(self, actor: Any) -> None:
        self._ending = [(other, ended) for other, ended in self._ending if minray.wait([ended], timeout=0)[1]]
        self._ending.append((actor, actor.__ray_terminate__.remote()))

    def _check_running(self) -> None:
        if self._closed:
            raise ValueError("Pool not running")


class _PoolActor:
    def __init__(self, initializer: Callable[..., Any] | None, initargs: tuple[Any, ...]) -> None:
        if initializer is not None:
            initializer(*initargs)

    def ping(self) -> None:
        """Return: the actor has started."""

    def run(self, func: Callable[..., Any], chunk: Sequence[Any], how: str) -> Chunk:
        """Call `func` for each item: ``func(item)`` for "one", ``func(*item)`` for "star", both tuples for "call"."""
        if how == "one":
            calls: Iterator[Any] = map(func, chunk)
        elif how == "star":
            calls = itertools.starmap(func, chunk)
        else:
            calls = (func(*args, **kwargs) for args, kwargs in chunk)
        results: list[Any] = []
        failed = False
        while len(results) < len(chunk):
            try:
                results.extend(calls)  # a loop in C; what it has appended before an error stays
                if len(results) < len(chunk):
                    raise RuntimeError("the function raised StopIteration")
            except Exception as error:
                results.append(PoolTaskError(error, traceback.format_exc()))
                failed = True
        return results, failed


def _start_run(processes: int | None, address: str | None) -> int:
    """Start a run if there is none, and return how many actors the pool is to have."""
    if processes is not None and processes <= 0:
        raise ValueError("Processes in the pool must be >0.")
    if not minray.is_initialized():
        if address in (None, "local"):
            minray.init(num_cpus=processes)
        else:
            minray.init(address)
    cpus = int(minray.cluster_resources().get("CPU", 0))
    if processes is None:
        processes = max(cpus, 1)
    elif processes > cpus:
        raise ValueError(
            f"Tried to start a pool with {processes} processes on an existing run, but there are only {cpus} CPUs in "
            "it. Ask for no more, or say minray.init(num_cpus=...) first."
        )
    return processes
