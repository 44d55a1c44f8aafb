"""``import ray`` as another name for minray, for programs that nobody can edit: `install_as_ray`.

    import ray.util.queue ──> Finder ──> sys.modules["ray.util.queue"] = the module minray.util.queue itself
    import ray            ──> Finder ──> sys.modules["ray"] = `Ray`: minray but for its __version__

The modules are the same objects under two names, so that a class is one class, `unittest.mock.patch("ray.get")` changes
`minray.get`, and what was pickled under one name is found under the other. Nothing of an installed Ray is seen: what
minray lacks is an ImportError that says so.
"""

from __future__ import annotations

import importlib
import sys

#: The Ray whose API minray has, and which programs that ask for a version are told.
RAY_VERSION = "2.60.0"
#: Workers import it if their driver has. (Not imported here: `import minray` is to stay cheap.)
INSTALLED = "minray.as_ray.installed"


def install_as_ray() -> None:
    """Make ``import ray``, and the import of its submodules, give minray, in this process and in all workers of runs
    that it starts. Call it before anything imports Ray, and before `minray.init`; again does nothing.

    ``ray.__version__`` is then the version of Ray whose API minray has.

    Raises:
        RuntimeError: real Ray has been imported already, or a run has been started whose workers would not know.
    """
    if INSTALLED in sys.modules:
        return
    import minray

    if "ray" in sys.modules:
        raise RuntimeError(
            "Ray has been imported already: call minray.install_as_ray() before anything imports it, or run the "
            "program with: python -m minray run"
        )
    if minray.is_initialized():
        raise RuntimeError("Call minray.install_as_ray() before minray.init(): workers have been started without it.")
    importlib.import_module(INSTALLED)
