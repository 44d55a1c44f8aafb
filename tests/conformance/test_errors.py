"""What arrives at `get` when a task fails, and what its dependants see."""

from __future__ import annotations

import pickle
import threading
from typing import Any

import pytest


def failure(ray: Any, ref: Any) -> Any:
    """The error that `get` raises for `ref`."""
    with pytest.raises(BaseException) as caught:
        ray.get(ref)
    return caught.value


def test_an_error_arrives_as_its_own_type_and_as_a_task_error(ray: Any) -> None:
    @ray.remote
    def fail() -> None:
        raise KeyError("missing", 1)

    error = failure(ray, fail.remote())
    assert isinstance(error, KeyError)
    assert isinstance(error, LookupError)
    assert isinstance(error, ray.exceptions.RayTaskError)
    assert isinstance(error, ray.exceptions.RayError)
    assert type(error).__name__ == "RayTaskError(KeyError)"


def test_the_cause_is_the_users_own_exception(ray: Any) -> None:
    @ray.remote
    def fail() -> None:
        raise KeyError("missing", 1)

    cause = failure(ray, fail.remote()).cause
    assert type(cause) is KeyError
    assert cause.args == ("missing", 1)


def test_the_message_shows_task_file_line_source_type_and_text(ray: Any) -> None:
    def fail() -> None:
        raise ValueError("the text")

    message = str(failure(ray, ray.remote(fail).remote()))
    assert "fail()" in message
    assert f'test_errors.py", line {fail.__code__.co_firstlineno + 1}, in fail' in message
    assert 'raise ValueError("the text")' in message
    assert message.rstrip().endswith("ValueError: the text")


def test_the_message_shows_the_users_own_frames(ray: Any) -> None:
    def inner() -> None:
        raise ValueError("deep")

    def outer() -> None:
        inner()

    @ray.remote
    def fail() -> None:
        outer()

    message = str(failure(ray, fail.remote()))
    assert message.index(", in fail") < message.index(", in outer") < message.index(", in inner")


def test_the_message_shows_the_error_that_caused_the_error(ray: Any) -> None:
    @ray.remote
    def fail() -> None:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise ValueError("second") from error

    message = str(failure(ray, fail.remote()))
    assert message.index("KeyError: 'first'") < message.index("ValueError: second")


def test_a_task_may_be_named_in_its_errors(ray: Any) -> None:
    @ray.remote
    def fail() -> None:
        raise ValueError

    assert "ray::load_data()" in str(failure(ray, fail.options(name="load_data").remote()))


def test_an_error_class_of_ones_own_keeps_its_attributes(ray: Any) -> None:
    class HttpError(Exception):
        def __init__(self, code: int, reason: str) -> None:
            super().__init__(code, reason)
            self.code = code

        def describe(self) -> str:
            return f"code {self.code}"

    @ray.remote
    def fail() -> None:
        raise HttpError(404, "not found")

    error = failure(ray, fail.remote())
    assert type(error.cause) is HttpError
    assert isinstance(error, HttpError)
    assert error.code == 404
    assert error.describe() == "code 404"


def test_an_error_that_cannot_be_unpickled_arrives_with_its_text(ray: Any) -> None:
    class NeedsTwo(Exception):
        def __init__(self, a: int, b: int) -> None:
            super().__init__(f"{a} and {b}")  # pickle will call NeedsTwo("1 and 2")

    @ray.remote
    def fail() -> None:
        raise NeedsTwo(1, 2)

    error = failure(ray, fail.remote())
    assert isinstance(error, ray.exceptions.RayError)
    assert "1 and 2" in str(error)


def test_an_error_that_cannot_be_pickled_arrives_with_its_text(ray: Any) -> None:
    class Locked(Exception):
        def __init__(self) -> None:
            super().__init__("holds a lock")
            self.lock = threading.Lock()

    @ray.remote
    def fail() -> None:
        raise Locked

    error = failure(ray, fail.remote())
    assert isinstance(error, ray.exceptions.RayTaskError)
    assert "holds a lock" in str(error)


