"""Nodes: what they have, and tasks and actors that choose between them."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def strategies(module: Any) -> Any:
    return module("util.scheduling_strategies")


@pytest.fixture
def f(ray: Any) -> Any:
    @ray.remote(num_cpus=0)
    def f() -> str:
        return "ran"

    return f


@pytest.fixture
def actor(ray: Any) -> Any:
    @ray.remote
    class A:
        def f(self) -> str:
            return "ran"

    return A


def test_a_node_is_described(ray: Any) -> None:
    (node,) = ray.nodes()
    assert {
        "NodeID", "Alive", "NodeManagerAddress", "NodeManagerHostname", "NodeManagerPort", "ObjectManagerPort",
        "ObjectStoreSocketName", "RayletSocketName", "MetricsExportPort", "MetricsAgentPort",
        "DashboardAgentListenPort", "NodeName", "RuntimeEnvAgentPort", "DeathReason", "DeathReasonMessage", "alive",
        "Resources", "Labels",
    } == node.keys()  # fmt: skip
    assert node["Alive"] is True and node["alive"] is True
    assert len(bytes.fromhex(node["NodeID"])) == 28
    assert node["NodeID"] == ray.get_runtime_context().get_node_id()
    assert node["Labels"] == {"ray.io/node-id": node["NodeID"], "zone": "a"}
    assert node["Resources"] == ray.cluster_resources()


def test_resources_name_memory_and_nodes(ray: Any) -> None:
    found = ray.cluster_resources()
    (node,) = ray.nodes()
    assert found["memory"] > 2**20 and found["object_store_memory"] > 2**20
    assert found["node:__internal_head__"] == 1 and found[f"node:{node['NodeManagerAddress']}"] == 1
    assert found["GPU"] == 2


def test_memory_is_a_resource(ray: Any, f: Any, actor: Any, eventually: Any) -> None:
    all_of_it = ray.cluster_resources()["memory"]
    some = actor.options(memory=2**20).remote()
    assert ray.get(some.f.remote()) == "ran"
    assert eventually(lambda: ray.available_resources()["memory"] == all_of_it - 2**20)
    ref = f.options(memory=all_of_it * 2).remote()
    assert ray.wait([ref], timeout=0.1)[0] == []


def test_a_task_can_ask_for_the_head_node(ray: Any, f: Any) -> None:
    assert ray.get(f.options(resources={"node:__internal_head__": 0.001}).remote()) == "ran"


def test_an_actor_that_asks_for_anything_takes_a_cpu_too(ray: Any, actor: Any, eventually: Any) -> None:
    assert eventually(lambda: ray.available_resources().get("CPU") == 2)
    some = actor.options(resources={"special": 0.5}).remote()
    assert ray.get(some.f.remote()) == "ran"
    assert eventually(lambda: ray.available_resources().get("CPU") == 1)


def test_an_accelerator_that_no_node_has_is_waited_for(ray: Any, f: Any) -> None:
    ref = f.options(accelerator_type="A100").remote()
    assert ray.wait([ref], timeout=0.1)[0] == []


def test_a_node_can_be_chosen(ray: Any, f: Any, actor: Any, strategies: Any) -> None:
    here = ray.nodes()[0]["NodeID"]
    for soft in (True, False):
        strategy = strategies.NodeAffinitySchedulingStrategy(here, soft)
        assert ray.get(f.options(scheduling_strategy=strategy).remote()) == "ran"
        assert ray.get(actor.options(scheduling_strategy=strategy).remote().f.remote()) == "ran"


def test_a_node_that_is_not_there_is_an_error_or_none_if_soft(ray: Any, f: Any, actor: Any, strategies: Any) -> None:
    nowhere = "ab" * 28
    soft = strategies.NodeAffinitySchedulingStrategy(nowhere, soft=True)
    hard = strategies.NodeAffinitySchedulingStrategy(nowhere, soft=False)
    assert ray.get(f.options(scheduling_strategy=soft).remote()) == "ran"
    with pytest.raises(ray.exceptions.TaskUnschedulableError, match="doesn't exist any more or is infeasible"):
        ray.get(f.options(scheduling_strategy=hard).remote())
    with pytest.raises(ray.exceptions.ActorUnschedulableError, match="doesn't exist any more or is infeasible"):
        ray.get(actor.options(scheduling_strategy=hard).remote().f.remote())


@pytest.mark.parametrize("id", ["xyz", "", "ab", "f" * 56])
def test_what_is_no_id_of_a_node(strategies: Any, id: str) -> None:
    with pytest.raises(ValueError, match="Invalid node_id"):
        strategies.NodeAffinitySchedulingStrategy(id, soft=False)


def test_private_switches_of_node_affinity_are_checked(strategies: Any) -> None:
    with pytest.raises(ValueError, match="_spill_on_unavailable"):
        strategies.NodeAffinitySchedulingStrategy("ab" * 28, False, _spill_on_unavailable=True)
    with pytest.raises(ValueError, match="_fail_on_unavailable"):
        strategies.NodeAffinitySchedulingStrategy("ab" * 28, True, _fail_on_unavailable=True)


def test_labels_choose_nodes(ray: Any, f: Any, strategies: Any) -> None:
    s = strategies

    def runs(hard: Any, soft: Any = None) -> bool:
        strategy = s.NodeLabelSchedulingStrategy(hard, soft=soft)
        return bool(ray.wait([f.options(scheduling_strategy=strategy).remote()], timeout=WAIT)[0])

    WAIT = 5.0
    assert runs({"zone": s.In("a", "b")})
    assert runs({"zone": s.Exists()})
    assert runs({"other": s.DoesNotExist(), "zone": s.NotIn("b")})
    assert runs({}, {"zone": s.In("b")})
    WAIT = 0.1
    assert not runs({"zone": s.In("b")})
    assert not runs({"zone": s.NotIn("a")})
    assert not runs({"zone": s.DoesNotExist()})
    assert not runs({"other": s.Exists()}, {"zone": s.In("a")})


def test_actors_choose_by_labels_too(ray: Any, actor: Any, strategies: Any) -> None:
    strategy = strategies.NodeLabelSchedulingStrategy({"zone": strategies.In("a")})
    assert ray.get(actor.options(scheduling_strategy=strategy).remote().f.remote()) == "ran"


@pytest.mark.parametrize("hard", [{}, 3, {1: "In"}, {"a": "b"}])
def test_wrong_label_tests(strategies: Any, hard: Any) -> None:
    if hard == {1: "In"}:
        hard = {1: strategies.In("a")}
    with pytest.raises(ValueError):
        strategies.NodeLabelSchedulingStrategy(hard)


def test_operators_take_strings(strategies: Any) -> None:
    for operator in (strategies.In, strategies.NotIn):
        for values in ((), (3,)):
            with pytest.raises(ValueError, match=operator.__name__):
                operator(*values)


@pytest.mark.parametrize(
    "selector", [{"zone": "a"}, {"zone": "in(a, b)"}, {"zone": "!b"}, {"zone": "!in(b,c)"}, {"other": "!b"}], ids=str
)
def test_a_label_selector_that_fits(ray: Any, f: Any, selector: Any) -> None:
    assert ray.get(f.options(label_selector=selector).remote(), timeout=10) == "ran"


@pytest.mark.parametrize("selector", [{"zone": "b"}, {"zone": "!a"}, {"zone": "!in(a,b)"}, {"other": "a"}], ids=str)
def test_a_label_selector_that_does_not_fit(ray: Any, f: Any, selector: Any) -> None:
    assert ray.wait([f.options(label_selector=selector).remote()], timeout=0.1)[0] == []


def test_a_fallback_is_taken_if_no_node_fits(ray: Any, f: Any, actor: Any) -> None:
    chosen = {
        "label_selector": {"zone": "b"},
        "fallback_strategy": [{"label_selector": {"zone": "c"}}, {"label_selector": {"zone": "a"}}],
    }
    assert ray.get(f.options(**chosen).remote(), timeout=10) == "ran"
    assert ray.get(actor.options(**chosen).remote().f.remote(), timeout=10) == "ran"


@pytest.mark.parametrize("strategy", ["DEFAULT", "SPREAD", None])
def test_named_strategies(ray: Any, f: Any, actor: Any, strategy: Any) -> None:
    assert ray.get(f.options(scheduling_strategy=strategy).remote()) == "ran"
    assert ray.get(actor.options(scheduling_strategy=strategy).remote().f.remote()) == "ran"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"scheduling_strategy": 3}, TypeError),
        ({"scheduling_strategy": "x"}, ValueError),
        ({"label_selector": 3}, TypeError),
        ({"label_selector": {"a": 3}}, TypeError),
        ({"label_selector": {"a": "!in(b"}}, ValueError),
        ({"label_selector": {"-a": "b"}}, ValueError),
        ({"fallback_strategy": 3}, TypeError),
        ({"fallback_strategy": ["a"]}, ValueError),
        ({"fallback_strategy": [{"x": 1}]}, ValueError),
        ({"accelerator_type": 3}, TypeError),
        ({"resources": {"memory": 1}}, ValueError),
        ({"memory": -1}, ValueError),
        ({"memory": "a"}, TypeError),
    ],
    ids=str,
)
def test_wrong_choices(ray: Any, f: Any, actor: Any, options: Any, error: type[Exception]) -> None:
    (name,) = options
    with pytest.raises(error, match=name if "scheduling" in name else None):
        f.options(**options).remote()
    with pytest.raises(error):
        actor.options(**options).remote()
