"""`ParallelIteratorWorker`: what the actor behind a shard does."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from minray.util.iter.local import LocalIterator
from minray.util.iter_metrics import SharedMetrics


class ParallelIteratorWorker:
    """The source of a shard. Actors given to `from_actors` are of a subclass.

    Args:
        item_generator: An iterable, or a function that makes one.
        repeat: Whether to begin anew, for ever, when it ends.
    """

    def __init__(self, item_generator: Any, repeat: bool) -> None:
        self.item_generator: Any = _cycle(item_generator) if repeat else _made_by(item_generator)
        self.transforms: list[Any] = []
        self.local_it: Iterator[Any] | None = None
        self._ahead: defaultdict[int, deque[Any]] = defaultdict(deque)  # by part: read for the sake of others

    def par_iter_init(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        """Begin; `transforms` are functions from a `LocalIterator` to one."""
        items: Any = LocalIterator(lambda timeout: self.item_generator, SharedMetrics())
        for transform in transforms:
            items = transform(items)
        self.local_it = iter(items)
        self._ahead.clear()

    def par_iter_next(self) -> Any:
        """The next item. StopIteration: there is none; AssertionError: `par_iter_init` was not called."""
        assert self.local_it is not None, "must call par_iter_init()"
        return next(self.local_it)

    def par_iter_next_batch(self, batch_ms: int) -> list[Any]:
        """The items of the next `batch_ms` milliseconds; 0: one item. StopIteration: there is none."""
        return _for_a_while(self.par_iter_next, batch_ms)

    def par_iter_slice(self, step: int, start: int) -> Any:
        """The next of the items number `start`, ``start + step`` ... StopIteration: there is none."""
        assert self.local_it is not None, "must call par_iter_init()"
        mine = self._ahead[start]
        if not mine:
            for part, item in zip(range(step), self.local_it):
                self._ahead[part].append(item)
        if not mine:
            raise StopIteration
        return mine.popleft()

    def par_iter_slice_batch(self, step: int, start: int, batch_ms: int) -> list[Any]:
        """As `par_iter_next_batch`, of what `par_iter_slice` gives."""
        return _for_a_while(lambda: self.par_iter_slice(step, start), batch_ms)


def _for_a_while(take: Callable[[], Any], milliseconds: int) -> list[Any]:
    batch = [take()]
    end = time.monotonic() + milliseconds / 1000
    while time.monotonic() < end:
        try:
            batch.append(take())
        except StopIteration:
            break
    return batch


def _made_by(source: Any) -> Any:
    return source() if callable(source) else source


def _cycle(source: Any) -> Iterator[Any]:
    while True:
        items = iter(_made_by(source))
        if items is source:
            raise ValueError(
                f"Cannot iterate over {source} multiple times. Please pass in the base iterable or a function that "
                "makes the iterator."
            )
        yield from items
