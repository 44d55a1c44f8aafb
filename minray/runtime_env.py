"""`RuntimeEnv`: what the workers of a job, a task or an actor find around them, as a dict that checks itself."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, ClassVar

__all__ = ["RuntimeEnv", "RuntimeEnvConfig"]

logger = logging.getLogger(__name__)

#: What a working directory or a module may be packed as.
ARCHIVES = (".zip", ".tar.gz", ".tgz", ".tar.xz")
_DEFAULT_TIMEOUT = 600


class RuntimeEnvConfig(dict[str, Any]):
    """How an environment is made: accepted for Ray's sake, as minray makes one in milliseconds, or fails.

    Environments that differ in this alone are the same.
    """

    known_fields: ClassVar[set[str]] = {"setup_timeout_seconds", "eager_install", "log_files"}

    def __init__(
        self,
        setup_timeout_seconds: int = _DEFAULT_TIMEOUT,
        eager_install: bool = True,
        log_files: list[str] | None = None,
    ) -> None:
        """TypeError, ValueError: one of them is wrong."""
        if not isinstance(setup_timeout_seconds, int):
            raise TypeError(f"setup_timeout_seconds must be of type int, got: {type(setup_timeout_seconds)}")
        if setup_timeout_seconds <= 0 and setup_timeout_seconds != -1:
            raise ValueError(
                f"setup_timeout_seconds must be greater than zero or equals to -1, got: {setup_timeout_seconds}"
            )
        if not isinstance(eager_install, bool):
            raise TypeError(f"eager_install must be a boolean. got {type(eager_install)}")
        given: Any = log_files
        if given is not None and not (isinstance(given, list) and all(isinstance(name, str) for name in given)):
            raise TypeError(f"log_files must be a list of strings or None, got {log_files!r}.")
        super().__init__(
            setup_timeout_seconds=setup_timeout_seconds, eager_install=eager_install, log_files=log_files or []
        )

    @staticmethod
    def parse_and_validate_runtime_env_config(config: Any) -> RuntimeEnvConfig:
        """A config from a dict. Unknown names are ignored, with a warning. TypeError: it is neither."""
        if isinstance(config, RuntimeEnvConfig):
            return config
        if not isinstance(config, dict):
            raise TypeError(f"runtime_env['config'] must be of type dict or RuntimeEnvConfig, got: {type(config)}")
        unknown = config.keys() - RuntimeEnvConfig.known_fields
        if unknown:
            logger.warning("The following unknown entries in the runtime_env_config dictionary will be ignored: %s.",
                           unknown)  # fmt: skip
        return RuntimeEnvConfig(**{key: value for key, value in config.items() if key not in unknown})

    def to_dict(self) -> dict[str, Any]:
        """A copy that is a plain dict."""
        return dict(deepcopy(self))


# --- Checks ------------------------------------------------------------------------------------------------------


def is_uri(path: str) -> bool:
    """Whether it has a protocol, ``"file://..."``, and is no path of this machine."""
    return "://" in path


def _check_uri(path: Any, what: str, endings: tuple[str, ...]) -> str:
    if not isinstance(path, str):
        raise TypeError(f"`{what}` must be a string, got {type(path)}.")
    if is_uri(path):
        if not path.startswith("package://") and not path.endswith(endings):
            raise ValueError(f"Only {', '.join(endings)} files are supported for {what} URIs; got {path}.")
    elif not os.path.exists(path):
        raise ValueError(f"{path} is not a valid path.")
    return path


def _env_vars(value: Any) -> dict[str, str] | None:
    if not isinstance(value, Mapping):
        raise TypeError(f"runtime_env['env_vars'] must be of type Dict[str, str], got {type(value)}")
    for key, text in value.items():
        if not isinstance(key, str):
            raise TypeError(
                f"runtime_env['env_vars'] must be of type Dict[str, str], but the key {key} is of type {type(key)}"
            )
        if not isinstance(text, str):
            raise TypeError(
                f"runtime_env['env_vars'] must be of type Dict[str, str], but the value {text} is of type {type(text)}"
            )
    return dict(value) or None


def _py_modules(value: Any) -> list[str]:
    if not isinstance(value, list):
        raise TypeError(f"`py_modules` must be a list of strings, got {type(value)}.")
    return [_check_uri(one, "py_module", (*ARCHIVES, ".whl")) for one in value]


def _excludes(value: Any) -> list[str] | None:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise TypeError(f"runtime_env['excludes'] must be of type List[str], got {type(value)}")
    return value or None


def _requirements(name: str) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if not isinstance(value, (str, list, dict)):
            raise TypeError(f"runtime_env['{name}'] must be of type str or List[str], got {type(value)}")
        return value

    return check


def _conda(value: Any) -> Any:
    if not isinstance(value, (str, dict)):
        raise TypeError(f"runtime_env['conda'] must be of type dict or str, got {type(value)}")
    return value


#: Field -> what becomes of its value: None leaves it out. TypeError, ValueError: it is wrong.
_CHECKS: dict[str, Callable[[Any], Any]] = {
    "working_dir": lambda value: _check_uri(value, "working_dir", ARCHIVES),
    "py_modules": _py_modules,
    "env_vars": _env_vars,
    "excludes": _excludes,
    "pip": _requirements("pip"),
    "uv": _requirements("uv"),
    "conda": _conda,
    "config": RuntimeEnvConfig.parse_and_validate_runtime_env_config,
}


class RuntimeEnv(dict[str, Any]):
    """The surroundings of workers. minray carries out `env_vars`, `working_dir` and `py_modules`, and for a job
    `worker_process_setup_hook`.

    Args:
        env_vars: Environment variables, by name. ``"${PATH}:/more"`` adds to what is there.
        working_dir: The current directory, from which modules can be imported too. For a job (`init`): a directory,
            which is copied, or an archive. For tasks and actors: a ``file://`` URI of an archive.
        py_modules: For a job: directories of packages, modules' files, wheels or imported modules. For tasks and
            actors: ``file://`` URIs of archives.
        config: See `RuntimeEnvConfig`.
        others: Further fields. Those that no Ray knows either change nothing.

    Raises:
        TypeError, ValueError: A field is wrong.
    """

    known_fields: ClassVar[set[str]] = {
        "_inject_current_ray",
        "_nsight",
        "_ray_commit",
        "_ray_release",
        "_rocprof_sys",
        "conda",
        "config",
        "container",
        "env_vars",
        "excludes",
        "image_uri",
        "java_jars",
        "pip",
        "py_executable",
        "py_modules",
        "uv",
        "worker_process_setup_hook",
        "working_dir",
    }

    def __init__(
        self,
        *,
        py_modules: list[str] | None = None,
        py_executable: str | None = None,
        working_dir: str | None = None,
        pip: Any = None,
        conda: Any = None,
        container: Any = None,
        env_vars: dict[str, str] | None = None,
        worker_process_setup_hook: Callable[[], object] | str | None = None,
        nsight: Any = None,
        rocprof_sys: Any = None,
        config: dict[str, Any] | RuntimeEnvConfig | None = None,
        _validate: bool = True,
        image_uri: str | None = None,
        uv: Any = None,
        **others: Any,
    ) -> None:
        super().__init__()
        given = {
            **others,
            "py_modules": py_modules,
            "py_executable": py_executable,
            "working_dir": working_dir,
            "pip": pip,
            "conda": conda,
            "container": container,
            "env_vars": env_vars,
            "worker_process_setup_hook": worker_process_setup_hook,
            "_nsight": nsight,
            "_rocprof_sys": rocprof_sys,
            "config": config,
            "image_uri": image_uri,
            "uv": uv,
        }
        given = {name: value for name, value in given.items() if value is not None}
        if not _validate:
            self.update(given)
            return
        installers = [name for name in ("pip", "uv", "conda") if name in given]
        if len(installers) > 1:
            raise ValueError(
                "The 'pip' field, 'uv' field, and 'conda' field of runtime_env cannot be specified at the same time: "
                + ", ".join(f"{name}={given[name]!r}" for name in installers)
            )
        for alone in ("container", "image_uri"):
            beside = given.keys() - {alone, "config", "env_vars"}
            if given.get(alone) and beside:
                raise ValueError(
                    f"The '{alone}' field currently cannot be used together with other fields of runtime_env. "
                    f"Specified fields: {beside}"
                )
        for name, value in given.items():
            self[name] = value

    def __setitem__(self, key: str, value: Any) -> None:
        check = _CHECKS.get(key)
        if check is not None:
            value = check(value)
            if value is None:
                return
        super().__setitem__(key, value)

    def set(self, name: str, value: Any) -> None:
        """Choose one more field."""
        self[name] = value

    def to_dict(self) -> dict[str, Any]:
        """A copy that is a plain dict."""
        return dict(deepcopy(self))

    def serialize(self) -> str:
        """As JSON. TypeError: a field has something that JSON cannot have, such as a function."""
        return json.dumps(self, sort_keys=True)

    @classmethod
    def deserialize(cls, serialized_runtime_env: str) -> RuntimeEnv:
        """The way back from `serialize`."""
        return cls(_validate=False, **json.loads(serialized_runtime_env))

    # -- its fields, as Ray asks for them -------------------------------------------------------------------------

    def env_vars(self) -> dict[str, str]:
        """The environment variables."""
        return dict(self.get("env_vars", {}))

    def working_dir(self) -> str:
        """The working directory, "" if none was chosen."""
        return str(self.get("working_dir", ""))

    def has_working_dir(self) -> bool:
        """Whether a working directory was chosen."""
        return bool(self.get("working_dir"))

    def py_modules(self) -> list[str]:
        """The modules."""
        return list(self.get("py_modules", []))

    def py_executable(self) -> str | None:
        """The interpreter."""
        return self.get("py_executable")

    def has_pip(self) -> bool:
        """Whether packages are asked for from pip."""
        return bool(self.get("pip"))

    def has_uv(self) -> bool:
        """Whether packages are asked for from uv."""
        return bool(self.get("uv"))

    def has_conda(self) -> bool:
        """Whether a Conda environment is asked for."""
        return bool(self.get("conda"))

    def image_uri(self) -> str | None:
        """The container image."""
        return self.get("image_uri")
