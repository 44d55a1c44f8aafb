"""The two contracts a backend can meet.

`WorkerPool`: minray schedules, the pool starts workers and carries messages (threads, loky, ssh, sim).
`Engine`: it schedules for itself and takes calls whose inputs are still pending (ray, dask).

They are two on purpose: an engine under a scheduler of ours would be two schedulers, and would lose its own object
store. A backend is found through the entry-point group ``minray.backends``; the entry point loads to a class that is
called without arguments and meets one of the two. Whatever a backend cannot do it says by raising
`NotImplementedError` with its own name in the message: never a silent no-op.

The names of threads: the *caller* is a user's thread inside a call of the public API; the *reader* is the one thread
that is in `receive` at a time (a caller that waits, or minray's service thread).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from minray.interrupts import interruptible, raise_in
from minray.reentry import ReentrantLock, never_waiting, owner_of
from minray.wire.messages import Message

if TYPE_CHECKING:
    import asyncio

__all__ = [
    "Engine",
    "Handle",
    "Link",
    "NodeInfo",
    "PoolConfig",
    "ReentrantLock",
    "Store",
    "WorkerPool",
    "interruptible",
    "never_waiting",
    "owner_of",
    "raise_in",
]


@dataclass(frozen=True)
class PoolConfig:
    """What `init` was told."""

    num_cpus: int | None = None  #: logical CPUs; None: as many as the machine has
    num_gpus: int | None = None
    memory: int | None = None  #: bytes that tasks and actors may ask for; None: most of what is free
    object_store_memory: int | None = None  #: bytes of memory for values; None: a share of what is free
    spill_directory: str | None = None  #: where values go that find no memory; None: the temporary directory
    disk_threshold: float = 1.0  #: which share of that disk may be in use, by whomever
    resources: Mapping[str, float] = field(default_factory=dict)  #: custom resources
    isolate: bool = True  #: copy at every boundary
    log_to_driver: bool = True
    preload: Sequence[str] = ()  #: modules that every worker in a process of its own imports first
    memory_threshold: float = 0.95  #: the share of the machine's memory in use from which on there are fewer tasks
    memory_refresh: float = 0.0  #: how often to look (s); 0: never
    address: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)  #: init keywords of the backend's own


@dataclass(frozen=True)
class NodeInfo:
    """A machine that a pool offers."""

    id: int
    resources: Mapping[str, float]  #: ``{"CPU": 2.0, ...}``
    warm: int = 0  #: workers worth starting before there is work
    address: str = "127.0.0.1"
    store_bytes: int = 0  #: memory for values that its store may take


class Store(Protocol):
    """Where large values live: written once, mapped by readers. Shared by the processes of a node.

    Each process that writes has a store of its own, and fills as much memory as it was granted, with values and with
    room that it keeps for the next ones (`minray.core.memory` has the rules). What finds no memory goes to disk.
    """

    def bind(self, make_room: Callable[[int, int, int], bool], give_back: Callable[[int], None]) -> None:
        """Count memory from now on, of which nothing is granted yet. The session of this process, once, first of all.

        `write` calls ``make_room(missing, spare, attempt)`` where it lacks `missing` bytes, while it has `spare` that
        hold nothing but cannot be used. True: it is to look again (its next attempt, which are counted from 0); False:
        there is no room. It is called under no lock, and may block and raise OutOfDiskError.

        ``give_back(bytes)`` says what was granted and is not needed any more; it takes no lock.
        """
        ...

    def write(self, parts: Sequence[Any], total: int) -> Any:
        """Copy `parts` (buffers, `total` bytes) into the store; return the location, a tuple of plain values.

        Any thread of any of the pool's processes, also one that the garbage collector has led here out of `write` or
        `free` (`minray.reentry`). Blocks for the copy, and for `make_room`. OutOfDiskError: no room, on disk neither.
        """
        ...

    def grant(self, amount: int) -> None:
        """So many more bytes of memory may be filled. Any thread, under any lock."""
        ...

    def trim(self, amount: int) -> int:
        """Do without up to `amount` bytes of what was granted and holds nothing; returns how many. Any thread; blocks
        on no other process."""
        ...

    def shrink(self, amount: int) -> None:
        """Free `amount` bytes of memory that hold nothing, to be used elsewhere: the grant stays. As `trim`."""
        ...

    def share(self, location: Any) -> tuple[int, int]:
        """Which writer's memory it is in (the driver is 0, else the worker's number), and how much it takes of that at
        most; 0: it is on disk. Any thread; never blocks."""
        ...

    def spill(self, location: Any) -> Any:
        """Copy what is there to disk; return the new location. Any process of the node; blocks for the copy.
        OutOfDiskError: no room."""
        ...

    def bury(self, writer: int, kept: Sequence[Any]) -> None:
        """A worker is gone: of what it wrote, free all but the locations `kept`. Called by the owner, as `free`."""
        ...

    def read(self, location: Any, released: Callable[[], None]) -> list[memoryview]:
        """The parts as read-only views, without a copy. `released` is called once, from any thread and without locks of
        the caller's, when the last view and whatever was built on it are gone.

        FileNotFoundError or ValueError: the bytes are not there any more; `released` is never called then."""
        ...

    def lost(self, location: Any) -> None:
        """Somebody could not read `location`: do not write anything more to where it was. As `free` otherwise."""
        ...

    def size(self, location: Any) -> int:
        """How many bytes are there. Any thread; never blocks."""
        ...

    def free(self, location: Any) -> None:
        """Nobody will read `location` again. Called by the owner, under no lock; never blocks on a worker."""
        ...


class Link(Protocol):
    """A worker's end of its channel to the owner. One per worker; made by the pool, used by `minray.worker`."""

    def send(self, messages: list[Message]) -> None:
        """Send in order. Any thread; may block while the owner is behind. EOFError or OSError: the owner is gone."""
        ...

    def receive(self, timeout: float | None) -> list[Message]:
        """What has come, in order (with a time-out of 0 all of it); empty after `timeout` seconds, or a `wake`. One
        thread at a time. EOFError: the end."""
        ...

    def wake(self) -> None:
        """Let `receive` return soon, perhaps with nothing. Any thread."""
        ...

    def watch(self, loop: asyncio.AbstractEventLoop, readable: Callable[[], None]) -> bool:
        """From now on call `readable` on `loop` whenever there is something to `receive`. The loop's thread. False:
        it cannot, and some thread has to wait in `receive`."""
        ...


