"""Both sides count the same: what the owner lends with a value is what its reader holds, and gives back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from minray.client import Client
from minray.core.objects import ObjectTable
from minray.core.value import STORED, Value, bytes_of
from minray.refs import ObjectRef
from minray.session import set_driver, set_thread
from minray.wire import messages as m
from minray.wire.messages import Message
from minray.wire.values import decode, encode
from tests.wire.conftest import CountingSession, MemoryStore


class Link:
    """A worker's channel of which only what it sends is of interest."""

    def __init__(self) -> None:
        self.sent: list[Message] = []

    def send(self, messages: list[Message]) -> None:
        self.sent += messages

    def receive(self, timeout: float | None) -> list[Message]:
        raise EOFError

    def wake(self) -> None: ...

    def watch(self, loop: Any, readable: Any) -> bool:
        return False


@pytest.fixture
def reader() -> Iterator[Client]:
    """A worker's session, in which values are decoded."""
    client = Client(1, Link(), None, isolate=True)
    set_thread(client)
    yield client
    set_thread(None)


#: Shapes of nested containers; a number is a reference, a negative one the very same object as another.
shapes = st.recursive(
    st.integers(1, 4) | st.integers(-4, -1) | st.none(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=1), inner, max_size=3),
    max_leaves=12,
)


def fill(shape: Any, session: Any, shared: dict[int, ObjectRef[Any]]) -> Any:
    if isinstance(shape, list):
        return [fill(one, session, shared) for one in shape]
    if isinstance(shape, dict):
        return {key: fill(one, session, shared) for key, one in shape.items()}
    if shape is None:
        return None
    if shape < 0 and -shape in shared:
        return shared[-shape]
    session.retain(abs(shape))
    made = shared[abs(shape)] = ObjectRef(abs(shape), session)
    return made


def give_back(client: Client, table: ObjectTable, loans: dict[int, int]) -> None:
    client.flush()
    link: Any = client._link
    for op, back in link.sent:
        assert op == m.RELEASE
        for id, number in back:
            table.repay(loans, id, number)
    link.sent.clear()


@pytest.mark.slow
@given(shape=shapes, stored=st.booleans(), times=st.integers(1, 3))
@example(shape=[1, -1, 1], stored=False, times=1)  # one object twice, which the pickler writes once, and another
def test_every_reference_in_a_value_is_counted_the_same_on_both_sides(shape: Any, stored: bool, times: int) -> None:
    owner: Any = CountingSession()
    set_driver(owner)
    obj = fill(shape, owner, {})
    store = MemoryStore()
    body = encode(obj, store.write)
    value: Value = (STORED, store.write(body[1], [], len(body[1])), body[2]) if stored and body[0] == 1 else body

    table = ObjectTable()
    for id in (1, 2, 3, 4):
        table.add(id, (0, None, ()))
    table.add(9, value)
    counts = {id: entry.count for id, entry in table.entries.items()}
    loans: dict[int, int] = {}
    client = Client(1, Link(), None, isolate=True)
    set_thread(client)
    try:
        for _ in range(times):
            table.lend_value(loans, 9, value)
            held = client.hold(9, value)
            found = decode(value, 9, store.read)
            for id in held:
                client.counts.drop(id)
            give_back(client, table, loans)
            assert {id for id in loans if id != bytes_of(9, STORED)} <= set(value[2])
            assert found == obj
            if value[2]:
                assert loans, "what the reader still has is still lent to it"
            del found
            give_back(client, table, loans)
            assert loans == {}
    finally:
        set_thread(None)
        set_driver(None)
    assert {id: entry.count for id, entry in table.entries.items()} == counts
    table.check([loans])


def test_a_reference_that_a_reader_keeps_stays_lent(reader: Client, session: CountingSession) -> None:
    table = ObjectTable()
    table.add(1, (0, None, ()))
    session.retain(1)
    value = encode([ObjectRef(1, session), 2], None)  # type: ignore[arg-type]
    loans: dict[int, int] = {}
    table.lend_value(loans, 5, value)
    held = reader.hold(5, value)
    kept = decode(value, 5, None)[0]
    for id in held:
        reader.counts.drop(id)
    give_back(reader, table, loans)
    assert loans == {1: 1}
    table.release(1)
    assert 1 in table.entries, "the reader alone keeps it"
    del kept
    give_back(reader, table, loans)
    assert loans == {} and not table.entries


def test_what_the_owner_no_longer_has_is_lent_to_nobody(reader: Client) -> None:
    table = ObjectTable()
    loans: dict[int, int] = {}
    value: Value = (1, b"N.", (3, 3))
    table.lend_value(loans, 5, value)
    for id in reader.hold(5, value):
        reader.counts.drop(id)
    give_back(reader, table, loans)
    assert loans == {} and not table.entries
