"""How old a release is, as a whole number that grows: what a site compares against downgrade.

A site without a clock that is right and without a network knows no dates; it remembers the counter
of what it installed. Most versions already say their order, so the counter is derived from them.
"""

from __future__ import annotations

import re

MAX_COUNTER = (1 << 53) - 1  # what every JSON reader keeps exactly (RFC 8259 §6)
_PART = 100_000
_ORDERED = re.compile(
    r"v?(?P<major>[0-9]{1,4})(?:\.(?P<minor>[0-9]{1,5}))?(?:\.(?P<patch>[0-9]{1,5}))?"
    r"(?P<pre>-[0-9A-Za-z.-]+)?"
)


def counter_of(version: str) -> int | None:
    """1.4.0 → 1 00004 00000 9 without the spaces; a pre-release such as 1.4.0-rc1 ends with 0.

    At most three numbers, so years work as well (2026.11.27). None for a version
    that says no order, such as `nightly`: its release needs a counter of its own.
    """
    found = _ORDERED.fullmatch(version)
    if not found:
        return None
    major, minor, patch = (int(found[part] or 0) for part in ("major", "minor", "patch"))
    last = 0 if found["pre"] else 9
    return ((major * _PART + minor) * _PART + patch) * 10 + last
