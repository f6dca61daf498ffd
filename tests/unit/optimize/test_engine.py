"""Exactly one ONNX Runtime, and silent."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from packager.errors import InputError
from packager.optimize.engine import engine_version, installed_providers, provider


def test_exactly_one_distribution_is_accepted() -> None:
    assert provider(("onnxruntime",)) == "onnxruntime"
    assert provider(("onnxruntime-gpu",)) == "onnxruntime-gpu"
    with pytest.raises(InputError, match="not installed"):
        provider(())
    with pytest.raises(InputError) as caught:
        provider(("onnxruntime", "onnxruntime-gpu"))
    assert "pip uninstall onnxruntime onnxruntime-gpu" in str(caught.value.findings[0].next_step)


def test_this_environment_has_one() -> None:
    assert len(installed_providers()) == 1
    assert engine_version()


def test_telemetry_is_off_before_the_engine_is_imported() -> None:
    code = (
        "import builtins, os, sys\n"
        "from packager.optimize.engine import engine\n"
        "class Watch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'onnxruntime':\n"
        "            print('switch', os.environ.get('ORT_DISABLE_TELEMETRY'))\n"
        "sys.meta_path.insert(0, Watch())\n"
        "assert 'onnxruntime' not in sys.modules\n"
        "engine()\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "switch 1\n"
