"""Runtime environments on their way: checked and merged where calls are made, packed by the driver, put on by workers.

    init(runtime_env)  ──of_job──> packed, JSON ──┐
                                                  ├──merge──> JSON: in `Terms.env`, so that a worker has one for life
    f.options(runtime_env) ──of_call──────────────┘                     └──ENV──> `put_on`, in the worker

What was packed is in the run's private directory, and named ``package://<number>``. This module is imported when the
first environment is chosen: it takes 20 ms.
"""

from __future__ import annotations

import base64
import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from minray.core.digest import digest
from minray.exceptions import RuntimeEnvSetupError
from minray.packing import Packer, package_path, unpack
from minray.runtime_env import ARCHIVES, RuntimeEnv, is_uri
from minray.session import Session

#: Fields that minray does not carry out.
_UNSUPPORTED = ("pip", "uv", "conda", "container", "image_uri", "py_executable", "java_jars", "_nsight", "_rocprof_sys")
_SUPPORTED = "minray carries out env_vars, working_dir and py_modules, and for a job worker_process_setup_hook."
#: Where a function that is to run in each new worker is in the JSON, pickled.
_HOOK = "_minray_hook"


# --- Where calls are made ----------------------------------------------------------------------------------------


def wrong_runtime_env(value: Any) -> str | None:
    """What is wrong with the `runtime_env` of a task or an actor. Raises what Ray raises, or NotImplementedError."""
    env = RuntimeEnv(**value)
    _refuse_unsupported(env)
    for path in [env.get("working_dir"), *env.get("py_modules", ())]:
        if path is not None and not is_uri(path):
            return (
                f"{path} is not a valid URI. Passing directories or modules to be dynamically uploaded is only "
                "supported at the job level (i.e., passed to `minray.init`)."
            )
        if path is not None and not path.startswith(("file://", "package://")):
            raise NotImplementedError(f"minray does not fetch {path}: only file:// URIs are supported.")
    return None


def _refuse_unsupported(env: Mapping[str, Any]) -> None:
    for field in _UNSUPPORTED:
        if env.get(field):
            if field in ("pip", "uv") and _is_installed(env[field]):
                continue
            raise NotImplementedError(
                f"minray does not carry out runtime_env['{field}']: its workers have the packages and the interpreter "
                f"of the driver. {_SUPPORTED}"
            )


def _is_installed(requirements: Any) -> bool:
    """Whether workers have all of these packages anyway: they have what the driver has."""
    if isinstance(requirements, dict):
        requirements = requirements.get("packages")
    return isinstance(requirements, list) and all(_has(requirement) for requirement in requirements)


def _has(requirement: Any) -> bool:
    """Whether a package, ``"name"`` or ``"name==version"``, is installed."""
    if not isinstance(requirement, str):
        return False
    from importlib import metadata

    name, _, version = requirement.partition("==")
    try:
        return metadata.version(name.strip()) == version.strip() or not version
    except (metadata.PackageNotFoundError, ValueError):  # what has extras or other bounds is no name of a package
        return False


def of_call(session: Session, chosen: Mapping[str, Any]) -> str:
    """What `Terms.env` is for a call with this (checked) `runtime_env`: "" for the job's environment.

    TypeError: something that is not JSON. NotImplementedError: threads, which cannot have environments of their own.
    """
    merged = dumps(merge(json.loads(session.runtime_env), RuntimeEnv(**chosen)))
    if merged == session.runtime_env:
        return session.env
    if session.in_process:
        raise NotImplementedError(
            f"The threads backend cannot give a task or an actor a runtime_env of its own ({dict(chosen)!r}): "
            "environment variables, current directory and modules are the process's. Give it to "
            "minray.init(runtime_env=...), or use init(backend='loky')."
        )
    return merged