def test_an_error_class_that_cannot_be_subclassed_arrives_as_the_cause(ray: Any) -> None:
    class Final(Exception):
        def __init_subclass__(cls) -> None:
            raise TypeError("no subclasses")

    @ray.remote
    def fail() -> None:
        raise Final("the end")

    error = failure(ray, fail.remote())
    assert type(error) is ray.exceptions.RayTaskError
    assert type(error.cause) is Final
    assert "the end" in str(error)


def test_exceptions_that_are_no_errors_arrive_too(ray: Any) -> None:
    class Stop(BaseException): ...

    @ray.remote
    def fail(error: BaseException) -> None:
        raise error

    assert isinstance(failure(ray, fail.remote(Stop())), Stop)
    assert isinstance(failure(ray, fail.remote(StopIteration())), StopIteration)


def test_a_very_long_message_arrives_whole(ray: Any) -> None:
    @ray.remote
    def fail() -> None:
        raise ValueError("x" * 2_000_000)

    assert len(failure(ray, fail.remote()).cause.args[0]) == 2_000_000


def test_every_get_raises_the_error_again(ray: Any) -> None:
    @ray.remote
    def fail() -> None:
        raise ValueError("again")

    ref = fail.remote()
    first, second = failure(ray, ref), failure(ray, ref)
    assert str(first) == str(second)


def test_an_error_fails_every_result_of_its_task(ray: Any) -> None:
    @ray.remote(num_returns=3)
    def fail() -> None:
        raise ValueError("all of them")

    for ref in fail.remote():
        assert isinstance(failure(ray, ref), ValueError)


def test_an_error_that_nobody_gets_harms_nobody(ray: Any) -> None:
    @ray.remote
    def fail(x: int) -> int:
        if x % 2:
            raise ValueError(x)
        return x

    refs = [fail.remote(i) for i in range(20)]
    assert ray.get(refs[::2]) == list(range(0, 20, 2))


@pytest.mark.parametrize("how", ["positional", "keyword", "one of many"])
def test_a_dependant_fails_with_the_same_error_and_never_runs(ray: Any, flags: Any, how: str) -> None:
    @ray.remote
    def fail() -> None:
        raise ValueError("upstream")

    @ray.remote
    def dependant(*args: Any, **kwargs: Any) -> None:
        flags.up("ran")

    failed = fail.remote()
    ref = {
        "positional": lambda: dependant.remote(failed),
        "keyword": lambda: dependant.remote(x=failed),
        "one of many": lambda: dependant.remote(1, ray.put(2), failed, x=3),
    }[how]()
    error = failure(ray, ref)
    assert type(error.cause) is ValueError
    assert isinstance(error, ValueError)
    assert isinstance(error, ray.exceptions.RayTaskError)
    assert flags.count("ran") == 0


def test_a_dependants_message_names_every_task_on_the_way(ray: Any) -> None:
    @ray.remote
    def source() -> None:
        raise ValueError("upstream")

    @ray.remote
    def middle(x: Any) -> None: ...

    @ray.remote
    def sink(x: Any) -> None: ...

    error = failure(ray, sink.remote(middle.remote(source.remote())))
    message = str(error)
    assert type(error).__name__ == "RayTaskError(ValueError)"
    assert message.index("ray::sink()") < message.index("ray::middle()") < message.index("ray::source()")
    assert "At least one of the input arguments for this task could not be computed" in message
    assert message.rstrip().endswith("ValueError: upstream")


def test_a_failed_ref_inside_a_container_fails_nothing_until_it_is_asked_for(ray: Any) -> None:
    @ray.remote
    def fail() -> None:
        raise ValueError("inside")

    @ray.remote
    def careful(refs: list[Any]) -> str:
        try:
            ray.get(refs[0])
        except ValueError as error:
            return f"caught {isinstance(error, ray.exceptions.RayTaskError)} {error.args}"
        return "nothing"

    @ray.remote
    def ignore(refs: list[Any]) -> str:
        return "fine"

    refs = [fail.remote()]
    assert ray.get(ignore.remote(refs)) == "fine"
    assert ray.get(careful.remote(refs)) == "caught True (ValueError('inside'),)"


