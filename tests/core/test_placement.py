"""Placement groups: bundles are reserved together, calls run in them, and nothing is left when they go."""

from __future__ import annotations

from minray.core.placement import CREATED, PENDING, REMOVED, Group, assign
from minray.core.tasks import Node
from minray.core.template import Demand
from tests.core.simulation import Simulation
from tests.core.templates import actor_class, amounts, function, on_terms, within


def test_a_group_takes_its_resources_from_all_others_and_gives_them_back(sim: Simulation) -> None:
    group = sim.reserve(amounts(CPU=1), amounts(CPU=1))

    assert sim.state(group) == CREATED
    assert sim.free() == 0
    sim.remove(group)
    assert sim.state(group) == REMOVED
    assert sim.free() == 2


def test_a_group_gets_all_of_its_bundles_or_none(sim: Simulation) -> None:
    first = sim.reserve(amounts(CPU=1))
    second = sim.reserve(amounts(CPU=1), amounts(CPU=1))

    assert sim.state(second) == PENDING
    assert sim.free() == 1
    sim.remove(first)
    assert sim.state(second) == CREATED


def test_a_call_waits_for_its_group_and_runs_in_it(sim: Simulation) -> None:
    first = sim.reserve(amounts(CPU=2))
    second = sim.reserve(amounts(CPU=1))
    call = sim.submit(within(function(), second, 0))
    assert call not in sim.ended

    sim.remove(first)
    sim.run()

    assert call in sim.ended


def test_a_bundle_is_full_when_its_resources_are_held_and_any_other_takes_over(sim: Simulation) -> None:
    group = sim.reserve(amounts(CPU=1), amounts(CPU=1))
    first, second, third = (sim.submit(within(function(), group, bundle)) for bundle in (0, 0, -1))

    assert sim.at(first) is not sim.at(third)
    assert not any(second in worker.sent for worker in sim.scheduler.workers.values())


def test_even_a_call_that_asks_for_nothing_waits_for_its_group(sim: Simulation) -> None:
    group = sim.reserve(amounts(CPU=3))
    call = sim.submit(within(function(nothing=0), group))
    sim.run()
    assert call not in sim.ended

    sim.remove(group)

    assert sim.fault(call) == "TaskPlacementGroupRemoved"


def test_when_a_group_is_removed_its_calls_fail_and_its_actors_die(sim: Simulation) -> None:
    group = sim.reserve(amounts(CPU=1), amounts(CPU=1))
    actor = sim.create(within(actor_class(), group, 0))
    sim.run()
    running = sim.submit(within(function(), group, 1))
    again = sim.submit(within(function(retries=1), group, 1))
    method = sim.call(actor)

    sim.remove(group)
    sim.run()

    assert sim.fault(running) == "WorkerCrashed"
    assert sim.fault(again) == "TaskPlacementGroupRemoved"
    assert sim.fault(method) == "ActorDied"
    assert sim.free() == 2


def test_an_actor_that_waits_for_a_group_cannot_be_scheduled_when_that_is_removed(sim: Simulation) -> None:
    group = sim.reserve(amounts(CPU=1))
    first, second = (sim.create(within(actor_class(CPU=1), group)) for _ in range(2))
    call = sim.call(second)

    sim.remove(group)

    assert sim.fault(call) == "ActorUnschedulable"
    assert sim.actors[first].death is not None


def test_what_comes_for_a_group_that_is_gone_fails_at_once(sim: Simulation) -> None:
    group = sim.reserve(amounts(CPU=1))
    sim.remove(group)

    task = sim.submit(within(function(), group))
    method = sim.call(sim.create(within(actor_class(), group)))

    assert sim.fault(task) == "TaskPlacementGroupRemoved"
    assert sim.fault(method) == "ActorUnschedulable"


def test_strategies_choose_nodes(sim: Simulation) -> None:
    sim.join(1, CPU=2)

    def nodes(strategy: str, *bundles: float) -> list[int] | str:
        group = sim.reserve(*(amounts(CPU=cpus) for cpus in bundles), strategy=strategy)
        found = [node.id for node in sim.graph.placement.groups[group].nodes]
        sim.remove(group)
        return found or PENDING

    assert nodes("PACK", 1, 1) == [0, 0]
    assert nodes("PACK", 2, 1) == [0, 1]
    assert nodes("STRICT_PACK", 1, 1) == [0, 0]
    assert nodes("STRICT_PACK", 2, 1) == PENDING
    assert nodes("SPREAD", 1, 1) == [0, 1]
    assert nodes("SPREAD", 1, 1, 1) == [0, 1, 0]
    assert nodes("STRICT_SPREAD", 1, 1) == [0, 1]
    assert nodes("STRICT_SPREAD", 1, 1, 1) == PENDING


