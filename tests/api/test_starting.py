"""`init` and `shutdown`: arguments, the context, what happens twice, in a task, by itself, and at the end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

import minray as ray
from minray import interrupts, launching, registry, session, starting


class Starts(list[dict[str, Any]]):
    """What `minray.launching.start` was asked for; `runs` are the sessions that it made."""

    def __init__(self) -> None:
        super().__init__()
        self.runs: list[Any] = []


@pytest.fixture(autouse=True)
def _the_tests_are_no_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """A factory that is defined here would have all tests count as functions that must not be interrupted half-way."""
    monkeypatch.setattr(interrupts, "_guarded", set(interrupts._guarded))


@pytest.fixture
def starts(session: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Starts]:
    """No backend is really started."""
    from minray.session import set_driver

    set_driver(None)
    found = Starts()

    def start(backend: Any, **config: Any) -> Any:
        found.append({"backend": backend, **config})
        found.runs.append(type(session)())
        return found.runs[-1]

    monkeypatch.setattr(launching, "start", start)
    monkeypatch.setattr(registry, "load", lambda name: f"the pool of {name}")
    for variable in ("MINRAY_BACKEND", "MINRAY_ADDRESS"):
        monkeypatch.delenv(variable, raising=False)
    yield found
    ray.shutdown()
    assert not ray.is_initialized()


def test_init_starts_the_default_backend(starts: Starts) -> None:
    assert not ray.is_initialized()

    ray.init()

    assert ray.is_initialized()
    assert session.current() is starts.runs[0]
    assert starts[0]["backend"] == "the pool of loky"
    assert (starts[0]["num_cpus"], starts[0]["resources"], starts[0]["namespace"]) == (None, None, None)
    assert starts[0]["options"]["isolate"] is True
    assert starts[0]["options"]["log_to_driver"] is True


def test_arguments_reach_the_runtime(starts: Starts) -> None:
    ray.init(
        backend="threads",
        num_cpus=3,
        num_gpus=1,
        resources={"a": 0.5},
        namespace="n",
        isolate=False,
        log_to_driver=False,
    )

    (start,) = starts
    assert (start["num_cpus"], start["num_gpus"], start["resources"], start["namespace"]) == (3, 1, {"a": 0.5}, "n")
    assert (start["options"]["isolate"], start["options"]["log_to_driver"]) == (False, False)


def test_a_backend_may_be_given_as_the_thing_itself(starts: Starts) -> None:
    def pool() -> None: ...

    assert ray.init(backend=pool).address_info["backend"] == "pool"
    assert starts[0]["backend"] is pool


def test_shutdown_closes_the_run_once(starts: Starts) -> None:
    ray.init()

    ray.shutdown()
    ray.shutdown()

    assert starts.runs[0].closes == 1
    assert not ray.is_initialized()


def test_threads_may_shut_down_at_once(starts: Starts, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one finds a run that is being closed, and has nothing to do and nothing to say."""
    ray.init()

    def close(exiting: bool) -> None:
        other = threading.Thread(target=ray.shutdown)  # a warning in it fails the test
        other.start()
        other.join()

    monkeypatch.setattr(starts.runs[0], "close", close)
    ray.shutdown()


def test_a_child_may_start_a_run_that_was_forked_while_another_thread_started_one(starts: Starts) -> None:
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with starting._starting:
            entered.set()
            leave.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    entered.wait(30)
    starting._forget_run()  # as in the child, which does not have that thread
    ray.init()
    leave.set()
    thread.join()


def test_a_run_that_fails_to_close_is_over_nevertheless(starts: Starts, monkeypatch: pytest.MonkeyPatch) -> None:
    ray.init()

    def close(exiting: bool) -> None:
        raise OSError("stuck")

    monkeypatch.setattr(starts.runs[0], "close", close)
    with pytest.raises(OSError, match="stuck"):
        ray.shutdown()
    assert not ray.is_initialized()


def test_the_context_ends_the_run(starts: Starts) -> None:
    with ray.init(num_cpus=1) as context:
        assert ray.is_initialized()
        assert context.address_info["backend"] == context["backend"] == "loky"
        assert set(context) == set(context.keys())
        assert context.dashboard_url == ""
        assert "backend=loky" in repr(context)
    assert not ray.is_initialized()


def test_a_second_init_is_an_error_that_says_what_to_do(starts: Starts) -> None:
    context = ray.init()
    with pytest.raises(RuntimeError, match=r"twice by accident.*ignore_reinit_error=True"):
        ray.init()
    assert ray.init(ignore_reinit_error=True) is context
    assert len(starts) == 1


