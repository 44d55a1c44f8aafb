"""The state API: what tasks, actors, objects, workers and nodes are listed, how they are chosen, and the timeline."""

from __future__ import annotations

import json
import time
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.own_session, pytest.mark.timeout(120)]


@pytest.fixture
def state(ray: Any) -> Any:
    """The module, in a run that can tell of itself: Ray needs its dashboard for that, which tells late."""
    if ray.__name__ == "ray":
        pytest.importorskip("aiohttp", reason="the state API of Ray needs ray[default]")
    ray.init(num_cpus=2, include_dashboard=True, namespace="spaces")
    return import_module(f"{ray.__name__}.util.state")


@pytest.fixture
def Actor(ray: Any) -> Any:
    @ray.remote
    class Actor:
        def method(self) -> int:
            return 1

    return Actor


def test_a_task_that_has_ended_is_listed(ray: Any, state: Any, eventually: Any) -> None:
    @ray.remote
    def task() -> int:
        return 1

    ref = task.options(name="a name").remote()
    ray.get(ref)
    (row,) = eventually(lambda: state.list_tasks(filters=[("state", "=", "FINISHED")]))
    assert type(row).__name__ == "TaskState"
    assert row.task_id == ref.task_id().hex()
    assert row.name == row["name"] == row.get("name") == "a name"
    assert row.func_or_class_name == "task"
    assert (row.state, row.type, row.attempt_number) == ("FINISHED", "NORMAL_TASK", 0)
    assert row.job_id == ray.get_runtime_context().get_job_id()
    assert row.node_id == ray.get_runtime_context().get_node_id()
    assert row.parent_task_id == "ff" * 20 + row.job_id
    assert row.worker_id is not None
    assert row.error_type is None
    assert row.actor_id is None
    assert row.get("nothing", 3) == 3
    assert row.asdict()["task_id"] == row.task_id
    with pytest.raises(AttributeError):
        row["nothing"]


def test_a_task_names_the_call_that_made_it(ray: Any, state: Any, eventually: Any) -> None:
    @ray.remote
    def child() -> None: ...

    @ray.remote
    def parent() -> None:
        ray.get(child.remote())

    @ray.remote
    class Parent:
        def method(self) -> str:
            ray.get(child.options(name="of a method").remote())
            return ray.get_runtime_context().get_task_id()

    ref = parent.remote()
    ray.get(ref)
    method = ray.get(Parent.remote().method.remote())
    (row,) = eventually(lambda: state.list_tasks(filters=[("name", "=", "child"), ("state", "=", "FINISHED")]))
    assert row.parent_task_id == ref.task_id().hex()
    (row,) = eventually(lambda: state.list_tasks(filters=[("name", "=", "of a method"), ("state", "=", "FINISHED")]))
    assert row.parent_task_id == method


def test_a_task_that_failed_is_listed_with_its_error(ray: Any, state: Any, eventually: Any) -> None:
    @ray.remote
    def broken() -> None:
        raise ValueError("no good")

    ref = broken.remote()
    ray.wait([ref])
    (row,) = eventually(lambda: state.list_tasks(filters=[("state", "=", "FAILED")], detail=True))
    assert (row.name, row.error_type) == ("broken", "TASK_EXECUTION_EXCEPTION")
    assert "no good" in row.error_message


def test_details_are_left_out_unless_they_are_asked_for(ray: Any, state: Any, eventually: Any) -> None:
    @ray.remote(num_cpus=0.5)
    def task() -> None: ...

    before = time.time() * 1000
    ray.get(task.remote())

    def ended() -> Any:
        return [row for row in state.list_tasks(detail=True) if row.start_time_ms and row.end_time_ms]

    (row,) = eventually(ended)
    assert row.language == "PYTHON"
    assert row.required_resources == {"CPU": 0.5}
    assert before - 1000 < row.start_time_ms <= row.end_time_ms < time.time() * 1000 + 1000
    (row,) = state.list_tasks()
    assert row.language is row.required_resources is row.start_time_ms is row.end_time_ms is None