def merge(parent: Mapping[str, Any], child: Mapping[str, Any]) -> dict[str, Any]:
    """The environment of what `parent` makes and `child` was chosen for: field by field, and variable by variable."""
    merged = {**parent, **child}
    env_vars = {**parent.get("env_vars", {}), **child.get("env_vars", {})}
    if env_vars:
        merged["env_vars"] = env_vars
    return merged


def dumps(env: Mapping[str, Any]) -> str:
    """As JSON, without what makes no difference."""
    return json.dumps({key: value for key, value in env.items() if key not in ("config", "excludes")}, sort_keys=True)


def shown(runtime_env: str) -> str:
    """What users see of it."""
    env = json.loads(runtime_env)
    env.pop(_HOOK, None)
    return json.dumps(env, sort_keys=True)


# --- In the driver: packing --------------------------------------------------------------------------------------


def check_job(env: Any) -> None:
    """Check the `runtime_env` of a job. Raises what Ray raises, or NotImplementedError."""
    if not isinstance(env, Mapping):
        raise TypeError(f"runtime_env must be a dict or a RuntimeEnv, got: {env!r}.")
    env = dict(env)
    working_dir, modules = env.pop("working_dir", None), env.pop("py_modules", None)
    _refuse_unsupported(RuntimeEnv(**env))
    if working_dir is not None:
        if not isinstance(working_dir, (str, Path)):
            raise TypeError(
                f"working_dir must be a string or Path (either a local path or remote URI), got {type(working_dir)}."
            )
        _check_local(str(working_dir), "directory {} must be an existing directory or a supported archive", ARCHIVES)
    if modules is not None:
        if not isinstance(modules, list):
            raise TypeError(
                f"py_modules must be a List of local paths, imported modules, or URIs, got {type(modules)}."
            )
        for module in modules:
            if not isinstance(module, (str, Path, ModuleType)):
                raise TypeError(
                    f"py_modules must be a list of file paths, URIs, or imported modules, got {type(module)}."
                )
            path = _path_of(module)
            _check_local(
                path, "py_modules entry must be a directory or a file; got {}, but supported are", (".py", ".whl")
            )
    hook = env.get("worker_process_setup_hook")
    if hook is not None and not callable(hook) and not isinstance(hook, str):
        raise TypeError(f"worker_process_setup_hook must be a function, got {type(hook)}.")


def _check_local(path: str, words: str, endings: tuple[str, ...]) -> None:
    if is_uri(path):
        if not path.startswith("file://"):
            raise NotImplementedError(f"minray does not fetch {path}: only paths and file:// URIs are supported.")
    elif not os.path.isdir(path) and not (os.path.isfile(path) and path.endswith(endings)):
        raise ValueError(f"{words.format(path)} ({', '.join(endings)})")


def _path_of(module: Any) -> str:
    if isinstance(module, ModuleType):
        if hasattr(module, "__path__"):
            return str(next(iter(module.__path__)))
        return str(module.__file__)
    return str(module)


def of_job(env: Mapping[str, Any], directory: str | None) -> str:
    """The (checked) `runtime_env` of a job as JSON, local files being packed into `directory`.

    `directory` None: workers are threads of this process, which see the files as they are. ValueError: too large.
    """
    packed = {key: value for key, value in env.items() if value is not None}
    excludes = packed.get("excludes") or []
    if directory is not None:
        pack = Packer(directory, excludes)
        if "working_dir" in packed:
            packed["working_dir"] = pack(str(packed["working_dir"]))
        if "py_modules" in packed:
            packed["py_modules"] = [pack(_path_of(module), inside=True) for module in packed["py_modules"]]
    else:
        if "working_dir" in packed:
            packed["working_dir"] = str(packed["working_dir"])
        if "py_modules" in packed:
            packed["py_modules"] = [_path_of(module) for module in packed["py_modules"]]
    hook = packed.get("worker_process_setup_hook")
    if callable(hook):
        import cloudpickle

        packed["worker_process_setup_hook"] = getattr(hook, "__name__", repr(hook))
        packed[_HOOK] = base64.b64encode(cloudpickle.dumps(hook)).decode()
    return dumps(packed)


