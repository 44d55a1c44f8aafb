"""Which call the calling thread, or coroutine, is in: what `get_runtime_context()` tells of it.

A worker notes each call before it runs it. It is a context variable, so that the coroutines of an async actor and the
threads of a threaded one each have their own; a thread that user code starts has none.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

#: ``(task's int, task's name, function or None, name of the method or "")``. The creation of an actor has the int 0.
#: A plain tuple: it is made for every call.
CurrentCall = tuple[int, str, Any, str]

current_call: ContextVar[CurrentCall | None] = ContextVar("minray_current_call", default=None)
