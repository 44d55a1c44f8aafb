"""Functions and classes on their way to workers: pickled once, known by the hash of their bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minray.calling import unpicklable
from minray.core.digest import digest
from minray.core.template import Code
from minray.wire.pickling import code_dumps

#: Ray's own figure: a function that closes over more is slow to send, and worth a word (ray-core docs, "Closure
#: capture of large objects").
LARGE_CODE_BYTES = 10 * 1024 * 1024


def make_code(target: Any, name: str, pin: Callable[[int], None], in_process: bool) -> Code:
    """Pickle a function or class. The references it closes over are pinned: code is never forgotten.

    `in_process`: for workers that are threads of this process (see `code_dumps`).

    TypeError: it cannot be pickled; the message has the path to the culprit.
    """
    try:
        blob, refs = code_dumps(target, in_process)
    except TypeError as error:
        raise unpicklable(target, f"the {'class' if isinstance(target, type) else 'function'} {name}", error) from error
    for id in refs:
        pin(id)
    return Code(digest(blob), blob, name, tuple(refs))
