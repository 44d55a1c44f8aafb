"""minray: Ray's core API for Python, without Ray's weight. ``import minray as ray``.

The files, in the order in which to read them:

`api`: `remote`, `get`, `put`, `wait`, `kill`, `get_actor`: checks what the user gave, then delegates. `starting`:
`init` and `shutdown`, from arguments and environment variables to a run and to its end.

`remote_function`, `actor_class`: what `remote` makes of a function and of a class; the way from ``.remote(...)`` to a
session. `options` says what may be chosen for them and what becomes of it, `signature` checks the arguments of a call.

`actor`: what Ray's module `ray.actor` offers.

`refs`: `ObjectRef`, a future value and a counted reference to it. `generators`: refs to what a generator yields, as it
comes; `yielding` is the producer's side of that. `exceptions`: every error, and how one that was
raised in another process arrives as an instance of its own type (`causes` does the copying).

`session`: what all of the above ask of whoever serves them; the one interface between the public API and the rest.

`registry`: from a backend's name or an address to the code behind it.

`runtime`: the driver's session. It feeds events to the task graph and carries out what the graph decides. `client`
is the session inside a worker, `worker` what a worker runs: one call at a time (`running`), or for some actors several
at once (`concurrency`, `looping`). `stopping` interrupts the one that is cancelled.

`serving`: what the owner does with the messages of workers. `about`, `listing`: what it tells of the run and of what is
in it, for `runtime_context`, `timeline` and `util.state`. `ids`: how ids are shown. `left_out`: what is not here.

`strategies`, `labels`: where a call may run. `runtime_env`, `environments`, `packing`: what its worker finds around it.
`places`, `machine`: what the owner tells of nodes and placement groups; what this machine has to offer.

`reading`: which thread reads the channels; `napping`: when it lets replies wait for each other. `interrupts`: when
Ctrl-C is raised in the driver. `reentry`: calls from a `__del__` in the middle of all this. `calling`, `code`:
arguments, values and functions on their way.

`measures`: what `util.metrics` records, on its way to the driver.

`as_ray`: how ``import ray`` gives minray, for programs that nobody can edit.

`backend`: the two contracts a backend can meet. Read it before writing one.

`dag`: graphs of calls, which `.bind` writes down. `util`: libraries on top. Each is imported when it is first used, and
knows only what is public.

`core`: the task graph, a pure state machine; start with `core.graph`. `wire`: messages, framing, serialisation.

Arrows point down: the public API knows `session` alone, `runtime` knows `core`, `wire` and `backend`, and nothing here
knows a backend by name. docs/architecture.md follows one call through these files.
"""

from typing import TYPE_CHECKING, Any

from minray import actor, exceptions, experimental, internal, util
from minray.actor_class import method
from minray.api import (
    available_resources,
    cancel,
    cluster_resources,
    get,
    get_actor,
    get_gpu_ids,
    kill,
    nodes,
    put,
    remote,
    wait,
)
from minray.as_ray import install_as_ray
from minray.generators import DynamicObjectRefGenerator, ObjectRefGenerator
from minray.ids import (
    ActorClassID,
    ActorID,
    ClusterID,
    FunctionID,
    JobID,
    NodeID,
    PlacementGroupID,
    TaskID,
    UniqueID,
    WorkerID,
)
from minray.refs import ObjectRef
from minray.runtime_context import get_runtime_context
from minray.starting import init, is_initialized, shutdown
from minray.timeline import timeline

if TYPE_CHECKING:
    from minray import dag

__version__ = "0.1.0"

ObjectID = ObjectRef
#: What `minray.init` makes of a process, in Ray's numbers: a driver, a worker.
SCRIPT_MODE = 0
WORKER_MODE = 1

__all__ = [
    "SCRIPT_MODE",
    "WORKER_MODE",
    "ActorClassID",
    "ActorID",
    "ClusterID",
    "DynamicObjectRefGenerator",
    "FunctionID",
    "JobID",
    "NodeID",
    "ObjectID",
    "ObjectRef",
    "ObjectRefGenerator",
    "PlacementGroupID",
    "TaskID",
    "UniqueID",
    "WorkerID",
    "__version__",
    "actor",
    "available_resources",
    "cluster_resources",
    "dag",
    "exceptions",
    "experimental",
    "get",
    "get_actor",
    "get_gpu_ids",
    "get_runtime_context",
    "init",
    "install_as_ray",
    "internal",
    "is_initialized",
    "cancel",
    "kill",
    "method",
    "nodes",
    "put",
    "remote",
    "shutdown",
    "timeline",
    "util",
    "wait",
]


def __getattr__(name: str) -> Any:
    if name in ("cloudpickle", "dag", "runtime_env"):  # imported when they are first used: 15 ms
        import importlib

        return importlib.import_module(f"minray.{name}")
    from minray.left_out import why

    raise AttributeError(why(name))
