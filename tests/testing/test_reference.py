"""The serial reference, and how outcomes are compared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import minray
from minray.testing import Outcome, Serial, assert_equivalent
from minray.testing.equivalence import outcome, session

ray = Serial()


def test_arguments_and_results_are_copies() -> None:
    @ray.remote
    def append(items: list[int]) -> list[int]:
        items.append(1)
        return items

    given: list[int] = []
    result = append.remote(given)

    assert given == [] and ray.get(result) == [1]
    assert ray.get(result) is not ray.get(result)


def test_refs_at_the_top_level_stand_for_their_values() -> None:
    @ray.remote
    def kinds(x: Any, y: Any, *, z: Any) -> list[str]:
        return [type(x).__name__, type(y[0]).__name__, type(z).__name__]

    assert ray.get(kinds.remote(ray.put(1), [ray.put(2)], z=ray.put(""))) == ["int", "Ref", "str"]


def test_errors_surface_at_get_as_instances_of_their_type_and_pass_through_calls() -> None:
    @ray.remote
    def fail(_: Any = None) -> None:
        raise ValueError("boom")

    ref = fail.remote(fail.remote())

    with pytest.raises(ValueError) as caught:
        ray.get(ref)
    assert isinstance(caught.value, minray.exceptions.RayTaskError)


def test_a_call_is_retried_as_often_as_it_may_be() -> None:
    tries: list[int] = []

    @ray.remote(retry_exceptions=[OSError], max_retries=2)
    def flaky() -> int:
        tries.append(1)
        if len(tries) < 3:
            raise OSError
        return len(tries)

    assert ray.get(flaky.remote()) == 3


def test_a_generator_is_refs_to_its_items_and_then_its_error() -> None:
    @ray.remote
    def count() -> Iterator[int]:
        yield 0
        raise ValueError("boom")

    first, second = count.remote()

    assert ray.get(first) == 0
    with pytest.raises(ValueError):
        ray.get(second)


def test_an_actor_keeps_its_state_and_can_be_found_until_it_is_killed() -> None:
    @ray.remote
    class Counter:
        def __init__(self) -> None:
            self.count = 0

        async def up(self) -> int:
            self.count += 1
            return self.count

    actor = Counter.options(name="it").remote()
    ray.get(actor.up.remote())
    assert ray.get(ray.get_actor("it").up.remote()) == 2

    ray.kill(actor)
    with pytest.raises(minray.exceptions.ActorDiedError):
        ray.get(actor.up.remote())
    with pytest.raises(ValueError):
        ray.get_actor("it")


def test_an_actor_whose_constructor_fails_is_dead() -> None:
    @ray.remote
    class Broken:
        def __init__(self) -> None:
            raise ValueError("boom")

        def go(self) -> None: ...

    with pytest.raises(minray.exceptions.ActorDiedError, match="boom"):
        ray.get(Broken.remote().go.remote())


@pytest.mark.parametrize(
    ("one", "other"),
    [([1], (1,)), (1, True), ([1], [2]), ({"a": 1}, {"a": 2}), (np.zeros(2), np.zeros(3)), (1, 1.0)],
)
def test_outcomes_of_other_types_or_values_differ(one: Any, other: Any) -> None:
    assert not Outcome(one).same(Outcome(other))


@pytest.mark.parametrize("value", [[float("nan")], {"a": np.arange(3)}, None, ("x", {1})])
def test_equal_outcomes_are_the_same(value: Any) -> None:
    assert Outcome(value).same(Outcome(value))


def test_an_error_counts_by_its_type_and_the_users_message() -> None:
    def program(ray: Any) -> None:
        @ray.remote
        def fail() -> None:
            raise KeyError("x")

        ray.get(fail.remote())

    assert assert_equivalent(program, ["threads"]).error == "KeyError: 'x'"


def test_what_differs_is_shown_with_the_backend_and_the_program() -> None:
    def program(ray: Any) -> str:
        return str(ray.__class__.__name__)  # where it runs

    with pytest.raises(AssertionError) as caught:
        assert_equivalent(program, ["threads"])

    message = str(caught.value)
    assert message.startswith("On threads the program returns 'module'\non the serial reference it returns 'Serial'")
    assert "# where it runs" in message


def test_a_program_that_hangs_fails_and_loses_its_run() -> None:
    def program(ray: Any) -> Any:
        @ray.remote
        class Actor:
            def wait(self, me: Any) -> Any:
                return ray.get(me[0].wait.remote(me))

        actor = Actor.remote()
        return ray.get(actor.wait.remote([actor]))

    with pytest.raises(AssertionError, match="On threads the program did not end within"):
        assert_equivalent(program, ["threads"], reference=False, timeout=0.1)
    assert not minray.is_initialized()


def test_a_run_that_is_alive_is_used_and_stays() -> None:
    with minray.init(backend="threads", num_cpus=3):
        assert outcome(lambda ray: ray.cluster_resources()["CPU"], minray) == Outcome(3.0)
        with session("threads") as module:
            assert module.cluster_resources()["CPU"] == 3
        assert minray.is_initialized()
        with pytest.raises(RuntimeError, match="alive on the backend 'threads', so none can be started on 'loky'"):
            assert_equivalent(lambda ray: 1, ["loky"])
