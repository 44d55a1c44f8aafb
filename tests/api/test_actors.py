"""Actor classes, handles and methods: calls, options, names, messages, counting."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import types
from typing import Any

import pytest

import minray as ray
from minray.actor_handle import ActorHandle
from minray.code import pack
from minray.core.template import Code
from minray.refs import ObjectRef
from minray.session import set_driver


class Base:
    def inherited(self) -> str:
        return "base"


class Counter(Base):
    """Counts."""

    limit = 5

    def __init__(self, start: int = 0, *, step: int = 1) -> None:
        self.count = start
        self.step = step

    def add(self, by: int = 1) -> int:
        self.count += by * self.step
        return self.count

    @ray.method(num_returns=2)
    def pair(self) -> tuple[int, int]:
        return self.count, self.step

    @staticmethod
    def static(x: int) -> int:
        return x

    @classmethod
    def of_class(cls, x: int) -> str:
        return f"{cls.__name__}{x}"

    @property
    def value(self) -> int:
        return self.count

    def _private(self) -> str:
        return "private"

    def __len__(self) -> int:
        return 3

    def numbers(self) -> Any:
        yield 1


RemoteCounter: Any = ray.remote(Counter)


def test_methods_are_called_through_a_handle(session: Any) -> None:
    counter = RemoteCounter.remote(5, step=2)

    assert isinstance(counter, ActorHandle)
    assert ray.get(counter.add.remote(1)) == 7
    assert ray.get(counter.add.remote(by=ray.put(2))) == 11
    assert ray.get(counter.pair.remote()) == [11, 2]
    assert ray.get(counter.inherited.remote()) == "base"
    assert ray.get(counter.static.remote(1)) == 1
    assert ray.get(counter.of_class.remote(1)) == "Counter1"
    assert ray.get(counter._private.remote()) == "private"
    assert ray.get(counter.__len__.remote()) == 3


def test_the_class_keeps_its_name_and_attributes() -> None:
    assert (RemoteCounter.__name__, RemoteCounter.__doc__, RemoteCounter.limit) == ("Counter", "Counts.", 5)
    assert RemoteCounter.__wrapped__(3).count == 3
    assert repr(RemoteCounter) == f"<ActorClass {__name__}.Counter>"


def test_it_cannot_be_instantiated_or_derived_from_directly() -> None:
    with pytest.raises(TypeError, match=r"Instead of 'Counter\(\)', use 'Counter.remote\(\)'"):
        RemoteCounter()
    with pytest.raises(TypeError, match="subclass 'Derived' of actor class 'Counter'"):

        class Derived(RemoteCounter):  # type: ignore[misc]
            pass


@pytest.mark.parametrize(
    ("args", "kwargs", "words"),
    [
        ((1, 2), {}, "too many positional arguments"),
        ((), {"q": 1}, "got an unexpected keyword argument 'q'"),
    ],
)
def test_arguments_are_checked_before_an_actor_is_made(
    session: Any, args: tuple[Any, ...], kwargs: dict[str, Any], words: str
) -> None:
    with pytest.raises(TypeError, match=words):
        RemoteCounter.remote(*args, **kwargs)
    assert session.created == []


def test_a_class_without_init_takes_no_arguments(session: Any) -> None:
    with pytest.raises(TypeError, match="too many positional arguments"):
        ray.remote(Base).remote(1)  # type: ignore[call-overload]


def test_methods_check_their_arguments_without_self(session: Any) -> None:
    counter = RemoteCounter.remote()
    with pytest.raises(TypeError, match="too many positional arguments"):
        counter.add.remote(1, 2)
    with pytest.raises(TypeError, match="missing a required argument: 'x'"):
        counter.static.remote()
    with pytest.raises(TypeError, match="missing a required argument: 'x'"):
        counter.of_class.remote()
    assert session.calls == []


def test_what_is_no_method_is_no_attribute_of_a_handle(session: Any) -> None:
    counter = RemoteCounter.remote()

    for name in ("nothing", "limit", "value", "count", "remote"):
        with pytest.raises(AttributeError, match=f"'ActorHandle' object has no attribute '{name}'"):
            getattr(counter, name)
    assert "add" in dir(counter)
    assert "value" not in dir(counter)
    with pytest.raises(AttributeError, match=r"methods of Counter: .*add, .* Did you mean 'static'\? What else"):
        counter.statics
    with pytest.raises(AttributeError, match=r"'ActorHandle' object has no attribute '__array__'$"):
        counter.__array__


def test_a_method_cannot_be_called_directly(session: Any) -> None:
    with pytest.raises(TypeError, match=r"Instead of running 'object.add\(\)', try 'object.add.remote\(\)'"):
        RemoteCounter.remote().add()


def test_a_template_can_be_read_where_the_exceptions_that_its_methods_retry_are_not_known(
    session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the owner, when a worker asks for an actor: that may have modules which the owner has not."""
    module: Any = types.ModuleType("only_in_a_worker")
    exec("class Own(Exception): pass", module.__dict__)

    class Flaky:
        @ray.method(max_task_retries=1, retry_exceptions=[module.Own])
        def call(self) -> int:
            return 1

    with monkeypatch.context() as worker:
        worker.setitem(sys.modules, "only_in_a_worker", module)
        actor = ray.remote(Flaky).remote()
        packed = pack(session.created[0])
    with_methods = pickle.loads(packed).methods["call"]
    assert (with_methods["max_task_retries"], type(with_methods["retry_exceptions"])) == (1, Code)
    ray.get(actor.call.remote())
    assert session.calls[0].retry_exceptions.key == with_methods["retry_exceptions"].key


