"""Named actors: looking them up, who keeps them alive, namespaces."""

from __future__ import annotations

import gc
from typing import Any

import pytest


@pytest.fixture
def Counter(ray: Any) -> Any:
    @ray.remote
    class Counter:
        def __init__(self) -> None:
            self.value = 0

        def increment(self) -> int:
            self.value += 1
            return self.value

        @ray.method(num_returns=2)
        def pair(self) -> tuple[int, int]:
            return 1, 2

    return Counter


def test_a_named_actor_is_found_by_its_name(ray: Any, Counter: Any) -> None:
    counter = Counter.options(name="found").remote()
    again = ray.get_actor("found")
    assert again == counter
    assert ray.get([counter.increment.remote(), again.increment.remote()]) == [1, 2]
    assert ray.get(again.pair.remote()) == [1, 2]


def test_a_task_finds_a_named_actor(ray: Any, Counter: Any) -> None:
    @ray.remote
    def increment(name: str) -> Any:
        return ray.get(ray.get_actor(name).increment.remote())

    counter = Counter.options(name="shared").remote()
    assert ray.get(counter.increment.remote()) == 1
    assert ray.get(increment.remote("shared")) == 2


def test_a_named_actor_that_a_task_creates_is_found_by_the_driver(ray: Any, Counter: Any) -> None:
    @ray.remote
    def create() -> Any:
        return Counter.options(name="from a task").remote()

    handle = ray.get(create.remote())
    assert ray.get_actor("from a task") == handle
    assert ray.get(handle.increment.remote()) == 1


def test_looking_up_an_unknown_name_fails_and_names_it(ray: Any) -> None:
    with pytest.raises(ValueError, match="Failed to look up actor with name 'nobody'"):
        ray.get_actor("nobody")


def test_an_actor_without_a_name_is_not_found_by_that_of_its_class(ray: Any, Counter: Any) -> None:
    counter = Counter.remote()
    ray.get(counter.increment.remote())
    with pytest.raises(ValueError, match="Counter"):
        ray.get_actor("Counter")


@pytest.mark.parametrize("name", ["", None])
def test_looking_up_no_name_is_refused(ray: Any, name: Any) -> None:
    with pytest.raises(ValueError, match="non-empty"):
        ray.get_actor(name)


def test_looking_up_anything_but_a_string_is_refused(ray: Any) -> None:
    with pytest.raises(TypeError):
        ray.get_actor(1)


def test_a_name_that_is_taken_is_refused(ray: Any, Counter: Any) -> None:
    first = Counter.options(name="taken").remote()
    with pytest.raises(ValueError, match=r"taken.*already taken"):
        Counter.options(name="taken").remote()
    assert ray.get(first.increment.remote()) == 1


def test_a_taken_name_has_an_error_of_its_own_in_a_task_too(ray: Any, Counter: Any) -> None:
    first = Counter.options(name="taken twice").remote()
    with pytest.raises(ray.exceptions.ActorAlreadyExistsError):
        Counter.options(name="taken twice").remote()

    @ray.remote
    def create() -> str:
        try:
            Counter.options(name="taken twice").remote()
        except Exception as error:
            return type(error).__name__
        return "created"

    assert ray.get(create.remote()) == "ActorAlreadyExistsError"
    assert ray.get(first.increment.remote()) == 1


def test_get_if_exists_creates_an_actor_once(ray: Any, Counter: Any) -> None:
    options = {"name": "singleton", "get_if_exists": True}
    first, second = Counter.options(**options).remote(), Counter.options(**options).remote()
    assert first == second
    assert ray.get([first.increment.remote(), second.increment.remote()]) == [1, 2]


def test_an_empty_name_is_refused(ray: Any, Counter: Any) -> None:
    with pytest.raises(ValueError, match="empty"):
        Counter.options(name="").remote()


def test_a_name_is_free_again_when_its_actor_is_killed(ray: Any, Counter: Any, eventually: Any) -> None:
    first = Counter.options(name="reborn").remote()
    ray.get(first.increment.remote())
    ray.kill(first)

    def create() -> Any:
        try:
            return Counter.options(name="reborn").remote()
        except ValueError:
            return None

    second = eventually(create)
    assert ray.get(second.increment.remote()) == 1
    assert second != first


def test_a_named_actor_ends_with_its_creators_handle_whoever_has_looked_it_up(
    ray: Any, Counter: Any, eventually: Any
) -> None:
    counter = Counter.options(name="weak").remote()
    ray.get(counter.increment.remote())
    looked_up = ray.get_actor("weak")
    ray.get(looked_up.increment.remote())
    del counter
    gc.collect()

    def ended() -> bool:
        try:
            ray.get(looked_up.increment.remote())
        except ray.exceptions.ActorDiedError:
            return True
        return False

    eventually(ended)
    with pytest.raises(ValueError, match="weak"):
        ray.get_actor("weak")


def test_a_named_actor_ends_with_the_task_that_created_it_and_kept_its_handle(
    ray: Any, Counter: Any, eventually: Any
) -> None:
    @ray.remote
    def create() -> Any:
        counter = Counter.options(name="short-lived").remote()
        return ray.get(counter.increment.remote())

    assert ray.get(create.remote()) == 1

    def ended() -> bool:
        try:
            ray.get_actor("short-lived")
        except ValueError:
            return True
        return False

    eventually(ended)


def test_a_detached_actor_needs_no_handle(ray: Any, Counter: Any) -> None:
    counter = Counter.options(name="detached", lifetime="detached").remote()
    ray.get(counter.increment.remote())
    del counter
    gc.collect()
    ray.get(ray.remote(lambda: None).remote())  # time enough for it to be forgotten, were it not detached
    counter = ray.get_actor("detached")
    assert ray.get(counter.increment.remote()) == 2
    ray.kill(counter)


def test_a_namespace_has_names_of_its_own(ray: Any, Counter: Any) -> None:
    here = Counter.options(name="twin").remote()
    there = Counter.options(name="twin", namespace="elsewhere").remote()
    assert ray.get_actor("twin") == here
    assert ray.get_actor("twin", namespace="elsewhere") == there
    assert here != there
    with pytest.raises(ValueError, match="twin"):
        ray.get_actor("twin", namespace="nowhere")
    with pytest.raises(ValueError, match="twin"):
        ray.get_actor("twin", "nowhere")


@pytest.mark.parametrize(("namespace", "error"), [("", ValueError), (1, TypeError)])
def test_a_namespace_is_a_string_that_is_not_empty(ray: Any, Counter: Any, namespace: Any, error: Any) -> None:
    with pytest.raises(error, match="namespace"):
        Counter.options(name="x", namespace=namespace).remote()
    with pytest.raises(error):
        ray.get_actor("x", namespace=namespace)
