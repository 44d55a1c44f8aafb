"""`timeline`: what ran when, for Chrome's trace viewer (chrome://tracing) and Perfetto."""

from __future__ import annotations

from typing import Any

from minray.session import current


def timeline(filename: str | None = None) -> list[dict[str, Any]] | None:
    """The tasks that have run, the latest 10,000, as events of a Chrome trace: one for each, of the phase "X".

    `ts` and `dur` are in microseconds, `pid` is the node's address, `tid` the worker, and `args` has the function's
    name and the task's id. How long a task ran is measured in its worker. When it ended is when the driver heard of it,
    moved back where that would overlap what the same worker ran next.

    Args:
        filename: Write the events there, as JSON, and return None.

    Raises:
        RuntimeError: There is no run.
    """
    session = current()
    if session is None:
        raise RuntimeError("Ray has not been started yet. Timeline requires Ray to be initialized first.")
    events = [_event(row) for row in reversed(_apart(session.ask("rows", "tasks", False)))]
    if filename is None:
        return events
    with open(filename, "w") as file:
        import json

        json.dump(events, file)
    return None


def _apart(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those that have run, the latest first, moved back until a worker runs one at a time (unless it runs several)."""
    begun: dict[str, float] = {}
    found = []
    ran = [row for row in reversed(rows) if row.get("_span") is not None and row.get("worker_id") is not None]
    for row in sorted(ran, key=lambda row: -row["_span"][1]):
        start, end = row["_span"]
        if not row["_at_once"]:
            late = max(0.0, end - begun.get(row["worker_id"], end))
            start, end = start - late, end - late
            begun[row["worker_id"]] = start
        found.append({**row, "_span": (start, end)})
    return found


def _event(row: dict[str, Any]) -> dict[str, Any]:
    start, end = row["_span"]
    return {
        "cat": f"task::{row['name']}",
        "name": row["_function"],
        "pid": row["_address"],
        "tid": f"worker:{row['worker_id']}",
        "ts": start * 1e6,
        "dur": (end - start) * 1e6,
        "ph": "X",
        "cname": "generic_work",
        "args": {"name": row["_function"], "task_id": row["task_id"]},
    }
