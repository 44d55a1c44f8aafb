"""`Counter`, `Gauge` and `Histogram`: what a program tells of itself, for Prometheus. Ray's `ray.util.metrics`.

They can be made and used in drivers, tasks and actors. What has the same name and tags is one value, wherever it was
recorded: counters and histograms are added up, and a gauge has what was set last. The driver's process has all of it,
what a call records at the latest when its result is there.

How it gets out: ``minray.init(_metrics_export_port=9090)`` serves it at ``http://127.0.0.1:9090/metrics`` until the run
ends; or give `registry()` to `prometheus_client` yourself (``generate_latest(registry())``). Names are exported with
``ray_`` in front, as in Ray, so that dashboards made for Ray find them.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, cast

from minray.measures import COUNTER, GAUGE, HISTOGRAM, OWN, Kind
from minray.session import current
from minray.util.annotations import DeveloperAPI

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

__all__ = ["Counter", "Gauge", "Histogram", "Metric", "registry", "serve"]

#: What Prometheus takes for a metric's name.
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_PREFIX = "ray_"


@DeveloperAPI
class Metric:
    """What the three have in common.

    Args:
        name: Letters, digits and ``_``, no digit first. With another one a UserWarning is given and nothing recorded.
        description: What it says, in words.
        tag_keys: The names of the tags that every record has to have.

    Raises ValueError for an empty name, TypeError for what is no tuple of strings. Pickled, a metric keeps all but its
    default tags, as in Ray.
    """

    _kind = ""

    def __init__(self, name: str, description: str = "", tag_keys: tuple[str, ...] | None = None) -> None:
        self._valid = _is_valid(name)
        tag_keys = tag_keys or ()
        if not isinstance(tag_keys, tuple):
            raise TypeError(f"tag_keys should be a tuple type, got: {type(tag_keys)}")
        for key in tag_keys:
            if not isinstance(key, str):
                raise TypeError(f"Tag keys must be str, got {type(key)}.")
        if not isinstance(description, str):
            raise TypeError(f"The description of a metric must be str, got {type(description)}.")
        self._name = name
        self._description = description
        self._tag_keys = tag_keys
        self._default_tags: dict[str, str] = {}
        self._metric = Kind(self._kind, str(name), str(description), ())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._name, self._description, self._tag_keys)

    def set_default_tags(self, default_tags: dict[str, str]) -> Metric:
        """Use these tags where a record has no others; return the metric itself.

        Raises ValueError for a tag that is not among `tag_keys`, TypeError for a value that is no string.
        """
        for key, value in default_tags.items():
            if key not in self._tag_keys:
                raise ValueError(f"Unrecognized tag key {key}.")
            _check_tag(value)
        self._default_tags = default_tags
        return self

    @property
    def info(self) -> dict[str, Any]:
        """`name`, `description`, `tag_keys`, `default_tags`; of a histogram also `boundaries`."""
        return {
            "name": self._name,
            "description": self._description,
            "tag_keys": self._tag_keys,
            "default_tags": self._default_tags,
        }

    def _record(self, value: float, tags: dict[str, str] | None) -> None:
        if not self._valid:
            return
        for tag in (tags or {}).values():
            _check_tag(tag)
        tags = {**self._default_tags, **(tags or {})}
        missing = [key for key in self._tag_keys if key not in tags]
        if missing:
            raise ValueError(f"Missing value for tag key(s): {','.join(missing)}.")
        pairs = tuple(sorted([(str(key), str(tag)) for key, tag in tags.items()]))
        session = current()
        (OWN if session is None else session.measured()).note(self._metric, pairs, float(value))


@DeveloperAPI
class Counter(Metric):
    """Counts what happens: it only grows."""

    _kind = COUNTER

    def inc(self, value: float = 1.0, tags: dict[str, str] | None = None) -> None:
        """Add `value`, which is above 0 (else ValueError); `tags` go before the default tags."""
        _check_number(value)
        if value <= 0:
            raise ValueError(f"value must be >0, got {value}")
        self._record(value, tags)


@DeveloperAPI
class Gauge(Metric):
    """Says how much there is of something: the value that was set last."""

    _kind = GAUGE

    def set(self, value: float | None, tags: dict[str, str] | None = None) -> None:
        """Set the value; None changes nothing. `tags` go before the default tags."""
        if value is None:
            return
        _check_number(value)
        self._record(value, tags)


@DeveloperAPI
class Histogram(Metric):
    """Says how values are distributed.

    Args:
        boundaries: The upper ends of the buckets, above 0 and in any order (else ValueError). There is one more, for
            what is above them all.
    """

    _kind = HISTOGRAM

    def __init__(
        self,
        name: str,
        description: str = "",
        boundaries: list[float] | None = None,
        tag_keys: tuple[str, ...] | None = None,
    ) -> None:
        super().__init__(name, description, tag_keys)
        if boundaries is None or len(boundaries) == 0:
            raise ValueError(
                "boundaries argument should be provided when using the Histogram class. e.g., "
                'Histogram("name", boundaries=[1.0, 2.0])'
            )
        for index, boundary in enumerate(boundaries):
            if boundary <= 0:
                raise ValueError(
                    f"Invalid `boundaries` argument at index {index}, {boundaries}. Use positive values for the "
                    "arguments."
                )
        self.boundaries = boundaries
        self._metric = self._metric._replace(boundaries=tuple(sorted({float(end) for end in boundaries})))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._name, self._description, self.boundaries, self._tag_keys)

    def observe(self, value: float, tags: dict[str, str] | None = None) -> None:
        """Add `value` to the bucket that it falls into; `tags` go before the default tags."""
        _check_number(value)
        self._record(value, tags)

    @property
    def info(self) -> dict[str, Any]:
        """As of every metric, and the `boundaries`."""
        return {**super().info, "boundaries": self.boundaries}


def _is_valid(name: str) -> bool:
    if len(name) == 0:
        raise ValueError("Empty name is not allowed. Please provide a metric name.")
    if not _NAME.fullmatch(name):
        warnings.warn(
            f"Invalid metric name: {name}. Metric will be discarded and data will not be collected or published. "
            "Metric names can only contain letters, numbers, _, and :. Metric names cannot start with numbers.",
            UserWarning,
            stacklevel=3,
        )
        return False
    if ":" in name:
        warnings.warn(
            f"Metric name {name} contains a : character, which is no longer allowed. Ray has announced that this "
            "will be an error.",
            FutureWarning,
            stacklevel=3,
        )
    return True


def _check_number(value: Any) -> None:
    if not isinstance(value, (int, float)):
        raise TypeError(f"value must be int or float, got {type(value)}.")


def _check_tag(value: Any) -> None:
    if not isinstance(value, str):
        raise TypeError(f"Tag values must be str, got {type(value)}.")


# -- the way out --------------------------------------------------------------------------------------------------


class _Collector:
    """What has come so far, in the form that `prometheus_client` asks for."""

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import Metric as Family

        family = None
        for (kind, name, tags), description, boundaries, value in OWN.sums():
            exported = _PREFIX + (name.removesuffix("_total") if kind == COUNTER else name)
            if family is None or (family.type, family.name) != (kind, exported):
                if family is not None:
                    yield family
                family = Family(exported, description, kind)
            labels = dict(tags)
            if kind == COUNTER:
                family.add_sample(f"{exported}_total", labels, value)
            elif kind == GAUGE:
                family.add_sample(exported, labels, value)
            else:
                total, *buckets = value
                below = 0
                for end, number in zip([*map(str, boundaries), "+Inf"], buckets):
                    below += number
                    family.add_sample(f"{exported}_bucket", {**labels, "le": end}, below)
                family.add_sample(f"{exported}_count", labels, below)
                family.add_sample(f"{exported}_sum", labels, total)
        if family is not None:
            yield family


def registry() -> CollectorRegistry:
    """All that this driver and its workers have recorded, for `prometheus_client`: ``generate_latest(registry())``.

    It is asked anew for each export. RuntimeError: in a worker, which knows nothing of the others; ImportError:
    `prometheus_client` is not installed.
    """
    session = current()
    if session is not None and session.in_worker:
        raise RuntimeError("Metrics are exported by the driver: call minray.util.metrics.registry() there.")
    try:
        from prometheus_client import CollectorRegistry
    except ImportError as error:
        raise ImportError(
            "Exporting metrics needs prometheus_client, which is not installed: pip install 'minray[metrics]'."
        ) from error
    found = CollectorRegistry(auto_describe=False)
    found.register(cast(Any, _Collector()))  # it is one by its method
    return found


def serve(port: int) -> Callable[[], None]:
    """Serve `registry()` at ``http://127.0.0.1:port/metrics``, for this machine alone; return what ends that.

    Port 0 means any that is free: ``minray.nodes()[0]["MetricsExportPort"]`` tells which. OSError: it is taken.
    """
    content = registry()
    from prometheus_client import start_http_server

    server, thread = start_http_server(port, addr="127.0.0.1", registry=content)
    OWN.port = server.server_port

    def stop() -> None:
        OWN.port = 0
        server.shutdown()
        server.server_close()
        thread.join()

    return stop
