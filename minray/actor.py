"""What Ray's module `ray.actor` offers: the types of actors, and how an actor ends itself."""

from __future__ import annotations

from typing import NoReturn

from minray.actor_class import ActorClass, ActorClassInheritanceException, method
from minray.actor_handle import ActorHandle, ActorMethod, ActorProxy
from minray.exceptions import ActorAlreadyExistsError, AsyncioActorExit
from minray.session import ensure

__all__ = [
    "ActorAlreadyExistsError",
    "ActorClass",
    "ActorClassInheritanceException",
    "ActorHandle",
    "ActorMethod",
    "ActorProxy",
    "AsyncioActorExit",
    "exit_actor",
    "method",
]


def exit_actor() -> NoReturn:
    """End the actor whose method calls this.

    1. The method is left by an exception: SystemExit, in an async actor `minray.exceptions.AsyncioActorExit`. Blocks
       are left as always (``finally``, ``with``), and catching it changes nothing.
    2. Calls that run beside it (in async and threaded actors) go on to their ends, and give their results.
    3. The actor is dead, and does not restart: this call and all that have not begun fail with `ActorDiedError`.

    Raises TypeError outside of actors.
    """
    ensure().exit_actor()
