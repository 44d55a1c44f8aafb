"""Actors: their state, their methods, handles to them."""

from __future__ import annotations

import abc
import os
import pickle
import threading
from typing import Any

import pytest


@pytest.fixture
def Counter(ray: Any) -> Any:
    @ray.remote
    class Counter:
        """Counts."""

        def __init__(self, start: int = 0, *, step: int = 1) -> None:
            self.value = start
            self.step = step

        def increment(self, by: int | None = None) -> int:
            self.value += self.step if by is None else by
            return self.value

        def fail(self) -> None:
            self.value = -1
            raise ValueError("failed on purpose")

        @ray.method(num_returns=2)
        def divide(self, by: int) -> tuple[int, int]:
            return divmod(self.value, by)

    return Counter


def test_an_actor_keeps_its_state_between_calls(ray: Any, Counter: Any) -> None:
    counter = Counter.remote()
    assert ray.get([counter.increment.remote() for _ in range(3)]) == [1, 2, 3]


def test_actors_of_one_class_do_not_share_state(ray: Any, Counter: Any) -> None:
    a, b = Counter.remote(), Counter.remote(10)
    assert ray.get([a.increment.remote(), b.increment.remote(), a.increment.remote()]) == [1, 11, 2]


def test_the_constructor_takes_arguments_of_all_kinds(ray: Any, Counter: Any) -> None:
    counter = Counter.remote(ray.put(5), step=ray.put(10))
    assert ray.get(counter.increment.remote()) == 15


def test_methods_take_arguments_of_all_kinds(ray: Any) -> None:
    @ray.remote
    class Echo:
        def echo(self, a: Any, b: int = 2, *rest: Any, c: Any, **more: Any) -> Any:
            return a, b, rest, c, more

    echo = Echo.remote()
    one = ray.put(1)
    assert ray.get(echo.echo.remote(one, c=one)) == (1, 2, (), 1, {})
    assert ray.get(echo.echo.remote(0, 1, one, c=2, name=one, self_=3)) == (0, 1, (1,), 2, {"name": 1, "self_": 3})


def test_creating_an_actor_does_not_wait_for_its_constructor(ray: Any, flags: Any) -> None:
    @ray.remote
    class Slow:
        def __init__(self) -> None:
            flags.wait("go")

        def hello(self) -> str:
            return "hello"

    slow = Slow.remote()
    ref = slow.hello.remote()
    assert ray.wait([ref], timeout=0.05) == ([], [ref])
    flags.up("go")
    assert ray.get(ref) == "hello"


def test_a_class_needs_no_constructor(ray: Any) -> None:
    @ray.remote
    class Bare:
        constant = 3

        def get(self) -> int:
            return self.constant

    assert ray.get(Bare.remote().get.remote()) == 3


def test_methods_of_every_kind_can_be_called(ray: Any) -> None:
    class Base:
        def __init__(self, value: int) -> None:
            self.value = value

        def inherited(self) -> int:
            return self.value

    @ray.remote
    class Derived(Base):
        def __init__(self) -> None:
            super().__init__(7)

        @staticmethod
        def static(x: int) -> int:
            return x

        @classmethod
        def of_class(cls) -> str:
            return cls.__name__

        def __len__(self) -> int:
            return 3

        def __call__(self, x: int) -> int:
            return x + self.value

        def _private(self) -> str:
            return "private"

    actor = Derived.remote()
    assert ray.get(
        [
            actor.inherited.remote(),
            actor.static.remote(1),
            actor.of_class.remote(),
            actor.__len__.remote(),
            actor.__call__.remote(1),
            actor._private.remote(),
        ]
    ) == [7, 1, "Derived", 3, 8, "private"]


def test_a_property_is_not_an_attribute_of_the_handle(ray: Any) -> None:
    @ray.remote
    class Actor:
        @property
        def size(self) -> int:
            return 3

        def method(self) -> int:
            return self.size

    actor = Actor.remote()
    with pytest.raises(AttributeError, match="size"):
        actor.size.remote()
    assert ray.get(actor.method.remote()) == 3


