"""Many at once, and much at once: whatever is full, somebody always reads."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import minray


def test_fifty_actors_at_once(ray: Any) -> None:
    @ray.remote(num_cpus=0)
    class Actor:
        def __init__(self, me: int) -> None:
            self.me = me

        def who(self) -> tuple[int, int]:
            return self.me, os.getpid()

    actors = [Actor.remote(me) for me in range(50)]
    found = ray.get([actor.who.remote() for actor in actors])
    assert [me for me, _ in found] == list(range(50))
    assert len({pid for _, pid in found}) == 50


def test_many_actors_within_few_descriptors(start: Callable[..., Any]) -> None:
    program = start(
        """
        import resource
        import minray

        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))
        minray.init(num_cpus=2)

        @minray.remote(num_cpus=0)
        class Actor:
            def ping(self):
                return 1

        for _ in range(3):
            actors = [Actor.remote() for _ in range(50)]
            print(sum(minray.get([actor.ping.remote() for actor in actors])))
            del actors
        """
    )
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] >= 256
    assert program.runs() == "50\n50\n50\n"


def test_more_warm_workers_than_the_templates_socket_can_report(start: Callable[..., Any]) -> None:
    program = start(
        """
        import minray

        minray.init(num_cpus=200)

        @minray.remote
        def one():
            return 1

        print(sum(minray.get([one.remote() for _ in range(1000)])))
        """
    )
    assert program.runs() == "1000\n"


@pytest.mark.parametrize("kind", [bytes, np.zeros])
def test_fifty_megabytes_each_way(ray: Any, kind: Callable[[int], Any]) -> None:
    @ray.remote
    def echo(value: Any) -> Any:
        return value

    @ray.remote
    class Actor:
        def echo(self, value: Any) -> Any:
            return value

    size = 50_000_000 if kind is bytes else 6_000_000
    value = kind(size)
    actor = Actor.remote()
    assert len(ray.get(echo.remote(value))) == size
    assert len(ray.get(actor.echo.remote(value=value))) == size
    assert len(ray.get(echo.remote(echo.remote(ray.put(value))))) == size


def test_many_values_that_are_just_not_large_travel_in_one_message(ray: Any) -> None:
    @ray.remote
    def total(refs: list[Any]) -> int:
        return sum(len(value) for value in minray.get(refs))

    refs = [ray.put(bytes(60_000)) for _ in range(300)]
    assert ray.get(total.remote(refs)) == 300 * 60_000


@pytest.mark.filterwarnings("ignore:The remote function .* is very large:UserWarning")
def test_a_function_that_closes_over_much(ray: Any) -> None:
    much = bytes(20_000_000)

    @ray.remote
    def length() -> int:
        return len(much)

    assert ray.get([length.remote() for _ in range(4)]) == [20_000_000] * 4


def test_ten_thousand_calls_queue_at_a_busy_actor(ray: Any, flags: Any) -> None:
    @ray.remote
    class Actor:
        def __init__(self) -> None:
            self.order: list[int] = []

        def busy(self) -> None:
            flags.wait("go")

        def add(self, number: int, ballast: bytes) -> bytes:
            self.order.append(number)
            return ballast

        def read(self) -> list[int]:
            return self.order

    actor = Actor.remote()
    busy = actor.busy.remote()
    ballast = bytes(1000)
    refs = [actor.add.remote(number, ballast) for number in range(10_000)]
    flags.up("go")
    assert all(value == ballast for value in ray.get(refs))
    assert ray.get(actor.read.remote()) == list(range(10_000))
    assert ray.get(busy) is None


@pytest.mark.parametrize("size", [10, 1000, 60_000])
def test_both_directions_full_at_once(ray: Any, size: int) -> None:
    # Each call brings as much back as it takes there: the sockets of both sides fill while both sides send.
    @ray.remote(num_cpus=0)
    class Echo:
        def echo(self, value: bytes) -> bytes:
            return value

    echoes = [Echo.remote() for _ in range(2)]
    count = 30_000_000 // max(size, 3000) // 2
    refs = [echo.echo.remote(bytes(size)) for _ in range(count) for echo in echoes]
    assert {len(value) for value in ray.get(refs)} == {size}


def test_a_worker_that_submits_while_it_is_sent_to(ray: Any) -> None:
    @ray.remote(num_cpus=0)
    class Sink:
        def __init__(self) -> None:
            self.total = 0

        def add(self, value: bytes) -> int:
            self.total += len(value)
            return self.total

    @ray.remote(num_cpus=0)
    class Source:
        def pour(self, sinks: list[Any], count: int, ballast: bytes) -> int:
            refs = [sink.add.remote(bytes(5000)) for _ in range(count) for sink in sinks]
            return len(minray.get(refs))

    sinks = [Sink.remote() for _ in range(2)]
    sources = [Source.remote() for _ in range(2)]
    refs = [source.pour.remote(sinks, 20, bytes(20_000)) for _ in range(50) for source in sources]
    assert ray.get(refs) == [40] * 100
    assert ray.get([sink.add.remote(b"") for sink in sinks]) == [100 * 20 * 5000] * 2


def test_two_actors_that_call_each_other_with_much_in_flight(ray: Any, eventually: Callable[..., Any]) -> None:
    @ray.remote(num_cpus=0)
    class Player:
        def __init__(self) -> None:
            self.got = 0

        def hit(self, ball: bytes, other: Any, left: int) -> int:
            self.got += 1
            if left:
                other.hit.remote(ball, None, 0)
            return len(ball)

        def count(self) -> int:
            return self.got

    players: list[Any] = [Player.remote() for _ in range(2)]
    refs = []
    for _ in range(300):
        refs += [
            players[0].hit.remote(bytes(20_000), players[1], 1),
            players[1].hit.remote(bytes(20_000), players[0], 1),
        ]
    assert set(ray.get(refs)) == {20_000}
    eventually(lambda: ray.get([player.count.remote() for player in players]) == [600, 600])


def test_deep_recursion_of_tasks(ray: Any) -> None:
    @ray.remote
    def deep(level: int) -> int:
        return minray.get(deep.remote(level - 1)) + 1 if level else 0

    assert ray.get(deep.remote(25)) == 25


def test_a_wide_tree_of_tasks(ray: Any) -> None:
    @ray.remote
    def tree(depth: int) -> int:
        return sum(minray.get([tree.remote(depth - 1) for _ in range(3)])) if depth else 1

    assert ray.get(tree.remote(4)) == 81


def test_many_small_tasks(ray: Any) -> None:
    @ray.remote
    def small(x: int) -> int:
        return x

    assert sum(ray.get([small.remote(x) for x in range(20_000)])) == sum(range(20_000))
    pending = []
    total = 0
    for x in range(5_000):
        pending.append(small.remote(x))
        if len(pending) > 100:
            ready, pending = ray.wait(pending, num_returns=50)
            total += sum(ray.get(ready))
    assert total + sum(ray.get(pending)) == sum(range(5_000))
