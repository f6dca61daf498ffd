"""Writes MLServer's settings and starts it: `mlserver_start.py GRAPH PORT`."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

graph, port = sys.argv[1], int(sys.argv[2])
folder = Path(tempfile.mkdtemp(prefix="mlserver-"))
shutil.copy(Path(__file__).with_name("mlserver_model.py"), folder)
(folder / "settings.json").write_text(
    json.dumps(
        {
            "http_port": port,
            "grpc_port": port + 1,
            "metrics_port": port + 2,
            "host": "127.0.0.1",
            "parallel_workers": 0,
            "debug": False,
            "access_log": False,
        }
    )
)
(folder / "model-settings.json").write_text(
    json.dumps(
        {
            "name": "m",
            "implementation": "mlserver_model.Onnx",
            "max_batch_size": 32,
            "max_batch_time": 0.002,
            "parameters": {"uri": graph},
        }
    )
)
os.chdir(folder)
os.execv(str(Path(sys.executable).with_name("mlserver")), ["mlserver", "start", str(folder)])