def test_the_first_use_starts_a_run(starts: Starts) -> None:
    ref = ray.put(1)
    assert ray.get(ref) == 1
    assert len(starts) == 1

    ray.shutdown()

    @ray.remote
    def f() -> int:
        return 2

    assert ray.get(f.remote()) == 2
    assert len(starts) == 2


def test_two_threads_that_are_the_first_start_one_run(starts: Starts) -> None:
    barrier = threading.Barrier(4)

    def first() -> None:
        barrier.wait()
        ray.put(1)

    threads = [threading.Thread(target=first) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(starts) == 1


def test_functions_of_an_ended_run_work_in_the_next(starts: Starts) -> None:
    @ray.remote
    def f() -> int:
        return 2

    @ray.remote
    class A:
        def m(self) -> int:
            return 3

    remote_a: Any = A
    for _ in range(2):
        with ray.init():
            assert ray.get(f.remote()) == 2
            assert ray.get(remote_a.remote().m.remote()) == 3
    assert [run.pickled for run in starts.runs] == [[f.__wrapped__, remote_a.__wrapped__]] * 2


def test_inside_a_task_init_is_a_second_one_and_shutdown_leaves_the_run_alone(starts: Starts) -> None:
    ray.init()
    in_the_task: list[object] = []

    def task() -> None:
        served = type(starts.runs[0])()
        served.in_worker = True
        session.set_thread(served)
        with pytest.raises(RuntimeError, match="twice by accident"):
            ray.init()
        in_the_task.append(ray.init(ignore_reinit_error=True))
        with pytest.warns(UserWarning, match="inside a task has no effect"):
            ray.shutdown()
        in_the_task.append(ray.is_initialized())

    thread = threading.Thread(target=task)
    thread.start()
    thread.join()
    assert len(in_the_task) == 2
    assert in_the_task[1] is True
    assert starts.runs[0].closes == 0


def test_a_forked_child_does_not_end_its_parents_run(starts: Starts, monkeypatch: pytest.MonkeyPatch) -> None:
    ray.init()
    with monkeypatch.context() as child:
        child.setattr(starting, "_run_pid", -1)
        ray.shutdown()  # as the child's exit hook does
    assert starts.runs[0].closes == 0


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"foo": 1}, RuntimeError, r"Unknown keyword argument\(s\): foo.$"),
        ({"num_cpu": 1}, RuntimeError, r"Unknown keyword argument\(s\): num_cpu. Did you mean 'num_cpus'\?"),
        ({"num_cpus": "a"}, AssertionError, "num_cpus must be a number, got: 'a'"),
        ({"num_cpus": -1}, ValueError, "must be nonnegative, but num_cpus is -1"),
        ({"num_cpus": 1.5}, ValueError, "num_cpus must be a whole number, got: 1.5"),
        ({"num_gpus": -1}, ValueError, "must be nonnegative, but num_gpus is -1"),
        ({"resources": 3}, TypeError, "resources must be a dict"),
        ({"resources": {"CPU": 1}}, AssertionError, "`CPU` cannot be a custom resource. Use `num_cpus` instead"),
        ({"resources": {"x": -1}}, ValueError, "must be nonnegative, but x is -1"),
        ({"resources": {"x": "a"}}, AssertionError, "x must be a number, got: 'a'"),
        ({"namespace": ""}, ValueError, '"" is not a valid namespace'),
        ({"namespace": 3}, TypeError, "namespace must be None or a string"),
        ({"runtime_env": {"conda": "x"}}, NotImplementedError, r"does not carry out runtime_env\['conda'\]"),
        ({"runtime_env": 3}, TypeError, "runtime_env must be a dict"),
        ({"labels": 3}, TypeError, "labels must be a dict of strings"),
        ({"labels": {"-a": "b"}}, ValueError, "Invalid label key name `-a`"),
        ({"_memory": -1}, ValueError, "_memory is -1"),
        ({"isolate": False}, ValueError, "backend='threads', isolate=False"),
        ({"backend": "loky", "local_mode": True}, ValueError, "local_mode=True means backend='threads'"),
    ],
    ids=lambda case: ",".join(case) if isinstance(case, dict) else None,
)
def test_wrong_arguments(starts: Starts, arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        ray.init(**arguments)
    assert not starts
    assert not ray.is_initialized()


def test_local_mode_means_threads(starts: Starts) -> None:
    ray.init(local_mode=True)

    assert starts[0]["backend"] == "the pool of threads"


def test_keywords_about_rays_servers_change_nothing(starts: Starts) -> None:
    ray.init(include_dashboard=False, dashboard_port=1, logging_level="INFO", _temp_dir="/x", runtime_env={})

    assert len(starts) == 1
