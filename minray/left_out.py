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


#: name in `ray.util` -> why it is not in `minray.util`
UTIL = {
    **dict.fromkeys(("client", "connect", "disconnect"), "connect with minray.init(address=...)"),
    **dict.fromkeys(
        ("debugpy", "pdb", "ray_debugpy", "rpdb"),
        'on minray.init(backend="threads") Python\'s own breakpoint() works inside tasks and actors',
    ),
    **dict.fromkeys(("horovod", "lightgbm", "sgd", "xgboost"), "Ray has moved it out of its core"),
    **dict.fromkeys(("actor_group", "serialization_addons", "timer"), "Ray deprecates it as private"),
    "spark": "it starts a cluster on Spark; minray has none",
    "tpu": "there is no support for TPUs",
    "tracing": "Ray exports traces by OpenTelemetry; minray.timeline() has one for Chrome's viewer",
}


def why(name: str, module: str = "minray", table: dict[str, str] = LEFT_OUT) -> str:
    """The text of the AttributeError for a name that is not in `module`."""
    plain = f"module {module!r} has no attribute {name!r}"
    return f"{plain}: {table[name]}." if name in table else plain