def test_an_error_that_passes_through_a_waiting_task_keeps_its_type(ray: Any) -> None:
    @ray.remote
    def fail() -> None:
        raise ValueError("from below")

    @ray.remote
    def parent() -> Any:
        return ray.get(fail.remote())

    error = failure(ray, parent.remote())
    assert type(error).__name__ == "RayTaskError(ValueError)"
    assert type(error.cause) is ValueError
    message = str(error)
    assert message.index("ray::parent()") < message.index("ray::fail()")


def test_an_unpicklable_result_fails_the_task(ray: Any) -> None:
    @ray.remote
    def f() -> Any:
        return {"padlock": threading.Lock()}

    error = failure(ray, f.remote())
    assert isinstance(error, TypeError)
    assert isinstance(error, ray.exceptions.RayTaskError)
    assert "cannot pickle '_thread.lock' object" in str(error)


def test_an_unpicklable_closure_is_refused_at_the_call_and_named(ray: Any) -> None:
    padlock = threading.Lock()

    @ray.remote
    def f() -> None:
        padlock.acquire()

    with pytest.raises(TypeError, match="padlock"):
        f.remote()


def test_an_unpicklable_closure_of_a_class_is_refused_at_its_creation_and_named(ray: Any) -> None:
    padlock = threading.Lock()

    @ray.remote
    class Actor:
        def method(self) -> None:
            padlock.acquire()

    with pytest.raises(TypeError, match="padlock"):
        Actor.remote()


def test_an_argument_that_cannot_be_unpickled_fails_the_task(ray: Any) -> None:
    class Broken:
        def __reduce__(self) -> Any:
            return eval, ("1 / 0",)

    @ray.remote
    def f(x: Any) -> None: ...

    error = failure(ray, f.remote(Broken()))
    assert isinstance(error, ray.exceptions.RayTaskError)
    assert "division by zero" in str(error)


def test_a_result_that_cannot_be_unpickled_raises_at_get(ray: Any) -> None:
    class Broken:
        def __reduce__(self) -> Any:
            return eval, ("1 / 0",)

    error = failure(ray, ray.remote(lambda: Broken()).remote())
    assert isinstance(error, ray.exceptions.RaySystemError)
    assert "division by zero" in str(error)


def test_the_tree_of_errors(ray: Any) -> None:
    errors = ray.exceptions
    for name in ("RayTaskError", "WorkerCrashedError", "RayActorError", "GetTimeoutError", "RaySystemError"):
        assert issubclass(getattr(errors, name), errors.RayError)
    assert issubclass(errors.ActorDiedError, errors.RayActorError)
    assert issubclass(errors.ActorUnavailableError, errors.RayActorError)
    assert issubclass(errors.RayError, Exception)


def test_a_memory_error_is_caught_by_its_type(ray: Any) -> None:
    def fail() -> None:
        raise MemoryError("no more")

    with pytest.raises(MemoryError):
        ray.get(ray.remote(fail).remote())


@pytest.mark.parametrize(
    ("name", "attribute"),
    [
        ("ActorAlreadyExistsError", "error_message"),
        ("ActorHandleNotFoundError", "error_message"),
        ("ActorUnschedulableError", "error_message"),
        ("NodeDiedError", "message"),
        ("OutOfMemoryError", "message"),
        ("RpcError", "message"),
        ("RuntimeEnvSetupError", "error_message"),
        ("TaskUnschedulableError", "error_message"),
    ],
)
def test_errors_keep_their_message_as_an_attribute(ray: Any, name: str, attribute: str) -> None:
    error = getattr(ray.exceptions, name)("why")
    assert getattr(error, attribute) == "why"
    assert "why" in str(error)
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy)) == (type(error), str(error))


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("RayCgraphCapacityExceeded", "RaySystemError"),
        ("RayChannelTimeoutError", "RayChannelError"),
        ("RayDirectTransportError", "RaySystemError"),
        ("StreamingGeneratorReplayInconsistentError", "RaySystemError"),
    ],
)
def test_programs_can_name_errors_that_may_never_be_raised(ray: Any, name: str, base: str) -> None:
    assert issubclass(getattr(ray.exceptions, name), getattr(ray.exceptions, base))


