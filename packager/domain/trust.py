"""What the caller brings to a verification: whom to believe, and what happened to keys since."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ANY_RELEASE = "*"


@dataclass(frozen=True, slots=True)
class TrustFiles:
    """Public keys and signed statements as files, all from the caller, none from a release.

    `required` is how many different keys must have signed; `rotations`, `revocations` and `permits`
    are statements that `packager keys rotate`, `revoke` and `allow-rollback` wrote, each signed by
    a key that is trusted; `minimum` maps a release's name (or `*` for any) to the smallest counter
    that is accepted; `minimum_revocations` is the number of the newest revocation list that this
    site has seen; `revoked` are digests of keys that count for nothing by the site's own word.
    """

    keys: tuple[Path, ...]
    required: int = 1
    rotations: tuple[Path, ...] = ()
    revocations: tuple[Path, ...] = ()
    permits: tuple[Path, ...] = ()
    minimum: Mapping[str, int] = field(default_factory=dict)
    minimum_revocations: int = 0
    revoked: tuple[str, ...] = ()
