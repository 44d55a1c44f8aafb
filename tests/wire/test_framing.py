"""Frames: whatever way the stream is cut, the same messages come out; what is no frame is found out."""

from __future__ import annotations

import marshal
import math
from collections.abc import Iterator
from itertools import pairwise
from struct import pack
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minray.wire import framing
from minray.wire import messages as m
from minray.wire.framing import Framer, FramingError, frame
from minray.wire.messages import Message

#: One of each kind, with values of each kind in it.
MESSAGES: list[Message] = [
    (m.RUN, 7, b"k" * 16, (1, b"pickle", (3, 4)), (0, "x"), (5, 6), [(0, None, ()), (8, b"e", ())], 1, "f", False),
    (m.CALL, 8, "method", (0, (1, 2.5, True, None, 1j), ()), (), (), (), 2, "A.method", b"code key"),
    (m.CREATE, 9, b"key", (2, (b"pickle", [b"", b"buffer" * 10_000]), ()), ("*",), (4,), [(3, ("a", 0, 9), ())], "A"),
    (m.CODE, b"key", b"blob", "f"),
    (m.VALUES, 1, (1, 2), [(0, "é\ud800\U0001f600", ()), (9, ("ActorDied", ("A", 1, "why", None)), ())]),
    (m.ANSWER, 2, None, (1, 2)),
    (m.ANSWER, 3, "ValueError", "no such actor"),
    (m.RECALL,),
    (m.STOP,),
    (m.FREE, ("segment", 0, 10), False),
    (m.TAKEN, 7, -1),
    (m.ENV, "", "{}", "/tmp/run"),
    (m.HELLO, 12345),
    (m.DONE, (1 << 40) + 1, ((0, None, ()),), 1e-6),
    (m.FAILED, 7, (8, b"error", ()), True, 0.5),
    (m.CREATED, 9, None),
    (m.RETURNED, ()),
    (m.RETURNED, (1, 2, 3)),
    (m.LOST, "it crashed"),
    (m.TEMPLATE, b"key", b"pickle"),
    (m.SUBMIT, 1, b"key", (0, (), ()), (), (), 0),
    (m.SUBMIT_ACTOR, 4, 2, b"key", (0, (), ()), (), (), "a.py:1 in f"),
    (m.SUBMIT_CALL, 3, 2, b"key", (0, (-(2**200),), ()), (), (), 7),
    (m.PUT, 4, (0, b"", ())),
    (m.GET, 5, (1, 2), (7, True)),
    (m.WAIT, 6, (1, 2), 1, True, None),
    (m.FORGET, 6),
    (m.RELEASE, ((1, 2), (3, 1))),
    (m.PIN, 1),
    (m.KILL, 2, True),
    (m.FIND, 7, "name", None),
    (m.ASK, 8, "resources", (False,)),
    (m.EXIT,),
    (m.CANCEL, 1),
    (m.ENV, "{}"),
    (m.FETCH, 9, (5,), None),
    (m.READY, 10, 5),
    (m.YIELD, 7, 3, [(0, 1, ()), (3, ("a", 0, 9), (4,))]),
    (m.MEASURED, [(("histogram", "size", (("tag", "a"),)), "in bytes", (1.0,), (0.5, 1, 0))]),
    (m.ROOM, -(1 << 40)),
    (m.NEED, 11, 1 << 30, 0, True),
    (m.GAVE, 4096, True),
    (m.MOVED, 4, ("file", 0, (8, 9), None)),
    (m.NEXT, 9, 8, None),
    (m.WHERE, 9),
    (m.GONE, 5, ("segment", 0, 10)),
    (m.RESUME,),
    (m.STALLED, 5),
    (m.AT, 9, "app.py:1, in f"),
]
FRAMES: list[list[Message]] = [MESSAGES, [], [(m.STOP,)], *([message] for message in MESSAGES)]
STREAM = b"".join(map(frame, FRAMES))
EXPECTED = [message for messages in FRAMES for message in messages]


def test_every_kind_of_message_is_tried_here() -> None:
    assert {message[0] for message in MESSAGES} == m.NAMES.keys()