def test_tasks_that_have_not_ended_are_listed_too(ray: Any, state: Any, held: Any, flags: Any, eventually: Any) -> None:
    @ray.remote
    def after(value: Any) -> None: ...

    running = held()
    flags.wait("held")
    refs = {
        "RUNNING": running,
        "PENDING_ARGS_AVAIL": after.remote(running),
        "PENDING_NODE_ASSIGNMENT": after.options(resources={"nobody has it": 1}).remote(1),
    }

    def found() -> bool:
        states = {row.task_id: row.state for row in state.list_tasks()}
        return all(states.get(ref.task_id().hex()) == name for name, ref in refs.items())

    eventually(found)


def test_each_try_is_listed(ray: Any, state: Any, flags: Any, eventually: Any) -> None:
    @ray.remote(max_retries=2, retry_exceptions=True)
    def second_time() -> int:
        if flags.up("tried") < 2:
            raise KeyError("not yet")
        return 1

    ref = second_time.remote()
    ray.get(ref)
    eventually(lambda: {row.state for row in state.list_tasks()} == {"FAILED", "FINISHED"})
    rows = sorted(state.list_tasks(), key=lambda row: row.attempt_number)
    assert [(row.attempt_number, row.state) for row in rows] == [(0, "FAILED"), (1, "FINISHED")]
    assert {row.task_id for row in rows} == {ref.task_id().hex()}
    assert len(state.get_task(ref)) == 2


def test_a_task_is_got_by_its_id_or_ref(ray: Any, state: Any, eventually: Any) -> None:
    @ray.remote
    def task() -> None: ...

    ref = task.remote()
    ray.get(ref)
    row = eventually(lambda: state.get_task(ref.task_id().hex()))
    assert row.task_id == ref.task_id().hex()
    assert state.get_task(ref).name == "task"
    assert state.get_task("00" * 24) is None


def test_an_actor_and_its_calls_are_listed(ray: Any, state: Any, Actor: Any, eventually: Any) -> None:
    actor = Actor.options(name="known").remote()
    ref = actor.method.remote()
    ray.get(ref)
    (row,) = eventually(lambda: state.list_actors(filters=[("state", "=", "ALIVE")]))
    assert row.actor_id == actor._actor_id.hex()
    assert row.class_name.endswith("Actor")
    assert (row.name, row.ray_namespace, row.is_detached) == ("known", "spaces", None)
    assert row.pid > 0
    eventually(lambda: len(state.list_tasks(filters=[("state", "=", "FINISHED")])) == 2)
    by_type = {task.type: task for task in state.list_tasks(filters=[("actor_id", "=", row.actor_id)])}
    assert by_type["ACTOR_TASK"].task_id == ref.task_id().hex()
    assert by_type["ACTOR_TASK"].name == "Actor.method"
    assert by_type["ACTOR_CREATION_TASK"].task_id == "ff" * 8 + row.actor_id
    assert by_type["ACTOR_CREATION_TASK"].name == "known:Actor.__init__"
    assert by_type["ACTOR_CREATION_TASK"].func_or_class_name == "Actor.__init__"


def test_an_actor_with_a_repr_of_its_own_is_listed_with_it(ray: Any, state: Any, Actor: Any, eventually: Any) -> None:
    @ray.remote
    class Named:
        def __init__(self, name: str) -> None:
            self.name = name

        def __repr__(self) -> str:
            return f"Named({self.name})"

        def method(self) -> None: ...

    actors = [Named.remote("a"), Named.remote("b"), Actor.remote()]
    ray.get([actor.method.remote() for actor in actors])

    def alive() -> Any:
        rows = [state.get_actor(actor._actor_id.hex()) for actor in actors]
        return rows if all(row is not None and row.state == "ALIVE" for row in rows) else None

    rows = eventually(alive)
    assert [row.repr_name for row in rows] == ["Named(a)", "Named(b)", ""]
    assert {row.repr_name for row in state.list_actors()} == {None}


