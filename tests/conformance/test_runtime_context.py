"""`get_runtime_context()`: which ids there are, where, and that they agree with those of refs and handles."""

from __future__ import annotations

import re
import threading
from typing import Any

import pytest

HEX = re.compile(r"[0-9a-f]*")


def is_hex(text: Any, digits: int) -> bool:
    return isinstance(text, str) and len(text) == digits and HEX.fullmatch(text) is not None


@pytest.fixture
def Teller(ray: Any) -> Any:
    """An actor that says what its context tells, by the name of a method or property."""

    @ray.remote
    class Teller:
        def __init__(self) -> None:
            context = ray.get_runtime_context()
            self.born = (context.get_task_id(), context.get_task_name(), context.get_task_function_name())

        def at_birth(self) -> Any:
            return self.born

        def tell(self, *names: str) -> Any:
            context = ray.get_runtime_context()
            told = [getattr(context, name) for name in names]
            return [one() if callable(one) else one for one in told]

        def die(self) -> None:
            import os

            os._exit(1)

    return Teller


def test_there_is_one_context(ray: Any) -> None:
    assert ray.get_runtime_context() is ray.get_runtime_context()
    assert type(ray.get_runtime_context()).__name__ == "RuntimeContext"


def test_ids_of_a_driver_have_rays_lengths(ray: Any) -> None:
    context = ray.get_runtime_context()
    assert is_hex(context.get_job_id(), 8)
    assert is_hex(context.get_node_id(), 56)
    assert is_hex(context.get_worker_id(), 56)
    assert context.get_worker_id() == context.get_job_id() + "ff" * 24


def test_a_driver_is_in_no_task_and_no_actor(ray: Any) -> None:
    context = ray.get_runtime_context()
    assert context.get_task_id() is None
    assert context.get_task_name() is None
    assert context.get_task_function_name() is None
    assert context.get_actor_id() is None
    assert context.get_actor_name() is None
    assert context.get_placement_group_id() is None
    assert context.should_capture_child_tasks_in_placement_group is False


def test_a_driver_is_assigned_no_resources(ray: Any) -> None:
    with pytest.raises(AssertionError, match="Current mode: 0"):
        ray.get_runtime_context().get_assigned_resources()


def test_a_driver_has_no_current_actor(ray: Any) -> None:
    with pytest.raises(RuntimeError, match="only available in an actor"):
        ray.get_runtime_context().current_actor
    with pytest.raises(AssertionError, match="Current mode: 0"), pytest.warns(DeprecationWarning, match="get_actor_id"):
        ray.get_runtime_context().actor_id
    with pytest.raises(AssertionError, match="Current mode: 0"), pytest.warns(DeprecationWarning, match="get_task_id"):
        ray.get_runtime_context().task_id


def test_a_task_has_the_id_that_its_ref_tells(ray: Any) -> None:
    @ray.remote
    def task() -> Any:
        return ray.get_runtime_context().get_task_id()

    ref = task.remote()
    id = ray.get(ref)
    assert is_hex(id, 48)
    assert ref.task_id().hex() == id
    assert ref.hex() == id + "01000000"
    assert ref.job_id().hex() == ray.get_runtime_context().get_job_id() == id[-8:]
    assert ref.task_id().job_id() == ref.job_id()
    assert ray.get(task.remote()) != id


def test_a_tasks_names_are_its_functions_unless_another_is_chosen(ray: Any) -> None:
    @ray.remote
    def task() -> Any:
        context = ray.get_runtime_context()
        return context.get_task_name(), context.get_task_function_name()

    module = test_there_is_one_context.__module__
    assert ray.get(task.remote()) == ("task", f"{module}.task")
    assert ray.get(task.options(name="another").remote()) == ("another", f"{module}.task")


def test_a_task_is_in_the_drivers_job_node_and_namespace(ray: Any) -> None:
    @ray.remote
    def task() -> Any:
        context = ray.get_runtime_context()
        return context.get_job_id(), context.get_node_id(), context.namespace, context.get_session_name()

    context = ray.get_runtime_context()
    here = context.get_job_id(), context.get_node_id(), context.namespace, context.get_session_name()
    assert ray.get(task.remote()) == here


