"""Random programs are texts that run."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from minray.testing import Program, Serial, actor_programs, task_graphs
from minray.testing.equivalence import outcome

#: As many as are needed to come across most kinds of statements.
few: Any = {"max_examples": 4, "deadline": None, "suppress_health_check": list(HealthCheck)}
some = settings(derandomize=True, database=None, **few)


@pytest.mark.parametrize("programs", [task_graphs(), actor_programs()], ids=["tasks", "actors"])
def test_a_program_is_its_own_source(programs: Any) -> None:
    @some
    @given(programs)
    def check(program: Program) -> None:
        pasted: dict[str, Any] = {}
        exec(repr(program), pasted)
        assert outcome(pasted["program"], Serial()).same(outcome(program, Serial()))

    check()


def test_an_error_in_a_program_shows_its_line() -> None:
    import traceback

    program = Program("def program(ray):\n    return 1 / 0\n")

    with pytest.raises(ZeroDivisionError) as caught:
        program.run(Serial())
    assert "return 1 / 0" in "".join(traceback.format_exception(caught.value))