def test_a_method_takes_options(session: Any) -> None:
    counter = RemoteCounter.remote()

    assert isinstance(counter.pair.options(num_returns=1).remote(), ObjectRef)
    assert counter.pair.options(num_returns=0).remote() is None
    assert len(counter.pair.options(num_returns=None).remote()) == 2  # leaves what @method said
    counter.add.options(name="renamed").remote()
    assert [call.name for call in session.calls] == ["Counter.pair", "Counter.pair", "Counter.pair", "renamed"]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"foo": 1}, TypeError, "unexpected keyword argument 'foo'"),
        ({"num_cpus": 1}, TypeError, "unexpected keyword argument 'num_cpus'"),
        ({"num_return": 1}, TypeError, r"Did you mean 'num_returns'\? It takes \['name', 'num_returns', "),
        ({"num_returns": -1}, ValueError, "non-negative integer"),
        ({"num_returns": "a"}, TypeError, "must be a number"),
        ({"name": 3}, TypeError, "'name' must be str or None"),
        ({"concurrency_group": 3}, TypeError, "'concurrency_group' must be str or None"),
        ({"max_task_retries": -2}, ValueError, "None, 0, -1 or a positive integer"),
        ({"retry_exceptions": [1]}, ValueError, "a boolean or a list of exceptions"),
    ],
)
def test_wrong_options_of_a_method(session: Any, options: dict[str, Any], error: type[Exception], words: str) -> None:
    counter = RemoteCounter.remote()
    with pytest.raises(error, match=words):
        counter.add.options(**options)


@pytest.mark.parametrize(
    ("args", "options", "error", "words"),
    [
        ((), {"foo": 1}, AssertionError, "Unexpected keyword argument to @method: 'foo'"),
        ((3,), {}, AssertionError, "must be applied using no arguments"),
        ((len,), {"num_returns": 2}, AssertionError, "must be applied using no arguments"),
        ((), {"num_returns": -1}, ValueError, "non-negative integer"),
    ],
)
def test_wrong_uses_of_the_method_decorator(
    args: tuple[Any, ...], options: dict[str, Any], error: type[Exception], words: str
) -> None:
    method: Any = ray.method
    with pytest.raises(error, match=words):
        method(*args, **options)


def test_retries_of_a_method_are_its_own_or_its_actors(session: Any) -> None:
    counter = RemoteCounter.options(max_restarts=1, max_task_retries=3).remote()

    counter.add.remote()
    counter.add.options(max_task_retries=1, retry_exceptions=[KeyError]).remote()

    plain, chosen = session.calls
    assert (plain.max_retries, plain.retry_exceptions) == (3, False)
    assert (chosen.max_retries, session.pickled[-1]) == (1, (KeyError,))
    assert plain.key != chosen.key


def test_a_generator_method_gives_refs_to_what_it_yields(session: Any) -> None:
    generator = RemoteCounter.remote().numbers.remote()
    assert type(generator) is ray.ObjectRefGenerator
    assert ray.get(list(generator)) == list(Counter.numbers(Counter()))