def test_a_task_is_in_no_actor(ray: Any) -> None:
    @ray.remote
    def task() -> Any:
        context = ray.get_runtime_context()
        try:
            found: Any = context.current_actor
        except RuntimeError as error:
            found = str(error)
        return context.get_actor_id(), context.get_actor_name(), found

    assert ray.get(task.remote()) == (None, None, "This method is only available in an actor.")


def test_workers_have_ids_of_their_own(ray: Any, Teller: Any) -> None:
    tellers = [Teller.remote(), Teller.remote()]
    ids = [ray.get(teller.tell.remote("get_worker_id"))[0] for teller in tellers]
    assert all(is_hex(id, 56) for id in ids)
    assert len({*ids, ray.get_runtime_context().get_worker_id()}) == 3
    assert ray.get(tellers[0].tell.remote("get_worker_id")) == ids[:1]


@pytest.mark.parametrize(("options", "expected"), [({}, {"CPU": 1.0}), ({"num_cpus": 0.5}, {"CPU": 0.5})])
def test_a_task_knows_what_it_is_assigned(ray: Any, options: Any, expected: Any) -> None:
    @ray.remote
    def task() -> Any:
        return ray.get_runtime_context().get_assigned_resources()

    if options:
        task = task.options(**options, resources={"special": 1})
        expected = {**expected, "special": 1.0}
    assert ray.get(task.remote()) == expected


def test_an_actor_is_assigned_nothing_but_what_it_asks_for(ray: Any, Teller: Any) -> None:
    plain, choosy = Teller.remote(), Teller.options(num_cpus=1, resources={"special": 0.5}).remote()
    assert ray.get(plain.tell.remote("get_assigned_resources")) == [{}]
    assert ray.get(choosy.tell.remote("get_assigned_resources")) == [{"CPU": 1.0, "special": 0.5}]


def test_an_actor_has_the_id_that_its_handle_tells(ray: Any, Teller: Any) -> None:
    teller = Teller.remote()
    (id,) = ray.get(teller.tell.remote("get_actor_id"))
    assert is_hex(id, 32)
    assert teller._actor_id.hex() == teller._ray_actor_id.hex() == id
    assert re.fullmatch(rf"Actor\(.*Teller, {id}\)", repr(teller))
    assert teller._actor_id.job_id.hex() == ray.get_runtime_context().get_job_id()


def test_a_method_has_a_task_id_and_names(ray: Any, Teller: Any) -> None:
    teller = Teller.remote()
    ref = teller.tell.remote("get_task_id", "get_task_name", "get_task_function_name")
    id, name, function = ray.get(ref)
    assert is_hex(id, 48)
    assert id == ref.task_id().hex()
    assert name == "Teller.tell"
    assert function == f"{test_there_is_one_context.__module__}.Teller.tell"
    assert ray.get(teller.tell.options(name="x").remote("get_task_name")) == ["x"]


def test_an_actors_creation_is_a_task(ray: Any, Teller: Any) -> None:
    teller = Teller.remote()
    id, name, function = ray.get(teller.at_birth.remote())
    assert id == "ff" * 8 + teller._actor_id.hex()
    assert name == "Teller.__init__"
    assert function == f"{test_there_is_one_context.__module__}.Teller.__init__"


def test_an_actor_knows_its_name(ray: Any, Teller: Any) -> None:
    named, unnamed = Teller.options(name="an actor's name").remote(), Teller.remote()
    assert ray.get(named.tell.remote("get_actor_name")) == ["an actor's name"]
    assert ray.get(unnamed.tell.remote("get_actor_name")) == [""]


def test_an_actor_can_hand_out_a_handle_to_itself(ray: Any, Teller: Any) -> None:
    teller = Teller.remote()
    (itself,) = ray.get(teller.tell.remote("current_actor"))
    assert itself == teller
    assert ray.get(itself.tell.remote("get_actor_id")) == [teller._actor_id.hex()]


@pytest.mark.needs("processes")
def test_an_actor_knows_whether_it_was_restarted(ray: Any, Teller: Any) -> None:
    teller = Teller.options(max_restarts=1, max_task_retries=-1).remote()
    assert ray.get(teller.tell.remote("was_current_actor_reconstructed")) == [False]
    teller.die.options(max_task_retries=0).remote()
    assert ray.get(teller.tell.remote("was_current_actor_reconstructed")) == [True]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_is_not_in_an_actor_was_not_restarted(ray: Any) -> None:
    with pytest.raises(AssertionError):
        ray.get_runtime_context().was_current_actor_reconstructed