class WorkerPool(Protocol):
    """Carries out what minray's scheduler decides. `minray.owner` is the only user.

    Workers are named by ints that the owner chooses. A worker counts as usable from `start` on: what is sent before
    it is up is kept, in order. Failures are never raised by `start`, `send` or `kill`; they come as a last ``(LOST,
    cause)`` message from that worker, exactly once, also for workers that were killed.
    """

    name: str  #: as in the entry point, for messages
    store: Store | None  #: None: all values travel inline
    directory: str | None  #: a private one of the run, for files, seen by all workers and gone with it; None: none
    in_process: bool  #: workers are threads of this process: functions and classes need not be copied for them

    def open(self, config: PoolConfig) -> Sequence[NodeInfo]:
        """Start up; return the nodes. The caller, once, first of all. May block until workers can be started."""
        ...

    def start(self, worker: int, node: int) -> None:
        """Begin to start a worker that runs `minray.worker.Worker`. Any thread, one at a time; does not wait for it."""
        ...

    def send(self, worker: int, messages: list[Message]) -> None:
        """Send in order, after all that was sent before. Any thread, one at a time; never blocks: what the worker's
        channel cannot take now is kept and written by a later `send` or `receive`. Unknown workers are ignored."""
        ...

    def interrupt(self, worker: int) -> None:
        """Have the worker carry out a RECALL although it is busy running a call. Any thread; does not wait."""
        ...

    def receive(self, timeout: float | None) -> list[tuple[int, list[Message]]]:
        """Block until messages are there, `timeout` seconds are over or `wake` is called. By worker, in each
        worker's order. The reader. A pool in one thread (sim) runs its workers here.

        What it waits in is a function of its own that is marked `interruptible` and consumes nothing: there, and
        nowhere else in the pool, Ctrl-C is raised when a user's main thread is the reader."""
        ...

    def wake(self) -> None:
        """Make `receive` return soon. Any thread, also from `__del__`: takes no lock, never blocks."""
        ...

    def kill(self, worker: int) -> None:
        """End a worker at once, whatever it is doing. Any thread, one at a time; does not wait."""
        ...

    def close(self) -> None:
        """End all workers; remove everything that was made: processes, files, threads. The caller, once, with no other
        call under way but `receive`, which returns. Blocks until all is gone (bounded: what does not end is killed)."""
        ...


Handle = Any  #: an engine's own future, behind an ObjectRef


class Engine(Protocol):
    """A cluster that schedules for itself. `minray`'s adapter is the only user.

    Handles stand behind ObjectRefs as they are: an argument that is a handle may still be pending. Errors of user
    code are raised by `get` as `minray.exceptions.RayTaskError`, errors of the engine as the fitting exception of
    that module. All methods are called by callers, several at a time; only `get` and `wait` block.
    """

    name: str

    def open(self, config: PoolConfig) -> None:
        """Connect. ConnectionError with the address if there is nobody."""
        ...

    def submit(
        self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], options: Mapping[str, Any]
    ) -> list[Handle]:
        """Submit a task; one handle per return value. `args` and `kwargs` hold handles where the user gave refs."""
        ...

    def get(self, handles: Sequence[Handle], timeout: float | None) -> list[Any]:
        """Wait for the values. GetTimeoutError after `timeout` seconds."""
        ...

    def put(self, value: Any) -> Handle:
        """Store a value in the engine's own object store."""
        ...

    def wait(self, handles: Sequence[Handle], num_returns: int, timeout: float | None) -> Sequence[bool]:
        """Which handles are ready, as soon as `num_returns` are or the time is over."""
        ...

    def cancel(self, handle: Handle, force: bool, recursive: bool) -> None:
        """Cancel a task. Not promised: that it has not run."""
        ...

    def create_actor(
        self, cls: type, args: tuple[Any, ...], kwargs: dict[str, Any], options: Mapping[str, Any]
    ) -> Handle:
        """Create an actor; named ones are the engine's own, so that other drivers on the cluster find them."""
        ...

    def call_actor(
        self, actor: Handle, method: str, args: tuple[Any, ...], kwargs: dict[str, Any], options: Mapping[str, Any]
    ) -> list[Handle]:
        """Call a method; one handle per return value. Calls of one caller run in order."""
        ...

    def kill_actor(self, actor: Handle, no_restart: bool) -> None:
        """End an actor at once."""
        ...

    def close(self) -> None:
        """Disconnect, and leave the cluster as it was found."""
        ...
