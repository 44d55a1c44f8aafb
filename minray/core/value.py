"""What the graph knows of a value: its kind, its opaque data, and the references inside it.

A value is a tuple ``(kind, data, refs)``, because the hot path makes one per object and sends it as it is.
"""

from __future__ import annotations

from typing import Any

Value = tuple[int, Any, tuple[int, ...]]

PLAIN = 0  #: data is the object itself: None, bool, int, float, str or bytes
PICKLED = 1  #: data is one pickle
BUFFERED = 2  #: data is (pickle, [buffer, ...]): protocol 5 with its out-of-band buffers beside it
STORED = 3  #: data is a location: written once in the pool's store, mapped by readers
RAW = 4  #: data is the object itself, shared, not copied (`isolate=False`)
SPILLED = 5  #: data is another location, on disk, to which a stored value was moved
MISSING = 6  #: a dependency that was lost: whoever wants to read it has to ask for it
ERROR = 8  #: data is a pickled exception that a task raised
FAULT = 9  #: data is (name, details): a failure of the system, made into an exception by the reader

FIRST_ERROR = ERROR

NONE: Value = (PLAIN, None, ())
ABSENT: Value = (MISSING, None, ())

#: The bytes of a stored value are an object of their own, with this bit in its id: readers map them for as long as
#: they like, whatever becomes of the value meanwhile. Those on disk have another, so that both can be mapped at once.
IN_STORE = 1 << 62
ON_DISK = 1 << 61


def bytes_of(id: int, kind: int) -> int:
    """The id of the object that stands for the bytes of the STORED or SPILLED value of the object `id`."""
    return id | (IN_STORE if kind == STORED else ON_DISK)


def is_bytes(id: int) -> bool:
    """Whether it is the id of an object that stands for bytes."""
    return id & (IN_STORE | ON_DISK) != 0


def object_of(bytes: int) -> int:
    """The id of the object whose bytes these are."""
    return bytes & ~(IN_STORE | ON_DISK)


def fault(name: str, *details: Any) -> Value:
    """A system failure as a value. `name` and `details` are what `minray.wire.faults` makes an exception from."""
    return (FAULT, (name, details), ())


#: Of the calls that failed one because of the other, so many are named in the error.
NAMED_DEPENDANTS = 50


def dependency_failed(name: str, value: Value) -> Value:
    """The fault of the call `name`, whose argument is the error `value`.

    A fault of that kind is not wrapped in another: it has the names of all the calls between, up to a limit, and the
    first error. So its size and depth do not grow with the length of the chain.
    """
    if value[0] == FAULT and value[1][0] == "DependencyFailed":
        names, value = value[1][1]
        return fault("DependencyFailed", (name, *names[-NAMED_DEPENDANTS + 1 :]), value)
    return fault("DependencyFailed", (name,), value)