def test_a_bundle_makes_way_for_one_that_has_no_other_node() -> None:
    sim = Simulation(CPU=2, R=1)
    sim.join(1, CPU=1)

    def nodes(strategy: str, *bundles: Demand) -> list[int]:
        group = sim.reserve(*bundles, strategy=strategy)
        found = [node.id for node in sim.graph.placement.groups[group].nodes]
        sim.remove(group)
        return found

    one, two, special = amounts(CPU=1), amounts(CPU=2), amounts(R=1)
    assert nodes("STRICT_SPREAD", one, special) == [1, 0]
    assert nodes("SPREAD", one, two) == [1, 0]
    assert nodes("PACK", one, two) == [1, 0]


def test_a_group_for_which_there_is_no_room_is_soon_given_up() -> None:
    sim = Simulation(CPU=20)
    for node in range(1, 20):
        sim.join(node, CPU=20)
    fits = 0

    def count(node: Node, bundles: list[Demand]) -> bool:
        nonlocal fits
        fits += 1
        return len(bundles) == 1

    group = Group("", (amounts(CPU=1),) * 25, "SPREAD")
    assert assign(group, list(sim.scheduler.nodes.values()), count) is None
    assert fits < 3000, "2^20 without a limit"


def test_gpus_that_a_group_has_are_particular_ones() -> None:
    sim = Simulation(CPU=4, GPU=3)
    group = sim.reserve(amounts(GPU=1), amounts(GPU=1))
    outside = sim.submit(function(GPU=1))
    inside = [sim.submit(within(function(GPU=1), group, bundle)) for bundle in (0, 1)]

    given = [worker.gpus[0][0] for call in (*inside, outside) for worker in (sim.scheduler.workers[sim.at(call).id],)]

    assert given == [0, 1, 2]
    sim.run()


def test_parts_share_a_gpu_and_leave_others_whole() -> None:
    sim = Simulation(CPU=9, GPU=2)
    half = [sim.submit(function(GPU=0.5)) for _ in range(2)]
    whole = sim.submit(function(GPU=1))
    waiting = sim.submit(function(GPU=0.1))

    assert [sim.scheduler.workers[sim.at(call).id].gpus for call in half] == [((0, 5000),)] * 2
    assert sim.scheduler.workers[sim.at(whole).id].gpus == ((1, 10_000),)
    assert not any(waiting in worker.sent for worker in sim.scheduler.workers.values())
    sim.run()
    assert waiting in sim.ended


def test_two_halves_of_different_gpus_are_not_one() -> None:
    sim = Simulation(CPU=9, GPU=2)
    actors = [sim.create(actor_class(GPU=0.6)) for _ in range(2)]
    whole = sim.submit(function(GPU=0.8))
    sim.run()
    assert whole not in sim.ended

    sim.kill(actors[0])
    sim.run()

    assert whole in sim.ended


def test_what_no_node_can_ever_have_is_named_once(sim: Simulation) -> None:
    for _ in range(3):
        sim.submit(function(R=1))
    sim.create(actor_class(GPU=1))
    sim.reserve(amounts(CPU=9))
    sim.submit(function(CPU=2))

    assert sim.warned == [amounts(R=1), amounts(GPU=1), amounts(CPU=9)]


def test_a_call_goes_to_the_node_whose_labels_it_asks_for(sim: Simulation) -> None:
    sim.join(1, CPU=1)
    there = (("ray.io/node-id", "in", ("1",)),)
    nowhere = (("ray.io/node-id", "in", ("2",)),)

    hard = [sim.submit(on_terms(function(), choices=(there,))) for _ in range(2)]
    assert sim.scheduler.workers[sim.at(hard[0]).id].node.id == 1
    assert not any(hard[1] in worker.sent for worker in sim.scheduler.workers.values())
    soft = sim.submit(on_terms(function(), choices=(nowhere, ())))
    assert sim.scheduler.workers[sim.at(soft).id].node.id == 0
    lost = sim.submit(on_terms(function(), choices=(nowhere,), fails=True))
    assert sim.fault(lost) == "TaskUnschedulable"
    sim.run()


def test_spread_prefers_the_node_with_the_fewest_workers(sim: Simulation) -> None:
    sim.join(1, CPU=2)
    calls = [sim.submit(on_terms(function(), spread=True)) for _ in range(2)]

    assert {sim.scheduler.workers[sim.at(call).id].node.id for call in calls} == {1}
    sim.run()


def test_workers_keep_their_environment_and_others_do_not_use_them(sim: Simulation) -> None:
    first = sim.submit(on_terms(function(), env="a"))
    worker = sim.at(first)
    sim.run()
    plain = sim.submit(function())
    other = sim.submit(on_terms(function(), env="b"))
    assert sim.at(plain) is not worker and sim.at(other) is not worker
    sim.run()

    again = sim.submit(on_terms(function(), env="a"))

    assert sim.at(again) is worker
    sim.run()


def test_a_worker_ends_after_so_many_calls_of_a_function(sim: Simulation) -> None:
    template = on_terms(function(), max_calls=2)
    workers = []
    for _ in range(4):
        workers.append(sim.at(sim.submit(template)))
        sim.run()

    assert workers[0] is workers[1] and workers[2] is workers[3]
    assert workers[0] is not workers[2] and not workers[0].alive
