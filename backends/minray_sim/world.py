"""The world that simulated code sees: clocks, chance, locks, threads and event loops of the simulation.

While a run is on, names of the standard library (and of modules that have imported them from there) stand for functions
that look who calls: a thread of the run gets the simulation's, any other the real thing. After the run everything is as
it was. The garbage collector waits until then: when it comes by is not the program's doing.
"""

from __future__ import annotations

import gc
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from minray.wire import pickling
from minray_sim import active, clock, coroutines, hashes, loops, randomness, threads

if TYPE_CHECKING:
    from minray_sim.pool import SimPool

#: Modules whose names stay as they are: the clocks of minray and of what runs tests are not the program's.
_LEFT = ("minray", "minray_sim", "minray_threads", "minray_loky", "_pytest", "pytest_timeout", "xdist", "execnet")
#: But for those of minray that stand on its public API, as programs do.
_OURS = ("minray.util", "minray.experimental", "minray.dag")


class World:
    """The patches, for one run or for several that follow each other."""

    def __init__(self) -> None:
        self._before: list[tuple[Any, str, Any]] = []
        self._collects = False
        self._numpy = False

    def enter(self) -> None:
        """Put them in place."""
        modules = (clock, threads, hashes, loops, coroutines, randomness)
        patches = [patch for module in modules for patch in module.patches()]
        patches += _found_elsewhere(
            {id(getattr(owner, name)): new for owner, name, new in patches if not name.startswith("__")}
        )
        self._numpy = "numpy" in sys.modules
        for owner, name, new in patches:
            self._before.append((owner, name, getattr(owner, name)))
            setattr(owner, name, new)

    def leave(self) -> None:
        """Put back what was there."""
        for owner, name, old in reversed(self._before):
            setattr(owner, name, old)
        self._before.clear()

    def begin(self, pool: SimPool) -> None:
        """A run begins."""
        if self._numpy != ("numpy" in sys.modules):  # a run before this one has imported it
            self.leave()
            self.enter()
        active.simulation = pool.simulation
        active.pool = pool
        randomness.begin()
        self._collects = gc.isenabled()
        self._code = pickling.last_code()
        gc.disable()

    def end(self) -> None:
        """The run is over."""
        threads.forget()
        active.simulation = active.pool = None
        pickling.forget_code(self._code)  # nobody can call what is of this run any more
        if self._collects:
            gc.enable()


#: Of every module that was looked through: names there that stand for something patched, and what.
_looked: dict[str, tuple[ModuleType, list[tuple[str, int]]]] = {}
_number_of_modules = 0


def _found_elsewhere(table: dict[int, Any]) -> list[tuple[Any, str, Any]]:
    """Patches for what other modules have imported by name."""
    global _number_of_modules
    if len(sys.modules) != _number_of_modules:
        for name, module in list(sys.modules.items()):
            if name not in _looked or _looked[name][0] is not module:
                _looked[name] = (module, _look(name, module, table))
        _number_of_modules = len(sys.modules)
    main = sys.modules.get("__main__")
    if main is not None:
        _looked["__main__"] = (main, _look("__main__", main, table))
    return [
        (module, name, table[old])
        for module, names in _looked.values()
        for name, old in names
        if old in table and id(vars(module).get(name)) == old
    ]


def _look(name: str, module: ModuleType, table: dict[int, Any]) -> list[tuple[str, int]]:
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names and top != "__main__":
        return []
    if top in _LEFT and not name.startswith(_OURS):
        return []
    try:
        return [(key, id(value)) for key, value in list(vars(module).items()) if id(value) in table]
    except TypeError:  # something that only looks like a module
        return []
