"""Calls of remote functions: what goes in, what comes out, how many results there are."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

import numpy as np
import pytest


def test_a_task_returns_what_its_function_returns(ray: Any) -> None:
    @ray.remote
    def add(a: int, b: int) -> int:
        return a + b

    assert ray.get(add.remote(1, 2)) == 3


def test_a_call_returns_a_ref_before_the_task_has_run(ray: Any, flags: Any, held: Any) -> None:
    ref = held("value")
    assert isinstance(ref, ray.ObjectRef)
    flags.up("go")
    assert ray.get(ref) == "value"


def test_a_lambda_can_be_remote(ray: Any) -> None:
    assert ray.get(ray.remote(lambda x: x * 2).remote(21)) == 42


def test_remote_takes_options_in_parentheses(ray: Any) -> None:
    @ray.remote(num_returns=2, num_cpus=0)
    def pair() -> tuple[int, int]:
        return 1, 2

    assert ray.get(pair.remote()) == [1, 2]


def test_options_leave_the_original_function_as_it_was(ray: Any) -> None:
    @ray.remote(num_returns=2)
    def pair() -> tuple[int, int]:
        return 1, 2

    whole = pair.options(num_returns=1)
    assert ray.get(whole.remote()) == (1, 2)
    assert ray.get(pair.remote()) == [1, 2]
    assert ray.get(whole.remote()) == (1, 2)


def test_defaults_and_keyword_only_arguments_arrive_as_in_a_plain_call(ray: Any) -> None:
    @ray.remote
    def f(a: int, b: int = 2, *, c: int, d: int = 4) -> tuple[int, ...]:
        return a, b, c, d

    assert ray.get(f.remote(1, c=3)) == (1, 2, 3, 4)
    assert ray.get(f.remote(c=0, d=0, b=0, a=0)) == (0, 0, 0, 0)


def test_variable_arguments_arrive_as_in_a_plain_call(ray: Any) -> None:
    @ray.remote
    def f(*args: Any, **kwargs: Any) -> Any:
        return args, kwargs

    assert ray.get(f.remote()) == ((), {})
    assert ray.get(f.remote(1, [2], x=3)) == ((1, [2]), {"x": 3})


def test_a_function_may_have_any_name_as_a_keyword(ray: Any) -> None:
    @ray.remote
    def f(**kwargs: Any) -> Any:
        return kwargs

    kwargs = {"self": 1, "args": 2, "kwargs": 3, "name": 4, "options": 5, "num_returns": 6, "template": 7}
    assert ray.get(f.remote(**kwargs)) == kwargs


def test_refs_given_as_arguments_arrive_as_their_values(ray: Any) -> None:
    @ray.remote
    def f(a: Any, *rest: Any, b: Any, **more: Any) -> Any:
        return a, rest, b, more

    one, two, three, four = (ray.put(i) for i in range(1, 5))
    assert ray.get(f.remote(one, two, 0, b=three, c=four)) == (1, (2, 0), 3, {"c": 4})


def test_keywords_arrive_in_their_order_refs_among_them(ray: Any) -> None:
    @ray.remote
    def f(**kwargs: Any) -> list[tuple[str, Any]]:
        return list(kwargs.items())

    assert ray.get(f.remote(b=1, a=ray.put(2), c=3)) == [("b", 1), ("a", 2), ("c", 3)]


def test_a_ref_may_be_given_twice(ray: Any) -> None:
    @ray.remote
    def add(a: int, b: int, c: int) -> int:
        return a + b + c

    one = ray.put(1)
    assert ray.get(add.remote(one, one, c=one)) == 3


def test_a_task_waits_for_the_tasks_it_depends_on(ray: Any, flags: Any, held: Any) -> None:
    @ray.remote
    def f(x: Any) -> Any:
        flags.up("ran")
        return x

    ref = f.remote(held(7))
    flags.wait("held")
    assert flags.count("ran") == 0
    flags.up("go")
    assert ray.get(ref) == 7


@pytest.mark.parametrize("wrap", [lambda r: [r], lambda r: (r,), lambda r: {"r": r}, lambda r: [[{"r": [r]}]]])
def test_refs_inside_containers_stay_refs(ray: Any, wrap: Any) -> None:
    @ray.remote
    def unwrap(x: Any) -> Any:
        while not isinstance(x, ray.ObjectRef):
            x = next(iter(x.values())) if isinstance(x, dict) else x[0]
        return ray.get(x)

    assert ray.get(unwrap.remote(wrap(ray.put(5)))) == 5


def test_a_ref_inside_an_object_stays_a_ref(ray: Any) -> None:
    class Box:
        def __init__(self, content: Any) -> None:
            self.content = content

    @ray.remote
    def open_box(box: Any) -> Any:
        return isinstance(box.content, ray.ObjectRef), ray.get(box.content)

    assert ray.get(open_box.remote(Box(ray.put("inside")))) == (True, "inside")


def test_a_ref_that_is_a_result_is_not_resolved(ray: Any) -> None:
    @ray.remote
    def make() -> Any:
        return ray.put(9)

    @ray.remote
    def kind(x: Any) -> bool:
        return isinstance(x, ray.ObjectRef)

    outer = make.remote()
    inner = ray.get(outer)
    assert isinstance(inner, ray.ObjectRef)
    assert ray.get(inner) == 9
    assert ray.get(kind.remote(outer))


def test_a_task_with_no_results_returns_none_and_runs(ray: Any, flags: Any) -> None:
    @ray.remote(num_returns=0)
    def f() -> None:
        flags.up("ran")

    assert f.remote() is None
    flags.wait("ran")


def test_several_results_are_several_refs(ray: Any) -> None:
    @ray.remote(num_returns=3)
    def f() -> Any:
        return 1, [2], None

    refs = f.remote()
    assert isinstance(refs, list)
    assert len(set(refs)) == 3
    assert ray.get(refs[1]) == [2]
    assert ray.get(refs) == [1, [2], None]


def test_the_results_of_one_task_go_different_ways(ray: Any) -> None:
    @ray.remote(num_returns=2)
    def split(xs: list[int]) -> Any:
        return xs[::2], xs[1::2]

    @ray.remote
    def total(xs: list[int]) -> int:
        return sum(xs)

    even, odd = split.remote([1, 10, 2, 20])
    assert ray.get([total.remote(even), total.remote(odd)]) == [3, 30]


@pytest.mark.parametrize("result", [(1, 2), [1, 2], np.array([1, 2]), "12"], ids=["tuple", "list", "array", "string"])
def test_any_sequence_of_the_right_length_is_split(ray: Any, result: Any) -> None:
    @ray.remote(num_returns=2)
    def f() -> Any:
        return result

    assert [int(x) for x in ray.get(f.remote())] == [1, 2]


def test_a_single_result_is_never_split(ray: Any) -> None:
    @ray.remote(num_returns=1)
    def f() -> Any:
        return (1,)

    assert ray.get(f.remote()) == (1,)


@pytest.mark.parametrize("result", [(), (1,), (1, 2, 3)], ids=len)
def test_the_wrong_number_of_results_fails_every_ref(ray: Any, result: Any) -> None:
    @ray.remote(num_returns=2)
    def f() -> Any:
        return result

    for ref in f.remote():
        with pytest.raises(ValueError, match=f"{len(result)}.*num_returns=2") as caught:
            ray.get(ref)
        assert isinstance(caught.value, ray.exceptions.RayTaskError)


@pytest.mark.parametrize("result", [None, 5], ids=repr)
def test_a_result_that_cannot_be_split_fails_every_ref(ray: Any, result: Any) -> None:
    @ray.remote(num_returns=2)
    def f() -> Any:
        return result

    for ref in f.remote():
        with pytest.raises(TypeError, match="has no len") as caught:
            ray.get(ref)
        assert isinstance(caught.value, ray.exceptions.RayTaskError)


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {"c": 1}, "missing a required argument: 'a'"),
        ((1,), {}, "missing a required argument: 'c'"),
        ((1, 2, 3), {"c": 1}, "too many positional arguments"),
        ((1,), {"c": 1, "z": 1}, "unexpected keyword argument 'z'"),
        ((1,), {"a": 1, "c": 1}, "multiple values for argument 'a'"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_at_the_call(ray: Any, args: Any, kwargs: Any, message: str) -> None:
    @ray.remote
    def f(a: int, b: int = 2, *, c: int) -> None: ...

    with pytest.raises(TypeError, match=message):
        f.remote(*args, **kwargs)


def test_calling_a_remote_function_directly_says_how_to_call_it(ray: Any) -> None:
    @ray.remote
    def f() -> None: ...

    with pytest.raises(TypeError, match=r"cannot be called directly.*f\.remote\(\)"):
        f()


def test_a_function_may_use_and_call_what_it_closes_over(ray: Any) -> None:
    table = {"a": 1}

    def factorial(n: int) -> int:
        return 1 if n == 0 else n * factorial(n - 1)

    class Helper:
        factor = 10

    @ray.remote
    def f() -> int:
        return factorial(5) + Helper.factor + table["a"]

    assert ray.get(f.remote()) == 131


def test_results_come_in_the_order_of_the_calls_whatever_order_they_run_in(ray: Any) -> None:
    @ray.remote
    def square(x: int) -> int:
        return x * x

    assert ray.get([square.remote(i) for i in range(300)]) == [i * i for i in range(300)]


@pytest.mark.slow
def test_a_chain_of_a_thousand_tasks(ray: Any) -> None:
    @ray.remote
    def successor(x: int) -> int:
        return x + 1

    ref = ray.put(0)
    for _ in range(1000):
        ref = successor.remote(ref)
    assert ray.get(ref) == 1000


@pytest.mark.slow
def test_a_thousand_refs_as_arguments_of_one_task(ray: Any) -> None:
    @ray.remote
    def same(x: int) -> int:
        return x

    @ray.remote
    def total(*xs: int) -> int:
        return sum(xs)

    assert ray.get(total.remote(*[same.remote(i) for i in range(1000)])) == sum(range(1000))


@pytest.mark.parametrize("by_ref", [False, True], ids=["inline", "by ref"])
def test_large_arguments_and_results(ray: Any, by_ref: bool) -> None:
    @ray.remote
    def double(x: Any, factor: int = 2) -> Any:
        return x * factor

    array = np.arange(300_000, dtype=np.float64)
    argument = ray.put(array) if by_ref else array
    np.testing.assert_array_equal(ray.get(double.remote(argument)), array * 2)
    np.testing.assert_array_equal(ray.get(double.remote(double.remote(x=argument), 3)), array * 6)


def test_none_is_a_value_like_any_other(ray: Any) -> None:
    @ray.remote
    def same(x: Any) -> Any:
        return x

    assert ray.get(same.remote(None)) is None
    assert ray.get(same.remote(ray.put(None))) is None


def test_a_function_that_returns_nothing_gives_none(ray: Any) -> None:
    @ray.remote
    def f() -> None: ...

    assert ray.get(f.remote()) is None


@pytest.mark.needs("processes")
def test_tasks_run_outside_the_drivers_process(ray: Any) -> None:
    assert ray.get(ray.remote(lambda: os.getpid()).remote()) != os.getpid()


@pytest.mark.needs("processes")
def test_prints_of_tasks_and_actors_reach_the_driver_with_name_and_pid(
    ray: Any, monkeypatch: pytest.MonkeyPatch, eventually: Any
) -> None:
    # Not capfd: what another thread writes while it is asked what there is may get lost in it.
    stdout = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stdout)

    @ray.remote
    def shout() -> int:
        print("hello from a task")
        return os.getpid()

    @ray.remote
    class Speaker:
        def speak(self) -> int:
            print("hello from an actor")
            return os.getpid()

    speaker = Speaker.remote()
    task_pid, actor_pid = ray.get([shout.remote(), speaker.speak.remote()])

    def both_seen() -> bool:
        return "from a task" in stdout.getvalue() and "from an actor" in stdout.getvalue()

    eventually(both_seen)
    lines = [
        line
        for line in stdout.getvalue().replace("\x1b[36m", "").replace("\x1b[0m", "").splitlines()
        if "hello" in line
    ]
    assert f"(shout pid={task_pid}) hello from a task" in lines
    assert f"(Speaker pid={actor_pid}) hello from an actor" in lines


def test_a_keyword_may_be_of_a_subclass_of_str(ray: Any) -> None:
    class Name(str):
        pass

    @ray.remote
    def use(x: int = 0, **others: Any) -> tuple[int, Any]:
        return x, others

    assert ray.get(use.remote(**{Name("x"): ray.put(5)})) == (5, {})


@pytest.mark.slow
@pytest.mark.needs("processes")
def test_a_task_may_start_processes_as_any_program_may(ray: Any) -> None:
    @ray.remote
    def use(method: str) -> tuple[str, list[int]]:
        import multiprocessing

        with multiprocessing.get_context(method).Pool(1) as pool:
            return multiprocessing.current_process().name, pool.map(abs, [-1])

    for method in ("fork", "spawn"):
        assert ray.get(use.remote(method), timeout=30) == ("MainProcess", [1])
