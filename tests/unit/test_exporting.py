"""Exporting text models: what is refused before the builder is asked, and the builder itself.

The builder needs torch, which is not in the environment of the tests: its test runs where
`PACKAGER_EXPORT_PYTHON` names a Python that has it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engines import missing
from tiny_decoder import TEMPLATE, save_tokenizer

from packager.errors import InputError, UnavailableError
from packager.exporting import export
from packager.progress import SILENT
from packager.runtime.generative.decoder import SlotDecoder
from packager.runtime.generative.engine import Engine, Limits
from packager.runtime.generative.jobs import Job
from packager.runtime.generative.settings import Decoder

CONFIG: dict[str, Any] = {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
MAKE = """
import sys, torch
from transformers import LlamaConfig, LlamaForCausalLM
torch.manual_seed(1)
config = LlamaConfig(vocab_size=300, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=2, head_dim=16, max_position_embeddings=512,
    bos_token_id=0, eos_token_id=0, pad_token_id=0, tie_word_embeddings=False,
    initializer_range=0.3)
model = LlamaForCausalLM(config).eval()
model.save_pretrained(sys.argv[1])
said = list(map(int, sys.argv[2].split(",")))
for _ in range(12):
    with torch.no_grad():
        said.append(int(model(torch.tensor([said])).logits[0, -1].argmax()))
print(",".join(map(str, said)))
"""


def model_folder(folder: Path, **changes: Any) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({**CONFIG, **changes}))
    (folder / "model.safetensors").write_bytes(b"")
    (folder / "tokenizer.json").write_text("{}")
    return folder


def refused(folder: Path, output: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        export(folder, output, sys.executable, "fp32", SILENT)
    assert not output.exists()
    return caught.value


def test_a_folder_that_is_no_such_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "Hugging Face" in str(refused(tmp_path / "empty", tmp_path / "out"))
    pickled = model_folder(tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    (finding,) = refused(pickled, tmp_path / "out").findings
    assert "can run code" in str(finding.next_step)
    bare = model_folder(tmp_path / "bare")
    (bare / "tokenizer.json").unlink()
    assert "tokenizer" in str(refused(bare, tmp_path / "out"))


def test_code_that_a_model_brings_is_never_run(tmp_path: Path) -> None:
    auto = {"AutoModelForCausalLM": "own.Model"}
    assert "code of its own" in str(
        refused(model_folder(tmp_path / "m", auto_map=auto), tmp_path / "o")
    )


def test_a_builder_that_is_missing_is_told_with_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError) as caught:
        export(model_folder(tmp_path / "m"), tmp_path / "o", sys.executable, "fp32", SILENT)
    (finding,) = caught.value.findings
    assert "torch" in str(finding.got)
    assert "pip install" in str(finding.next_step)
    with pytest.raises(InputError, match="not a Python"):
        export(tmp_path / "m", tmp_path / "o", str(tmp_path / "none"), "fp32", SILENT)


def test_a_builder_that_fails_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It works in another folder than the user, so that every path it is given is absolute."""
    monkeypatch.chdir(tmp_path)
    failing = tmp_path / "python"
    failing.write_text(
        '#!/bin/sh\ncase "$*" in *find_spec*) exit 0;; esac\n'
        'test "$HF_HUB_OFFLINE$ORT_DISABLE_TELEMETRY" = 11 || exit 9\n'
        "echo 'NotImplementedError: MambaForCausalLM' >&2; exit 1\n"
    )
    failing.chmod(0o755)
    with pytest.raises(InputError) as caught:
        export(model_folder(Path("m")), Path("o"), "./python", "fp32", SILENT)
    (finding,) = caught.value.findings
    assert finding.got == "NotImplementedError: MambaForCausalLM"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "python"]


def test_what_is_exported_says_what_transformers_says(tmp_path: Path) -> None:
    if "PACKAGER_EXPORT_PYTHON" not in os.environ:
        missing(
            "the builder: python3 -m venv export; export/bin/pip install onnxruntime-genai==0.18.0"
            " torch transformers onnx onnx_ir, then PACKAGER_EXPORT_PYTHON=export/bin/python"
        )
    python, prompt = os.environ["PACKAGER_EXPORT_PYTHON"], [5, 17, 42, 8]
    source = tmp_path / "m"
    text = ",".join(map(str, prompt))
    done = subprocess.run(
        [python, "-c", MAKE, str(source), text], capture_output=True, text=True, check=True
    )
    said = [int(token) for token in done.stdout.split(",")][len(prompt) :]
    save_tokenizer(source / "tokenizer.json", 300)
    (source / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "PreTrainedTokenizerFast",
                "chat_template": TEMPLATE,
                "eos_token": "<|end|>",
            }
        )
    )
    made = export(source, tmp_path / "o", python, "fp32", SILENT)
    again = export(source, tmp_path / "again", python, "fp32", SILENT)
    files = sorted(path.name for path in made.folder.iterdir())
    assert {"genai_config.json", "model.onnx", "tokenizer.json"} <= set(files)
    for name in files:
        assert (made.folder / name).read_bytes() == (again.folder / name).read_bytes(), name
    engine = Engine(
        SlotDecoder(made.folder, Decoder("model.onnx", 2, 2, 16, 1), 1, 64), [], Limits()
    )
    engine.submit(Job(1, tuple(prompt), 12))
    tokens: list[int] = []
    while engine.busy:
        tokens += [chosen.token for event in engine.step() for chosen in event.chosen]
    assert np.array_equal(tokens, said)
