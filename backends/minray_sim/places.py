"""A worker of the simulation: calls wait here for their turn, and answers for theirs.

      pool.send ──CALL──> lines: {caller: [call, call]} ──(event: call)──> SteppedWorker.step, on a host
      owner <──(event: end)── answers: [DONE] <──── send ──── the call's last word

Calls of one caller keep their order, those of different callers may come in any. What is no call (code, an answer to a
`get`) is heard at once: that a thread goes on is an event of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container
from functools import partial
from typing import TYPE_CHECKING, Any

from minray.stepping import SteppedWorker, cancelled_late, reply_lost
from minray.wire import messages as m
from minray.wire.messages import Message
from minray_sim.events import CALL, END, START, Event

if TYPE_CHECKING:
    from minray_sim.pool import SimPool
    from minray_sim.simulation import Simulation

#: What a call seems to take at least (s): too long for others to be sent ahead of it, so that every task that waits is
#: the scheduler's, and every one that was sent can begin.
CALL_SECONDS = 0.1
#: The last words of a call.
_ANSWERS = frozenset({m.DONE, m.FAILED, m.CREATED})


class _Interruptible:
    """Runs tasks; a cancelled one is interrupted where it next goes on."""

    def __init__(self, place: Place, simulation: Simulation, cancelled: Container[int]) -> None:
        self._place = place
        self._simulation = simulation
        self._cancelled = cancelled

    def run(self, id: int, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        fiber = self._simulation.running
        assert fiber is not None
        if id in self._cancelled:  # since it left the queue
            raise KeyboardInterrupt
        fiber.call = id
        try:
            return function(*args, **kwargs)
        finally:
            fiber.call = 0

    def interrupt(self, id: int) -> None:
        simulation = self._simulation
        for fiber in simulation.fibers.values():
            if fiber.call == id and fiber.place is self._place:
                simulation.interrupt(fiber)


class Place:
    """One worker, and what waits for it. It is the worker's link to the owner, too."""

    def __init__(self, number: int, order: int, pool: SimPool) -> None:
        """`order`: it is the how-manieth of its run."""
        self.number = number
        self._order = order
        self._names = pool.names
        self.stepper = pool
        self._simulation = pool.simulation
        self.dead = False
        self.busy = False  # with a call; one that runs several never is
        self._actor = 0
        self.is_actor = False
        self.created = False
        self._stopping = False
        self.gone = False  # it was killed: its threads do not go on
        self._lines: dict[int, deque[Event]] = {}
        self._offered: dict[int, Event] = {}  # of each line the event that can happen
        self._too_late: set[int] = set()  # calls that were cancelled when they had run
        self._begun: dict[int, float] = {}  # when the calls that are under way did
        self._answers: deque[Message] = deque()
        self.answer: Event | None = None
        self.worker = SteppedWorker(number, self, None, True, in_process=True)

    @property
    def label(self) -> str:
        """What it is known by: its actor, if it is one's."""
        return self._names.label(self._actor) if self._actor else f"worker {self._order}"

    def begin(self) -> None:
        """Come up."""
        self.worker.begin(partial(_Interruptible, self, self._simulation))

    # -- from the owner -------------------------------------------------------------------------------------------

    def hear(self, message: Message) -> None:
        """Take a message in: queue it if it is a call."""
        op = message[0]
        if op == m.CALL or op == m.RUN or op == m.CREATE:
            self._queue(op, message)
        elif op == m.RECALL:
            self.recall()
        elif op == m.CANCEL:
            self._cancel(message)
        elif op == m.STOP:
            self._stopping = True
            if not self.busy and not self._lines and not self._answers:
                self.end("it ended")
        elif op == m.ENV:
            self.worker.dress(message)
        else:
            self.worker.hear([message])

    def _queue(self, op: int, message: Message) -> None:
        event = Event(CALL if op == m.CALL else START, self._simulation.number(), self._names.of_event)
        event.place = self
        event.subject = message
        event.act = self._run
        event.fresh = True
        if op == m.CREATE:
            self.is_actor = True
            self._actor = message[1]
        elif op == m.CALL:
            event.agent_of = self._names.agent_of
            event.key = 1 + self.stepper.owner.line_of(message[1])
        line = self._lines.get(event.key)
        if line is None:
            self._lines[event.key] = deque((event,))
        else:
            line.append(event)
        self._offer()

    def _offer(self) -> None:
        """The first calls of all lines can begin now, if nothing is under way."""
        if (self.busy or self._answers) and not (self.worker.concurrent and self.created):
            return
        offered = self._offered
        for key, line in self._lines.items():
            if key not in offered and (self.created or line[0].kind == START):
                offered[key] = line[0]
                self._simulation.add(line[0])

    def _withdraw(self) -> None:
        """None of them can, for now."""
        for event in self._offered.values():
            self._simulation.remove(event)
        self._offered.clear()

    def _take(self, event: Event) -> None:
        """Take a call out of its line."""
        key = event.key
        if self._offered.get(key) is event:
            del self._offered[key]
        line = self._lines[key]
        if len(line) == 1:
            del self._lines[key]
        else:
            line.remove(event)

    def recall(self) -> None:
        """Hand back the tasks that have not begun."""
        if self.dead:
            return
        back = []
        if not self.is_actor and 0 in self._lines:
            self._withdraw()
            back = [event.subject[1] for event in self._lines.pop(0)]
        self.send([(m.RETURNED, tuple(back))])

    def _cancel(self, message: Message) -> None:
        id = message[1]
        for line in self._lines.values():
            for event in line:
                if event.subject[0] != m.CREATE and event.subject[1] == id:
                    if self._offered.get(event.key) is event:
                        self._simulation.remove(event)
                    self._take(event)
                    self._offer()
                    self.send([(m.RETURNED, (id,))])
                    return
        if any(answer[0] in _ANSWERS and answer[1] == id for answer in self._answers):
            self._too_late.add(id)
        else:
            self.worker.hear([message])

    # -- calls ----------------------------------------------------------------------------------------------------

    def _run(self, event: Event) -> None:
        """Run a call to its end; on a host."""
        self._take(event)
        self._begun[event.subject[1]] = self._simulation.now
        if event.kind == CALL and self.worker.concurrent:
            self._offer()
            self.worker.step(event.subject)
            self.look()
        else:
            self.busy = True
            if self._offered:
                self._withdraw()
            self.worker.step(event.subject)
            self.busy = False
            if not self._answers:  # else it is over when the last of them has reached the owner
                self._over()

    def _over(self) -> None:
        if self.dead:
            return
        if self.worker.end is not None:
            self.look()
        if not self.dead:
            if self._lines:
                self._offer()
            if self._stopping and not self._lines and not self._answers:
                self.end("it ended")

    def look(self) -> None:
        """Whether the worker has ended."""
        if not self.dead and not self.busy and self.worker.end is not None and not self._answers:
            self.end(self.worker.end)

    # -- to the owner: `minray.backend.Link` ----------------------------------------------------------------------

    def send(self, messages: list[Message]) -> None:
        """Tell the owner, at once; from the answer of a call on when that event comes."""
        if self.dead:
            raise EOFError("this worker was ended")
        answers = self._answers
        if not answers and messages[0][0] not in _ANSWERS:
            at = next((at for at, message in enumerate(messages) if message[0] in _ANSWERS), len(messages))
            if at == len(messages):
                self.stepper.hear(self.number, messages)
                return
            self.stepper.hear(self.number, messages[:at])
            messages = messages[at:]
        if self._offered and not self.worker.concurrent:
            self._withdraw()
        answers.extend(messages)
        if self.answer is None:
            self._announce()

    def receive(self, timeout: float | None) -> list[Message]:
        """What comes is heard when it comes."""
        return []

    def watch(self, loop: Any, readable: Any) -> bool:
        """No event loop need read."""
        return False

    def wake(self) -> None:
        """The worker may have ended."""
        self.look()

    def _announce(self) -> None:
        """The next answer can reach the owner."""
        simulation = self._simulation
        event = self.answer = Event(END, simulation.number(), self._names.of_event)
        event.place = self
        event.subject = self._answers[0]
        event.act = self._deliver
        simulation.add(event)

    def _deliver(self, _: Event) -> None:
        answers = self._answers
        messages = [self._timed(answers.popleft())]
        while answers and answers[0][0] not in _ANSWERS:
            messages.append(answers.popleft())
        self.answer = None
        if messages[0][0] == m.CREATED and messages[0][2] is None:
            self.created = True
        self.stepper.hear(self.number, messages)
        if self.dead:
            return
        if answers:
            self._announce()
        elif not self.busy:
            self._over()

    # -- what may break -------------------------------------------------------------------------------------------

    def can_lose_answer(self) -> bool:
        """Whether the next answer is that of a call."""
        return bool(self._answers) and self._answers[0][0] == m.DONE

    def lose_answer(self) -> None:
        """The owner hears that the call has failed, of itself and not in its code, and runs it again if it may."""
        id = self._answers[0][1]
        self._answers[0] = (m.FAILED, id, reply_lost(self._names.label(id), self.is_actor), True, 0.0)

    def answer_is_cancelled(self) -> bool:
        """Whether the next answer is that of a call which was cancelled when it had run already."""
        return self.can_lose_answer() and self._answers[0][1] in self._too_late

    def cancel_answer(self) -> None:
        """It counts as cancelled after all."""
        id = self._answers[0][1]
        self._answers[0] = (m.FAILED, id, cancelled_late(id), False, 0.0)

    def _timed(self, message: Message) -> Message:
        """An answer with the simulation's idea of how long its call has taken."""
        begun = self._begun.pop(message[1], None)
        if begun is None:
            return message
        return (*message[:-1], CALL_SECONDS + self._simulation.now - begun)

    def end(self, cause: str, killed: bool = False) -> None:
        """It has ended, or is ended: nothing of it is heard any more but that. `killed`: and nothing runs on."""
        simulation = self._simulation
        self._withdraw()
        if self.answer is not None:
            simulation.remove(self.answer)
        self.dead = True
        self.gone = killed
        self._lines.clear()
        self._answers.clear()
        if killed:
            for fiber in simulation.fibers.values():
                if fiber.place is self and fiber.event is not None:
                    simulation.remove(fiber.event)
                    fiber.event = None
        self.stepper.forget(self)
        self.worker.stop()
        self.stepper.hear(self.number, [(m.LOST, cause)])

    def close(self) -> None:
        """The run is over: only its name is asked for any more."""
        self.dead = self.gone = True
        self.worker.close()
        del self.worker, self.stepper, self._simulation