def test_an_undecorated_class_can_be_made_remote_later(ray: Any) -> None:
    class Plain:
        def hello(self) -> str:
            return "hello"

    assert ray.get(ray.remote(Plain).remote().hello.remote()) == "hello"
    assert ray.get(ray.remote(num_cpus=0)(Plain).remote().hello.remote()) == "hello"
    assert Plain().hello() == "hello"


def test_an_actor_class_cannot_be_inherited_from(ray: Any, Counter: Any) -> None:
    with pytest.raises(ray.actor.ActorClassInheritanceException, match=r"subclass 'Derived' of .*Counter'") as caught:

        class Derived(Counter):  # type: ignore[misc]
            ...

    assert isinstance(caught.value, TypeError)
    assert "Inheriting from actor classes is not currently supported" in str(caught.value)


def test_an_abstract_class_cannot_be_an_actor(ray: Any) -> None:
    class Shape(abc.ABC):
        @abc.abstractmethod
        def area(self) -> float: ...

    class Square(Shape):
        def area(self) -> float:
            return 4.0

    with pytest.raises(TypeError, match=r"Can't instantiate abstract class .*Shape.* area"):
        ray.remote(Shape)
    assert ray.get(ray.remote(Square).remote().area.remote()) == 4.0


def test_options_and_arguments_can_be_given_at_once(ray: Any, Counter: Any) -> None:
    @ray.remote
    def f(x: int, *, y: int = 0) -> tuple[int, int, str]:
        return x, y, ray.get_runtime_context().get_task_name()

    assert ray.get(f._remote(args=(1,), kwargs={"y": 2}, name="named")) == (1, 2, "named")
    assert ray.get(f._remote([1])) == (1, 0, "f")
    counter = Counter._remote(args=[10], kwargs={"step": 5}, num_cpus=0)
    assert ray.get(counter.increment._remote()) == 15
    assert ray.get(counter.divide._remote(args=(4,), num_returns=1)) == (3, 3)


def test_an_actor_class_knows_its_class(ray: Any, Counter: Any) -> None:
    assert Counter.__ray_actor_class__.__name__ == "Counter"


def test_calling_an_actor_class_directly_says_how_to_call_it(ray: Any, Counter: Any) -> None:
    with pytest.raises(TypeError, match=r"cannot be instantiated directly.*Counter\.remote\(\)"):
        Counter()


def test_calling_a_method_directly_says_how_to_call_it(ray: Any, Counter: Any) -> None:
    counter = Counter.remote()
    with pytest.raises(TypeError, match=r"cannot be called directly.*increment\.remote\(\)"):
        counter.increment()


def test_a_handle_has_the_methods_of_its_class_and_nothing_else(ray: Any, Counter: Any) -> None:
    counter = Counter.remote()
    with pytest.raises(AttributeError, match="nothing_like_it"):
        counter.nothing_like_it
    with pytest.raises(AttributeError):
        counter.value  # state is not reachable


def test_arguments_that_do_not_fit_are_refused_at_the_call(ray: Any, Counter: Any) -> None:
    with pytest.raises(TypeError, match="too many positional arguments"):
        Counter.remote(1, 2)
    with pytest.raises(TypeError, match="unexpected keyword argument 'stop'"):
        Counter.remote(stop=1)
    counter = Counter.remote()
    with pytest.raises(TypeError, match="missing a required argument: 'by'"):
        counter.divide.remote()
    assert ray.get(counter.increment.remote()) == 1


def test_a_method_declares_how_many_results_it_has(ray: Any, Counter: Any) -> None:
    counter = Counter.remote(7)
    quotient, remainder = counter.divide.remote(2)
    assert ray.get([remainder, quotient]) == [1, 3]


