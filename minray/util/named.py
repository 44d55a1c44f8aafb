"""Looking around in a run: the names of its actors, the address of its node."""

from __future__ import annotations

import os
import socket
from typing import Any

from minray.session import ensure


def list_named_actors(all_namespaces: bool = False) -> list[Any]:
    """The names of the living actors that have one.

    Of this namespace, as strings; with `all_namespaces` of all, as ``{"namespace": ..., "name": ...}``.
    """
    found = ensure().ask("named_actors", all_namespaces)
    if all_namespaces:
        return [{"namespace": namespace, "name": name} for namespace, name in found]
    return [name for _, name in found]


def get_node_ip_address(address: str = "8.8.8.8:53") -> str:
    """The address by which this machine would reach `address`, ``"host:port"``. Nothing is sent to it."""
    host, port = address.rsplit(":", 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, int(port)))
            found: str = probe.getsockname()[0]
        except OSError:  # no network
            return "127.0.0.1"
    return found


def get_node_instance_id() -> str:
    """What the cloud calls this machine, if RAY_CLOUD_INSTANCE_ID says so; else an empty string."""
    return os.environ.get("RAY_CLOUD_INSTANCE_ID", "")