def test_no_two_kinds_of_message_have_the_same_number() -> None:
    names = [name for name, number in vars(m).items() if name.isupper() and isinstance(number, int)]
    assert sorted(m.NAMES.values()) == sorted(names)


def test_a_stream_that_comes_whole() -> None:
    framer = Framer()
    assert framer.feed(STREAM) == EXPECTED
    assert framer.pending == 0


def test_a_stream_that_comes_byte_by_byte() -> None:
    framer = Framer()
    found = [message for i in range(len(STREAM)) for message in framer.feed(STREAM[i : i + 1])]
    assert found == EXPECTED
    assert framer.pending == 0


def chunks(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return (data[start:end] for start, end in pairwise(edges))


@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=30))
def test_a_stream_that_comes_in_chunks_of_any_size(cuts: list[int]) -> None:
    framer = Framer()
    assert [message for chunk in chunks(STREAM, cuts) for message in framer.feed(chunk)] == EXPECTED
    assert framer.pending == 0


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.complex_numbers(allow_nan=False)
    | st.text(st.characters()) | st.binary(),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)  # fmt: skip


@pytest.mark.slow
@given(messages=st.lists(st.lists(plain).map(tuple)), cuts=st.lists(st.integers(0, 1 << 20), max_size=5))
@example(messages=[(2**5000, -(2**63), 2**31)], cuts=[3])
@example(messages=[(m.DONE, -0.0, 1e308, 5e-324, math.inf)], cuts=[])
def test_plain_values_of_all_kinds_come_out_as_they_went_in(messages: list[Message], cuts: list[int]) -> None:
    framer = Framer()
    found = [message for chunk in chunks(frame(messages), cuts) for message in framer.feed(chunk)]
    assert found == messages
    assert repr(found) == repr(messages), "down to the types"


def test_bytes_left_at_the_end_tell_that_the_stream_was_cut() -> None:
    framer = Framer()
    framer.feed(STREAM[:-1])
    assert framer.pending > 0


def test_a_chunk_may_be_reused_by_whoever_fed_it() -> None:
    chunk = bytearray(frame([(m.STOP,)])[:3])
    framer = Framer()
    assert framer.feed(chunk) == []
    rest = frame([(m.STOP,)])[3:]
    chunk[:] = b"???"
    assert framer.feed(rest) == [(m.STOP,)]


@pytest.mark.parametrize("bad", [object(), range(3), Framer, [{1: lambda: 0}]], ids=lambda it: type(it).__name__)
def test_what_is_no_plain_value_is_refused(bad: Any) -> None:
    with pytest.raises(ValueError, match="unmarshallable"):
        frame([(m.ANSWER, 1, None, bad)])


def test_what_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "MAX_FRAME", 1000)
    with pytest.raises(FramingError, match="1017 bytes is too long"):
        frame([(m.PUT, b"x" * 1000)])


def head(length: int) -> bytes:
    return frame([])[:1] + pack("!Q", length)


@pytest.mark.parametrize(
    "data",
    [
        b"Welcome to this machine!\n",
        "Ünïcode".encode(),
        b"\0" * 9,
        b"\xff" * 9,
        head(1 << 40),
        head(0),
        head(3) + b"\xff\xff\xff",
        head(4) + marshal.dumps([(m.STOP,)])[:4],
        *(head(len(body)) + body for body in map(marshal.dumps, [1, "text", {"a": 1}, (1, 2), None])),
    ],
    ids=repr,
)
def test_what_is_no_frame_is_found_out(data: bytes) -> None:
    with pytest.raises(FramingError):
        Framer().feed(frame([(m.STOP,)]) + data)
    framer = Framer()
    with pytest.raises(FramingError):
        [framer.feed(data[i : i + 1]) for i in range(len(data))]


@given(data=st.binary(min_size=9, max_size=50))
def test_noise_is_never_taken_for_messages(data: bytes) -> None:
    framer = Framer()
    try:
        found = framer.feed(data)
    except FramingError:
        return
    assert found == [] and data[0] == head(0)[0]
