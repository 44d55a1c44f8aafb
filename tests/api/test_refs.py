"""ObjectRef: identity, copies, futures. And `get`, `put` and `wait`, which take them."""

from __future__ import annotations

import asyncio
import concurrent.futures
import copy
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import minray as ray
from minray.exceptions import GetTimeoutError, RayTaskError
from minray.ids import bytes_to_id, id_to_bytes
from minray.refs import ObjectRef, restore_ref
from minray.session import set_driver


@given(st.integers(0, 2**64 - 1))
def test_an_id_becomes_28_bytes_and_back(id: int) -> None:
    data = id_to_bytes(id)

    assert len(data) == 28
    assert bytes_to_id(data) == id


@given(st.binary(min_size=28, max_size=28))
@example(b"\xff" * 28)
@example(bytes(28))
@example(id_to_bytes(1)[:-1] + b"\x01")
def test_any_28_bytes_become_an_int_and_back(data: bytes) -> None:
    id = bytes_to_id(data)

    assert id_to_bytes(id) == data
    assert (id < 0) == (data == b"\xff" * 28)


def test_a_reference_shows_its_id(session: Any) -> None:
    ref = ray.put(1)

    assert repr(ref) == str(ref) == f"ObjectRef({ref.hex()})"
    assert len(ref.hex()) == 56
    assert bytes.fromhex(ref.hex()) == ref.binary()
    assert not ref.is_nil()


def test_references_compare_by_object(session: Any) -> None:
    one, two = ray.put(1), ray.put(1)

    assert one != two
    assert one != one._id
    assert {one: "x"}[copy.copy(one)] == "x"
    assert copy.deepcopy({"k": [one]}) == {"k": [one]}
    assert session.counts[one._id] == 1  # the copies are gone


def test_a_reference_has_no_room_for_attributes(session: Any) -> None:
    ref: Any = ray.put(1)
    with pytest.raises(AttributeError):
        ref.x = 1
    with pytest.raises(TypeError):
        len(ref)


def test_a_reference_cannot_be_unpickled_without_a_session() -> None:
    with pytest.raises(RuntimeError, match=r"minray is not running. Call minray.init\(\) first"):
        restore_ref(1)


