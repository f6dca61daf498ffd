"""The silence switch, and the only door through which ONNX Runtime is imported.

The Linux wheels of ONNX Runtime 1.29 and later send telemetry from the moment the library is
loaded, so the switch is thrown here, before the import, in code as well as in the image's
environment. Everything else takes `onnxruntime` from this module; a test checks that, and another
removes this line and sees the traffic begin.
"""

from __future__ import annotations

import os
from typing import Any

from .lean_libraries import system
from .stand_ins import stand_ins

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# It asks for the name of the distribution, and does nothing with it.
with stand_ins({"linecache": {"getline": lambda *_: ""}, "platform": {"system": system}}):
    import onnxruntime as _onnxruntime

# It ships no types.
onnxruntime: Any = _onnxruntime

# ONNX Runtime's own log lines go to stderr and quote tensor values; every failure reaches us as an
# exception, so nothing is lost.
onnxruntime.set_default_logger_severity(4)
