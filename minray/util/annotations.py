"""Decorators that say how stable an interface is: `PublicAPI`, `DeveloperAPI`, `Deprecated`.

Each adds a line to the docstring of what it decorates, and marks it with `_annotated`, its name, `_annotated_type`, an
`AnnotationType`, and `_annotated_api_group`. Only
``Deprecated(warning=True)`` changes what a call does: it warns first.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable
from enum import Enum
from typing import Any


class AnnotationType(Enum):
    """What something was decorated as."""

    PUBLIC_API = "PublicAPI"
    DEVELOPER_API = "DeveloperAPI"
    DEPRECATED = "Deprecated"
    UNKNOWN = "Unknown"


class RayDeprecationWarning(DeprecationWarning):
    """Something that Ray deprecates was used."""


def PublicAPI(*args: Any, **kwargs: Any) -> Any:  # noqa: N802
    """``@PublicAPI`` or ``@PublicAPI(stability="stable" | "beta" | "alpha", api_group=...)``: users may rely on it.

    AssertionError: another stability.
    """
    if len(args) == 1 and not kwargs and callable(args[0]):
        return PublicAPI()(args[0])
    stability = kwargs.get("stability", "stable")
    assert stability in ("stable", "beta", "alpha"), stability

    def annotate(obj: Any) -> Any:
        if stability != "stable":
            _add_to_doc(
                obj, f"**PublicAPI ({stability}):** This API is in {stability} and may change before becoming stable."
            )
        _mark(obj, AnnotationType.PUBLIC_API, kwargs.get("api_group", "Others"))
        return obj

    return annotate


def DeveloperAPI(*args: Any, **kwargs: Any) -> Any:  # noqa: N802
    """``@DeveloperAPI``: for authors of libraries; it may change with a minor version."""
    if len(args) == 1 and not kwargs and callable(args[0]):
        return DeveloperAPI()(args[0])

    def annotate(obj: Any) -> Any:
        _add_to_doc(obj, "**DeveloperAPI:** This API may change across minor Ray releases.")
        _mark(obj, AnnotationType.DEVELOPER_API)
        return obj

    return annotate


def Deprecated(*args: Any, **kwargs: Any) -> Any:  # noqa: N802
    """``@Deprecated`` or ``@Deprecated(message=..., warning=True)``: it will go; with `warning` each use says so.

    ValueError: another keyword.
    """
    if len(args) == 1 and not kwargs and callable(args[0]):
        return Deprecated()(args[0])
    unknown = kwargs.keys() - {"message", "warning"}
    if unknown:
        raise ValueError(f"Unknown kwargs: {sorted(unknown)}")
    message = kwargs.get("message")

    def annotate(obj: Any) -> Any:
        lines = ["**DEPRECATED**: This API is deprecated and may be removed in future Ray releases."]
        _add_to_doc(obj, "\n".join([*lines, message] if message else lines), ".. warning::")
        _mark(obj, AnnotationType.DEPRECATED)
        return _warning(obj, message) if kwargs.get("warning") else obj

    return annotate


def warn_deprecated(message: str | None, stacklevel: int = 2) -> None:
    """Warn the caller's caller (`stacklevel` 2) of what it uses."""
    text = (
        "This API is deprecated and may be removed in future Ray releases. You could suppress this warning by setting "
        'env variable PYTHONWARNINGS="ignore::DeprecationWarning"'
    )
    warnings.warn(f"{text}\n{message}" if message else text, RayDeprecationWarning, stacklevel=stacklevel + 1)


def _warning(obj: Any, message: str | None) -> Any:
    target: Callable[..., Any] = obj.__init__ if inspect.isclass(obj) else obj

    @functools.wraps(target)
    def warn(*args: Any, **kwargs: Any) -> Any:
        warn_deprecated(message)
        return target(*args, **kwargs)

    if inspect.isclass(obj):
        obj.__init__ = warn  # type: ignore[method-assign]
        return obj
    return warn


def _add_to_doc(obj: Any, text: str, directive: str = "") -> None:
    doc = (obj.__doc__ or "").rstrip()
    indented = [line for line in doc.split("\n")[1:] if line.strip()]
    margin = min((line[: len(line) - len(line.lstrip())] for line in indented), key=len, default="")
    lines = text.split("\n")
    if directive:
        lines = [directive, *("    " + line for line in lines)]
    obj.__doc__ = doc + "\n\n" + "\n".join(margin + line for line in lines) + "\n" + margin


def _mark(obj: Any, kind: AnnotationType, api_group: str = "Others") -> None:
    if hasattr(obj, "__name__"):  # a property has none, and takes no attributes
        obj._annotated = obj.__name__
        obj._annotated_type = kind
        obj._annotated_api_group = api_group


def _is_annotated(obj: Any) -> bool:
    """Whether it was decorated itself, not the class that it derives from."""
    return bool(getattr(obj, "_annotated", None) == obj.__name__)


def _get_annotation_type(obj: Any) -> str | None:
    """As what it was decorated: "PublicAPI", "DeveloperAPI", "Deprecated", or None."""
    return obj._annotated_type.value if _is_annotated(obj) else None
