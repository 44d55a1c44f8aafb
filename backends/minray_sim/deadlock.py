"""The report of a deadlock: who waits for whom, and where in the source."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minray_sim.fibers import Fiber
    from minray_sim.pool import SimPool

_OURS = ("minray", "minray_sim")
#: Lines of the report, beyond which a long chain is cut short.
LINES = 20


def explain(pool: SimPool) -> str:
    """The chain from the driver on, up to where it closes."""
    lines = ["Nothing can go on: the program waits for ever."]
    fiber: Fiber | None = pool.simulation.main
    seen: list[str] = []
    while fiber is not None and len(lines) < LINES:
        seen.append(fiber.label)
        what, ids = fiber.wants or ("a lock, or another thread", ())
        lines.append(f"  {fiber.label} waits in {what}{_where(fiber)}")
        fiber = None
        for id in ids:
            task = pool.owner.maker(id)
            if task is not None:
                fiber = _follow(pool, task, seen, lines)
                break
    return "\n".join(lines)


def _follow(pool: SimPool, task: Any, seen: list[str], lines: list[str]) -> Fiber | None:
    """Why a call has not ended, and the fiber that this leads to."""
    visited: set[int] = set()
    while len(lines) < LINES:
        label = pool.names.label(task.id)
        why, others = pool.owner.awaits(task)
        running = next((one for one in pool.simulation.fibers.values() if _runs(one, label)), None)
        if running is not None:
            lines.append(f"  for {label}, which runs")
            if label in seen:
                lines.append(f"  and so the circle closes: {' -> '.join([*seen[seen.index(label) :], label])}")
                return None
            return running
        lines.append(f"  for {label}, which {why}")
        if task.id in visited or not others:
            return None
        visited.add(task.id)
        task = others[0]
    return None


def _runs(fiber: Fiber, label: str) -> bool:
    return fiber.label == label and not fiber.done


def _where(fiber: Fiber) -> str:
    """The line of the user's code in which a fiber waits."""
    frame = sys._current_frames().get(fiber.ident)
    while frame is not None:
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        if package == "__main__" or not (package in _OURS or package in sys.stdlib_module_names):
            return f", at {frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back
    return ""
