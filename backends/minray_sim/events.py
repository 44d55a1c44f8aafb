"""What can happen next, and what has happened: the words of the schedule.

An event is one step of one run. Its label names it by where it comes from (``Counter.inc.3`` is the third call that its
maker has made), so that the same thing has the same label under another schedule.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from minray_sim.fibers import Fiber

#: Kinds of events, as they are in the log.
START = "start"  #: a task begins, or an actor is made
CALL = "call"  #: a call is delivered to its actor
END = "end"  #: the answer of a call reaches the owner
RESUME = "resume"  #: what a thread waited for is there
TURN = "turn"  #: a thread is about to do something that others can see
THREAD = "thread"  #: a thread of a concurrent actor, or of the user's own, begins
WAKE = "wake"  #: a sleep is over
TIMEOUT = "timeout"  #: a wait is over without result
FAULT = "fault"  #: something breaks

#: Those in which time passes.
TIMED = frozenset({WAKE, TIMEOUT})


class Event:
    """Something that can happen now.

    `agent` is who does it: events of one agent happen in their order whatever the schedule. `cause` is the step in
    which it became possible, `since` the time (s) then.
    """

    # Most events need few of these: what a class has costs nothing to make.
    fiber: Fiber | None = None
    act: Callable[[Event], None] | None = None  # what happens, if it is not that a fiber goes on; given the event
    place: Any = None
    subject: Any = None
    cause = 0
    since = 0.0
    key = 0
    fresh = False  # it begins on an empty stack
    agent_of: Callable[[Event], str] | None = None
    _label: str | None = None

    def __init__(self, kind: str, number: int, name: Callable[[Event], str] | str, fiber: Fiber | None = None) -> None:
        self.kind = kind
        self.number = number  # in the order in which events became possible
        self.name = name
        if fiber is not None:
            self.fiber = fiber

    @property
    def label(self) -> str:
        label = self._label
        if label is None:
            name = self.name
            label = self._label = f"{self.kind} {name if type(name) is str else name(self)}"  # type: ignore[operator]
        return label

    @property
    def agent(self) -> str:
        if self.fiber is not None:
            return self.fiber.label
        return self.label.partition(" ")[2] if self.agent_of is None else self.agent_of(self)

    def __repr__(self) -> str:
        return f"<Event {self.label}>"
