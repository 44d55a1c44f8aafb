"""Functions and classes on their way to workers: pickled once, known by the hash of their bytes."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

from minray.calling import unpicklable
from minray.core.digest import digest
from minray.core.template import ActorTemplate, Code, MethodTemplate, TaskTemplate
from minray.wire.pickling import code_dumps, dumps

#: Ray's own figures: a function that closes over more is slow to send, and worth a word (ray-core docs, "Closure
#: capture of large objects"); one that closes over much more is refused.
LARGE_CODE_BYTES = 10 * 1024 * 1024
MAX_CODE_BYTES = 95 * 1024 * 1024
_ADVICE = (
    "Check that its definition is not implicitly capturing a large array or other object in scope. Tip: use "
    "minray.put() to put large objects in the object store, and give it the ref."
)


def make_code(target: Any, name: str, pin: Callable[[int], None], in_process: bool) -> Code:
    """Pickle a function or class. The references it closes over are pinned: code is never forgotten.

    `in_process`: for workers that are threads of this process (see `code_dumps`).

    TypeError: it cannot be pickled; the message has the path to the culprit. ValueError: it is larger than
    `MAX_CODE_BYTES`. Warns if it is larger than `LARGE_CODE_BYTES`.
    """
    try:
        blob, refs = code_dumps(target, in_process)
    except TypeError as error:
        raise unpicklable(target, f"the {'class' if isinstance(target, type) else 'function'} {name}", error) from error
    kind = "actor" if isinstance(target, type) else "remote function"
    if len(blob) > MAX_CODE_BYTES:
        raise ValueError(f"The {kind} {name} is too large ({_mib(blob)} > {MAX_CODE_BYTES >> 20} MiB). {_ADVICE}")
    if len(blob) > LARGE_CODE_BYTES:
        warnings.warn(f"The {kind} {name} is very large ({_mib(blob)}). {_ADVICE}", stacklevel=_users_frame())
    for id in refs:
        pin(id)
    return Code(digest(blob), blob, name, tuple(refs))


def _mib(blob: bytes) -> str:
    return f"{len(blob) >> 20} MiB"


def _users_frame() -> int:
    """Which caller of `make_code`, in frames from it on, is the first outside of minray."""
    depth = 1
    while sys._getframe(depth).f_globals.get("__name__", "").partition(".")[0] == "minray":
        depth += 1
    return depth


def pack(template: TaskTemplate | ActorTemplate | MethodTemplate) -> bytes:
    """Pickle a template for another process. It may name types of ``__main__``: those that a method's calls retry."""
    return dumps(template)[0]


def pack_for_handles(template: ActorTemplate) -> bytes:
    """As much of an actor's template as a handle needs, pickled once."""
    if template.packed is None:
        template.packed = pack(template.without_code())
    return template.packed
