"""A session in memory: it runs a task where it is submitted, and counts references as a real one does."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import pytest

from minray.core.numbering import counted_for, results_of
from minray.core.template import ActorTemplate, Code, MethodTemplate, TaskTemplate
from minray.exceptions import GetTimeoutError, RayTaskError
from minray.measures import Measures
from minray.refs import ObjectRef
from minray.session import set_driver


class FakeSession:
    """Keeps what it is asked for in public attributes, so that tests can look at it."""

    in_worker = False
    resident: tuple[int, type] | None = None
    given: Mapping[str, Any] | None = None
    in_process = False
    node_id = "0" * 56
    env = ""
    runtime_env = "{}"

    def __init__(self) -> None:
        self.values: dict[int, Any] = {}
        self.measures = Measures()
        self.counts: Counter[int] = Counter()
        self.pinned: list[int] = []
        self.submitted: list[TaskTemplate] = []
        self.created: list[ActorTemplate] = []
        self.calls: list[MethodTemplate] = []
        self.killed: list[tuple[int, bool]] = []
        self.named: dict[tuple[str, str | None], tuple[int, ActorTemplate]] = {}
        self.pickled: list[Any] = []
        self.waiting: dict[int, list[Callable[[], None]]] = {}
        self.streams: dict[int, list[int]] = {}
        self.closes = 0
        self.closed = False
        self._functions: dict[bytes, Any] = {}
        self._actors: dict[int, Any] = {}
        self._next = 1

    def _new(self, template: TaskTemplate | MethodTemplate | None = None) -> int:
        first = self._next
        self._next += 2
        streams = template is not None and template.stream is not None
        for id in counted_for(first, 1 if template is None else template.num_returns, streams):
            self.counts[id] = 1
        return first

    def _store(
        self, template: TaskTemplate | MethodTemplate, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> int:
        first = self._new(template)
        count, name = template.num_returns, template.name
        try:
            positional = [self._value(argument) for argument in args]
            result = function(*positional, **{name: self._value(argument) for name, argument in kwargs.items()})
        except Exception as error:
            failed = RayTaskError.from_exception(name, error)
            self.values.update((id, failed) for id in results_of(first, count))
        else:
            if template.stream is not None:
                self.values[first] = None
                self.streams[first + 1] = [self.put(item) for item in result]
            elif count == 1:
                self.values[first] = result
            else:
                self.values.update(zip(results_of(first, count), result or ()))
        return first

    def _value(self, argument: Any) -> Any:
        return self.get([argument._id], None)[0] if isinstance(argument, ObjectRef) else argument

    def submit(self, template: TaskTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        self.submitted.append(template)
        return self._store(template, self._functions[template.code.key], args, kwargs)

    def create_actor(self, template: ActorTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        name = (template.registered_name, template.namespace)
        if template.registered_name and name in self.named:
            raise ValueError(f"The name {template.registered_name} is taken.")
        self.created.append(template)
        id = self._new()
        self._actors[id] = self._functions[template.code.key](*args, **kwargs)
        if template.registered_name:
            self.named[template.registered_name, template.namespace] = id, template
        return id

    def call(self, actor: int, template: MethodTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
        self.calls.append(template)
        method = getattr(self._actors[actor], template.method)
        return self._store(template, method, args, kwargs)

    def get(self, ids: Sequence[int], timeout: float | None) -> list[Any]:
        if not all(id in self.values for id in ids):
            raise GetTimeoutError("Get timed out: some object(s) not ready.")
        values = [self.values[id] for id in ids]
        for value in values:
            if isinstance(value, RayTaskError):
                raise value.as_instanceof_cause()
        return [pickle.loads(pickle.dumps(value)) for value in values]

    def put(self, value: Any) -> int:
        id = self._new()
        self.values[id] = value
        return id

    def pending(self) -> ObjectRef[Any]:
        """A ref to an object that is there only after `finish(ref, value)`."""
        return ObjectRef(self._new(), self)

    def finish(self, ref: ObjectRef[Any], value: Any) -> None:
        self.values[ref._id] = value
        for callback in self.waiting.pop(ref._id, []):
            callback()

    def wait(self, ids: Sequence[int], num_returns: int, timeout: float | None) -> set[int]:
        return {id for id in ids if id in self.values}

    def take(self, stream: int, timeout: float | None) -> Sequence[int] | None:
        ids, self.streams[stream] = self.streams[stream], []
        return ids or None

    def peek(self, stream: int) -> int:
        return (self.streams[stream] or [stream - 1])[0]

    def kill(self, actor: int, no_restart: bool) -> None:
        self.killed.append((actor, no_restart))

    def is_cancelled(self) -> bool:
        return False

    def exit_actor(self) -> NoReturn:
        raise TypeError("no actor")

    def find_actor(self, name: str, namespace: str | None) -> tuple[int, ActorTemplate]:
        if (name, namespace) not in self.named:
            raise ValueError(f"Failed to look up actor with name {name!r}.")
        return self.named[name, namespace]

    def fetch(
        self,
        id: int,
        callback: Callable[[Callable[[], Any]], None],
        future: Any = None,
        on_loop: bool = False,
    ) -> None:
        self.when_ready(id, lambda: callback(lambda: self.get([id], None)))

    def when_ready(self, id: int, callback: Callable[[], None], on_loop: bool = False) -> None:
        if id in self.values:
            callback()
        else:
            self.waiting.setdefault(id, []).append(callback)

    def retain(self, id: int) -> None:
        self.counts[id] += 1

    def release(self, id: int) -> None:
        self.counts[id] -= 1

    def give_back(self) -> None:
        pass

    def pin(self, id: int) -> None:
        self.pinned.append(id)

    def code(self, target: Any, name: str) -> Code:
        self.pickled.append(target)
        key = f"{name}@{id(target)}".encode()
        self._functions[key] = target
        return Code(key, b"", name)

    def ask(self, topic: str, *args: Any) -> Any:
        if topic == "context":
            return {"node_id": "a node"}
        assert topic == "resources"
        return {"CPU": 1.0 if args == (True,) else 2.0}

    def measured(self) -> Measures:
        return self.measures

    def close(self, exiting: bool = False) -> None:
        self.closes += 1
        self.closed = True


@pytest.fixture
def session() -> Iterator[FakeSession]:
    fake = FakeSession()
    set_driver(fake)
    yield fake
    set_driver(None)
