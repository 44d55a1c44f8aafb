"""What must hold between two events beyond `TaskGraph.check`: the books of both sides, down to the last reference."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from minray.core.value import SPILLED, STORED, bytes_of, is_bytes
from tests.core.templates import counted

if TYPE_CHECKING:
    from minray.core.value import Value
    from tests.core.ledger import Ledger
    from tests.core.sim_worker import SimWorker


def check(sim: Ledger) -> None:
    sim.graph.check()
    check_counts(sim)
    for worker in sim.workers.values():
        if worker.alive and worker.id in sim.scheduler.workers:
            check_loans(sim, worker)
            check_unread(sim, worker)
    check_watches(sim)
    check_pending_calls(sim)
    check_resources(sim)
    assert sorted(sim.freed) == sorted(set(sim.freed)), "something was freed twice"


def check_counts(sim: Ledger) -> None:
    """Every count is the sum of those who hold the object, and whatever somebody holds is there."""
    expected = Counter(sim.refs)
    for worker in sim.scheduler.workers.values():
        expected.update(worker.loans)
    for task in sim.graph.tasks.values():
        expected.update([*task.call.deps, *task.call.args[2]])
        if task.again and task.actor is not None:
            expected[task.actor.id] += 1
    origins = sim.graph.lineage.origins.values()
    for actor in {*sim.actors.values(), *(origin.actor for origin in origins if origin.actor is not None)}:
        expected.update([*actor.call.deps, *actor.call.args[2]])
        expected[actor.id] += actor.death is None and actor.template.lifetime == "detached"
    for stream in sim.graph.streams.streams.values():
        expected.update(stream.unread)
        if stream.expected is not None:
            expected[stream.expected] += 1
    for origin in origins:
        for value in origin.kept.values():
            expected.update(value[2])
    entries = sim.objects.entries
    for id, entry in entries.items():
        if entry.value is not None and not is_bytes(id):
            expected.update(lent(id, entry.value))
    assert {id: entry.count for id, entry in entries.items()} == {id: expected[id] for id in entries}
    assert sim.refs.keys() <= entries.keys(), "the driver holds what was freed"


def lent(id: int, value: Value) -> Counter[int]:
    """What the value of `id` contains: as much `ObjectTable.lend_value` counts for a reader of it."""
    return Counter([*value[2], bytes_of(id, value[0])] if value[0] in (STORED, SPILLED) else value[2])


def check_loans(sim: Ledger, worker: SimWorker) -> None:
    """What the owner has counted for a worker is what that has received, what is on its way there, and what on its way
    back."""
    expected: Counter[int] = Counter({id: received for id, (_, received) in worker.counts._held.items()})
    for note in worker.counts.noted:  # what has not been settled yet
        if isinstance(note, tuple):
            expected[note[0]] += note[1]
    coming = [*worker.todo, *worker.inbox]
    resumes = max([at for at, message in enumerate(coming) if message[0] == "resume"], default=-1)
    for message in coming[resumes + 1 :] + [one for one in coming[: resumes + 1] if one[0] not in ("run", "call")]:
        if message[0] in ("run", "call", "create"):
            for id, value in [(0, message[2]), *message[3]]:
                expected.update(lent(id, value))
        elif message[0] == "values":
            for id, value in message[2]:
                expected.update(lent(id, value))
        elif message[0] == "items":
            expected.update(message[2])
    for message in worker.outbox:
        if message[0] == "release":
            expected.update(dict(message[1]))
        elif message[0] in ("submit", "submit_call"):
            expected.subtract(counted(message[1], message[2]))
        elif message[0] in ("submit_actor", "put"):
            expected[message[1]] -= 1
        elif message[0] == "returned":  # not begun, and the owner has not taken back yet what it counted
            for call in message[1]:
                task = sim.scheduler.workers[worker.id].sent[call]
                expected.update(task.call.args[2])
                expected.update(task.lent or ())
        elif message[0] == "stalled":
            for call in worker.dropped:
                task = sim.scheduler.workers[worker.id].sent[call]
                expected.update(task.call.args[2])
                expected.update(task.lent or ())
    entries = sim.objects.entries
    loans = sim.scheduler.workers[worker.id].loans
    assert loans == {id: number for id, number in expected.items() if number and id in entries}, worker.id
    assert {id for id, number in expected.items() if number} <= entries.keys() | sim.lost, "freed too early"


def check_unread(sim: Ledger, worker: SimWorker) -> None:
    """What a producer counts as unread is what its owner does, and what is on its way between the two."""
    for stream in sim.graph.streams.streams.values():
        if stream.quotas and stream.worker is not None and stream.worker.id == worker.id:
            told = sum(message[2] for message in worker.inbox if message[:2] == ("taken", stream.id))
            coming = sum(len(message[3]) for message in worker.outbox if message[:2] == ("yield", stream.id))
            runs = worker.running is not None and worker.call == stream.id
            if runs and not stream.ended:  # else it is run again for items that were lost
                assert worker.unread[stream.id] == stream.made - stream.told + told + coming, stream


def check_pending_calls(sim: Ledger) -> None:
    """Where their number is limited, the driver's unfinished calls are counted."""
    for actor in sim.actors.values():
        if actor.template.max_pending_calls > 0 and actor.death is None:
            mine = sum(task.actor is actor and task.caller == 0 and not task.again for task in sim.graph.tasks.values())
            assert actor.pending.get(0, 0) == mine <= actor.template.max_pending_calls, actor


def check_watches(sim: Ledger) -> None:
    """Nobody waits for what is there already."""
    for watch in [*sim.watches, *sim.requests.values()]:
        assert not watch.done and watch.missing > 0, watch


def check_resources(sim: Ledger) -> None:
    """Nothing is given out twice but by workers that go on after they were blocked."""
    for node in sim.scheduler.nodes.values():
        for name, amount in node.free.items():
            assert -amount <= sim.overdrawn[node.id, name], (node, "is overdrawn")
            sim.overdrawn[node.id, name] = max(0, -amount)
