"""Packing files for workers: copies of directories and contents of archives, in the run's private directory."""

from __future__ import annotations

import fnmatch
import os
import shutil
from collections.abc import Callable
from typing import Any

from minray.runtime_env import is_uri

#: Never copied with a working directory, as in Ray.
_NEVER_COPIED = (".git", ".venv", "venv", "__pycache__")
_IGNORE_FILES = (".gitignore", ".rayignore")
#: Ray's limit for what is packed.
_MAX_BYTES = 512 * 2**20


class Packer:
    """Copies files into the run's directory, each package under a number of its own."""

    def __init__(self, directory: str, excludes: list[str]) -> None:
        self._directory = directory
        self._excludes = excludes
        self._number = 0
        self._bytes = 0

    def __call__(self, path: str, inside: bool = False) -> str:
        """Pack a directory or unpack an archive; returns the name of the package. `inside`: it is the directory of a
        Python package, which keeps its name."""
        if is_uri(path):
            return path
        self._number += 1
        target = package_path(self._directory, f"package://{self._number}")
        self._bytes = 0
        if os.path.isdir(path):
            ignored = _ignored(path, self._excludes)
            where = os.path.join(target, os.path.basename(os.path.abspath(path))) if inside else target
            shutil.copytree(path, where, ignore=self._counting(path, ignored))
        elif path.endswith(".py"):
            os.makedirs(target)
            shutil.copy(path, target)
        else:
            unpack(path, target)
        return f"package://{self._number}"

    def _counting(self, root: str, ignored: Callable[[str], bool]) -> Callable[[str, list[str]], list[str]]:
        def ignore(directory: str, names: list[str]) -> list[str]:
            left_out = []
            for name in names:
                path = os.path.join(directory, name)
                if ignored(os.path.relpath(path, root)) or not (os.path.isdir(path) or os.path.isfile(path)):
                    left_out.append(name)
                elif not os.path.isdir(path):
                    self._bytes += os.path.getsize(path)
                    if self._bytes > _MAX_BYTES:
                        raise ValueError(
                            f"{root} has more than {_MAX_BYTES >> 20} MiB: name what is not needed in "
                            "runtime_env['excludes'], in .gitignore or in .rayignore."
                        )
            return left_out

        return ignore


def _ignored(root: str, excludes: list[str]) -> Callable[[str], bool]:
    """Whether a path below `root` is not to be copied: by the patterns of .gitignore (those at the top)."""
    patterns = [*_NEVER_COPIED, *excludes]
    for name in _IGNORE_FILES:
        path = os.path.join(root, name)
        if os.path.isfile(path):
            with open(path) as file:
                patterns += [line.strip() for line in file if line.strip() and not line.startswith("#")]

    def ignored(relative: str) -> bool:
        result = False
        for pattern in patterns:
            kept = pattern.startswith("!")
            if _matches(relative, pattern.removeprefix("!"), root):
                result = not kept
        return result

    return ignored


def _matches(relative: str, pattern: str, root: str) -> bool:
    if pattern.endswith("/") and not os.path.isdir(os.path.join(root, relative)):
        return False
    pattern = pattern.rstrip("/").removeprefix("./")
    if os.path.isabs(pattern) and pattern.startswith(root.rstrip("/") + "/"):
        pattern = "/" + os.path.relpath(pattern, root)
    if "/" in pattern:
        return fnmatch.fnmatch(relative, pattern.removeprefix("/").removeprefix("**/"))
    return fnmatch.fnmatch(os.path.basename(relative), pattern)


def package_path(directory: str, name: str) -> str:
    """Where a package is."""
    return os.path.join(directory, "packages", name.removeprefix("package://"))


def unpack(archive: str, target: str) -> None:
    """Unpack into `target`, all or nothing: several workers may be at it. Plain files only leave `target`'s inside."""
    import tarfile
    import zipfile

    if os.path.isdir(target):
        return
    partial = f"{target}.{os.getpid()}"
    if archive.endswith((".zip", ".whl")):
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(partial)
    else:
        with tarfile.open(archive) as packed_tar:
            safe: Any = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            packed_tar.extractall(partial, **safe)
    try:
        os.rename(partial, target)
    except OSError:  # somebody else was faster
        shutil.rmtree(partial, ignore_errors=True)
