"""What this machine has to offer: for backends that run work on it."""

from __future__ import annotations

import os
from contextlib import suppress

from minray.backend import PoolConfig

#: Of the memory that is free, values get this much, as in Ray; tasks and actors may ask for the rest.
_STORE_SHARE = 0.3
#: And no more than this many bytes, unless `init` is told so.
_STORE_MOST = 200 * 10**9
#: Of what is free in shared memory, as much may be filled: others use it too.
_SHARED_SHARE = 0.95
#: Where files are that live in memory.
SHARED_MEMORY = "/dev/shm"


def resources(config: PoolConfig, cpus: int) -> dict[str, float]:
    """The resources of this machine's node: `cpus`, and what `init` was told or is found out."""
    found = {"CPU": float(cpus)}
    gpus = count_gpus() if config.num_gpus is None else config.num_gpus
    if gpus:
        found["GPU"] = float(gpus)
    free = free_memory()
    found["object_store_memory"] = float(store_bytes(config))
    found["memory"] = float(int(free - free * _STORE_SHARE) if config.memory is None else config.memory)
    found.update(config.resources)
    return {name: amount for name, amount in found.items() if amount > 0 or name == "CPU"}


def store_bytes(config: PoolConfig) -> int:
    """How many bytes of memory are for values: what `init` was told, or a share of what is free."""
    if config.object_store_memory is not None:
        return int(config.object_store_memory)
    free = min(int(free_memory() * _STORE_SHARE), _STORE_MOST)
    shared = shared_memory()
    return free if shared is None else min(free, shared)


def shared_memory() -> int | None:
    """How many bytes of shared memory may be filled; None: there is none, or it is of no use."""
    try:
        found = os.statvfs(SHARED_MEMORY)
    except OSError:
        return None
    usable = int(found.f_bavail * found.f_frsize * _SHARED_SHARE)
    return usable if usable >= 1 << 20 and os.access(SHARED_MEMORY, os.W_OK | os.X_OK) else None


def visible_gpus() -> list[str] | None:
    """The GPUs that this process may use, as the environment variable names them; None: it says nothing."""
    text = os.environ.get("CUDA_VISIBLE_DEVICES")
    if text is None:
        return None
    return [] if text in ("", "NoDevFiles") else text.split(",")


def gpu_names() -> list[int | str]:
    """What the GPUs that this process may use are called outside, where that is known: a number, or NVIDIA's UUID."""
    return [int(name) if name.isdigit() else name for name in visible_gpus() or ()]


def count_gpus() -> int:
    """How many GPUs this process may use: those of NVIDIA's driver, less what CUDA_VISIBLE_DEVICES hides."""
    count = 0
    with suppress(OSError):
        count = len(os.listdir("/proc/driver/nvidia/gpus"))
    visible = visible_gpus()
    return count if visible is None else min(count, len(visible))


def free_memory() -> int:
    """Bytes of memory that can be had without swapping, as far as the system tells."""
    with suppress(OSError), open("/proc/meminfo") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    with suppress(OSError, ValueError, AttributeError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 0
