"""What may break, as choices of the schedule, as often as a budget says.

    death     a worker ends before, during or after a call (after: the call has run, its answer is lost with the worker)
    reply     the answer of a call that has run is lost, and its worker lives: a retry runs it twice
    object    the value of an object is gone
    timeout   a wait that has a time-out gives up although something else could still happen
    cancel    a call that was cancelled when it had run already counts as cancelled

An actor that may be restarted is, when its worker dies.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from minray_sim.events import CALL, FAULT, START, TIMEOUT, Event

if TYPE_CHECKING:
    from minray_sim.places import Place
    from minray_sim.simulation import Simulation

KINDS: tuple[str, ...] = ("death", "reply", "object", "timeout", "cancel")
#: Of how many objects, the oldest ones, one may get lost.
OBJECTS = 8


class Faults:
    """How often what may break; `left` is what is left of that in the present run."""

    def __init__(self, budget: dict[str, int], total: int) -> None:
        self.budget = budget
        self.total = total
        self.left = dict(budget)
        self.left_in_all = total
        self.pool: Any = None

    @classmethod
    def of(cls, asked: Any) -> Faults:
        """From a number (of any kind), a kind, several kinds (once each), or numbers by kind. ValueError, TypeError."""
        if isinstance(asked, Faults):
            return cls(asked.budget, asked.total)
        budget: dict[str, int]
        if isinstance(asked, bool) or not isinstance(asked, (int, str, dict, list, tuple, set)):
            raise TypeError(f"faults must be a number, or numbers by kind ({', '.join(KINDS)}), got: {asked!r}.")
        if isinstance(asked, int):
            budget = dict.fromkeys(KINDS, asked)
            total = asked
        else:
            if isinstance(asked, str):
                asked = [asked]
            budget = dict(asked) if isinstance(asked, dict) else dict.fromkeys(sorted(asked), 1)
            total = sum(budget.values())
        for kind, number in budget.items():
            if kind not in KINDS:
                raise ValueError(f"There is no fault {kind!r}. There are: {', '.join(KINDS)}.")
            if type(number) is not int or number < 0:
                raise ValueError(f"faults must say how often, as a number from 0 on, got: {kind}={number!r}.")
        if total < 0:
            raise ValueError(f"faults must be a number from 0 on, got: {total}.")
        return cls(budget, total)

    def begin(self, pool: Any) -> None:
        """A run begins."""
        self.pool = pool
        self.left = dict(self.budget)
        self.left_in_all = self.total

    def spent(self, event: Event) -> None:
        """One has happened."""
        kind = "timeout" if event.kind == TIMEOUT else event.subject
        self.left[kind] -= 1
        self.left_in_all -= 1

    def possible(self, simulation: Simulation) -> list[Event]:
        """What could break now."""
        if self.left_in_all <= 0:
            return []
        left = self.left
        found: list[Event] = []
        if left.get("death"):
            self._deaths(simulation, found)
        if left.get("reply") or left.get("cancel"):
            self._answers(found)
        if left.get("object"):
            pool = self.pool
            ids = pool.owner.losable()[:OBJECTS]
            found += [_fault("object", f"{pool.names.label(id)} is lost", _losing(pool.owner, id)) for id in ids]
        if left.get("timeout"):
            for fiber in simulation.timers:
                if fiber.timer == TIMEOUT and fiber.event is None and not (fiber.place and fiber.place.gone):
                    fiber_event = Event(TIMEOUT, 0, f"{fiber.label}, as a fault", fiber)
                    found.append(fiber_event)
        return found

    def _deaths(self, simulation: Simulation, found: list[Event]) -> None:
        fresh = [event for event in simulation.ready if event.kind in (START, CALL)]
        found += [_death(event.place, "before", event.label.partition(" ")[2]) for event in fresh]
        for place in self.pool.places():
            if place.answer is not None:
                found.append(_death(place, "after", place.answer.label.partition(" ")[2]))
            elif place.busy:
                fiber = next((one for one in simulation.fibers.values() if one.place is place), None)
                if fiber is not None and fiber is not simulation.running:
                    found.append(_death(place, "during", fiber.label))

    def _answers(self, found: list[Event]) -> None:
        for place in self.pool.places():
            if place.answer is None:
                continue
            label = place.answer.label.partition(" ")[2]
            if self.left.get("reply") and place.can_lose_answer():
                found.append(_fault("reply", f"the reply of {label} is lost", place.lose_answer))
            if self.left.get("cancel") and place.answer_is_cancelled():
                found.append(_fault("cancel", f"{label} is cancelled after all", place.cancel_answer))


def _fault(kind: str, what: str, act: Callable[[], None]) -> Event:
    event = Event(FAULT, 0, what)
    event.act, event.subject = lambda _: act(), kind
    return event


def _losing(owner: Any, id: int) -> Callable[[], None]:
    return lambda: owner.lose(id)


def _death(place: Place, when: str, label: str) -> Event:
    return _fault("death", f"death {when} {label}", lambda: place.end(f"a fault: death {when} {label}", killed=True))
