"""numpy and orjson without what they seldom ask for, and numpy without its documentation.

numpy writes the texts that `help` shows when it is loaded, and asks `inspect` for signatures that
`help` shows too. Nobody asks a server for help; both, with the modules that they bring, take a
sixth of the time that numpy and ONNX Runtime take to be loaded where there is no byte code.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from .stand_ins import stand_ins

_DOCUMENTATION = ("numpy._core._add_newdocs", "numpy._core._add_newdocs_scalars")


def system() -> str:
    """What `platform.system` says."""
    return os.uname().sysname


def _as_it_is(documentation: str) -> str:
    return documentation


def _no_signature(_: Any) -> None:
    return None


def load_lean_libraries() -> None:
    """Load numpy and orjson, unless they are there already."""
    names: tuple[str, ...] = ("ast", "pickle")
    late: dict[str, dict[str, Any]] = {name: {} for name in names}
    inspect = {"cleandoc": _as_it_is, "signature": _no_signature}
    late |= {"inspect": inspect, "platform": {"system": system}}
    if "numpy" not in sys.modules:
        with stand_ins(late, _DOCUMENTATION):
            import numpy  # noqa: F401
    # By way of `dataclasses` and `uuid`, whose values it could write.
    with stand_ins({"copy": {}, "inspect": {}, "platform": {"system": system}}):
        import orjson  # noqa: F401
