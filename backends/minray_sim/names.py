"""What calls are known by: where they come from, so that the same call has the same name under another schedule.

They refer to nothing else of the run, and so outlive it: its events are named when somebody asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from minray_sim.events import Event


class Names:
    """The names of one run's calls, by their ids."""

    def __init__(self) -> None:
        #: Of a call: the call (or thread) that has made it, its function, and the how-manieth of those it was.
        self._makers: dict[int, tuple[int | str, str, int]] = {}
        self._made: dict[int | str, int] = {}  # how many calls a call has made
        self._labels: dict[int, str] = {}

    def made(self, id: int, function: str, maker: int | str) -> None:
        """The call, or thread, `maker` has made the call `id`."""
        self._made[maker] = number = self._made.get(maker, 0) + 1
        self._makers[id] = (maker, function, number)

    def label(self, id: int) -> str:
        """What a call is known by."""
        label = self._labels.get(id)
        if label is None:
            known = self._makers.get(id)
            if known is None:
                return "main" if not id else f"call {id}"
            maker, function, number = known
            if maker == "main":
                label = f"{function}.{number}"
            else:
                label = f"{maker if isinstance(maker, str) else self.label(maker)}/{function}.{number}"
            self._labels[id] = label
        return label

    def maker_of(self, id: int) -> str:
        """The label of the call that has made this one."""
        known = self._makers.get(id)
        if known is None:
            return "main"
        return known[0] if isinstance(known[0], str) else self.label(known[0])

    def of_event(self, event: Event) -> str:
        """The label of the call that an event is about."""
        return self.label(event.subject[1])

    def agent_of(self, event: Event) -> str:
        """Who delivers a call to an actor: calls of one caller happen in order."""
        return f"{self.maker_of(event.subject[1])}>{event.place.label}"
