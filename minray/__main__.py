"""``python -m minray run script.py [args]``: run a program for Ray, as it is, on minray."""

from __future__ import annotations

import argparse
import os
import sys
from importlib.util import find_spec
from types import CodeType, ModuleType
from typing import Any

import minray


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and run the program; its exceptions and exits pass."""
    parser = argparse.ArgumentParser(prog="python -m minray", description="Ray's core API, without Ray's weight.")
    parser.add_argument("--version", action="version", version=minray.__version__)
    commands = parser.add_subparsers(required=True, metavar="command")
    run = commands.add_parser(
        "run",
        help="run a program that imports ray, with minray in Ray's place",
        description="Run a program that imports ray, with minray in Ray's place. On which backend, the environment "
        "variable MINRAY_BACKEND says.",
    )
    run.add_argument("-m", dest="module", action="store_true", help="PROGRAM is the name of a module, not of a file")
    run.add_argument("program", metavar="PROGRAM", help="a file, or with -m a module")
    run.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...", help="what the program is given")
    options = parser.parse_args(arguments)
    minray.install_as_ray()
    if options.module:
        sys.path[0] = os.getcwd()
        code, about = _load_module(options.program, parser)
    else:
        sys.path[0] = os.path.dirname(os.path.abspath(options.program))
        code, about = _load_file(options.program, parser)
    sys.argv = [about["__file__"] if options.module else options.program, *options.arguments]
    program = ModuleType("__main__")
    vars(program).update(about, __builtins__=__builtins__)
    sys.modules["__main__"] = program  # and it stays: what is in it is pickled until the very end
    exec(code, vars(program))


def _load_file(path: str, parser: argparse.ArgumentParser) -> tuple[CodeType, dict[str, Any]]:
    try:
        with open(path, "rb") as file:
            return compile(file.read(), path, "exec"), {"__file__": path, "__spec__": None, "__package__": None}
    except OSError as error:
        parser.error(f"cannot read {path}: {error.strerror}")


def _load_module(name: str, parser: argparse.ArgumentParser) -> tuple[CodeType, dict[str, Any]]:
    try:
        spec = find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            spec = find_spec(f"{name}.__main__")
    except ModuleNotFoundError as error:
        parser.error(str(error))
    loader: Any = None if spec is None else spec.loader
    code = loader.get_code(spec.name) if spec is not None and hasattr(loader, "get_code") else None
    if spec is None or code is None:
        parser.error(f"no module named {name} that can be run")
    about = {"__file__": spec.origin, "__spec__": spec, "__package__": spec.parent, "__loader__": loader}
    return code, about


if __name__ == "__main__":
    main()
