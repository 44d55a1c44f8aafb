"""Refs made from bytes, where minray does more than Ray: they are arguments like any other, and those of no object fail
at once instead of never."""

from __future__ import annotations

from typing import Any

import pytest

from minray.exceptions import ObjectLostError

pytestmark = pytest.mark.parametrize("backend", ["threads", "loky", "sim"])


def test_it_is_an_argument_and_works_in_a_task(ray: Any) -> None:
    ref = ray.put([1])

    @ray.remote
    def read(value: Any, inside: list[Any], data: bytes) -> Any:
        return value, ray.get(inside[0]), ray.get(ray.ObjectRef(data))

    again = ray.ObjectRef(ref.binary())
    assert ray.get(read.remote(again, [again], ref.binary())) == ([1], [1], [1])


def test_one_made_before_the_others_went_keeps_the_object(ray: Any) -> None:
    ref = ray.put([1])
    again: Any = ray.ObjectRef(ref.binary())
    del ref
    assert ray.get(again) == [1]


def test_that_of_no_object_is_lost(ray: Any) -> None:
    data = ray.put([1]).binary()
    for ref in (ray.ObjectRef.from_random(), ray.ObjectRef(data)):
        with pytest.raises(ObjectLostError, match=ref.hex()):
            ray.get(ref)
        assert ray.wait([ref], timeout=0) == ([ref], [])
        with pytest.raises(ObjectLostError, match=ref.hex()):
            ray.get(ray.remote(lambda x: x).remote(ref))
