"""The rows of the table, in its order. A new row is a `Row` beside the others and a name here."""

from __future__ import annotations

from rows import actors, crowds, graph, life, load, objects, placement, streams, tasks
from rows.base import Row

ROWS: list[Row] = [
    life.IMPORT,
    life.START,
    life.MEMORY,
    life.SHARED_MEMORY,
    graph.PENDING_MEMORY,  # here: on a heap that nothing has grown yet
    tasks.SYNC,
    tasks.ASYNC,
    graph.MANY_AT_ONCE,
    graph.CHAINED,
    graph.FANNED_IN,
    graph.FIB,
    graph.FIB_AGAIN,
    graph.SUBMITTED_BY_WORKERS,
    graph.WAIT_READY,
    graph.WAIT_PENDING,
    actors.SYNC,
    actors.ASYNC,
    crowds.N_TO_N,
    crowds.LIVES,
    placement.GROUPS,
    streams.COROUTINES,
    streams.STREAM,
    streams.QUEUE,
    streams.MAP,
    objects.PUT_SMALL,
    objects.GET_SMALL,
    objects.PUT_LARGE,
    objects.GET_LARGE,
    objects.RETURN_LARGE,
    objects.PASS_LARGE,
    load.SHORT,
    load.LONGER,
    load.LATENCY,
    load.BUSY_DRIVER,
    life.SHUTDOWN,
]
