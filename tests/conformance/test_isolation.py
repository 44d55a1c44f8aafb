"""Arguments and results are copies. Arrays are not copied at the reader, and therefore read-only."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


@pytest.fixture
def same(ray: Any) -> Any:
    @ray.remote
    def same(x: Any) -> Any:
        return x

    return same


def test_a_task_changes_only_its_own_copy_of_an_argument(ray: Any) -> None:
    class Box:
        def __init__(self) -> None:
            self.items = [1]

    @ray.remote
    def change(xs: list[int], table: dict[str, Any], box: Any) -> Any:
        xs.append(2)
        table["k"].append(2)
        box.items.append(2)
        return xs, table, box.items

    xs, table, box = [1], {"k": [1]}, Box()
    assert ray.get(change.remote(xs, table, box=box)) == ([1, 2], {"k": [1, 2]}, [1, 2])
    assert (xs, table, box.items) == ([1], {"k": [1]}, [1])


def test_a_task_does_not_change_a_stored_value(ray: Any) -> None:
    @ray.remote
    def append(xs: list[int]) -> list[int]:
        xs.append(2)
        return xs

    ref = ray.put([1])
    assert ray.get([append.remote(ref), append.remote(ref)]) == [[1, 2], [1, 2]]
    assert ray.get(ref) == [1]


def test_what_the_caller_changes_after_the_call_is_not_seen(ray: Any, flags: Any) -> None:
    @ray.remote
    def late(xs: list[int], array: Any) -> Any:
        flags.wait("go")
        return xs, array.tolist()

    xs, array = [1], np.ones(3)
    ref = late.remote(xs, array)
    xs.append(2)
    array[:] = 2
    flags.up("go")
    assert ray.get(ref) == ([1], [1.0, 1.0, 1.0])


def test_what_the_caller_changes_while_a_call_waits_for_its_arguments_is_not_seen(
    ray: Any, flags: Any, held: Any
) -> None:
    @ray.remote
    def late(_: Any, xs: list[int]) -> list[int]:
        return xs

    xs = [1]
    ref = late.remote(held(), xs)
    xs.append(2)
    flags.up("go")
    assert ray.get(ref) == [1]


@pytest.mark.parametrize("size", [3, 300_000])
def test_what_is_changed_after_put_is_not_seen(ray: Any, size: int) -> None:
    xs, array = [1], np.ones(size)
    ref = ray.put((xs, array))
    xs.append(2)
    array[:] = 2
    back, values = ray.get(ref)
    assert back == [1]
    assert values.sum() == size


def test_every_get_gives_a_fresh_object(ray: Any, same: Any) -> None:
    for ref in (ray.put([1]), same.remote([1])):
        first = ray.get(ref)
        first.append(2)
        assert ray.get(ref) == [1]
        a, b = ray.get([ref, ref])
        assert a is not b


def test_one_ref_given_twice_arrives_as_two_objects(ray: Any) -> None:
    @ray.remote
    def are_one(a: Any, b: Any, c: Any) -> bool:
        return a is b or a is c

    ref = ray.put([1])
    assert not ray.get(are_one.remote(ref, ref, c=ref))


@pytest.mark.parametrize("size", [3, 100_000], ids=["small", "large"])
def test_what_two_arguments_share_arrives_twice(ray: Any, size: int) -> None:
    @ray.remote
    def change(a: list[int], b: list[int], *more: Any, table: Any, last: Any) -> Any:
        a[0] = 1
        return a[0], b[0], more[0][0][0], more[1], table["xs"][0], last

    xs = [0] * size
    assert ray.get(change.remote(xs, xs, [xs], "more", table={"xs": xs}, last=2)) == (1, 0, 0, "more", 0, 2)


def test_what_arguments_of_an_actor_share_arrives_twice(ray: Any) -> None:
    @ray.remote
    class Keeper:
        def __init__(self, a: list[int], b: list[int]) -> None:
            self.a, self.b = a, b

        def are_one(self, *others: Any) -> list[bool]:
            return [self.a is self.b, others[0] is others[1], others[0] is others[2][0]]

    xs = [1]
    keeper = Keeper.remote(xs, xs)
    assert ray.get(keeper.are_one.remote(xs, xs, [xs])) == [False, False, False]


def test_arguments_that_only_cloudpickle_can_pickle_share_nothing(ray: Any) -> None:
    class Box:
        pass

    @ray.remote
    def are_one(f: Any, box: Any, other: Any, array: Any) -> tuple[Any, ...]:
        return f(), box is other, box.xs is other.xs, array.sum()

    box: Any = Box()
    box.xs = [1]
    assert ray.get(are_one.remote(lambda: 7, box, box, np.ones(4))) == (7, False, False, 4)


def test_objects_within_one_value_stay_one_object(ray: Any, same: Any) -> None:
    class Node:
        def __init__(self) -> None:
            self.array = np.zeros(3)
            self.again = self.array
            self.children: list[Any] = []
            self.also = self.children

    node = Node()
    for back in ray.get([ray.put([node, node]), same.remote([node, node])]):
        assert back[0] is back[1]
        assert back[0].array is back[0].again
        assert back[0].children is back[0].also


def test_a_value_may_contain_itself(ray: Any, same: Any) -> None:
    class Node:
        me: Any = None

    node = Node()
    node.me = node
    for back in ray.get([ray.put(node), same.remote(node)]):
        assert back.me is back


@pytest.mark.parametrize("size", [1, 300_000, 1_000_000], ids=["small", "large", "mapped"])
def test_arrays_are_read_only_wherever_they_arrive(ray: Any, same: Any, size: int) -> None:
    @ray.remote
    def writeable(x: Any) -> bool:
        return bool(x.flags.writeable)

    array = np.ones(size)
    assert not ray.get(ray.put(array)).flags.writeable
    assert not ray.get(same.remote(array)).flags.writeable
    assert not ray.get(ray.put({"a": [array]}))["a"][0].flags.writeable
    arguments = array, ray.put(array), same.remote(array)
    assert ray.get([writeable.remote(argument) for argument in arguments]) == [False] * 3
    assert array.flags.writeable


def test_writing_to_an_array_that_arrived_is_an_error(ray: Any) -> None:
    @ray.remote
    def write(array: Any) -> None:
        array[0] = 1

    with pytest.raises(ValueError, match="read-only"):
        ray.get(ray.put(np.zeros(3)))[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        ray.get(write.remote(np.zeros(3)))


def test_a_copy_of_an_array_that_arrived_can_be_written_to(ray: Any) -> None:
    @ray.remote
    def add_one(array: Any) -> Any:
        mine = array.copy()
        mine += 1
        return mine

    assert ray.get(add_one.remote(np.zeros(3))).tolist() == [1, 1, 1]


def test_two_reads_of_a_large_array_share_its_memory(ray: Any, same: Any) -> None:
    for ref in (ray.put(np.zeros(300_000)), same.remote(np.zeros(300_000))):
        a, b = ray.get([ref, ref])
        assert a is not b
        assert np.shares_memory(a, b)


def test_an_actor_hands_out_copies_of_its_state(ray: Any) -> None:
    @ray.remote
    class Keeper:
        def __init__(self, xs: list[int]) -> None:
            self.xs = xs

        def keep(self, xs: list[int]) -> None:
            self.xs = xs

        def get(self) -> list[int]:
            return self.xs

        def append(self, x: int) -> None:
            self.xs.append(x)

    xs = [1]
    keeper = Keeper.remote(xs)
    ray.get(keeper.get.remote()).append(8)
    xs.append(9)
    assert ray.get(keeper.get.remote()) == [1]

    ray.get(keeper.keep.remote(xs))
    xs.append(10)
    assert ray.get(keeper.get.remote()) == [1, 9]

    before = keeper.get.remote()
    ray.get(keeper.append.remote(11))
    assert ray.get(before) == [1, 9]


def test_what_a_function_closes_over_is_copied_at_its_first_call(ray: Any) -> None:
    state = [0]

    @ray.remote
    def change() -> list[int]:
        state.append(1)
        return state

    assert ray.get(change.remote()) == [0, 1]
    assert state == [0]
    state.append(99)
    assert 99 not in ray.get(change.remote())


def test_what_a_class_closes_over_is_a_copy(ray: Any) -> None:
    state = [0]

    @ray.remote
    class Changer:
        def change(self) -> list[int]:
            state.append(1)
            return state

    changer = Changer.remote()
    assert ray.get([changer.change.remote(), changer.change.remote()]) == [[0, 1], [0, 1, 1]]
    assert state == [0]


def test_an_error_carries_copies(ray: Any) -> None:
    @ray.remote
    def fail(xs: list[int]) -> None:
        raise ValueError(xs)

    xs = [1]
    ref = fail.remote(xs)
    for _ in range(2):
        error = ref.future().exception(timeout=30)
        assert error.cause.args == ([1],)
        error.cause.args[0].append(2)
    assert xs == [1]
