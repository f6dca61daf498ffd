"""Names that the platforms accept, derived from names that people chose.

Kubernetes: object names are RFC 1123 labels (at most 63 of a-z, 0-9, '-'); a Service's is an RFC
1035 label, which starts with a letter; label values are at most 63 of A-Z, a-z, 0-9, '-', '_', '.'
and start and end with a letter or digit. Compose: a project's name is a-z, 0-9, '-', '_'.
A name that has to be changed carries a digest of the original, so that two never become one.
"""

from __future__ import annotations

import hashlib
import re

_LIMIT = 63
_DIGEST_LENGTH = 8
_NUMBER = r"(?:0|[1-9][0-9]*)"
_MARKS = r"(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_SEMANTIC = re.compile(rf"{_NUMBER}(\.{_NUMBER}){{2}}(-{_MARKS}(\.{_MARKS})*)?")
_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


def dns_label(*parts: str) -> str:
    """The parts as one RFC 1035 label, which every kind of object accepts as its name."""
    wanted = "-".join(parts)
    name = re.sub(r"[^a-z0-9]+", "-", wanted.lower()).strip("-")
    if not name[:1].isalpha():
        name = f"r-{name}".rstrip("-")
    if name == wanted and len(name) <= _LIMIT:
        return name
    return f"{name[: _LIMIT - _DIGEST_LENGTH - 1].rstrip('-')}-{_short_digest(wanted)}"


def instance_name(release: str, jurisdiction: str, hardware: str) -> str:
    """What a target is called at the site: its namespace, Compose project or unit."""
    return dns_label(release, jurisdiction, hardware)


def is_label_value(text: str) -> bool:
    """Whether Kubernetes takes the text as the value of a label, unchanged."""
    return _LABEL_VALUE.fullmatch(text) is not None


def label_value(text: str) -> str:
    """The text as a label's value, for information only: what is matched must not be changed."""
    if is_label_value(text):
        return text
    cleaned = re.sub(r"[^A-Za-z0-9._-]+", "-", text)[: _LIMIT - _DIGEST_LENGTH - 1].strip("._-")
    return f"{cleaned}-{_short_digest(text)}".lstrip("-")


def semantic_version(text: str) -> str:
    """The version as Semantic Versioning has it, which a chart's must be.

    One that is none becomes a pre-release of 0.0.0 that carries it, and its digest.
    """
    if _SEMANTIC.fullmatch(text):
        return text
    cleaned = re.sub(r"[^0-9A-Za-z-]+", "-", text).strip("-") or "0"
    return f"0.0.0-v{cleaned}-{_short_digest(text)}"


def _short_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST_LENGTH]
