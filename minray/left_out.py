"""Names of Ray's that minray leaves out, and what it says to who asks for one of them."""

from __future__ import annotations

#: name in `ray` -> why it is not in `minray`
LEFT_OUT = {
    **dict.fromkeys(("ClientBuilder", "client_builder"), "connect with minray.init(address=...)"),
    **dict.fromkeys(("Language", "cpp_function", "java_actor_class", "java_function"), "all functions are Python's"),
    **dict.fromkeys(("data", "serve", "train", "workflow"), "it is a library of its own; minray has Ray's core API"),
    **dict.fromkeys(
        ("RESTORE_WORKER_MODE", "SPILL_WORKER_MODE"), "there are no workers but those that run tasks and actors"
    ),
    **dict.fromkeys(("ray_constants", "serialization", "state"), "Ray deprecates it as private"),
    "LoggingConfig": "workers print, and the driver shows it: configure Python's logging inside the task",
    "autoscaler": "nodes are those that minray.init is given",
    "dashboard": "there is no server; minray.util.state tells what there is",
    "widgets": "there is nothing to draw in a notebook",
}


def why(name: str) -> str:
    """The text of the AttributeError for a name that is not in `minray`."""
    plain = f"module 'minray' has no attribute {name!r}"
    return f"{plain}: {LEFT_OUT[name]}." if name in LEFT_OUT else plain
