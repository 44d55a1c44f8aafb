"""What `import ray` finds once `minray.install_as_ray` was called: see `minray.as_ray`."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

import minray
from minray.as_ray import RAY_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from importlib.metadata import Distribution, DistributionFinder

#: Modules of Ray's that minray has under the same name. Its other modules are its own, and not to be seen as Ray's.
MODULES = frozenset(
    {
        "_private",
        "_raylet",
        "actor",
        "cloudpickle",
        "dag",
        "data",
        "exceptions",
        "experimental",
        "internal",
        "remote_function",
        "runtime_context",
        "runtime_env",
        "types",
        "util",
    }
)
#: Modules of Ray's that are elsewhere in minray.
ELSEWHERE = {"data": "minray.as_ray.data", "types": "minray.refs"}


class Ray(ModuleType):
    """The module `ray`: `minray`, and what is set here is set there."""

    def __init__(self) -> None:
        super().__init__("ray", minray.__doc__)
        vars(self).update(__version__=RAY_VERSION, __file__=minray.__file__, __path__=[])

    def __getattr__(self, name: str) -> Any:
        target = ELSEWHERE.get(name)
        return getattr(minray, name) if target is None else importlib.import_module(target)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("__"):
            super().__setattr__(name, value)
        elif name not in ELSEWHERE:
            setattr(minray, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(minray, name)

    def __dir__(self) -> Iterable[str]:
        return [name for name in dir(minray) if name in minray.__all__ or name in MODULES or name.startswith("__")]

    def __reduce__(self) -> Any:
        return importlib.import_module, ("ray",)  # functions whose globals have it are pickled by value


class Finder(MetaPathFinder, Loader):
    """Finds `ray` and all below it in minray; also for who asks which version of Ray is installed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "ray" and not fullname.startswith("ray."):
            return None
        if fullname == "ray" or _is_there(minray_name(fullname)):
            return ModuleSpec(fullname, self, is_package=fullname == "ray")
        if sys._getframe(2).f_code.co_name == "find_spec":  # importlib.util's: a question, no import
            return None
        raise ModuleNotFoundError(_lacking(fullname), name=fullname)

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        found = Ray() if name == "ray" else importlib.import_module(minray_name(name))
        if name == "ray":
            found.__spec__ = module.__spec__
        sys.modules[name] = found  # whose value is what the import gives
        prefix = f"{found.__name__}."
        if name != "ray" and hasattr(found, "__path__"):
            # Now, because an import would bind them in their package, where another thing may have the name.
            for below, one in list(sys.modules.items()):
                if below.startswith(prefix):
                    sys.modules.setdefault(f"{name}.{below[len(prefix) :]}", one)

    def find_distributions(self, context: DistributionFinder.Context) -> Iterable[Distribution]:
        """For `importlib.metadata`: Ray, in the version that minray stands for."""
        from minray.as_ray.distribution import Ray

        return [Ray()] if context.name == "ray" else []


def minray_name(name: str) -> str:
    """The module of minray that is meant by one of Ray's; the empty string: none is."""
    _, first, *rest = name.split(".")
    return ".".join([ELSEWHERE.get(first, f"minray.{first}"), *rest]) if first in MODULES else ""


def _is_there(name: str) -> bool:
    try:
        return bool(name) and importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # its parent is no package
        return False


def _lacking(name: str) -> str:
    from minray.left_out import LEFT_OUT

    reason = LEFT_OUT.get(name.split(".")[1])
    return f"No module named {name!r}: ray is minray here, which has no such module{f' ({reason})' if reason else ''}."