def test_the_creation_of_an_actor_is_timed(ray: Any, state: Any, eventually: Any) -> None:
    @ray.remote
    class Slow:
        def __init__(self) -> None:
            time.sleep(0.1)

        def method(self) -> None: ...

    slow = Slow.remote()
    ray.get(slow.method.remote())
    (row,) = eventually(
        lambda: state.list_tasks(filters=[("name", "=", "Slow.__init__"), ("state", "=", "FINISHED")], detail=True)
    )
    assert 99 <= row.end_time_ms - row.start_time_ms < 60_000

    def traced() -> Any:
        events = {event["cat"]: event for event in ray.timeline() if event["cat"].startswith("task::Slow.")}
        return events if len(events) == 2 else None

    creation, method = (eventually(traced)[f"task::Slow.{name}"] for name in ("__init__", "method"))
    assert (creation["name"], creation["args"]["task_id"]) == ("__init__", row.task_id)
    assert creation["dur"] >= 100_000
    assert creation["ts"] + creation["dur"] <= method["ts"] + 1


def test_a_placement_group_is_listed(ray: Any, state: Any, eventually: Any) -> None:
    group = ray.util.placement_group([{"CPU": 1}], name="known", bundle_label_selector=[{"absent": "!x"}])
    ray.get(group.ready())
    (row,) = eventually(lambda: state.list_placement_groups(filters=[("state", "=", "CREATED")], detail=True))
    assert (row.placement_group_id, row.name, row.is_detached) == (group.id.hex(), "known", False)
    (bundle,) = row.bundles
    assert bundle["bundle_id"] == {"placement_group_id": group.id.hex(), "bundle_index": 0}
    assert bundle["unit_resources"] == {"CPU": 1.0}
    assert bundle["label_selector"] == {"absent": "!x"}
    assert bundle["node_id"] == ray.nodes()[0]["NodeID"]
    ray.util.remove_placement_group(group)


def test_an_actor_is_got_with_its_details(ray: Any, state: Any, Actor: Any, eventually: Any) -> None:
    actor = Actor.options(num_cpus=1, lifetime="detached").remote()
    ray.get(actor.method.remote())
    row = eventually(lambda: state.get_actor(actor._actor_id.hex()))
    assert (row.num_restarts, row.is_detached, row.required_resources) == (0, True, {"CPU": 1.0})
    assert row.death_cause is None
    assert state.get_actor("00" * 16) is None
    ray.kill(actor)


def test_a_dead_actor_is_listed_with_the_cause(ray: Any, state: Any, Actor: Any, eventually: Any) -> None:
    actor = Actor.remote()
    ray.get(actor.method.remote())
    ray.kill(actor)
    (row,) = eventually(lambda: state.list_actors(filters=[("state", "=", "DEAD")], detail=True))
    assert row.actor_id == actor._actor_id.hex()
    told = row.death_cause["actor_died_error_context"]
    assert "killed by `ray.kill`" in told["error_message"]
    assert told["actor_id"] == row.actor_id


def test_an_actor_without_room_is_pending(ray: Any, state: Any, Actor: Any, eventually: Any) -> None:
    actor = Actor.options(resources={"nobody has it": 1}).remote()
    (row,) = eventually(lambda: state.list_actors(filters=[("state", "=", "PENDING_CREATION")]))
    assert row.actor_id == actor._actor_id.hex()


def test_objects_are_listed_with_their_size(ray: Any, state: Any, eventually: Any) -> None:
    small, large = ray.put(b"x"), ray.put(b"x" * 10**6)
    (row,) = eventually(lambda: state.get_objects(large.hex()))
    assert type(row).__name__ == "ObjectState"
    assert row.object_id == large.hex()
    assert 10**6 <= row.object_size < 10**6 + 1000
    assert row.task_status == "FINISHED"
    assert row.reference_type == "LOCAL_REFERENCE"
    assert {small.hex(), large.hex()} <= {one.object_id for one in state.list_objects()}
    assert not state.get_objects("00" * 28)


def test_an_object_that_is_let_go_is_listed_no_more(ray: Any, state: Any, eventually: Any) -> None:
    ref = ray.put(b"x")
    id = ref.hex()
    eventually(lambda: state.get_objects(id))
    del ref
    eventually(lambda: not state.get_objects(id))


