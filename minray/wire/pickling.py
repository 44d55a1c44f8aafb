"""Objects to bytes and back, with the references inside counted and large buffers kept out of the stream.

The C pickler is tried first, and its work kept unless it failed or spoke of a module whose functions and classes only
cloudpickle can carry to another process (``__main__``, and those registered with it): that is several times faster than
cloudpickle's Python-level pickler. So an object's own ``__reduce__`` may be called twice.
"""

from __future__ import annotations

import copyreg
import pickle
import sys
from collections.abc import Callable
from functools import partial
from io import BytesIO
from types import CellType, CodeType, FunctionType
from typing import Any

#: How a type is pickled: ``reducer(obj, refs)`` returns a reduce value and appends the ids it refers to.
Reducers = dict[type, Callable[[Any, list[int]], Any]]

#: In-band reducers for the frontend's own types (`ObjectRef`, actor handles), which register themselves here.
reducers: Reducers = {}

#: How instances of the user's own types are pickled, in this process: what `minray.util.register_serializer` was told.
custom: dict[type, Callable[[Any], Any]] = {}

#: Objects that pickle by value alone: no reducer can be needed, and no reference be inside.
_ATOMS = frozenset({type(None), bool, int, float, complex, str, bytes})


def dumps(obj: Any, *more: Any) -> tuple[bytes, list[pickle.PickleBuffer], list[int]]:
    """Pickle `obj`: the stream, its out-of-band buffers (still views of the object's memory), the ids referred to.

    `more` follow in the same stream, each a pickle of its own: what two of them share comes out as two objects.
    Whatever exception the object's own pickling raises, or cloudpickle's for what cannot be pickled.
    """
    buffers: list[pickle.PickleBuffer] = []
    refs: list[int] = []
    stream = BytesIO()
    pickler = pickle.Pickler(stream, 5, buffer_callback=buffers.append)
    table = copyreg.dispatch_table.copy()
    for cls, reducer in reducers.items():
        table[cls] = partial(_reduce, reducer, refs)
    if custom:
        table.update(custom)
    pickler.dispatch_table = table
    try:
        _dump(pickler, obj, more)
        data = stream.getvalue()
        if b"__main__" not in data and not _names_a_module_by_value(data):
            return data, buffers, refs
    except Exception:  # a local function, a lock, anything: cloudpickle knows more, and words the error
        pass
    return _cloud_dumps(obj, more)


def _dump(pickler: Any, obj: Any, more: tuple[Any, ...]) -> None:
    pickler.dump(obj)
    for other in more:
        pickler.clear_memo()
        pickler.dump(other)


def _names_a_module_by_value(data: bytes) -> bool:
    """Whether `data` may speak of a module that the user has told cloudpickle to pickle by value."""
    cloud = sys.modules.get("cloudpickle.cloudpickle")  # nobody tells it anything before it is imported
    return cloud is not None and any(name.encode() in data for name in cloud.list_registry_pickle_by_value())


def _reduce(reducer: Callable[[Any, list[int]], Any], refs: list[int], obj: Any) -> Any:
    return reducer(obj, refs)


def _cloud_dumps(obj: Any, more: tuple[Any, ...]) -> tuple[bytes, list[pickle.PickleBuffer], list[int]]:
    buffers: list[pickle.PickleBuffer] = []
    refs: list[int] = []
    stream = BytesIO()
    _dump(_cloud_pickler()(stream, buffers.append, refs), obj, more)
    return stream.getvalue(), buffers, refs


_cloud: Any = None


def _cloud_pickler() -> Any:
    """cloudpickle's pickler with our reducers; imported at the first need, as it takes 15 ms."""
    global _cloud
    if _cloud is None:
        import cloudpickle

        class CloudPickler(cloudpickle.Pickler):  # type: ignore[misc]
            def __init__(self, stream: BytesIO, buffer_callback: Any, refs: list[int]) -> None:
                super().__init__(stream, protocol=5, buffer_callback=buffer_callback)  # pyright: ignore[reportCallIssue]
                self._refs = refs

            in_process = False

            def reducer_override(self, obj: Any) -> Any:
                reducer = reducers.get(type(obj))
                if reducer is not None:
                    return reducer(obj, self._refs)
                own = custom.get(type(obj))
                if own is not None:
                    return own(obj)
                if type(obj) is CodeType:
                    return _code_in_file, (self.dispatch_table[CodeType](obj)[1], obj.co_filename)
                if self.in_process:
                    found = _reduce_alive(obj)
                    if found is not None:
                        return found
                return super().reducer_override(obj)

        _cloud = CloudPickler
    return _cloud


