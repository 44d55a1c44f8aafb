"""`SimPool`: the pool that minray's scheduler sees, and the stepper that its sessions ask for turns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from minray.backend import NodeInfo, PoolConfig
from minray.stepping import SteppedRuntime, Waiting, running_call
from minray.wire.messages import Message
from minray_sim import deadlock
from minray_sim.fibers import Hosts
from minray_sim.names import Names
from minray_sim.places import Place
from minray_sim.settings import Settings, settings_of
from minray_sim.simulation import Simulation
from minray_sim.world import World

#: CPUs where none are asked for: enough for most tasks to be under way at once, so that the schedule orders them.
NUM_CPUS = 8
#: Bytes of memory where nothing else is said: the same on every machine.
MEMORY = 4 << 30


class SimPool:
    """A `minray.backend.WorkerPool` that runs its workers one step at a time."""

    name = "sim"
    store = None
    in_process = True
    directory = None
    runtime = SteppedRuntime
    #: What `init` may be told beyond what it tells every backend.
    keywords: ClassVar[frozenset[str]] = frozenset({"seed", "strategy", "faults", "max_steps"})
    owner: Any  # the `SteppedRuntime`

    def __init__(self, settings: Settings | None = None) -> None:
        self._settings = settings
        self._places: dict[int, Place] = {}
        self._ended: list[Place] = []
        self._first_worker = 0
        self.names = Names()

    def open(self, config: PoolConfig) -> Sequence[NodeInfo]:
        settings = self._settings or settings_of(config.options)
        self.hear = self.owner.hear  #: tells the owner what a worker says, at once
        self._own_hosts = settings.hosts is None
        self.hosts = settings.hosts or Hosts()
        strategy = settings.begin()
        self.simulation = Simulation(strategy, settings.seed, self.hosts, settings.faults, settings.max_steps)
        self.simulation.explain = lambda: deadlock.explain(self)
        self.simulation.dropped, self.simulation.settle = self.owner.dropped, self.owner.settle
        if settings.faults is not None:
            settings.faults.begin(self)
        settings.opened(self)
        self._own_world = settings.world is None
        self._world = settings.world or World()
        if self._own_world:
            self._world.enter()
        self._world.begin(self)
        cpus = config.num_cpus if config.num_cpus is not None else NUM_CPUS
        resources = {
            "CPU": float(cpus),
            "GPU": float(config.num_gpus or 0),
            "memory": float(MEMORY if config.memory is None else config.memory),
            "object_store_memory": float(MEMORY if config.object_store_memory is None else config.object_store_memory),
            **config.resources,
        }
        return [NodeInfo(id=0, resources={name: n for name, n in resources.items() if n > 0 or name == "CPU"})]

    @staticmethod
    def given(settings: Settings | None) -> None:
        """Have all runs from now on follow these settings, whatever `init` is told; None: have that decide again."""
        from minray_sim import settings as module

        module.current = settings

    # -- WorkerPool -----------------------------------------------------------------------------------------------

    def start(self, worker: int, node: int) -> None:
        if not self._first_worker:
            self._first_worker = worker
        place = self._places[worker] = Place(worker, worker - self._first_worker + 1, self)
        place.begin()

    def send(self, worker: int, messages: list[Message]) -> None:
        place = self._places.get(worker)
        if place is not None:
            for message in messages:
                if not place.dead:
                    place.hear(message)

    def interrupt(self, worker: int) -> None:
        place = self._places.get(worker)
        if place is not None:
            place.recall()

    def receive(self, timeout: float | None) -> list[tuple[int, list[Message]]]:
        return []  # nobody waits here: see `wait`

    def wake(self) -> None:
        """Nobody sleeps in `receive`."""

    def kill(self, worker: int) -> None:
        place = self._places.get(worker)
        if place is not None:
            place.end("it was killed", killed=True)

    def places(self) -> list[Place]:
        """All workers."""
        return list(self._places.values())

    def forget(self, place: Place) -> None:
        """It has ended."""
        self._ended.append(self._places.pop(place.number))

    def close(self) -> None:
        for place in self._places.values():
            place.dead = place.gone = True
        try:
            self.simulation.close()
            if not self.simulation.stuck:
                for place in (*self._places.values(), *self._ended):
                    place.close()
                self._places.clear()
                self._ended.clear()
                del self.owner, self.hear
        finally:
            self._world.end()
            if self._own_world:
                self._world.leave()
            if self._own_hosts:
                self.hosts.close()

    # -- Stepper --------------------------------------------------------------------------------------------------

    def turn(self, what: str, polls: bool = False) -> None:
        self.simulation.turn(what, polls)

    def wait(self, waiting: Waiting, timeout: float | None) -> bool:
        simulation = self.simulation
        if simulation.closed:
            return False
        me = simulation.me()
        if me is None:
            raise RuntimeError(
                "This thread is not simulated, so it cannot wait for what is: it was started before minray.init() or "
                "without `threading.Thread`."
            )
        waiting.gate = me  # type: ignore[assignment]
        try:
            return simulation.pause(timeout)
        finally:
            waiting.gate = None
            me.wants = None

    def wants(self, what: str, ids: Sequence[int]) -> None:
        running = self.simulation.running
        if running is not None:
            running.wants = (what, tuple(ids))

    def now(self) -> float:
        return self.simulation.now

    def submitted(self, id: int, name: str) -> None:
        maker: int | str = running_call() or self._thread()
        self.names.made(id, name, maker)

    def _thread(self) -> str:
        """What the running thread is known by, where it is in no call."""
        running = self.simulation.running
        return "main" if running is None else running.label
