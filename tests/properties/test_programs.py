"""Random programs come to the same on every backend as in series, end when they are disturbed, leave nothing behind.

A few in CI; ``tox -e property-long`` runs many. What they find is fixed, and kept as a test in test_found.py.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings

from minray.testing import Program, actor_programs, assert_equivalent, task_graphs
from minray.testing.equivalence import outcome, session
from minray.testing.leaks import unsettled

#: How many programs each test runs, on each backend.
PROGRAMS = 1500 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 12
#: How long one may take (s): it takes milliseconds, but for a machine that is busy.
PATIENCE = 40.0


@pytest.mark.slow
@settings(max_examples=PROGRAMS)
@given(program=task_graphs())
def test_graphs_of_tasks_come_to_the_same_everywhere(backend: str, program: Program) -> None:
    assert_equivalent(program, [backend], timeout=PATIENCE)
    assert unsettled() == ""


@pytest.mark.slow
@settings(max_examples=PROGRAMS)
@given(program=task_graphs(disturbed=True) | actor_programs(disturbed=True))
def test_programs_whose_calls_are_cancelled_and_actors_killed_end_all_the_same(backend: str, program: Program) -> None:
    with session(backend) as ray:
        outcome(program, ray, PATIENCE)
        assert unsettled() == ""


@pytest.mark.slow
@settings(max_examples=PROGRAMS)
@given(program=actor_programs())
def test_programs_of_actors_come_to_the_same_everywhere(backend: str, program: Program) -> None:
    assert_equivalent(program, [backend], timeout=PATIENCE)
    assert unsettled() == ""
