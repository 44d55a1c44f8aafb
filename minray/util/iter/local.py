"""`LocalIterator`: a stream of items, and steps that change it where it is read."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import minray
from minray.util.iter_metrics import MetricsContext, SharedMetrics

T = TypeVar("T")
U = TypeVar("U")

#: How many items `union` takes from an iterator of weight ``"*"`` before it looks at the others.
_MOST = 100


class _NextValueNotReady(Exception):  # libraries import it by this name
    """Stands for an item where there is none yet, so that `union` can look at its other iterators meanwhile."""


class LocalIterator(Generic[T]):
    """An iterator over items that come from one place; its steps run in the process that reads it.

    It can be passed to tasks and actors as long as nobody has read from it, and be read by one of them.
    """

    #: A function given to `for_each` may have a method of this name: it is called whenever an item is asked for.
    ON_FETCH_START_HOOK_NAME = "_on_fetch_start"

    thread_local = threading.local()

    def __init__(
        self,
        base_iterator: Callable[[Any], Iterable[T]],
        shared_metrics: SharedMetrics,
        local_transforms: Sequence[Callable[[Iterable[Any]], Iterable[Any]]] | None = None,
        timeout: float | None = None,
        name: str | None = None,
    ) -> None:
        """Made by `ParallelIterator` and by other iterators of this kind.

        Args:
            base_iterator: Makes the iterable to read from; it is given `timeout`.
            shared_metrics: What `get_metrics` returns inside of the steps.
            local_transforms: The steps, each from an iterable to one.
            timeout: After so many seconds without an item there is a `_NextValueNotReady` instead; None: never.
            name: What its text says.
        """
        self.base_iterator = base_iterator
        self.built_iterator: Iterator[Any] | None = None
        self.local_transforms = list(local_transforms or ())
        self.shared_metrics = shared_metrics
        self.timeout = timeout
        self.name = name or "unknown"

    @staticmethod
    def get_metrics() -> MetricsContext:
        """The context that the steps of the present iterator share. ValueError: outside of a step."""
        found: MetricsContext | None = getattr(LocalIterator.thread_local, "metrics", None)
        if found is None:
            raise ValueError("Cannot access context outside an iterator.")
        return found

    def _call(self, function: Callable[..., U], *args: Any) -> U:
        """Call a function of the user's that may ask for `get_metrics`."""
        self.thread_local.metrics = self.shared_metrics.get()
        return function(*args)

    def __iter__(self) -> Iterator[T]:
        if self.built_iterator is None:
            items: Iterable[Any] = self.base_iterator(self.timeout)
            for step in self.local_transforms:
                items = step(items)
            self.built_iterator = iter(items)
        return self.built_iterator

    def __next__(self) -> T:
        return next(iter(self))

    def __repr__(self) -> str:
        return f"LocalIterator[{self.name}]"

    def _then(self, step: Callable[[Iterable[Any]], Iterator[Any]], name: str) -> LocalIterator[Any]:
        steps = [*self.local_transforms, step]
        return LocalIterator(self.base_iterator, self.shared_metrics, steps, name=self.name + name)

    def transform(self, fn: Callable[[Iterable[T]], Iterable[U]]) -> LocalIterator[U]:
        """Change the stream as a whole: `fn` is called once with an iterable, and returns one.

        It has to pass on what is a `_NextValueNotReady` as it is.
        """
        return self._then(lambda items: iter(fn(items)), ".transform()")

    def for_each(
        self, fn: Callable[[T], U], max_concurrency: int = 1, resources: dict[str, Any] | None = None
    ) -> LocalIterator[U]:
        """``fn(item)`` for each item.

        Args:
            fn: It is called again with the same item as long as it returns a `_NextValueNotReady`.
            max_concurrency: How many calls run at a time, 0 for all. If not 1 they are tasks, and their results come in
                the order in which they are ready.
            resources: Options of these tasks, such as ``{"num_cpus": 0.5}``.
        """
        if max_concurrency == 1:
            step = self._calls_here(fn)
        else:
            step = _calls_in_tasks(fn, max_concurrency, resources or {})
        begins: Callable[[], Any] | None = getattr(fn, self.ON_FETCH_START_HOOK_NAME, None)
        return self._then(step if begins is None else self._announced(step, begins), ".for_each()")

    def _calls_here(self, fn: Callable[[T], U]) -> Callable[[Iterable[Any]], Iterator[Any]]:
        def step(items: Iterable[Any]) -> Iterator[Any]:
            for item in items:
                result: Any = item
                if not isinstance(item, _NextValueNotReady):
                    while isinstance(result := self._call(fn, item), _NextValueNotReady):
                        yield result
                yield result

        return step

    def _announced(
        self, step: Callable[[Iterable[Any]], Iterator[Any]], begins: Callable[[], Any]
    ) -> Callable[[Iterable[Any]], Iterator[Any]]:
        """The same step, which calls `begins` whenever it is asked for an item, once for each."""

        def announced(items: Iterable[Any]) -> Iterator[Any]:
            results = step(items)
            while True:
                self._call(begins)
                for result in results:
                    yield result
                    if not isinstance(result, _NextValueNotReady):
                        break
                else:
                    return

        return announced

    def filter(self, fn: Callable[[T], bool]) -> LocalIterator[T]:
        """Those items for which `fn` says yes."""

        def step(items: Iterable[Any]) -> Iterator[Any]:
            for item in items:
                if isinstance(item, _NextValueNotReady) or self._call(fn, item):
                    yield item

        return self._then(step, ".filter()")

    def batch(self, n: int) -> LocalIterator[list[T]]:
        """Lists of `n` items; the last one may have fewer."""

        def step(items: Iterable[Any]) -> Iterator[Any]:
            batch = []
            for item in items:
                if isinstance(item, _NextValueNotReady):
                    yield item
                    continue
                batch.append(item)
                if len(batch) >= n:
                    yield batch
                    batch = []
            if batch:
                yield batch

        return self._then(step, f".batch({n})")

    def flatten(self) -> LocalIterator[Any]:
        """The items of the items."""

        def step(items: Iterable[Any]) -> Iterator[Any]:
            for item in items:
                if isinstance(item, _NextValueNotReady):
                    yield item
                else:
                    yield from item

        return self._then(step, ".flatten()")

    def combine(self, fn: Callable[[T], list[U]]) -> LocalIterator[U]:
        """``for_each(fn).flatten()``."""
        return _named(self.for_each(fn).flatten(), f"{self.name}.combine()")

    def shuffle(self, shuffle_buffer_size: int, seed: int | None = None) -> LocalIterator[T]:
        """The items in a random order: each is drawn from `shuffle_buffer_size` that have come and wait."""
        draw = random.Random(seed)

        def step(items: Iterable[Any]) -> Iterator[Any]:
            waiting: list[Any] = []
            for item in items:
                if isinstance(item, _NextValueNotReady):
                    yield item
                    continue
                waiting.append(item)
                if len(waiting) >= shuffle_buffer_size:
                    yield waiting.pop(draw.randrange(len(waiting)))
            while waiting:
                yield waiting.pop(draw.randrange(len(waiting)))

        return self._then(step, f".shuffle(shuffle_buffer_size={shuffle_buffer_size}, seed={seed})")

    def zip_with_source_actor(self) -> LocalIterator[tuple[Any, T]]:
        """Pairs of an actor's handle and the item that it made; for what `ParallelIterator.gather_async` returns.

        ValueError: nobody knows where the items come from.
        """

        def pair(item: T) -> tuple[Any, T]:
            actor = LocalIterator.get_metrics().current_actor
            if actor is None:
                raise ValueError("Could not identify source actor of item")
            return actor, item

        return _named(self.for_each(pair), f"{self.name}.zip_with_source_actor()")

    def take(self, n: int) -> list[T]:
        """The next `n` items, or all if there are fewer."""
        taken: list[T] = []
        for item in self:
            taken.append(item)
            if len(taken) >= n:
                break
        return taken

    def show(self, n: int = 20) -> None:
        """Print the next `n` items, a line for each."""
        for item in self.take(n):
            print(item)  # noqa: T201  # what it is for

    def duplicate(self, n: int) -> list[LocalIterator[T]]:
        """`n` iterators that each have all items: read them through a `union`.

        One that is ahead of the others gives a `_NextValueNotReady` instead of an item until they have caught up, so
        that few items wait. ValueError: less than 2.
        """
        if n < 2:
            raise ValueError("Number of copies must be >= 2")
        queues: list[deque[T]] = [deque() for _ in range(n)]

        def copy(mine: deque[T]) -> Callable[[Any], Iterator[Any]]:
            def items(timeout: float | None) -> Iterator[Any]:
                while True:
                    if len(mine) < max(map(len, queues)):
                        yield _NextValueNotReady()
                        continue
                    if not mine:
                        self.timeout = timeout
                        try:
                            item = next(self)
                        except StopIteration:
                            return
                        for queue in queues:
                            queue.append(item)
                    yield mine.popleft()

            return items

        return [
            LocalIterator(copy(queue), self.shared_metrics, name=f"{self.name}.duplicate[{index}]")
            for index, queue in enumerate(queues)
        ]

    def union(
        self,
        *others: LocalIterator[T],
        deterministic: bool = False,
        round_robin_weights: list[Any] | None = None,
    ) -> LocalIterator[T]:
        """The items of this iterator and of the `others`, as they become ready.

        Args:
            others: LocalIterators (else ValueError).
            deterministic: Take one item of each in turn, waiting for it.
            round_robin_weights: How many items of each are taken in turn; ``"*"``: what there is without waiting. Of
                2.5, sometimes 2 and sometimes 3. ValueError: not one for each iterator.
        """
        for other in others:
            if not isinstance(other, LocalIterator):
                raise ValueError(f"other must be of type LocalIterator, got {type(other)}")
        sources = [self, *others]
        if round_robin_weights and len(round_robin_weights) != len(sources):
            raise ValueError("Length of round robin weights must equal number of iterators total.")
        if round_robin_weights:
            weights = list(round_robin_weights)
            timeouts = [0 if weight == "*" else None for weight in weights]
        else:
            weights = [1] * len(sources)
            timeouts = [None if deterministic else 0] * len(sources)
        metrics = SharedMetrics(parents=[source.shared_metrics for source in sources])
        active = [
            (weight, LocalIterator(source.base_iterator, metrics, source.local_transforms, timeout))
            for weight, source, timeout in zip(weights, sources, timeouts)
        ]

        def items(timeout: float | None) -> Iterator[Any]:
            while active:
                for turn in list(active):
                    weight, source = turn
                    for _ in range(_MOST if weight == "*" else _whole(weight)):
                        try:
                            item = next(source)
                        except StopIteration:
                            active.remove(turn)
                            break
                        if not isinstance(item, _NextValueNotReady):
                            yield item
                            continue
                        if timeout is not None:
                            yield item
                        break

        return LocalIterator(items, metrics, name=f"LocalUnion[{self}, {', '.join(map(str, others))}]")


def _named(iterator: LocalIterator[T], name: str) -> LocalIterator[T]:
    iterator.name = name
    return iterator


def _whole(weight: float) -> int:
    """`weight`, or at random one of the two whole numbers beside it: on the average it is `weight`."""
    return int(weight) + (random.random() < weight - int(weight))


def _calls_in_tasks(
    fn: Callable[[Any], Any], at_once: int, options: dict[str, Any]
) -> Callable[[Iterable[Any]], Iterator[Any]]:
    def step(items: Iterable[Any]) -> Iterator[Any]:
        function: Any = minray.remote(fn)
        function = function.options(**options)
        running: list[Any] = []
        for item in items:
            if isinstance(item, _NextValueNotReady):
                yield item
                continue
            if at_once and len(running) >= at_once:
                ready, running = minray.wait(running)
                yield from minray.get(ready)
            running.append(function.remote(item))
        while running:
            ready, running = minray.wait(running)
            yield from minray.get(ready)

    return step
