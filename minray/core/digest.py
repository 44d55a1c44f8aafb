"""What content is known by: code, and the constant parts of calls."""

from __future__ import annotations

try:
    from _blake2 import blake2b  # hashlib's own, without the 3 to 5 ms that hashlib takes to load OpenSSL
except ImportError:
    from hashlib import blake2b


def digest(data: bytes) -> bytes:
    """16 bytes that stand for `data`: equal for equal content, in every process."""
    return blake2b(data, digest_size=16).digest()
