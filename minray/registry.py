"""Which backend serves a run: names, addresses, and the entry points behind them.

A backend is a package that declares an entry point in the group ``minray.backends``; the entry point is a callable that
makes the pool or the engine. Nothing in `minray` imports a backend by name.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

GROUP = "minray.backends"
DEFAULT = "loky"

#: The backends that come with minray, and the extra that installs what each needs.
EXTRAS: dict[str, str] = {
    "threads": "minray",
    "loky": "minray",
    "ssh": "minray",
    "sim": "minray",
    "ray": "minray[ray]",
    "dask": "minray[dask]",
}

#: Those that have no address.
HERE = ("threads", "loky", "sim")


def choose(backend: str | None, address: str | None, local_mode: bool = False) -> tuple[str, str | None]:
    """The name of the backend for these arguments of `init`, and the address to give it.

    What is named counts, `MINRAY_BACKEND` and `MINRAY_ADDRESS` standing in for arguments that are not given; if no
    backend is named, the form of the address tells it; if there is no address either, it is loky. ValueError: the two
    contradict each other, or no backend takes such an address.
    """
    replayed = "sim" if os.environ.get("MINRAY_REPLAY") else None
    named = backend or replayed or ("threads" if local_mode else os.environ.get("MINRAY_BACKEND") or None)
    if local_mode and named != "threads":
        raise ValueError(
            f"local_mode=True means backend='threads', but backend={backend!r} was given. Leave one of them out."
        )
    if address is None and backend is None:
        address = os.environ.get("MINRAY_ADDRESS") or None
    if address in (None, "local"):
        return named or DEFAULT, None
    if address == "auto" and named in HERE:
        return named, None  # Ray's word for the cluster of this machine: here it is made on the spot
    implied = _backend_of(address)
    if named in EXTRAS and implied not in (None, named):
        raise ValueError(
            f"The address {address!r} belongs to the {implied} backend, but the backend is {named!r}. Give only one of "
            "them (see also the environment variables MINRAY_BACKEND and MINRAY_ADDRESS)."
        )
    if named in HERE:
        raise ValueError(
            f"The backend {named!r} runs on this machine and takes no address, but {address!r} was given. Leave it out "
            "(see also the environment variables MINRAY_BACKEND and MINRAY_ADDRESS)."
        )
    if named is None and implied is None:
        raise ValueError(
            f"No backend takes the address {address!r}. Use 'ssh://user@host1,user@host2', 'ray://host:port' or 'auto' "
            "(ray), 'tcp://host:port' (dask), or name the backend: init(backend=..., address=...)."
        )
    return named or implied or DEFAULT, address


def _backend_of(address: str | None) -> str | None:
    if address is None:
        return None
    if address == "auto":
        return "ray"
    return {"ssh": "ssh", "ray": "ray", "tcp": "dask", "tls": "dask"}.get(address.partition("://")[0])


def load(name: str) -> Callable[..., Any]:
    """The callable that makes the pool or engine of the backend `name`.

    Raises ValueError for a name that nobody knows, ImportError for a backend that is planned, or that is installed but
    cannot be imported (with its cause, and the extra that it may need).
    """
    installed = _own_entry_points()
    if name not in installed:
        from importlib.metadata import entry_points  # takes 10 to 20 ms to import

        installed.update((point.name, point.value) for point in entry_points(group=GROUP))
    if name in installed:
        try:
            return _import(installed[name])
        except Exception as error:
            extra = EXTRAS.get(name, "minray")
            raise ImportError(
                f"The backend {name!r} is installed ({installed[name]}) but could not be loaded: {error}. "
                f"Does it need a package that is missing? Try: pip install {extra!r}"
            ) from error
    if not any(own in installed for own in EXTRAS):
        raise ImportError(
            f"The backend {name!r} cannot be found, because minray itself is not installed: this is a bare checkout. "
            "Backends are found through entry points, so install it first: pip install -e ."
        )
    has = ", ".join(sorted(installed))
    if name in EXTRAS:
        raise ImportError(
            f"The backend {name!r} is planned, and not in this version of minray, which has: {has}. Choose one of "
            "these: MINRAY_BACKEND=loky, or init(backend='loky')."
        )
    raise ValueError(f"There is no backend {name!r}. Installed are: {has}.")


def _own_entry_points() -> dict[str, str]:
    """The entry points of minray's own distribution, read where it is installed: a millisecond instead of twenty."""
    for directory in sys.path:
        try:
            names = os.listdir(directory or os.curdir)
        except OSError:
            continue
        for name in names:
            if name.startswith("minray-") and name.endswith(".dist-info"):
                try:
                    with open(os.path.join(directory, name, "entry_points.txt"), encoding="utf-8") as file:
                        return _section(file.read(), GROUP)
                except OSError:
                    continue
    return {}


def _section(text: str, group: str) -> dict[str, str]:
    """One section of an entry_points.txt: names and values."""
    _, _, rest = text.partition(f"[{group}]\n")
    lines = rest.partition("\n[")[0].splitlines()
    return {name.strip(): value.strip() for name, found, value in (line.partition("=") for line in lines) if found}


def _import(value: str) -> Callable[..., Any]:
    """The object that an entry point's value (``"package.module:name"``) says."""
    from importlib import import_module

    module, _, attribute = value.partition(":")
    factory: Callable[..., Any] = getattr(import_module(module), attribute)
    return factory
