"""minray: Ray's core API for Python, without Ray's weight. ``import minray as ray``.

The files, in the order in which to read them:

`api`: `remote`, `get`, `put`, `wait`, `kill`, `get_actor`: checks what the user gave, then delegates. `starting`:
`init` and `shutdown`, from arguments and environment variables to a run and to its end.

`remote_function`, `actor_class`: what `remote` makes of a function and of a class; the way from ``.remote(...)`` to a
session. `options` says what may be chosen for them and what becomes of it, `signature` checks the arguments of a call.

`refs`: `ObjectRef`, a future value and a counted reference to it. `exceptions`: every error, and how one that was
raised in another process arrives as an instance of its own type (`causes` does the copying).

`session`: what all of the above ask of whoever serves them; the one interface between the public API and the rest.

`registry`: from a backend's name or an address to the code behind it.

`runtime`: the driver's session. It feeds events to the task graph and carries out what the graph decides. `client`
is the session inside a worker, `worker` what a worker runs.

`serving`: what the owner does with the messages of workers.

`reading`: which thread reads the channels. `interrupts`: when Ctrl-C is raised in the driver. `calling`, `code`:
arguments, values and functions on their way.

`backend`: the two contracts a backend can meet. Read it before writing one.

`util`: libraries on top, each imported when it is first used; they know only what is public.

`core`: the task graph, a pure state machine; start with `core.graph`. `wire`: messages, framing, serialisation.

Arrows point down: the public API knows `session` alone, `runtime` knows `core`, `wire` and `backend`, and nothing here
knows a backend by name. docs/architecture.md follows one call through these files.
"""

from minray import exceptions, util
from minray.actor_class import method
from minray.api import (
    available_resources,
    cluster_resources,
    get,
    get_actor,
    kill,
    put,
    remote,
    wait,
)
from minray.refs import ObjectRef
from minray.starting import init, is_initialized, shutdown

__version__ = "0.1.0"

__all__ = [
    "ObjectRef",
    "__version__",
    "available_resources",
    "cluster_resources",
    "exceptions",
    "get",
    "get_actor",
    "init",
    "is_initialized",
    "kill",
    "method",
    "put",
    "remote",
    "shutdown",
    "util",
    "wait",
]