def _code_in_file(parts: tuple[Any, ...], filename: str) -> CodeType:
    """A code object with the file that it came from, for tracebacks, tracers and debuggers: cloudpickle 3.1.3 leaves it
    out."""
    return CodeType(*parts).replace(co_filename=filename)


def code_dumps(target: Any, in_process: bool = False) -> tuple[bytes, list[int]]:
    """Pickle a function or class, by value where it cannot be imported; its bytes, and the ids it closes over.

    `in_process`: it will be unpickled in this very process. Then code is not copied, so that breakpoints, patches of a
    module's names and coverage work; what a function closes over still is.
    """
    if in_process:
        found = _reduce_alive(target)
        if found is not None and len(found) == 2:  # as it is: no need of cloudpickle
            return pickle.dumps(_Alive(found)), []
    refs: list[int] = []
    stream = BytesIO()
    pickler = _cloud_pickler()(stream, None, refs)
    pickler.in_process = in_process
    pickler.dump(target)
    return stream.getvalue(), refs


#: Functions and classes that were pickled for this process, by a number. Kept, as the code they stand for is, until the
#: end of a run that can tell which those of its own are (`forget_code`). No number is used twice.
_alive: dict[int, Any] = {}
_numbers: dict[int, int] = {}  # by the object's id
_last_number = 0


def _number(obj: Any) -> int:
    global _last_number
    number = _numbers.get(id(obj))
    if number is None:
        number = _last_number = _last_number + 1
        _numbers[id(obj)] = number
        _alive[number] = obj
    return number


def last_code() -> int:
    """A mark for `forget_code`."""
    return _last_number


def forget_code(mark: int) -> None:
    """Forget functions and classes that were pickled for this process since `last_code` said `mark`."""
    for number in range(mark + 1, _last_number + 1):
        obj = _alive.pop(number, None)
        if obj is not None:
            del _numbers[id(obj)]


class _Alive:
    """Pickled, what `_reduce_alive` says."""

    def __init__(self, reduced: tuple[Any, ...]) -> None:
        self._reduced = reduced

    def __reduce__(self) -> tuple[Any, ...]:
        return self._reduced


def _living(key: int) -> Any:
    return _alive[key]


def _reduce_alive(obj: Any) -> Any:
    """How a function or class is pickled for its own process; None: not here, but as for any other."""
    if isinstance(obj, type):
        if obj.__module__ in ("builtins", __name__):
            return None  # some of them have names that cannot be looked up; cloudpickle knows which
        if any(getattr(member, "__closure__", None) for member in vars(obj).values()):
            return None  # what its methods close over is copied
        return _living, (_number(obj),)
    if (
        type(obj) is not FunctionType
        or obj.__module__ == __name__
        or obj.__globals__ is not getattr(sys.modules.get(obj.__module__), "__dict__", None)
    ):
        return None
    if not obj.__closure__:
        return _living, (_number(obj),)
    # Cells are filled in afterwards: what is in them may refer to the function itself.
    return _clone, (_number(obj),), [_content(cell) for cell in obj.__closure__], None, None, _fill_cells


class _Empty:
    """Stands for the content of a cell that is not bound yet."""


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not bound yet
        return _Empty


def _clone(key: int) -> FunctionType:
    original = _alive[key]
    cells = tuple([CellType() for _ in original.__closure__])
    clone = FunctionType(original.__code__, original.__globals__, original.__name__, original.__defaults__, cells)
    clone.__kwdefaults__ = original.__kwdefaults__
    clone.__qualname__ = original.__qualname__
    clone.__annotations__ = original.__annotations__
    clone.__dict__.update(original.__dict__)
    return clone


def _fill_cells(function: FunctionType, contents: list[Any]) -> None:
    for cell, content in zip(function.__closure__ or (), contents, strict=True):
        if content is not _Empty:
            cell.cell_contents = content


def is_atom(obj: Any) -> bool:
    """Whether `obj` is immutable and plain, so that it can travel as it is."""
    return type(obj) in _ATOMS
