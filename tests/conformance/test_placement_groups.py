"""Placement groups: resources that are reserved together, and the tasks and actors that run there."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest


@pytest.fixture
def pgs(ray: Any, module: Any, eventually: Any) -> Iterator[Any]:
    """The module of placement groups. Those that a test leaves behind are removed."""
    gc.collect()
    eventually(lambda: ray.available_resources().get("CPU") == 2)  # what earlier tests have left
    pgs = module("util.placement_group")
    yield pgs
    for id, row in pgs.placement_group_table().items():
        if row["state"] != "REMOVED":
            pgs.remove_placement_group(pgs.PlacementGroup(module("util.placement_group").PlacementGroupID.from_hex(id)))


@pytest.fixture
def inside(module: Any) -> Callable[..., Any]:
    """The option that puts a call into a group: ``f.options(**inside(group, bundle, capture))``."""
    strategy = module("util.scheduling_strategies").PlacementGroupSchedulingStrategy

    def inside(group: Any, bundle: int = -1, capture: bool | None = None) -> dict[str, Any]:
        return {"scheduling_strategy": strategy(group, bundle, capture)}

    return inside


@pytest.fixture
def where(ray: Any, module: Any) -> Any:
    """A remote function that returns the group that it runs in."""
    pgs = module("util.placement_group")

    @ray.remote
    def where() -> Any:
        return pgs.get_current_placement_group()

    return where


@pytest.fixture
def resident(ray: Any, module: Any, where: Any) -> Any:
    """An actor class that tells the group that it is in, and that of a task that it makes."""
    pgs = module("util.placement_group")

    @ray.remote
    class Resident:
        def where(self) -> Any:
            return pgs.get_current_placement_group()

        def child(self) -> Any:
            return ray.get(where.options(num_cpus=0).remote())

    return Resident


# --- The group itself --------------------------------------------------------------------------------------------


def test_a_group_is_ready_when_its_bundles_are_reserved(ray: Any, pgs: Any) -> None:
    group = pgs.placement_group([{"CPU": 1}, {"CPU": 0.5, "GPU": 1}])

    assert group.wait(10) is True
    assert ray.get(group.ready(), timeout=10) == group
    assert group.bundle_count == 2
    assert group.bundle_specs == [{"CPU": 1.0}, {"CPU": 0.5, "GPU": 1.0}]
    assert not group.is_empty


@pytest.mark.parametrize("strategy", ["PACK", "SPREAD", "STRICT_PACK"])
def test_strategies_that_one_node_can_meet(pgs: Any, strategy: str) -> None:
    group = pgs.placement_group([{"CPU": 1}, {"CPU": 1}], strategy=strategy)
    assert group.wait(10)
    assert pgs.placement_group_table(group)["strategy"] == strategy


def test_a_group_takes_its_resources_from_what_is_free(ray: Any, pgs: Any, eventually: Any) -> None:
    group = pgs.placement_group([{"CPU": 1, "special": 2}])
    assert group.wait(10)
    assert eventually(lambda: ray.available_resources().get("CPU") == 1)
    assert ray.available_resources().get("special", 0) == 0
    assert ray.cluster_resources()["CPU"] == 2
    assert eventually(lambda: ray.cluster_resources().get(f"CPU_group_{group.id.hex()}") == 1)
    assert ray.cluster_resources()[f"special_group_0_{group.id.hex()}"] == 2
    assert eventually(lambda: ray.available_resources().get(f"CPU_group_0_{group.id.hex()}") == 1)

    pgs.remove_placement_group(group)

    assert eventually(lambda: ray.available_resources().get("CPU") == 2)
    assert eventually(lambda: ray.available_resources().get("special") == 2)


def test_a_group_waits_for_room(ray: Any, pgs: Any) -> None:
    first = pgs.placement_group([{"CPU": 2}])
    second = pgs.placement_group([{"CPU": 1}])
    assert first.wait(10)
    assert second.wait(0.1) is False
    assert ray.wait([second.ready()], timeout=0.1)[0] == []

    pgs.remove_placement_group(first)

    assert second.wait(10)


@pytest.mark.parametrize(
    ("bundles", "strategy"),
    [([{"CPU": 1}, {"CPU": 1}], "STRICT_SPREAD"), ([{"CPU": 100}], "PACK"), ([{"nothing": 1}], "SPREAD")],
)
def test_a_group_that_cannot_be_stays_pending(pgs: Any, bundles: Any, strategy: str) -> None:
    group = pgs.placement_group(bundles, strategy=strategy)
    assert group.wait(0.1) is False
    assert pgs.placement_group_table(group)["state"] == "PENDING"


def test_a_group_is_found_by_its_name(pgs: Any) -> None:
    group = pgs.placement_group([{"CPU": 1}], name="mine")
    assert group.wait(10)

    found = pgs.get_placement_group("mine")

    assert found == group and hash(found) == hash(group) and found.bundle_specs == [{"CPU": 1.0}]
    pgs.remove_placement_group(group)


def test_names_that_nobody_has(pgs: Any) -> None:
    with pytest.raises(ValueError, match="Failed to look up placement group with name: nobody"):
        pgs.get_placement_group("nobody")
    with pytest.raises(ValueError, match="non-empty"):
        pgs.get_placement_group("")


def test_a_name_is_given_once(ray: Any, pgs: Any) -> None:
    group = pgs.placement_group([{"CPU": 1}], name="taken")
    with pytest.raises(ray.exceptions.RaySystemError, match="because name 'taken' already exists"):
        pgs.placement_group([{"CPU": 1}], name="taken")
    pgs.remove_placement_group(group)


def test_the_table_describes_groups(ray: Any, pgs: Any) -> None:
    group = pgs.placement_group([{"CPU": 1}, {"GPU": 1}], name="described", strategy="SPREAD")
    assert group.wait(10)

    row = pgs.placement_group_table(group)

    node = ray.nodes()[0]["NodeID"]
    assert row.pop("stats").keys() == {
        "end_to_end_creation_latency_ms", "scheduling_latency_ms", "scheduling_attempt", "highest_retry_delay_ms",
        "scheduling_state",
    }  # fmt: skip
    assert row == {
        "placement_group_id": group.id.hex(),
        "name": "described",
        "bundles": {0: {"CPU": 1.0}, 1: {"GPU": 1.0}},
        "bundles_to_node_id": {0: node, 1: node},
        "strategy": "SPREAD",
        "state": "CREATED",
    }
    assert pgs.placement_group_table()[group.id.hex()]["name"] == "described"
    pgs.remove_placement_group(group)
    assert pgs.placement_group_table(group)["state"] == "REMOVED"


def test_handles_travel(ray: Any, pgs: Any) -> None:
    @ray.remote(num_cpus=0)
    def use(group: Any) -> Any:
        return group.wait(10), group.bundle_count, ray.get(group.ready()) == group, group

    group = pgs.placement_group([{"CPU": 1}])
    ready, count, same, back = ray.get(use.remote(group))
    assert ready and count == 1 and same and back == group and back != 3


def test_no_group_is_a_group_too(ray: Any, pgs: Any) -> None:
    empty = pgs.PlacementGroup.empty()
    assert empty.is_empty and empty.id.is_nil()
    assert ray.get(empty.ready()).is_empty
    with pytest.raises(KeyError):
        empty.bundle_specs


def test_a_task_can_make_and_remove_groups(ray: Any, pgs: Any) -> None:
    create, remove = pgs.placement_group, pgs.remove_placement_group

    @ray.remote(num_cpus=0)
    def make() -> Any:
        group = create([{"CPU": 1}])
        ready = group.wait(10)
        remove(group)
        return ready, group

    ready, group = ray.get(make.remote())
    assert ready
    assert pgs.placement_group_table(group)["state"] == "REMOVED"


def test_bundles_choose_nodes_by_labels(pgs: Any) -> None:
    assert pgs.placement_group([{"CPU": 1}], bundle_label_selector=[{"zone": "in(a,b)"}]).wait(10)
    assert not pgs.placement_group([{"CPU": 1}], bundle_label_selector=[{"zone": "b"}]).wait(0.1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"bundles": []}, "non-empty list"),
        ({"bundles": {}}, "must be a list"),
        ({"bundles": "a"}, "must be a list"),
        ({"bundles": [{}]}, "empty dictionary"),
        ({"bundles": [{"CPU": 0}]}, "only 0 values"),
        ({"bundles": [{"CPU": "a"}]}, "list of resource dictionaries"),
        ({"bundles": [{1: 1}]}, "list of resource dictionaries"),
        ({"bundles": [3]}, "list of resource dictionaries"),
        ({"bundles": [{"CPU": 1}], "strategy": "X"}, "Invalid placement group strategy X"),
        ({"bundles": [{"CPU": 1}], "strategy": 3}, "Invalid placement group strategy 3"),
        ({"bundles": [{"CPU": 1}], "lifetime": "x"}, "either `None` or 'detached'"),
        ({"bundles": [{"CPU": 1}], "bundle_label_selector": []}, "should equal the length"),
        ({"bundles": [{"CPU": 1}], "bundle_label_selector": [3]}, "label selectors"),
        ({"bundles": [{"CPU": 1}], "bundle_label_selector": [{"a": "!in(b"}]}, "Invalid label selector"),
        ({"bundles": [{"CPU": 1}], "strategy": "PACK", "topology_strategy": {}}, "cannot both be specified"),
        ({"bundles": [{"CPU": 1}], "topology_strategy": {"ray.io/node-id": "X"}}, "Invalid topology strategy"),
        ({"bundles": [{"CPU": 1}], "_soft_target_node_id": "ab" * 28}, "STRICT_PACK"),
    ],
    ids=str,
)
def test_wrong_arguments(pgs: Any, arguments: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        pgs.placement_group(**arguments)


def test_wrong_uses(pgs: Any) -> None:
    with pytest.raises(AssertionError):
        pgs.remove_placement_group(None)
    with pytest.raises(AttributeError):
        pgs.remove_placement_group(3)
    with pytest.raises(AttributeError):
        pgs.placement_group_table("x")
    with pytest.raises(TypeError):
        pgs.placement_group([{"CPU": 1}], name=3)
    with pytest.raises(TypeError):
        pgs.placement_group([{"CPU": 1}]).wait("a")


# --- Tasks and actors in a group ---------------------------------------------------------------------------------


def test_a_task_runs_in_a_group(ray: Any, pgs: Any, inside: Any, where: Any) -> None:
    group = pgs.placement_group([{"CPU": 1}, {"CPU": 1}])

    assert ray.get(where.options(**inside(group)).remote()) == group
    assert ray.get(where.options(**inside(group, 1)).remote()) == group
    assert ray.get(where.options(num_cpus=0, **inside(group)).remote()) == group
    assert pgs.get_current_placement_group() is None
    pgs.remove_placement_group(group)
    assert ray.get(where.remote()) is None


def test_an_actor_lives_in_a_group(ray: Any, pgs: Any, inside: Any, resident: Any) -> None:
    group = pgs.placement_group([{"CPU": 1}])
    actor = resident.options(num_cpus=1, **inside(group, 0)).remote()
    assert ray.get(actor.where.remote()) == group
    assert ray.get(actor.child.remote()) is None


def test_the_old_options_work_too(ray: Any, pgs: Any, where: Any, resident: Any) -> None:
    group = pgs.placement_group([{"CPU": 1}])
    with pytest.warns(DeprecationWarning, match="placement_group"):
        assert ray.get(where.options(placement_group=group, placement_group_bundle_index=0).remote()) == group
    with pytest.warns(DeprecationWarning, match="placement_group"):
        assert ray.get(resident.options(placement_group=group).remote().where.remote()) == group
    pgs.remove_placement_group(group)
    with pytest.warns(DeprecationWarning, match="placement_group"):
        assert ray.get(where.options(placement_group=None).remote()) is None
    assert ray.get(where.options(placement_group="default").remote()) is None


def test_calls_wait_for_their_group(ray: Any, pgs: Any, inside: Any, where: Any, resident: Any) -> None:
    first = pgs.placement_group([{"CPU": 2}])
    second = pgs.placement_group([{"CPU": 1}])
    task = where.options(**inside(second)).remote()
    method = resident.options(**inside(second)).remote().where.remote()
    assert ray.wait([task, method], timeout=0.1)[0] == []

    pgs.remove_placement_group(first)

    assert ray.get([task, method], timeout=20) == [second, second]


def test_a_bundle_limits_how_many_run_at_once(ray: Any, pgs: Any, inside: Any, held: Any, flags: Any) -> None:
    group = pgs.placement_group([{"CPU": 1}, {"CPU": 1}])

    @ray.remote
    def wait_for_go() -> None:
        flags.up("begun")
        flags.wait("go")

    refs = [wait_for_go.options(**inside(group, 0)).remote() for _ in range(2)]
    flags.wait("begun")
    assert ray.wait(refs, num_returns=2, timeout=0.1)[0] == []
    assert flags.count("begun") == 1
    refs.append(wait_for_go.options(**inside(group)).remote())
    flags.wait("begun", 2)
    flags.up("go")
    ray.get(refs)


def test_others_do_not_get_what_a_group_has(ray: Any, pgs: Any, where: Any) -> None:
    group = pgs.placement_group([{"CPU": 2}])
    assert group.wait(10)
    ref = where.remote()
    assert ray.wait([ref], timeout=0.1)[0] == []
    pgs.remove_placement_group(group)
    assert ray.get(ref) is None


def test_gpus_of_a_group(ray: Any, pgs: Any, inside: Any) -> None:
    @ray.remote(num_cpus=0)
    class Owner:
        def which(self) -> Any:
            return ray.get_gpu_ids()

    group = pgs.placement_group([{"GPU": 1, "CPU": 0.1}, {"GPU": 1, "CPU": 0.1}])
    owners = [Owner.options(num_gpus=1, **inside(group, bundle)).remote() for bundle in (0, 1)]
    assert sorted(ray.get([owner.which.remote() for owner in owners])) == [[0], [1]]


def test_the_context_tells_of_the_group(ray: Any, pgs: Any, inside: Any) -> None:
    @ray.remote
    def told() -> Any:
        context = ray.get_runtime_context()
        return (
            context.get_placement_group_id(),
            context.should_capture_child_tasks_in_placement_group,
            context.get_assigned_resources(),
        )

    group = pgs.placement_group([{"CPU": 1}])
    assert ray.get(told.options(**inside(group)).remote()) == (group.id.hex(), False, {"CPU": 1.0})
    assert ray.get(told.options(**inside(group, 0, True)).remote()) == (group.id.hex(), True, {"CPU": 1.0})
    pgs.remove_placement_group(group)
    assert ray.get(told.remote()) == (None, False, {"CPU": 1.0})


@pytest.fixture
def parent(ray: Any, where: Any) -> Any:
    """A remote function that calls `where` with options, and returns where that ran."""

    @ray.remote(num_cpus=0)
    def parent(**options: Any) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ray.get(where.options(**options).remote())

    return parent


def test_child_tasks_are_captured_if_that_was_asked_for(ray: Any, pgs: Any, inside: Any, parent: Any) -> None:
    group = pgs.placement_group([{"CPU": 1}])
    captures = parent.options(**inside(group, 0, True))

    assert ray.get(captures.remote()) == group
    assert ray.get(captures.remote(**inside(group, 0))) == group
    assert ray.get(captures.remote(num_cpus=0, scheduling_strategy="DEFAULT")) is None
    assert ray.get(captures.remote(num_cpus=0, scheduling_strategy="SPREAD")) is None
    assert ray.get(captures.remote(num_cpus=0, placement_group=None)) is None
    assert ray.get(captures.remote(num_cpus=0, **inside(None))) is None
    assert ray.get(parent.options(**inside(group)).remote(num_cpus=0)) is None


def test_grandchildren_are_captured_too(ray: Any, pgs: Any, inside: Any, parent: Any, resident: Any) -> None:
    @ray.remote(num_cpus=0)
    def grandparent() -> Any:
        return ray.get(parent.remote(num_cpus=0)), ray.get(resident.remote().where.remote())

    group = pgs.placement_group([{"CPU": 1}])
    assert ray.get(grandparent.options(**inside(group, 0, True)).remote()) == (group, group)


def test_an_actor_captures_its_child_tasks(ray: Any, pgs: Any, inside: Any, resident: Any) -> None:
    group = pgs.placement_group([{"CPU": 1}])
    actor = resident.options(**inside(group, 0, True)).remote()
    assert ray.get(actor.child.remote()) == group


def test_a_captured_task_has_to_fit(ray: Any, pgs: Any, inside: Any, parent: Any) -> None:
    group = pgs.placement_group([{"CPU": 1}])
    with pytest.raises(ValueError, match="cannot fit into any bundles"):
        ray.get(parent.options(**inside(group, 0, True)).remote(num_cpus=2))


@pytest.mark.parametrize(
    ("options", "bundle", "words"),
    [
        ({"num_cpus": 3}, -1, "Cannot schedule .* with the placement group because the resource request.*cannot fit"),
        ({"resources": {"special": 1}}, 0, "cannot fit into any bundles"),
        ({}, 5, "bundle index 5 is invalid. Valid placement group indexes: 0-1"),
        ({}, -2, "bundle index -2 is invalid"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_an_error(
    ray: Any, pgs: Any, inside: Any, where: Any, resident: Any, options: Any, bundle: int, words: str
) -> None:
    group = pgs.placement_group([{"CPU": 1}])
    with pytest.raises(ValueError, match=words):
        where.options(**options, **inside(group, bundle)).remote()
    with pytest.raises(ValueError, match=words):
        resident.options(**options, **inside(group, bundle)).remote()


def test_an_actor_needs_a_bundle_with_a_cpu_if_it_says_nothing(ray: Any, pgs: Any, inside: Any, resident: Any) -> None:
    group = pgs.placement_group([{"special": 1}])
    with pytest.raises(ValueError, match="Consider creating a placement group with CPU resources"):
        resident.options(**inside(group)).remote()


def test_wrong_groups(ray: Any, pgs: Any, inside: Any, where: Any) -> None:
    group = pgs.placement_group([{"CPU": 1}])
    with pytest.raises(AssertionError):
        where.options(**inside(3)).remote()
    with pytest.warns(DeprecationWarning, match="placement_group"), pytest.raises(AssertionError):
        where.options(placement_group="x").remote()
    with pytest.raises(TypeError, match="placement_group"):
        where.options(placement_group=3).remote()
    with (
        pytest.warns(DeprecationWarning, match="placement_group"),
        pytest.raises(ValueError, match="If placement group is not set"),
    ):
        where.options(placement_group_bundle_index=2).remote()
    with pytest.raises(ValueError, match="via the scheduling_strategy option"):
        where.options(placement_group=group, **inside(group)).remote()
    with pytest.raises(ValueError, match="via the scheduling_strategy option"):
        where.options(placement_group=group, scheduling_strategy="SPREAD").remote()


# --- Removal -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_waits_in_a_group_that_is_removed_fails(ray: Any, pgs: Any, inside: Any, where: Any, flags: Any) -> None:
    @ray.remote(max_retries=0)
    def held() -> None:
        flags.up("held")
        flags.wait("never")

    group = pgs.placement_group([{"CPU": 1}])
    held.options(**inside(group)).remote()
    flags.wait("held")
    ref = where.options(**inside(group)).remote()
    assert ray.wait([ref], timeout=1)[0] == []  # Ray forgets a task whose group goes sooner than it is noticed

    pgs.remove_placement_group(group)

    flags.up("never")
    with pytest.raises(ray.exceptions.TaskPlacementGroupRemoved):
        ray.get(ref, timeout=20)


def test_what_runs_in_a_group_that_is_removed_ends(ray: Any, pgs: Any, inside: Any, flags: Any) -> None:
    @ray.remote(max_retries=0)
    def for_ever() -> None:
        flags.up("runs")
        flags.wait("never")

    group = pgs.placement_group([{"CPU": 1}])
    ref = for_ever.options(**inside(group)).remote()
    flags.wait("runs")

    pgs.remove_placement_group(group)
    flags.up("never")

    with pytest.raises(ray.exceptions.WorkerCrashedError):
        ray.get(ref, timeout=20)


@pytest.mark.slow
def test_actors_die_with_their_group(ray: Any, pgs: Any, inside: Any, resident: Any) -> None:
    group = pgs.placement_group([{"CPU": 1}])
    actor = resident.options(num_cpus=1, **inside(group)).remote()
    ray.get(actor.where.remote())
    waiting = resident.options(num_cpus=1, **inside(group)).remote()
    ref = waiting.where.remote()
    assert ray.wait([ref], timeout=1)[0] == []

    pgs.remove_placement_group(group)

    with pytest.raises(ray.exceptions.ActorDiedError, match="placement group was removed"):
        ray.get(actor.where.remote(), timeout=20)
    with pytest.raises(ray.exceptions.ActorUnschedulableError, match=f"placement group {group.id.hex()} is removed"):
        ray.get(ref, timeout=20)


def test_a_group_can_be_removed_twice_and_is_then_no_longer_waited_for(ray: Any, pgs: Any) -> None:
    group = pgs.placement_group([{"CPU": 1}])
    assert group.wait(10)
    pgs.remove_placement_group(group)
    pgs.remove_placement_group(group)
    with pytest.raises(Exception, match="does not exist"):
        group.wait(1)
    with pytest.raises(ray.exceptions.TaskPlacementGroupRemoved):
        ray.get(group.ready(), timeout=20)
