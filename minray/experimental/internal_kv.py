"""Keys and values that all processes of a run share, for libraries that keep small things of their own there.

Keys and values are bytes; text is encoded as UTF-8. They are gone when the run ends.
"""

from __future__ import annotations

from minray.session import current, ensure

Text = str | bytes


def _internal_kv_initialized() -> bool:
    """Whether there is a run to keep things in."""
    return current() is not None


def _internal_kv_get(key: Text, *, namespace: Text | None = None) -> bytes | None:
    """The value of a key; None if there is none."""
    found: bytes | None = ensure().ask("kv_get", _space(namespace), _bytes(key))
    return found


def _internal_kv_exists(key: Text, *, namespace: Text | None = None) -> bool:
    """Whether a key has a value."""
    return _internal_kv_get(key, namespace=namespace) is not None


def _internal_kv_put(key: Text, value: Text, overwrite: bool = True, *, namespace: Text | None = None) -> bool:
    """Give a key a value, unless it has one and `overwrite` is False. Returns whether it had one before."""
    found: bool = ensure().ask("kv_put", _space(namespace), _bytes(key), _bytes(value), overwrite)
    return found


def _internal_kv_del(key: Text, *, del_by_prefix: bool = False, namespace: Text | None = None) -> int:
    """Remove a key, or all that begin with it. Returns how many there were."""
    found: int = ensure().ask("kv_del", _space(namespace), _bytes(key), del_by_prefix)
    return found


def _internal_kv_list(prefix: Text, *, namespace: Text | None = None) -> list[bytes]:
    """All keys that begin with `prefix`."""
    found: list[bytes] = ensure().ask("kv_list", _space(namespace), _bytes(prefix))
    return found


def _bytes(text: Text) -> bytes:
    if isinstance(text, str):
        return text.encode()
    assert isinstance(text, bytes), f"expected a string or bytes, got {text!r}"
    return text


def _space(namespace: Text | None) -> bytes:
    return b"" if namespace is None else _bytes(namespace)