def test_code_that_cannot_be_unpickled_fails_each_time_with_the_same_error(ray: Any) -> None:
    class Stubborn:
        def __reduce__(self) -> Any:
            return int, ("no number",)

    stubborn = Stubborn()

    @ray.remote(max_retries=0)
    def use() -> str:
        return str(stubborn)

    for _ in range(2):
        with pytest.raises(Exception, match="no number"):
            ray.get(use.remote())


def test_an_error_that_a_task_returns_is_what_it_comes_to(ray: Any) -> None:
    @ray.remote
    def fail() -> None:
        raise KeyError("missing")

    @ray.remote
    class Catcher:
        def catch(self) -> Any:
            try:
                ray.get(fail.remote())
            except KeyError as error:
                return error

        def catch_in_a_list(self) -> Any:
            return [self.catch()]

        def catch_twice(self) -> Any:
            yield self.catch()
            yield 2

    catcher = Catcher.remote()
    returned = failure(ray, catcher.catch.remote())
    assert isinstance(returned, KeyError) and isinstance(returned, ray.exceptions.RayTaskError)
    assert isinstance(ray.get(catcher.catch_in_a_list.remote())[0], KeyError)
    first, second = list(catcher.catch_twice.options(num_returns="streaming").remote())
    assert isinstance(failure(ray, first), KeyError)
    assert ray.get(second) == 2


def test_only_errors_of_ray_are_more_than_values(ray: Any) -> None:
    @ray.remote
    def give(value: Any) -> Any:
        return value

    assert isinstance(ray.get(give.remote(ValueError("a value"))), ValueError)
    assert isinstance(ray.get(ray.put(ValueError("a value"))), ValueError)


@pytest.mark.parametrize("name", ["RayError", "GetTimeoutError", "ActorDiedError", "WorkerCrashedError"])
def test_an_error_that_is_put_is_raised_by_get(ray: Any, name: str) -> None:
    kind = getattr(ray.exceptions, name)
    assert type(failure(ray, ray.put(kind()))) is kind


def test_an_error_of_a_class_of_the_programs_own_travels_like_its_other_classes(ray: Any) -> None:
    class Own(ray.exceptions.RayError):  # type: ignore[misc]
        def __init__(self, why: Any) -> None:
            super().__init__(why)
            self.why = why

    @ray.remote
    def give() -> Any:
        return Own(lambda: 5)

    @ray.remote
    def catch(refs: Any) -> Any:
        try:
            ray.get(refs[0])
        except Own as error:
            return error.why()

    assert failure(ray, give.remote()).why() == 5
    assert ray.get(catch.remote([ray.put(Own(lambda: 6))])) == 6


def test_a_call_that_is_given_an_error_fails(ray: Any) -> None:
    @ray.remote
    def use(first: Any, second: Any = None) -> None:
        pass

    @ray.remote
    class User:
        def use(self, first: Any) -> None:
            pass

    error = ray.exceptions.GetTimeoutError("late")
    calls = [
        use.remote(error),
        use.remote(1, second=error),
        use.remote(ray.put(error), [2]),
        User.remote().use.remote(error),
    ]
    for call in calls:
        found = failure(ray, call)
        assert isinstance(found, ray.exceptions.RayTaskError)
        assert isinstance(found, ray.exceptions.GetTimeoutError)
        assert isinstance(found.cause, ray.exceptions.GetTimeoutError)
    assert ray.get(use.remote([error])) is None


def test_an_actor_that_is_given_an_error_is_not_created(ray: Any) -> None:
    @ray.remote
    class User:
        def __init__(self, first: Any) -> None:
            pass

        def use(self) -> None:
            pass

    found = failure(ray, User.remote(ray.exceptions.GetTimeoutError("late")).use.remote())
    assert isinstance(found, ray.exceptions.ActorDiedError)
