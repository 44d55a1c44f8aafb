"""`util.queue.Queue`: a queue that lives in an actor."""

from __future__ import annotations

import asyncio
import importlib
import queue as standard
from typing import Any

import pytest


@pytest.fixture
def module(ray: Any) -> Any:
    return importlib.import_module(f"{ray.__name__}.util.queue")


@pytest.fixture
def queue(module: Any) -> Any:
    return module.Queue()


@pytest.fixture
def small(module: Any) -> Any:
    """A queue for two items that is full."""
    queue = module.Queue(maxsize=2)
    queue.put_nowait_batch([1, 2])
    return queue


def test_items_come_out_in_the_order_in_which_they_went_in(queue: Any) -> None:
    for item in range(10):
        queue.put(item)
    assert [queue.get() for _ in range(10)] == list(range(10))


def test_a_queue_knows_how_many_items_it_has(module: Any) -> None:
    queue = module.Queue(2)
    assert (queue.size(), queue.qsize(), len(queue)) == (0, 0, 0)
    assert queue.empty()
    assert not queue.full()
    queue.put("a")
    queue.put("b")
    assert (queue.size(), queue.qsize(), len(queue)) == (2, 2, 2)
    assert not queue.empty()
    assert queue.full()
    assert queue.maxsize == 2


def test_a_queue_without_maximum_is_never_full(queue: Any) -> None:
    queue.put_nowait_batch(range(100))
    assert not queue.full()
    assert queue.qsize() == 100


def test_the_exceptions_are_those_of_the_standard_library_too(module: Any) -> None:
    assert issubclass(module.Empty, standard.Empty)
    assert issubclass(module.Full, standard.Full)


def test_an_empty_queue_raises_if_nobody_may_wait(module: Any, queue: Any) -> None:
    for get in (queue.get_nowait, lambda: queue.get(block=False), lambda: queue.get(False)):
        with pytest.raises(module.Empty) as caught:
            get()
        assert type(caught.value) is module.Empty


def test_a_full_queue_raises_if_nobody_may_wait(module: Any, small: Any) -> None:
    for put in (small.put_nowait, lambda item: small.put(item, block=False), lambda item: small.put(item, False)):
        with pytest.raises(module.Full) as caught:
            put(3)
        assert type(caught.value) is module.Full
    assert small.qsize() == 2


def test_waiting_ends_with_the_time_out(module: Any, queue: Any, small: Any) -> None:
    with pytest.raises(module.Empty):
        queue.get(timeout=0.01)
    with pytest.raises(module.Full):
        small.put(3, timeout=0.01)
    with pytest.raises(standard.Empty):
        queue.get(True, 0)
    assert [small.get(timeout=1), small.get(timeout=1)] == [1, 2]
    small.put(3, timeout=1)
    assert small.get() == 3


def test_a_negative_time_out_is_refused(queue: Any) -> None:
    calls: Any = (lambda: queue.get(timeout=-1), lambda: queue.put(1, timeout=-0.5))
    for call in calls:
        with pytest.raises(ValueError, match="'timeout' must be a non-negative number"):
            call()


def test_get_waits_for_an_item(ray: Any, queue: Any, flags: Any) -> None:
    @ray.remote
    def take(queue: Any) -> Any:
        flags.up("begun")
        return queue.get()

    ref = take.remote(queue)
    flags.wait("begun")
    assert ray.wait([ref], timeout=0.01)[0] == []
    queue.put("late")
    assert ray.get(ref) == "late"


def test_put_waits_for_room(ray: Any, small: Any, flags: Any) -> None:
    @ray.remote
    def give(queue: Any) -> None:
        flags.up("begun")
        queue.put(3)

    ref = give.remote(small)
    flags.wait("begun")
    assert ray.wait([ref], timeout=0.01)[0] == []
    assert small.get() == 1
    ray.get(ref)
    assert [small.get(), small.get()] == [2, 3]


def test_many_can_wait_for_an_item_at_once(ray: Any, queue: Any) -> None:
    waiting = [queue.actor.get.remote(None) for _ in range(20)]
    queue.put_nowait_batch(list(range(20)))
    assert sorted(ray.get(waiting)) == list(range(20))


def test_tasks_and_the_driver_share_a_queue(ray: Any, queue: Any) -> None:
    @ray.remote
    def produce(queue: Any, items: list[int]) -> None:
        for item in items:
            queue.put(item)

    ray.get([produce.remote(queue, [1, 2]), produce.remote({"inside": queue}["inside"], [3, 4])])
    assert sorted(queue.get_nowait_batch(4)) == [1, 2, 3, 4]


