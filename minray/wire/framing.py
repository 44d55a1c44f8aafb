"""Messages to bytes and back: a frame is a mark, a length and a marshalled list of messages.

`marshal` takes and gives plain values alone, builds no objects of ours and calls no code, and costs a third of a
pickle for messages of this size. Both ends run the same Python version (cloudpickle needs that too), so its format
is no contract. It knows exact types only: of a subclass of `str` it makes an error, or bytes.
"""

from __future__ import annotations

import marshal
from struct import Struct
from typing import Any, cast

from minray.wire.messages import Message

_HEADER = Struct("!BQ")
_SIZE = _HEADER.size
_unpack = _HEADER.unpack_from
#: No text begins with this byte: what a program prints into the channel is found out at once.
_MARK = 0xB5
#: A longer frame cannot be ours: a terabyte.
MAX_FRAME = 1 << 40


class FramingError(ValueError):
    """The bytes are not frames of ours."""


def frame(messages: list[Message]) -> bytes:
    """One frame with `messages`. ValueError: one holds something that is no plain value, or is too long."""
    body = marshal.dumps(cast(Any, messages))
    if len(body) >= MAX_FRAME:
        raise FramingError(f"a message of {len(body)} bytes is too long to be sent")
    return _HEADER.pack(_MARK, len(body)) + body


class Framer:
    """Cuts a stream of bytes, however it was chunked, into messages."""

    __slots__ = ("_need", "_rest")

    def __init__(self) -> None:
        self._rest = bytearray()
        self._need = 0  # bytes of `_rest` below which there is nothing to cut off

    def feed(self, data: bytes | bytearray) -> list[Message]:
        """Take the next chunk; return the messages that are complete now. FramingError: it is no use going on."""
        rest = self._rest
        if rest:
            rest += data
            if len(rest) < self._need:
                return []
            data = rest
            self._need = 0
        total = len(data)
        start = 0
        messages: list[Message] = []
        while total - start >= _SIZE:
            mark, length = _unpack(data, start)
            if mark != _MARK or length >= MAX_FRAME:
                raise FramingError(f"no frame begins with {bytes(data[start : start + 20])!r}")
            end = start + _SIZE + length
            if end > total:
                self._need = end - start
                break
            try:
                found = marshal.loads(memoryview(data)[start + _SIZE : end])
            except Exception as error:  # of bytes that are not its own marshal makes errors of all kinds
                raise FramingError("a frame that cannot be read") from error
            if type(found) is not list:
                raise FramingError(f"a frame of {type(found).__name__}, not of messages")
            messages += found
            start = end
        if start < total:
            if start or data is not rest:
                self._rest = bytearray(data[start:])
        elif rest:
            self._rest = bytearray()
        return messages

    @property
    def pending(self) -> int:
        """Bytes of a message that is not complete yet: not zero at the end of a stream means that it was cut."""
        return len(self._rest)
