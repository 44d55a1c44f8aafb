"""From a schedule that fails to one with as little in it as possible: the fewest faults, and the fewest deviations from
first-in-first-out.

First delta debugging (Zeller, Hildebrandt: Simplifying and Isolating Failure-Inducing Input, IEEE TSE 2002) on the list
of deviations. A deviation names events, not steps, so that it means the same when others are left out; the list that
counts is that of the run which has failed, where some may not have come to pass. Then, as that ends where no single
deviation can go, a search from below: all schedules with one deviation, with two ..., as far as the runs go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

from minray.testing.runs import Pairs, Run

#: Runs that delta debugging may take, and the search from below.
RUNS = 1000
BELOW = 500


def shrink(
    run: Run, again: Callable[[Pairs], Run], next_from: Callable[[int], Iterator[Run]], same: Callable[[Run], bool]
) -> Run:
    """The smallest run found that fails as `run` does.

    `again` runs the program with these deviations; `next_from(n)` runs it with up to n deviations, in all ways there
    are, those with fewer first.
    """
    left = RUNS
    best = run

    def try_(pairs: Pairs) -> bool:
        nonlocal best, left
        if left <= 0:
            return False
        left -= 1
        found = again(pairs)
        if same(found) and _size(found.pairs) < _size(best.pairs):
            best = found
            return True
        return False

    if best.pairs and not try_([]):
        usual = [pair for pair in best.pairs if not _is_fault(pair)]
        if len(usual) < len(best.pairs):
            try_(usual)
        parts = 2
        while best.pairs and left > 0:
            pairs = best.pairs
            size = max(1, len(pairs) // parts)
            for begin in range(0, len(pairs), size):
                if try_(pairs[:begin] + pairs[begin + size :]):
                    parts = max(2, parts - 1)
                    break
            else:
                if size == 1:
                    break
                parts = min(len(pairs), parts * 2)
    if len(best.pairs) > 1:
        for found in islice(next_from(len(best.pairs) - 1), BELOW):
            if same(found) and _size(found.pairs) < _size(best.pairs):
                return found
    return best


def _is_fault(pair: tuple[str, str]) -> bool:
    return pair[1].startswith("fault ") or pair[1].endswith(", as a fault")


def _size(pairs: Pairs) -> tuple[int, int]:
    """What is to be small: faults first."""
    return sum(map(_is_fault, pairs)), len(pairs)
