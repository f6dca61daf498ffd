"""Starts BentoML: `bentoml_start.py GRAPH PORT`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ |= {"BENCH_GRAPH": sys.argv[1], "BENTOML_DO_NOT_TRACK": "True"}
os.chdir(Path(__file__).parent)
bentoml = str(Path(sys.executable).with_name("bentoml"))
os.execv(
    bentoml,
    ["bentoml", "serve", "bentoml_service:Service", "--port", sys.argv[2], "--host", "127.0.0.1"],
)
