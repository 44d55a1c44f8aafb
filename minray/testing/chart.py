"""A run as a message-sequence chart: a column for each of those who take part, a line for each event."""

from __future__ import annotations

from typing import Any

#: Columns that are drawn; what has none is told in words.
COLUMNS = 7
#: How wide a column may be, in characters.
WIDTH = 22
#: Lines that are drawn, from the end.
LINES = 60


def chart(pool: Any) -> str:
    """The chart of the run of a simulation's pool. ``!`` marks what first-in-first-out would not have done."""
    simulation = pool.simulation
    moved = {id(event) for _, _, event in simulation.chosen}
    rows = [_row(pool, event) for event in simulation.trace]
    skipped = max(0, len(rows) - LINES)
    names: list[str] = ["main"]
    for begin, end, _ in rows[skipped:]:
        for name in (begin, end):
            if name and name not in names:
                names.append(name)
    names = names[:COLUMNS]
    width = min(WIDTH, max(len(name) for name in names) + 4)
    places = {name: 8 + at * width for at, name in enumerate(names)}
    lines = [" " * 8 + "".join(name[: width - 1].ljust(width) for name in names).rstrip()]
    if skipped:
        lines.append(f"      ({skipped} earlier events)")
    for step, (row, event) in enumerate(zip(rows, simulation.trace), 1):
        if step > skipped:
            lines.append(f"{'!' if id(event) in moved else ' '}{step:5}  {_draw(row, places, width)}".rstrip())
    return "\n".join(lines)


def _row(pool: Any, event: Any) -> tuple[str, str, str]:
    """From whom an event goes to whom (or nobody), and what it is."""
    kind, _, label = event.label.partition(" ")
    if kind in ("call", "start"):
        maker: str = pool.names.maker_of(event.subject[1])
        what = label.removeprefix(f"{maker}/")
        return (maker, event.place.label, what) if kind == "call" or event.place.is_actor else (maker, label, "starts")
    if kind == "end":
        maker = pool.names.maker_of(event.subject[1])
        who = event.place.label if event.place.is_actor else label
        return who, maker, f"{label.removeprefix(f'{maker}/')} is done"
    who = event.fiber.label if event.fiber is not None else ""
    words = {"resume": "goes on", "wake": "wakes up", "timeout": "times out", "fault": f"FAULT: {label}"}
    if kind == "turn":
        return who, "", label.partition(": ")[2]
    return who, "", words.get(kind, f"{kind} {label}")


def _draw(row: tuple[str, str, str], places: dict[str, int], width: int) -> str:
    begin, end, what = row
    line = [" "] * (max(places.values()) - 7)
    for at in places.values():
        line[at - 8] = "|"
    here, there = places.get(begin), places.get(end)
    if here is not None and there is not None and here != there:
        left, right = min(here, there) - 8, max(here, there) - 8
        line[left + 1 : right] = "-" * (right - left - 1)
        line[right - 1 if there > here else left + 1] = ">" if there > here else "<"
        if here - 8 in (left, right):
            line[here - 8] = "o"
        return "".join(line) + f"  {what}"
    if here is not None:
        line[here - 8] = "*"
    elif there is not None:
        line[there - 8] = "*"
    who = "" if begin in places or not begin else f"{begin}: "
    return "".join(line) + f"  {who}{what}"
