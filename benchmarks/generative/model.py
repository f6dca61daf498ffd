"""The model of these benchmarks: the one of `examples/chat`, made as costly as a larger one.

Fourteen further layers cost time and add nothing, so that what is said, and what a draft guesses
right, is that of the small model, while a token costs what 56 MB of FP32 weights cost.
"""

from __future__ import annotations

import importlib.util
import json
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from packager.digest import Digest
from packager.optimize.blocks import block_weights
from packager.runtime.generative.decoder import SlotDecoder
from packager.runtime.generative.settings import Decoder
from packager.workspace import cache_folder

ROOT = Path(__file__).resolve().parents[2]
CHAT = ROOT / "examples" / "chat"
PADDING = 14


@dataclass(frozen=True)
class BenchModel:
    """Folders of the FP32 model, of its INT4 form and of the draft; prompts as tokens."""

    fp32: Path
    int4: Path
    draft: Path
    prompts: list[list[int]]

    def decoder(self, kind: str, slots: int, tokens: int = 640, threads: int = 2) -> SlotDecoder:
        """A decoder with its cache: `fp32`, `int4` or `draft`."""
        folder = getattr(self, kind)
        return SlotDecoder(folder, shape_of(folder, threads), slots, tokens)


def shape_of(folder: Path, threads: int) -> Decoder:
    told = json.loads((folder / "genai_config.json").read_bytes())["model"]["decoder"]
    sizes = ("num_hidden_layers", "num_key_value_heads", "head_size")
    return Decoder("model.onnx", *(told[name] for name in sizes), threads)


def bench_model() -> BenchModel:
    """The model, made once for each state of the scripts that make it (a minute or two)."""
    text = b"".join((CHAT / name).read_bytes() for name in ("make_model.py", "graph.py"))
    folder = cache_folder() / "benchmarks" / Digest.of(text).hex[:16]
    if not (folder / "done").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        script = [sys.executable, str(CHAT / "make_model.py"), str(folder / "fp32")]
        subprocess.run([*script, "--padding", str(PADDING)], check=True)
        _quantize(folder / "fp32", folder / "int4")
        (folder / "done").touch()
    fp32 = folder / "fp32"
    return BenchModel(fp32, folder / "int4", fp32 / "draft", _prompts(fp32))


def _quantize(source: Path, target: Path) -> None:
    target.mkdir()
    model = onnx.load(source / "model.onnx")
    block_weights(model, 4, 32, 4)
    onnx.save(model, target / "model.onnx")
    for name in ("tokenizer.json", "genai_config.json", "chat_template.jinja"):
        shutil.copyfile(source / name, target / name)


def _prompts(folder: Path) -> list[list[int]]:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    lines = (CHAT / "prompts.jsonl").read_text().splitlines()
    texts = [json.loads(line)["messages"][0]["content"] for line in lines]
    random.Random(3).shuffle(texts)
    return [tokenizer.encode(f"<|user|>{text}<|end|><|assistant|>").ids for text in texts]


def load_module(path: Path) -> Any:
    """A script that is no package."""
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
