"""Who reads the channel: while anybody waits, somebody reads (`minray.reading`)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue

from minray.reading import Reader, Waiting


class Channel:
    """What the reader reads: each item is a function that is called by whoever reads it."""

    def __init__(self) -> None:
        self.items: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self.readers: list[str] = []
        self.reader = Reader(self.receive, lambda: self.items.put(lambda: None))

    def receive(self, timeout: float | None) -> None:
        self.readers.append(threading.current_thread().name)
        try:
            item = self.items.get(timeout != 0, timeout)
        except Empty:
            return
        item()


def start(channel: Channel, waiting: Waiting, name: str, timeout: float | None = None) -> threading.Thread:
    thread = threading.Thread(target=channel.reader.wait, args=(waiting, timeout), name=name, daemon=True)
    thread.start()
    return thread


def follow(channel: Channel, waiting: Waiting, name: str, eventually: Callable[..., None]) -> threading.Thread:
    thread = start(channel, waiting, name)
    eventually(lambda: waiting in channel.reader._followers)
    return thread


def test_the_lead_goes_to_a_follower_when_the_leader_is_done(eventually: Callable[..., None]) -> None:
    channel, first, second = Channel(), Waiting(), Waiting()
    leader = start(channel, first, "leader")
    eventually(lambda: channel.readers == ["leader"])
    follower = follow(channel, second, "follower", eventually)
    channel.items.put(first.finish)
    leader.join(5)
    channel.items.put(second.finish)
    follower.join(5)
    assert not leader.is_alive() and not follower.is_alive()


def test_a_follower_that_needs_the_lead_no_more_passes_it_on(eventually: Callable[..., None]) -> None:
    channel, first, second, third = Channel(), Waiting(), Waiting(), Waiting()
    leader = start(channel, first, "leader")
    eventually(lambda: channel.readers == ["leader"])
    done = follow(channel, second, "done", eventually)
    left = follow(channel, third, "left", eventually)

    def both_at_once() -> None:
        second.done = True  # its thread has not noticed yet, so it is still the first in line for the lead
        first.done = True

    channel.items.put(both_at_once)
    leader.join(5)
    done.join(5)
    channel.items.put(third.finish)
    left.join(5)
    assert not left.is_alive(), "nobody reads, and somebody waits"


def test_a_service_thread_reads_when_nobody_waits_and_steps_down_for_who_does(eventually: Callable[..., None]) -> None:
    channel, waiting = Channel(), Waiting()
    service = threading.Thread(target=channel.reader.serve, name="service", daemon=True)
    service.start()
    eventually(lambda: channel.readers == ["service"])
    waiter = start(channel, waiting, "waiter")
    eventually(lambda: channel.readers[-1] == "waiter")
    channel.items.put(waiting.finish)
    waiter.join(5)
    eventually(lambda: channel.readers[-1] == "service")
    channel.reader.close()
    service.join(5)
    assert not waiter.is_alive() and not service.is_alive()


def test_a_wait_with_a_timeout_ends_whoever_reads(eventually: Callable[..., None]) -> None:
    channel, long, short = Channel(), Waiting(), Waiting()
    assert not channel.reader.wait(short, 0.01), "nothing came"
    leader = start(channel, long, "leader")
    eventually(lambda: channel.readers[-1] == "leader")
    assert not channel.reader.wait(short, 0.01), "nothing came for this one"
    channel.items.put(long.finish)
    leader.join(5)
    assert not leader.is_alive()