def test_a_constructor_that_raises_is_listed_as_a_task_that_failed(ray: Any, state: Any, eventually: Any) -> None:
    @ray.remote
    class Broken:
        def __init__(self) -> None:
            raise ValueError("broken")

        def method(self) -> None: ...

    broken = Broken.remote()
    with pytest.raises(ray.exceptions.ActorDiedError):
        ray.get(broken.method.remote())
    (row,) = eventually(
        lambda: state.list_tasks(filters=[("type", "=", "ACTOR_CREATION_TASK"), ("state", "=", "FAILED")])
    )
    assert (row.name, row.error_type) == ("Broken.__init__", "TASK_EXECUTION_EXCEPTION")


def test_the_node_is_listed(ray: Any, state: Any) -> None:
    (row,) = state.list_nodes(detail=True)
    assert type(row).__name__ == "NodeState"
    assert row.node_id == ray.get_runtime_context().get_node_id()
    assert (row.state, row.is_head_node) == ("ALIVE", True)
    assert row.resources_total["CPU"] == 2
    assert row.labels["ray.io/node-id"] == row.node_id
    assert state.get_node(row.node_id).node_id == row.node_id
    assert state.get_node("00" * 28) is None


def test_the_driver_and_workers_are_listed(ray: Any, state: Any, Actor: Any, eventually: Any) -> None:
    import os

    actor = Actor.remote()
    id = ray.get(actor.__ray_call__.remote(lambda self: ray.get_runtime_context().get_worker_id()))
    row = eventually(lambda: state.get_worker(id))
    assert (row.worker_type, row.is_alive) == ("WORKER", True)
    assert row.node_id == ray.get_runtime_context().get_node_id()
    assert row.pid > 0
    (driver,) = state.list_workers(filters=[("worker_type", "=", "DRIVER")])
    assert (driver.pid, driver.worker_id) == (os.getpid(), ray.get_runtime_context().get_worker_id())
    ray.kill(actor)
    eventually(lambda: not state.get_worker(id).is_alive)
    assert state.get_worker("00" * 28) is None


def test_the_job_is_listed(ray: Any, state: Any) -> None:
    import os

    (row,) = state.list_jobs()
    assert (row.job_id, row.type, row.status) == ("01000000", "DRIVER", "RUNNING")
    assert int(row.driver_info.pid) == os.getpid()


def test_there_are_no_placement_groups_and_environments_but_what_was_made(ray: Any, state: Any) -> None:
    assert state.list_placement_groups() == []
    assert state.list_runtime_envs() == []


def test_rows_are_chosen_by_filters_and_limited(ray: Any, state: Any, eventually: Any) -> None:
    @ray.remote
    def even() -> None: ...

    @ray.remote
    def odd() -> None: ...

    ray.get([even.remote() for _ in range(3)] + [odd.remote() for _ in range(2)])
    eventually(lambda: len(state.list_tasks(filters=[("state", "=", "finished")])) == 5)  # in any case
    assert {row.name for row in state.list_tasks(filters=[("name", "=", "even")])} == {"even"}
    assert len(state.list_tasks(filters=[("name", "!=", "even")])) == 2
    assert state.list_tasks(filters=[("name", "=", "even"), ("state", "!=", "FINISHED")]) == []
    with pytest.warns(UserWarning, match="Empty result set will be returned"):
        assert state.list_tasks(filters=[("name", "=", "even"), ("name", "=", "odd")]) == []
    assert len(state.list_tasks(limit=2)) == 2
    assert state.list_tasks(limit=0) == []
    (row, *_) = state.list_tasks(filters=[("attempt_number", "=", "0")], limit=1)
    assert row.attempt_number == 0


@pytest.mark.parametrize("filters", [[("name", "<", "x")], [("name", "x")], "name=x"])
def test_a_filter_has_a_column_a_predicate_and_a_value(ray: Any, state: Any, filters: Any) -> None:
    with pytest.raises(ValueError):
        state.list_tasks(filters=filters)