def test_a_call_can_override_the_number_of_results(ray: Any, Counter: Any) -> None:
    counter = Counter.remote(7)
    assert ray.get(counter.divide.options(num_returns=1).remote(2)) == (3, 1)
    assert counter.increment.options(num_returns=0).remote() is None
    assert ray.get(counter.divide.remote(2)) == [4, 0]


def test_the_wrong_number_of_results_fails_the_call_and_not_the_actor(ray: Any, Counter: Any) -> None:
    counter = Counter.remote(7)
    with pytest.raises(ValueError, match="num_returns=3"):
        ray.get(counter.divide.options(num_returns=3).remote(2))
    assert ray.get(counter.increment.remote()) == 8


def test_a_failing_method_leaves_the_actor_alive_with_its_state(ray: Any, Counter: Any) -> None:
    counter = Counter.remote()
    with pytest.raises(ValueError, match="failed on purpose") as caught:
        ray.get(counter.fail.remote())
    assert isinstance(caught.value, ray.exceptions.RayTaskError)
    assert "Counter.fail()" in str(caught.value)
    assert ray.get(counter.increment.remote()) == 0


def test_a_method_whose_argument_failed_fails_and_does_not_run(ray: Any, Counter: Any) -> None:
    @ray.remote
    def fail() -> None:
        raise KeyError("upstream")

    counter = Counter.remote()
    with pytest.raises(KeyError, match="upstream"):
        ray.get(counter.increment.remote(fail.remote()))
    assert ray.get(counter.increment.remote()) == 1


def test_a_task_that_depends_on_a_failed_method_fails(ray: Any, Counter: Any) -> None:
    @ray.remote
    def same(x: Any) -> Any:
        return x

    with pytest.raises(ValueError, match="failed on purpose"):
        ray.get(same.remote(Counter.remote().fail.remote()))


def test_an_unpicklable_result_leaves_the_actor_alive(ray: Any) -> None:
    @ray.remote
    class Locks:
        def make(self) -> Any:
            return threading.Lock()

        def hello(self) -> str:
            return "hello"

    locks = Locks.remote()
    with pytest.raises(TypeError, match="cannot pickle"):
        ray.get(locks.make.remote())
    assert ray.get(locks.hello.remote()) == "hello"


def test_handles_are_equal_and_hash_alike_if_they_name_the_same_actor(ray: Any, Counter: Any) -> None:
    a, b = Counter.remote(), Counter.remote()
    again = ray.get(ray.put([a]))[0]
    assert a == again
    assert hash(a) == hash(again)
    assert a != b
    assert a != 1
    assert len({a, b, again}) == 2


def test_a_handle_can_be_pickled_by_hand(ray: Any, Counter: Any) -> None:
    counter = Counter.remote()
    again = pickle.loads(pickle.dumps(counter))
    assert again == counter
    assert ray.get([counter.increment.remote(), again.increment.remote()]) == [1, 2]


def test_a_copied_handle_knows_how_many_results_its_methods_have(ray: Any, Counter: Any) -> None:
    @ray.remote
    def use(handles: list[Any]) -> Any:
        return ray.get(handles[0].divide.remote(2))

    assert ray.get(use.remote([Counter.remote(7)])) == [3, 1]


def test_a_handle_shows_the_name_of_its_class(ray: Any, Counter: Any) -> None:
    assert "Counter" in repr(Counter.remote())


def test_a_method_can_be_kept_and_called_later(ray: Any, Counter: Any) -> None:
    counter = Counter.remote()
    increment = counter.increment
    assert ray.get([increment.remote(), increment.remote(by=5)]) == [1, 6]


@pytest.mark.needs("processes")
def test_an_actor_has_one_process_of_its_own(ray: Any) -> None:
    @ray.remote
    class Process:
        def pid(self) -> int:
            return os.getpid()

    a, b = Process.remote(), Process.remote()
    pids = ray.get([a.pid.remote(), a.pid.remote(), b.pid.remote()])
    assert pids[0] == pids[1]
    assert len({*pids, os.getpid()}) == 3
