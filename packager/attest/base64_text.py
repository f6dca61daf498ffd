"""Base64 that has one spelling.

Python's decoder ignores the unused bits of the last character, so several texts give the same
bytes. A signed document must not be changeable without notice, so only the one text that encoding
gives is accepted (RFC 4648 §3.5).
"""

from __future__ import annotations

import base64
import binascii


def encode(data: bytes) -> str:
    """Standard alphabet, padded."""
    return base64.b64encode(data).decode()


def decode(text: object) -> bytes:
    """The bytes. Raises ValueError when `text` is no text or not exactly what `encode` gives."""
    if not isinstance(text, str):
        raise ValueError("not base64")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("not base64") from None
    if encode(data) != text:
        raise ValueError("not the canonical base64 of its bytes")
    return data