def test_wrong_questions_are_refused(ray: Any, state: Any) -> None:
    error = import_module(f"{ray.__name__}.util.state.exception").RayStateApiException
    with pytest.raises(error, match="filter column nothing is not supported"):
        state.list_nodes(filters=[("nothing", "=", 1)])
    with pytest.raises(error, match="limit 100000 exceeds the supported limit 10000"):
        state.list_tasks(limit=100_000)
    with pytest.raises(ValueError, match="timeout"):
        state.list_tasks(timeout=0.5)


def test_summaries_count_states(ray: Any, state: Any, Actor: Any, eventually: Any) -> None:
    @ray.remote
    def task() -> None: ...

    kept = [ray.put(1), *[task.remote() for _ in range(3)]]
    actor = Actor.remote()
    ray.get([*kept, actor.method.remote()])

    def settled() -> Any:
        summary = state.summarize_tasks()["cluster"]
        done = summary["summary"].get("task", {}).get("state_counts") == {"FINISHED": 3}
        return summary if done and summary["total_actor_tasks"] else None

    summary = eventually(settled)
    assert summary["summary_by"] == "func_name"
    assert (summary["total_tasks"], summary["total_actor_tasks"], summary["total_actor_scheduled"]) == (3, 1, 1)
    assert summary["summary"]["task"]["type"] == "NORMAL_TASK"
    actors = state.summarize_actors()["cluster"]
    assert (actors["total_actors"], actors["summary_by"]) == (1, "class")
    (group,) = actors["summary"].values()
    assert group["state_counts"] == {"ALIVE": 1}
    objects = state.summarize_objects()["cluster"]
    assert objects["summary_by"] == "callsite"
    assert objects["callsite_enabled"] is False
    assert objects["total_objects"] >= 4
    assert objects["summary"]["disabled"]["ref_type_counts"]["LOCAL_REFERENCE"] >= 4


def test_a_task_can_ask_too(ray: Any, state: Any, eventually: Any) -> None:
    name = state.__name__

    @ray.remote
    def ask() -> Any:
        return [row.node_id for row in import_module(name).list_nodes()]

    assert ray.get(ask.remote()) == [ray.get_runtime_context().get_node_id()]


def test_without_a_run_there_is_nobody_to_ask(ray: Any) -> None:
    if ray.__name__ == "ray":
        pytest.importorskip("aiohttp", reason="the state API of Ray needs ray[default]")
    with pytest.raises(ConnectionError, match="Could not find any running Ray instance"):
        import_module(f"{ray.__name__}.util.state").list_tasks()
    with pytest.raises(RuntimeError, match="Timeline requires Ray to be initialized first"):
        ray.timeline()
    assert not ray.is_initialized()


def test_the_timeline_is_a_chrome_trace(ray: Any, state: Any, tmp_path: Path, eventually: Any) -> None:
    @ray.remote
    def work() -> None:
        time.sleep(0.02)

    refs = [work.remote() for _ in range(4)]
    begun = time.time()
    ray.get(refs)

    def traced() -> Any:
        events = [event for event in ray.timeline() if event["cat"] == "task::work"]
        return events if len(events) == 4 else None

    events = eventually(traced)
    for event in events:
        assert event["ph"] == "X"
        assert event["name"] == f"{test_a_task_can_ask_too.__module__}.work"
        assert event["tid"].startswith("worker:")
        assert event["dur"] >= 20_000
        assert abs(event["ts"] / 1e6 - begun) < 60
    assert {event["args"]["task_id"] for event in events} == {ref.task_id().hex() for ref in refs}
    for worker in {event["tid"] for event in events}:
        spans = sorted((event["ts"], event["ts"] + event["dur"]) for event in events if event["tid"] == worker)
        assert all(end <= start + 1 for (_, end), (start, _) in pairwise(spans)), "one after the other"
    path = tmp_path / "trace.json"
    assert ray.timeline(str(path)) is None
    written = json.loads(path.read_text())
    assert len([event for event in written if event["cat"] == "task::work"]) == 4