def test_an_actor_keeps_a_queue(ray: Any, queue: Any) -> None:
    @ray.remote
    class Producer:
        def __init__(self, queue: Any) -> None:
            self.queue = queue

        def produce(self, item: Any) -> None:
            self.queue.put(item)

    producer = Producer.remote(queue)
    ray.get(producer.produce.remote("item"))
    assert queue.get() == "item"


def test_a_batch_goes_in_whole_or_not_at_all(module: Any) -> None:
    queue = module.Queue(maxsize=3)
    queue.put(0)
    with pytest.raises(module.Full, match="Cannot add 3 items to queue of size 1 and maxsize 3"):
        queue.put_nowait_batch([1, 2, 3])
    assert queue.qsize() == 1
    queue.put_nowait_batch((1, 2))
    assert queue.get_nowait_batch(3) == [0, 1, 2]


def test_a_batch_comes_out_whole_or_not_at_all(module: Any, small: Any) -> None:
    with pytest.raises(module.Empty, match="Cannot get 3 items from queue of size 2"):
        small.get_nowait_batch(3)
    assert small.get_nowait_batch(0) == []
    assert small.get_nowait_batch(2) == [1, 2]


def test_wrong_batches_are_refused(queue: Any) -> None:
    with pytest.raises(TypeError, match="'items' must be an Iterable"):
        queue.put_nowait_batch(3)
    with pytest.raises(TypeError, match="'num_items' must be an int"):
        queue.get_nowait_batch("3")
    with pytest.raises(ValueError, match="'num_items' must be nonnegative"):
        queue.get_nowait_batch(-1)


def test_coroutines_put_and_get(module: Any) -> None:
    queue = module.Queue(maxsize=1)

    async def produce() -> None:
        for item in range(5):
            await queue.put_async(item)

    async def consume() -> list[Any]:
        return [await queue.get_async() for _ in range(5)]

    async def both() -> list[Any]:
        return (await asyncio.gather(consume(), produce()))[0]

    assert asyncio.run(both()) == [0, 1, 2, 3, 4]


def test_coroutines_get_the_same_errors(module: Any, queue: Any, small: Any) -> None:
    for wait in ({"block": False}, {"timeout": 0.01}):
        with pytest.raises(module.Empty):
            asyncio.run(queue.get_async(**wait))
        with pytest.raises(module.Full):
            asyncio.run(small.put_async(3, **wait))
    with pytest.raises(ValueError, match="timeout"):
        asyncio.run(queue.get_async(timeout=-1))
    with pytest.raises(ValueError, match="timeout"):
        asyncio.run(queue.put_async(1, timeout=-1))


def test_a_ref_is_put_as_its_value_and_one_inside_a_list_as_a_ref(ray: Any, queue: Any) -> None:
    queue.put(ray.put("value"))
    queue.put([ray.put("inside")])
    assert queue.get() == "value"
    (inside,) = queue.get()
    assert ray.get(inside) == "inside"


def test_the_actor_can_have_options(ray: Any, module: Any) -> None:
    queue = module.Queue(actor_options={"name": "the queue", "num_cpus": 0})
    queue.put(1)
    assert ray.get(ray.get_actor("the queue").qsize.remote()) == 1
    with pytest.raises(ValueError, match="nonsense"):
        module.Queue(actor_options={"nonsense": 1})


@pytest.mark.parametrize("force", [False, True])
def test_shutdown_ends_the_actor(ray: Any, module: Any, eventually: Any, force: bool) -> None:
    queue = module.Queue()
    actor = queue.actor
    queue.put(1)
    queue.shutdown(force=force)
    assert queue.actor is None

    def is_gone() -> bool:  # soon: Ray's answers calls until it hears of its end
        try:
            ray.get(actor.qsize.remote())
        except ray.exceptions.RayActorError:
            return True
        return False

    eventually(is_gone)
    queue.shutdown()  # once more does nothing


def test_shutdown_with_grace_answers_the_calls_made_before(ray: Any, queue: Any) -> None:
    queue.put("first")  # calls that wait for the actor to come up may be overtaken, in Ray, by the one that ends it
    answers = [queue.actor.put_nowait.remote(item) for item in range(10)]
    queue.shutdown(grace_period_s=20)
    assert ray.get(answers) == [None] * 10
