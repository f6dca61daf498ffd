"""asyncio without `ssl`, where no TLS is spoken: OpenSSL takes a tenth of a small server's memory
and of its start.

asyncio takes a Python without `ssl` as it is ("try: import ssl"), so it is shown one. Whatever
imports `ssl` later finds it as ever.
"""

from __future__ import annotations

import sys


def load_without_tls() -> None:
    """Load asyncio, unless that has happened or `ssl` is there already."""
    if "asyncio" in sys.modules or "ssl" in sys.modules:
        return
    sys.modules["ssl"] = None  # type: ignore[assignment]
    try:
        import asyncio  # noqa: F401
    except ImportError:
        # Another asyncio than we know: it is loaded with everything when it is asked for.
        for name in [name for name in sys.modules if name.partition(".")[0] == "asyncio"]:
            del sys.modules[name]
    finally:
        del sys.modules["ssl"]