def test_the_template_says_what_was_chosen(session: Any) -> None:
    RemoteCounter.options(num_cpus=0.5, max_restarts=-1, max_concurrency=2, lifetime="detached").remote()
    RemoteCounter.remote()

    chosen, plain = session.created
    assert (chosen.demand, plain.demand) == ((("CPU", 5_000),), ())
    assert (chosen.max_restarts, chosen.max_concurrency, chosen.lifetime) == (-1, 2, "detached")
    assert plain.methods["pair"]["num_returns"] == 2
    assert plain.methods["numbers"]["kind"] == "generator"
    assert chosen.key != plain.key
    assert session.pickled == [Counter, Counter]  # once for each set of options


def test_names(session: Any) -> None:
    counter = RemoteCounter.options(name="c").remote(1)

    assert ray.get_actor("c") == counter
    assert ray.get(ray.get_actor("c").add.remote(1)) == 2
    with pytest.raises(ValueError, match="taken"):
        RemoteCounter.options(name="c").remote()
    assert RemoteCounter.options(name="c", get_if_exists=True).remote() == counter
    assert RemoteCounter.options(name="d", get_if_exists=True).remote() != counter
    with pytest.raises(ValueError, match="Failed to look up"):
        ray.get_actor("nobody")


@pytest.mark.parametrize(
    ("name", "namespace", "error"),
    [
        ("", None, ValueError),
        (None, None, ValueError),
        (3, None, TypeError),
        ("a", "", ValueError),
        ("a", 3, TypeError),
    ],
)
def test_wrong_names_to_look_up(session: Any, name: Any, namespace: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        ray.get_actor(name, namespace)


def test_wrong_names_to_give(session: Any) -> None:
    with pytest.raises(ValueError, match="cannot be an empty string"):
        RemoteCounter.options(name="").remote()
    with pytest.raises(ValueError, match='"" is not a valid namespace'):
        RemoteCounter.options(namespace="").remote()


def test_kill_takes_handles_only(session: Any) -> None:
    counter = RemoteCounter.remote()
    ray.kill(counter)
    ray.kill(counter, no_restart=False)
    assert session.killed == [(counter._minray_id, True), (counter._minray_id, False)]

    others: list[Any] = [3, None, counter.add.remote()]
    for wrong in others:
        with pytest.raises(ValueError, match=r"only supported for actors. For tasks, try minray.cancel\(\)"):
            ray.kill(wrong)


def test_a_handle_is_counted_and_given_back_at_once_when_it_is_dropped(session: Any) -> None:
    counter = RemoteCounter.remote()
    id = counter._minray_id
    counter.add.remote()
    counter.add.remote()
    gc.disable()
    try:
        del counter  # although it keeps its methods: they do not refer back to it
        assert session.counts[id] == 0
    finally:
        gc.enable()


def test_a_method_keeps_its_actor(session: Any) -> None:
    add = RemoteCounter.remote().add

    assert session.counts[add._actor_id] == 1
    assert ray.get(add.remote(2)) == 2


def test_handles_compare_by_actor_and_can_be_copied(session: Any) -> None:
    first, second = RemoteCounter.remote(), RemoteCounter.remote()

    assert first != second
    assert first != 3
    assert {first: 1}[copy.copy(first)] == 1
    assert copy.deepcopy([first]) == [first]
    assert session.counts[first._minray_id] == 1
    assert repr(first).startswith("Actor(Counter, ")


def test_handles_and_methods_can_be_pickled(session: Any) -> None:
    counter = RemoteCounter.remote()

    handle = pickle.loads(pickle.dumps(counter))
    method = pickle.loads(pickle.dumps(counter.add))

    assert handle == counter
    assert session.pinned == [counter._minray_id] * 2
    assert ray.get(method.remote(2)) == 2
    assert ray.get(handle.add.remote(2)) == 4


def test_a_handle_cannot_be_unpickled_without_a_session(session: Any) -> None:
    packed = pickle.dumps(RemoteCounter.remote())
    set_driver(None)

    with pytest.raises(RuntimeError, match=r"minray is not running. Call minray.init\(\) first"):
        pickle.loads(packed)
