"""Writes the weights of one model beside its graph, as `weights.json` there says."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from weights import write

folder = Path(sys.argv[1])
described = folder / "weights.json"
write(folder / "weights.bin", json.loads(described.read_text()))
described.unlink()  # the runtime refuses a file that server.json does not declare
