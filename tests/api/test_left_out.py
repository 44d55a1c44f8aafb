"""Names of Ray's that are left out say why."""

from __future__ import annotations

import pytest

import minray
from minray.left_out import LEFT_OUT


@pytest.mark.parametrize("name", sorted(LEFT_OUT))
def test_a_name_that_is_left_out_says_why(name: str) -> None:
    assert not hasattr(minray, name), "it is there: take it out of the table"
    with pytest.raises(AttributeError, match=name) as caught:
        getattr(minray, name)
    assert LEFT_OUT[name] in str(caught.value)


def test_any_other_name_is_just_not_there() -> None:
    with pytest.raises(AttributeError, match=r"module 'minray' has no attribute 'nothing'$"):
        getattr(minray, "nothing")  # noqa: B009
