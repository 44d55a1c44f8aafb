"""A worker's session, used by several threads of a task: what one of them does must be whole for the others."""

from __future__ import annotations

import pickle
import threading
from collections import deque
from typing import Any

import pytest

from minray.client import Client
from minray.core.template import Code, TaskTemplate
from minray.wire import messages as m
from minray.wire.messages import Message
from minray.worker import Worker


class RecordingLink:
    def __init__(self) -> None:
        self.sent: list[Message] = []

    def send(self, messages: list[Message]) -> None:
        self.sent.extend(messages)

    def receive(self, timeout: float | None) -> list[Message]:
        raise AssertionError("nothing is waited for")

    def wake(self) -> None:
        raise AssertionError("it does not end")

    def watch(self, loop: Any, readable: Any) -> bool:
        return False


class SlowTemplate(TaskTemplate):
    """Pickling it takes until another thread has submitted a call of it, or has not managed to."""

    other: Any = None

    def __reduce__(self) -> Any:
        other, type(self).other = type(self).other, None
        if other is not None:
            other.start()
            other.join(5)
        return TaskTemplate, (self.key, self.code, self.name)


def test_a_template_is_sent_before_any_call_of_it_whichever_thread_makes_the_call() -> None:
    link = RecordingLink()
    client = Client(1, link, None, isolate=True)
    template = SlowTemplate(b"key", Code(b"code", b"", "f"), "f")
    SlowTemplate.other = threading.Thread(target=client.submit, args=(template, (), {}), daemon=True)
    client.submit(template, (), {})
    ops = [message[0] for message in link.sent]
    assert ops.count(m.SUBMIT) == 2
    assert ops[0] == m.TEMPLATE


def test_a_template_that_could_not_be_sent_is_tried_again_with_the_next_call() -> None:
    class Failing(TaskTemplate):
        tries = 0

        def __reduce__(self) -> Any:
            Failing.tries += 1
            if Failing.tries <= 2:  # both picklers try it
                raise MemoryError
            return TaskTemplate, (self.key, self.code, self.name)

    link = RecordingLink()
    client = Client(1, link, None, isolate=True)
    template = Failing(b"key", Code(b"code", b"", "f"), "f")
    with pytest.raises(MemoryError):
        client.submit(template, (), {})
    client.submit(template, (), {})
    assert [message[0] for message in link.sent] == [m.TEMPLATE, m.SUBMIT]


def test_a_call_that_comes_in_the_middle_of_a_recall_finds_its_code() -> None:
    class Interleaved(deque[Message]):
        """Just after a recall has looked at what came first, another thread reads a call, and the main one runs it."""

        def pop(self, *_: int) -> Message:
            try:
                return super().pop()
            finally:
                if not self and not link.sent:
                    worker._take([run])
                    worker._step()

    link = RecordingLink()
    worker = Worker(1, link, None)
    args, where, deps = worker.client.codec.call((), {}, "dict", lambda value: 0)
    before, run = [(m.RUN, number, b"key", args, where, deps, (), 1, "dict", False, None) for number in (7, 8)]
    worker._todo = Interleaved()
    worker._take([(m.CODE, b"key", pickle.dumps(dict), "dict"), before])
    worker.recall()
    assert [message[:2] for message in link.sent] == [(m.DONE, 8), (m.RETURNED, (7,))]


def test_a_recall_leaves_the_order_of_an_actor_s_calls_alone() -> None:
    """Whoever is cancelled, the worker is interrupted, and recalls: of an actor's calls none may be out of the queue
    meanwhile, when the main thread may look for the next one."""

    class Watched(deque[Message]):
        def pop(self, *_: int) -> Message:
            raise AssertionError("a later call could be the next one now")

    link = RecordingLink()
    worker = Worker(1, link, None)
    calls: list[Message] = [(m.CALL, number, "method") for number in (7, 8)]
    worker._todo = Watched()
    worker._take(calls)
    worker.recall()
    assert list(worker._todo) == calls
    assert link.sent == [(m.RETURNED, ())]