# --- In a worker: putting it on ----------------------------------------------------------------------------------


def put_on(runtime_env: str, directory: str) -> None:
    """Make this process what the environment says. RuntimeEnvSetupError: that failed."""
    try:
        env = json.loads(runtime_env)
        for name, text in env.get("env_vars", {}).items():
            os.environ[name] = os.path.expandvars(text)
        working_dir = env.get("working_dir")
        paths = [_find(module, directory) for module in env.get("py_modules", ())]
        if working_dir is not None:
            found = _find(working_dir, directory)
            os.chdir(found)
            paths.append(found)
        if paths:
            sys.path[:0] = paths
            before = os.environ.get("PYTHONPATH")
            os.environ["PYTHONPATH"] = os.pathsep.join([*paths, before] if before else paths)
        run_hook(env)
    except Exception as error:  # whatever the user's files and functions do
        raise RuntimeEnvSetupError(f"{type(error).__name__}: {error}") from error


def _find(name: str, directory: str) -> str:
    """The directory of a package, or of what a ``file://`` URI names, which is unpacked here."""
    if name.startswith("package://"):
        return package_path(directory, name)
    archive = name.removeprefix("file://")
    status = os.stat(archive)
    target = package_path(directory, digest(f"{archive} {status.st_mtime_ns} {status.st_size}".encode()).hex())
    os.makedirs(os.path.dirname(target), exist_ok=True)
    unpack(archive, target)
    inside = os.listdir(target)
    if len(inside) == 1 and os.path.isdir(os.path.join(target, inside[0])) and not archive.endswith(".whl"):
        return os.path.join(target, inside[0])  # as Ray does with what it fetches: the folder that was packed
    return target


def run_hook(env: Mapping[str, Any]) -> None:
    """Run what is to run in each new worker."""
    if _HOOK in env:
        import cloudpickle

        cloudpickle.loads(base64.b64decode(env[_HOOK]))()
    elif env.get("worker_process_setup_hook"):
        module, _, function = env["worker_process_setup_hook"].rpartition(".")
        getattr(importlib.import_module(module), function)()


# --- In the driver, where workers are its threads ------------------------------------------------------------------


def lend_process(runtime_env: str) -> Callable[[], None]:
    """Give this process the environment of a job whose workers are its threads; returns how to take it back.

    NotImplementedError: another current directory, which the driver's own code would be in, too. What its
    `worker_process_setup_hook` raises passes, and leaves nothing of the environment.
    """
    env = json.loads(runtime_env)
    working_dir = env.get("working_dir")
    if working_dir is not None and os.path.realpath(working_dir) != os.path.realpath("."):
        raise NotImplementedError(
            f"The threads backend cannot make {working_dir} the working_dir of tasks: they share the current directory "
            f"of the process, {os.getcwd()}. Use os.chdir({working_dir!r}) before, or init(backend='loky')."
        )
    before = {name: os.environ.get(name) for name in env.get("env_vars", {})}
    paths = [*_import_paths(env.get("py_modules", ())), *([os.getcwd()] if working_dir is not None else [])]

    def undo() -> None:
        for name, text in before.items():
            if text is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = text
        for path in paths:
            if path in sys.path:
                sys.path.remove(path)

    try:
        for name, text in env.get("env_vars", {}).items():
            os.environ[name] = os.path.expandvars(text)
        sys.path[:0] = paths
        run_hook(env)
    except BaseException:
        undo()
        raise
    return undo


def _import_paths(modules: list[str]) -> Iterator[str]:
    for module in modules:
        if is_uri(module):
            raise NotImplementedError(
                f"The threads backend does not unpack {module}. Name a directory in py_modules, or use loky."
            )
        yield module if module.endswith(".whl") else os.path.dirname(os.path.abspath(module))
