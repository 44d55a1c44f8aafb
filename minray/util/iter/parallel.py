"""`ParallelIterator`: items that come from several actors, and steps that run in these."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Generic, NamedTuple, TypeVar

import minray
from minray.util.iter.local import LocalIterator, _NextValueNotReady
from minray.util.iter.worker import ParallelIteratorWorker
from minray.util.iter_metrics import SharedMetrics

T = TypeVar("T")
U = TypeVar("U")

_Transform = Callable[[LocalIterator[Any]], LocalIterator[Any]]


class _Shard(NamedTuple):
    """An actor, and the steps that it is to run on what it has."""

    actor: Any
    transforms: list[_Transform]


def from_items(items: list[T], num_shards: int = 2, repeat: bool = False) -> ParallelIterator[T]:
    """An iterator over a list, whose items are dealt out to `num_shards` actors in turn; for ever if `repeat`."""
    kind = type(items[0]).__name__ if items else "None"
    return from_iterators(
        [items[shard::num_shards] for shard in range(num_shards)],
        repeat,
        f"from_items[{kind}, {len(items)}, shards={num_shards}{_if_repeated(repeat)}]",
    )


def from_range(n: int, num_shards: int = 2, repeat: bool = False) -> ParallelIterator[int]:
    """An iterator over ``range(n)``, of which each of `num_shards` actors has a part without gaps."""
    ends = [shard * (n // num_shards) for shard in range(num_shards)] + [n]
    return from_iterators(
        [range(start, end) for start, end in pairwise(ends)],
        repeat,
        f"from_range[{n}, shards={num_shards}{_if_repeated(repeat)}]",
    )


def from_iterators(
    generators: Sequence[Iterable[T] | Callable[[], Iterable[T]]], repeat: bool = False, name: str | None = None
) -> ParallelIterator[T]:
    """An iterator with an actor for each of `generators`: iterables, or functions that make one.

    A generator cannot be pickled (TypeError), but ``lambda: (x for x in ...)`` can.
    """
    worker: Any = minray.remote(ParallelIteratorWorker)
    actors = [worker.remote(generator, repeat) for generator in generators]
    return from_actors(actors, name or f"from_iterators[shards={len(generators)}{_if_repeated(repeat)}]")


def from_actors(actors: Sequence[Any], name: str | None = None) -> ParallelIterator[Any]:
    """An iterator over what `actors` have, whose class inherits from `ParallelIteratorWorker`."""
    return ParallelIterator([_Shard(actor, []) for actor in actors], name or f"from_actors[shards={len(actors)}]")


def _if_repeated(repeat: bool) -> str:
    return ", repeat=True" if repeat else ""


class ParallelIterator(Generic[T]):
    """Items that come from several actors. The steps run there; `gather_sync` or `gather_async` bring the items here.

    It can be passed to tasks and actors. A shard is to be read in one place at a time.
    """

    def __init__(
        self, shards: Sequence[_Shard], name: str, parents: Sequence[ParallelIterator[Any]] = (), united: bool = False
    ) -> None:
        """`parents` are kept alive, as the items come from them; `united`: shards of several iterators."""
        self._shards = list(shards)
        self.name = name
        self._parents = list(parents)
        self._united = united

    def __iter__(self) -> Iterator[T]:
        raise TypeError(
            "You must use it.gather_sync() or it.gather_async() to iterate over the results of a ParallelIterator."
        )

    def __repr__(self) -> str:
        return f"ParallelIterator[{self.name}]"

    def _then(self, transform: _Transform, name: str) -> ParallelIterator[Any]:
        shards = [_Shard(actor, [*before, transform]) for actor, before in self._shards]
        return ParallelIterator(shards, self.name + name, self._parents, self._united)

    def transform(self, fn: Callable[[Iterable[T]], Iterable[U]]) -> ParallelIterator[U]:
        """Change the stream of each shard as a whole: see `LocalIterator.transform`."""
        return self._then(lambda items: items.transform(fn), ".transform()")

    def for_each(
        self, fn: Callable[[T], U], max_concurrency: int = 1, resources: dict[str, Any] | None = None
    ) -> ParallelIterator[U]:
        """``fn(item)`` for each item; in each shard `max_concurrency` at a time: see `LocalIterator.for_each`.

        AssertionError: a negative number.
        """
        assert max_concurrency >= 0, "max_concurrency must be non-negative."
        return self._then(lambda items: items.for_each(fn, max_concurrency, resources), ".for_each()")

    def filter(self, fn: Callable[[T], bool]) -> ParallelIterator[T]:
        """Those items for which `fn` says yes."""
        return self._then(lambda items: items.filter(fn), ".filter()")

    def batch(self, n: int) -> ParallelIterator[list[T]]:
        """Lists of `n` items of a shard; its last one may have fewer."""
        return self._then(lambda items: items.batch(n), f".batch({n})")

    def flatten(self) -> ParallelIterator[Any]:
        """The items of the items."""
        return self._then(lambda items: items.flatten(), ".flatten()")

    def combine(self, fn: Callable[[T], list[U]]) -> ParallelIterator[U]:
        """``for_each(fn).flatten()``."""
        found = self.for_each(fn).flatten()
        found.name = f"{self.name}.combine()"
        return found

    def local_shuffle(self, shuffle_buffer_size: int, seed: int | None = None) -> ParallelIterator[T]:
        """The items of each shard in a random order: see `LocalIterator.shuffle`."""
        return self._then(
            lambda items: items.shuffle(shuffle_buffer_size, seed),
            f".local_shuffle(shuffle_buffer_size={shuffle_buffer_size}, seed={seed})",
        )

    def repartition(self, num_partitions: int, batch_ms: int = 0) -> ParallelIterator[T]:
        """The same items in `num_partitions` shards: those of each present shard are dealt out to the new ones in turn.

        With `batch_ms` they travel in lists, which a shard fills for so many milliseconds.
        """
        actors = self._begin()

        def part(index: int) -> Callable[[], Iterator[Any]]:
            def ask(actor: Any) -> Any:
                return actor.par_iter_slice_batch.remote(step=num_partitions, start=index, batch_ms=batch_ms)

            return lambda: (item for _, batch in _as_ready(actors, ask, 1, None) for item in batch)

        found: ParallelIterator[T] = from_iterators([part(index) for index in range(num_partitions)])
        return ParallelIterator(
            found._shards, f"{self.name}.repartition[num_partitions={num_partitions}]", [self], united=False
        )

    def gather_sync(self) -> LocalIterator[T]:
        """All items here: one of each shard in turn."""
        found = self.batch_across_shards().flatten()
        found.name = f"{self}.gather_sync()"
        return found

    def batch_across_shards(self) -> LocalIterator[list[T]]:
        """Lists of one item of each shard that has one left."""

        def items(timeout: float | None) -> Iterator[Any]:
            actors = self._begin()
            while actors:
                refs = [actor.par_iter_next.remote() for actor in actors]
                while timeout is not None and len(minray.wait(refs, num_returns=len(refs), timeout=timeout)[1]):
                    yield _NextValueNotReady()
                batch, left = [], []
                for actor, ref in zip(actors, refs):
                    try:
                        batch.append(minray.get(ref))
                        left.append(actor)
                    except StopIteration:
                        pass
                actors = left
                if batch:
                    yield batch
                if timeout is not None:
                    yield _NextValueNotReady()

        return LocalIterator(items, SharedMetrics(), name=f"{self}.batch_across_shards()")

    def gather_async(self, batch_ms: int = 0, num_async: int = 1) -> LocalIterator[T]:
        """All items here, as they become ready.

        Args:
            batch_ms: They travel in lists, which a shard fills for so many milliseconds; 0: one by one.
            num_async: How many of these each shard works at ahead.

        Raises ValueError for numbers that are too small.
        """
        if num_async < 1:
            raise ValueError("queue depth must be positive")
        if batch_ms < 0:
            raise ValueError("batch time must be positive")

        def items(timeout: float | None) -> Iterator[Any]:
            batches = _as_ready(self._begin(), lambda a: a.par_iter_next_batch.remote(batch_ms), num_async, timeout)
            for actor, batch in batches:
                if actor is None:
                    yield _NextValueNotReady()
                    continue
                found.shared_metrics.get().current_actor = actor
                yield from batch

        found: LocalIterator[T] = LocalIterator(items, SharedMetrics(), name=f"{self}.gather_async()")
        return found

    def take(self, n: int) -> list[T]:
        """The first `n` items, or all if there are fewer."""
        return self.gather_sync().take(n)

    def show(self, n: int = 20) -> None:
        """Print the first `n` items, a line for each."""
        self.gather_sync().show(n)

    def union(self, other: ParallelIterator[T]) -> ParallelIterator[T]:
        """An iterator over the shards of both. TypeError: `other` is no ParallelIterator."""
        if not isinstance(other, ParallelIterator):
            raise TypeError(f"other must be of type ParallelIterator, got {type(other)}")
        return ParallelIterator(
            [*self._shards, *other._shards],
            f"ParallelUnion[{self}, {other}]",
            [*self._parents, *other._parents],
            united=True,
        )

    def select_shards(self, shards_to_keep: list[int]) -> ParallelIterator[T]:
        """An iterator over some of the shards.

        ValueError: over none, or after `union`. AssertionError: there are not so many.
        """
        if self._united:
            raise ValueError("select_shards() is not allowed after union()")
        if len(shards_to_keep) == 0:
            raise ValueError("at least one shard must be selected")
        kept = [shard for index, shard in enumerate(self._shards) if index in shards_to_keep]
        assert len(kept) == len(shards_to_keep), "Invalid actor index"
        return ParallelIterator(kept, f"{self}.select_shards({len(kept)} total)", self._parents)

    def num_shards(self) -> int:
        """How many actors there are."""
        return len(self._shards)

    def shards(self) -> list[LocalIterator[T]]:
        """An iterator over each shard."""
        return [self.get_shard(index) for index in range(self.num_shards())]

    def get_shard(self, shard_index: int, batch_ms: int = 0, num_async: int = 1) -> LocalIterator[T]:
        """An iterator over one shard, which a task or an actor may read.

        `batch_ms` and `num_async` are as for `gather_async`. ValueError: they are too small, or there is no such shard.
        """
        if num_async < 1:
            raise ValueError("num async must be positive")
        if batch_ms < 0:
            raise ValueError("batch time must be positive")
        if shard_index >= len(self._shards):
            raise ValueError("Shard index out of range", shard_index, self.num_shards())
        actor, transforms = self._shards[shard_index]

        def items(timeout: float | None) -> Iterator[Any]:
            minray.get(actor.par_iter_init.remote(transforms))
            refs = deque([actor.par_iter_next_batch.remote(batch_ms) for _ in range(num_async)])
            while True:
                while timeout is not None and not minray.wait([refs[0]], timeout=timeout)[0]:
                    yield _NextValueNotReady()
                try:
                    batch = minray.get(refs.popleft())
                except StopIteration:
                    return
                refs.append(actor.par_iter_next_batch.remote(batch_ms))
                yield from batch
                if timeout is not None:
                    yield _NextValueNotReady()

        return LocalIterator(items, SharedMetrics(), name=f"{self.name}.shard[{shard_index}]")

    def _begin(self) -> list[Any]:
        """Have every shard begin; their actors."""
        minray.get([actor.par_iter_init.remote(transforms) for actor, transforms in self._shards])
        return [actor for actor, _ in self._shards]


def _as_ready(
    actors: list[Any], ask: Callable[[Any], Any], at_once: int, timeout: float | None
) -> Iterator[tuple[Any, list[Any]]]:
    """What `actors` answer when they are asked again and again, as it comes: ``(actor, items)``.

    With a time-out there is ``(None, [])`` after every wait, for whoever has other things to look at.
    """
    asked = {ask(actor): actor for _ in range(at_once) for actor in actors}
    while asked:
        refs = list(asked)
        if timeout is None:
            ready = minray.wait(refs, num_returns=len(refs), timeout=0)[0] or minray.wait(refs)[0]
        else:
            ready = minray.wait(refs, num_returns=len(refs), timeout=timeout)[0]
        for ref in ready:
            actor = asked.pop(ref)
            try:
                batch = minray.get(ref)
            except StopIteration:
                continue
            asked[ask(actor)] = actor
            yield actor, batch
        if timeout is not None:
            yield None, []
