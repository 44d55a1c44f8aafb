"""Iterators whose items come from actors, several at once. Ray's `ray.util.iter`, which Ray deprecates.

      from_range(6, num_shards=2)          .for_each(f)           .gather_sync()             list(...)
      one actor for each shard   ──>   steps, run in the actors   ──>   LocalIterator   ──>   items, here

Nothing runs until an item is asked for. `parallel`: `ParallelIterator`, many shards. `local`: `LocalIterator`, one
stream of items where it is read. `worker`: the actor behind a shard.
"""

from minray.util.iter.local import LocalIterator, _NextValueNotReady
from minray.util.iter.parallel import ParallelIterator, from_actors, from_items, from_iterators, from_range
from minray.util.iter.worker import ParallelIteratorWorker

__all__ = [
    "LocalIterator",
    "ParallelIterator",
    "ParallelIteratorWorker",
    "from_actors",
    "from_items",
    "from_iterators",
    "from_range",
    "_NextValueNotReady",  # what steps given to `transform` have to pass on
]
