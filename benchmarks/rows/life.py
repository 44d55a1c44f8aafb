"""From import to shutdown. The child takes these itself (child.py): each happens once in its life."""

from __future__ import annotations

from rows.base import Goal, Row

IMPORT = Row(
    "import",
    "s",
    "Importing the package in a fresh interpreter.",
    goals=(Goal("minray[loky]", at_most=0.06),),
    smaller_is_better=True,
)

START = Row(
    "start to first result",
    "s",
    "From the call that starts the system, its package being imported, to the result of a first task.",
    goals=(
        Goal("minray[loky]", times=10),
        Goal("minray[loky]", at_most=0.5),
        Goal("minray[threads]", at_most=0.01),
    ),
    smaller_is_better=True,
)

MEMORY = Row(
    "memory, idle, USS",
    "MB",
    "Memory that belongs to one process alone (USS), summed over the driver and all its descendants, after every "
    "worker has run a task and a second has passed.",
    goals=(Goal("minray[loky]", times=10),),
    smaller_is_better=True,
)

SHARED_MEMORY = Row(
    "memory, idle, PSS",
    "MB",
    "The same with shared pages, each process counting its share (PSS): forked workers have much in common, "
    "which USS leaves out.",
    smaller_is_better=True,
)

SHUTDOWN = Row(
    "shutdown",
    "s",
    "The call that ends the system, after all the rows before.",
    goals=(Goal("minray[loky]", times=20),),
    smaller_is_better=True,
)