def test_dropping_a_reference_after_the_end_is_no_error(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def release(id: int) -> None:
        raise RuntimeError("closed")

    ref = ray.put(1)
    monkeypatch.setattr(session, "release", release)
    del ref  # pytest would report an error in __del__


def test_awaiting_gives_the_value_or_the_error(session: Any) -> None:
    @ray.remote
    def fail() -> None:
        raise KeyError("bad")

    @ray.remote
    def stop() -> None:
        raise StopIteration(1)

    async def main() -> None:
        assert await ray.put(1) == 1
        assert list(await asyncio.gather(ray.put(1), ray.put(2))) == [1, 2]
        with pytest.raises(KeyError):
            await fail.remote()
        with pytest.raises(RuntimeError, match="StopIteration: 1") as caught:  # it would end the coroutine
            await stop.remote()
        assert isinstance(caught.value.__cause__, StopIteration)

    asyncio.run(main())


def test_awaiting_waits_and_can_be_given_up(session: Any) -> None:
    async def main() -> None:
        late, never = session.pending(), session.pending()
        waiting = asyncio.ensure_future(late)
        given_up = asyncio.ensure_future(never)
        await asyncio.sleep(0)
        given_up.cancel()
        session.finish(never, 0)
        session.finish(late, 5)
        assert await waiting == 5
        assert given_up.cancelled() or given_up.cancelling()  # type: ignore[attr-defined, unused-ignore]

    asyncio.run(main())


def test_a_value_that_comes_after_the_loop_was_closed_is_nobodys(session: Any) -> None:
    late = session.pending()
    waiting = []

    async def main() -> None:
        waiting.append(asyncio.ensure_future(late))
        await asyncio.sleep(0)

    asyncio.run(main())
    session.finish(late, 1)


def test_as_future_needs_a_running_loop(session: Any) -> None:
    with pytest.raises(RuntimeError, match="no running event loop"):
        ray.put(1).as_future()


def test_future(session: Any) -> None:
    @ray.remote
    def fail() -> None:
        raise KeyError("bad")

    late, never = session.pending(), session.pending()
    futures = [late.future(), never.future()]
    assert futures[1].cancel()
    session.finish(late, 5)
    session.finish(never, 6)

    assert futures[0].result(0) == 5
    assert futures[1].cancelled()
    assert isinstance(fail.remote().future().exception(0), KeyError)
    assert isinstance(ray.put(1).future(), concurrent.futures.Future)


def test_a_future_keeps_the_object(session: Any) -> None:
    late = session.pending()
    id, future = late._id, late.future()
    del late
    assert session.counts[id] == 1

    ref = ObjectRef[Any](id, session)
    session.counts[id] += 1
    session.finish(ref, 7)
    assert future.result(0) == 7


# --- get, put, wait ----------------------------------------------------------------------------------------------


def test_get_takes_one_or_a_list(session: Any) -> None:
    one, two = ray.put(1), ray.put("a")

    assert ray.get(one) == 1
    assert ray.get([two, one, two]) == ["a", 1, "a"]
    assert ray.get([]) == []
    assert ray.get(one, timeout=-1) == 1  # Ray: a negative number means for ever


@pytest.mark.parametrize("wrong", [3, None, "abc", (), {}, set()], ids=repr)
def test_get_of_what_is_no_list_of_references(session: Any, wrong: Any) -> None:
    with pytest.raises(ValueError, match="must either be an ObjectRef or a list of ObjectRefs"):
        ray.get(wrong)


def test_get_of_a_list_with_something_else(session: Any) -> None:
    wrong: Any = [ray.put(1), 3]
    with pytest.raises(TypeError, match=r"value 3, which is not an ray\.ObjectRef"):
        ray.get(wrong)


def test_get_with_a_timeout_that_is_no_number(session: Any) -> None:
    wrong: Any = "1 s"
    with pytest.raises(TypeError, match="'timeout' argument must be a number of seconds, got: '1 s'"):
        ray.get(ray.put(1), timeout=wrong)


def test_a_reference_has_nothing_of_its_value(session: Any) -> None:
    ref: Any = ray.put("a")
    with pytest.raises(AttributeError, match=r"no attribute 'upper'. If the value has it, write minray.get\(ref\)"):
        ref.upper()
    assert not hasattr(ref, "__array__")


def test_get_in_vain(session: Any) -> None:
    with pytest.raises(GetTimeoutError):
        ray.get(session.pending(), timeout=0)
    with pytest.raises(TimeoutError):
        ray.get([ray.put(1), session.pending()], timeout=0)


def test_put_takes_anything_but_a_reference(session: Any) -> None:
    ref = ray.put(1)
    assert ray.get(ray.put([ref])) == [ref]
    with pytest.raises(TypeError, match=r"wrap the ray.ObjectRef in a list"):
        ray.put(ref)


def test_wait_splits_in_the_order_given(session: Any) -> None:
    late, early, other = session.pending(), ray.put(1), ray.put(2)

    assert ray.wait([late, early, other], num_returns=2) == ([early, other], [late])
    assert ray.wait([other, late, early]) == ([other], [late, early])  # never more than asked for
    assert ray.wait([late], timeout=0) == ([], [late])
    assert ray.wait([early], num_returns=1, timeout=None, fetch_local=False) == ([early], [])
    assert ray.wait([]) == ([], [])


def test_a_failed_task_is_ready(session: Any) -> None:
    failed = session.pending()
    session.finish(failed, RayTaskError("f", "", ValueError()))

    assert ray.wait([failed]) == ([failed], [])


def test_wait_of_wrong_things(session: Any) -> None:
    wait: Any = ray.wait
    one = ray.put(1)
    for wrong, words in [
        (one, r"got a single ray.ObjectRef or ray.ObjectRefGenerator .* Write wait\(\[ref\]\)"),
        ((one,), "got <class 'tuple'>"),
        (3, "got <class 'int'>"),
        ([3], "list containing <class 'int'>"),
    ]:
        with pytest.raises(TypeError, match=words):
            wait(wrong)


def test_wait_with_wrong_numbers(session: Any) -> None:
    wait: Any = ray.wait
    one = ray.put(1)
    for refs, options, words in [
        ([one, one], {}, "unique ray_waitables. Remove the duplicates"),
        ([one], {"num_returns": 2}, "num_returns cannot be greater than the number of ray_waitables .* 2 > 1"),
        ([one], {"num_returns": 0}, "Invalid number of objects to return 0"),
        ([one], {"num_returns": -1}, "Invalid number of objects to return -1"),
        ([one], {"timeout": -1}, "must be nonnegative. Received -1"),
    ]:
        with pytest.raises(ValueError, match=words):
            wait(refs, **options)
    for name, value in [("num_returns", "a"), ("num_returns", None), ("timeout", "a")]:
        with pytest.raises(TypeError, match=f"The '{name}' argument must be a number of .*, got: {value!r}."):
            wait([one], **{name: value})


def test_resources(session: Any) -> None:
    assert ray.cluster_resources() == {"CPU": 2.0}
    assert ray.available_resources() == {"CPU": 1.0}


def test_each_thread_may_have_a_session_of_its_own(session: Any) -> None:
    import threading

    from minray.session import set_thread

    own = type(session)()
    found: list[bool] = []

    def work() -> None:
        set_thread(own)
        found.append(ray.get(ray.put(5)) == 5)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [True]
    assert own.values
    assert not session.values
    set_driver(session)