def test_a_thread_that_a_task_starts_is_in_no_task(ray: Any) -> None:
    @ray.remote
    def task() -> Any:
        context = ray.get_runtime_context()
        found: list[Any] = []

        def look() -> None:
            found.extend([context.get_task_id(), context.get_task_id(), context.get_task_name(), context.get_job_id()])

        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
        return context.get_task_id(), context.get_job_id(), found

    id, job, (other, again, name, its_job) = ray.get(task.remote())
    assert other == again != id
    assert not name
    assert job == its_job


def test_ids_are_objects_in_the_deprecated_properties(ray: Any) -> None:
    context = ray.get_runtime_context()
    with pytest.warns(DeprecationWarning, match=r"Use get_job_id\(\) instead"):
        assert context.job_id == ray.JobID.from_hex(context.get_job_id())
    with pytest.warns(DeprecationWarning, match=r"Use get_node_id\(\) instead"):
        assert context.node_id == ray.NodeID.from_hex(context.get_node_id())
    with pytest.warns(DeprecationWarning, match=r"Use get_placement_group_id\(\) instead"):
        assert context.current_placement_group_id.is_nil()
    with pytest.warns(DeprecationWarning, match=r"Use get_accelerator_ids\(\) instead"):
        assert context.get_resource_ids() == context.get_accelerator_ids()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_get_has_everything_in_a_dict(ray: Any, Teller: Any) -> None:
    context = ray.get_runtime_context()
    here = context.get()
    assert here == {"job_id": context.job_id, "node_id": context.node_id, "namespace": context.namespace}
    teller = Teller.remote()
    ref = teller.tell.remote("get")
    (there,) = ray.get(ref)
    assert there == {**here, "task_id": ref.task_id(), "actor_id": teller._actor_id}


def test_a_node_has_its_id_as_a_label(ray: Any) -> None:
    context = ray.get_runtime_context()
    assert context.get_node_labels()["ray.io/node-id"] == context.get_node_id()


def test_no_accelerators_are_assigned_without_being_asked_for(ray: Any) -> None:
    found = ray.get_runtime_context().get_accelerator_ids()
    assert found["GPU"] == []
    assert set(map(tuple, found.values())) == {()}


def test_there_is_a_runtime_environment_without_entries(ray: Any) -> None:
    context = ray.get_runtime_context()
    assert context.get_runtime_env_string() == "{}"
    assert context.runtime_env == {}


@pytest.mark.own_session
def test_a_namespace_that_init_is_given_is_the_contexts(ray: Any) -> None:
    ray.init(namespace="given")
    assert ray.get_runtime_context().namespace == "given"
    assert ray.get(ray.remote(lambda: ray.get_runtime_context().namespace).remote()) == "given"


@pytest.mark.own_session
def test_ids_need_a_run(ray: Any) -> None:
    ray.init()
    context = ray.get_runtime_context()
    ray.shutdown()
    for ask in (context.get_job_id, context.get_node_id, context.get_worker_id):
        with pytest.raises(RuntimeError, match="has not been initialized"):
            ask()


def test_each_call_of_an_async_actor_has_its_own_task(ray: Any) -> None:
    import asyncio

    @ray.remote
    class Async:
        async def ids(self) -> Any:
            context = ray.get_runtime_context()
            before = context.get_task_id()
            await asyncio.sleep(0.01)
            return before, context.get_task_id(), context.get_task_name(), context.get_actor_id()

    actor = Async.remote()
    refs = [actor.ids.remote() for _ in range(5)]
    for ref, told in zip(refs, ray.get(refs)):
        id = ref.task_id().hex()
        assert told == (id, id, "Async.ids", actor._actor_id.hex())


def test_each_call_of_a_threaded_actor_has_its_own_task(ray: Any, flags: Any) -> None:
    @ray.remote(max_concurrency=3)
    class Threaded:
        def ids(self) -> Any:
            context = ray.get_runtime_context()
            before = context.get_task_id()
            flags.up("in")
            flags.wait("in", 3)
            return before, context.get_task_id(), context.get_actor_id()

    actor = Threaded.remote()
    refs = [actor.ids.remote() for _ in range(3)]
    for ref, told in zip(refs, ray.get(refs)):
        id = ref.task_id().hex()
        assert told == (id, id, actor._actor_id.hex())
