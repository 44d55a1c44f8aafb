"""Chance, from the seed: `random`, numpy's global generator and `uuid.uuid4`, one stream for each call.

A call's stream is seeded by the run's seed and the call's label, which says where it comes from: so it is the same
whatever else the schedule does. Generators that the program seeds itself are its own business; `random.Random()` and
`os.urandom` without a seed stay as they are.
"""

from __future__ import annotations

import random
import sys
import uuid
from collections.abc import Callable
from typing import Any

from minray.stepping import running_call
from minray_sim import active

_FUNCTIONS = [
    name for name in random.__all__ if isinstance(getattr(getattr(random, name), "__self__", None), random.Random)
]

#: Generators of the present run, by what they belong to.
_streams: dict[str, random.Random] = {}
_arrays: dict[str, Any] = {}


def begin() -> None:
    """A run begins."""
    _streams.clear()
    _arrays.clear()


def restart(label: str) -> None:
    """A call is run, perhaps again: as a new process would."""
    _streams.pop(label, None)
    _arrays.pop(label, None)


def _key() -> str | None:
    """Whose generator the calling thread uses; None: it is none of the run."""
    fiber = active.fiber()
    pool = active.pool
    if fiber is None or pool is None:
        return None
    call = running_call()
    return pool.names.label(call) if call else fiber.label


def _stream(key: str) -> random.Random:
    stream = _streams.get(key)
    if stream is None:
        assert active.simulation is not None
        stream = _streams[key] = random.Random(f"{active.simulation.seed} {key}")
    return stream


def _array(key: str) -> Any:
    state = _arrays.get(key)
    if state is None:
        import numpy as np

        state = _arrays[key] = np.random.RandomState(_stream(f"numpy {key}").getrandbits(32))
    return state


def _dispatch(name: str, real: Callable[..., Any], of: Callable[[str], Any]) -> Callable[..., Any]:
    def function(*args: Any, **kwargs: Any) -> Any:
        key = _key()
        return (real if key is None else getattr(of(key), name))(*args, **kwargs)

    function.__name__ = name
    return function


_uuid4 = uuid.uuid4


def uuid4() -> uuid.UUID:
    """`uuid.uuid4`."""
    key = _key()
    return _uuid4() if key is None else uuid.UUID(int=_stream(f"uuid {key}").getrandbits(128), version=4)


_PATCHES: list[tuple[Any, str, Any]] = [
    *((random, name, _dispatch(name, getattr(random, name), _stream)) for name in _FUNCTIONS),
    (uuid, "uuid4", uuid4),
]
_numpy: list[tuple[Any, str, Any]] = []


def patches() -> list[tuple[Any, str, Any]]:
    """Those of numpy too, if the program has imported it."""
    if not _numpy and "numpy" in sys.modules:
        _numpy.extend(_numpys())
    return _PATCHES + _numpy


def _numpys() -> list[tuple[Any, str, Any]]:
    import numpy as np

    found: list[tuple[Any, str, Any]] = []
    for name in np.random.__all__:
        value = getattr(np.random, name)
        if isinstance(getattr(value, "__self__", None), np.random.RandomState):
            found.append((np.random, name, _dispatch(name, value, _array)))
    # These are functions in numpy, not methods.
    for name, method in (("seed", "seed"), ("ranf", "random_sample"), ("sample", "random_sample")):
        found.append((np.random, name, _dispatch(method, getattr(np.random, name), _array)))
    real = np.random.default_rng

    def default_rng(seed: Any = None) -> Any:
        key = _key()
        if seed is None and key is not None:
            seed = _stream(f"numpy {key}").getrandbits(64)
        return real(seed)

    return [*found, (np.random, "default_rng", default_rng)]
