"""A decoder with random weights, its tokenizer, and a server.json for it: text nobody would read.

Random weights never settle into a loop, so that an answer that came out of another conversation, or
out of a guess that should not stand, is another answer.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx

REPOSITORY = Path(__file__).resolve().parents[2]
WORDS = (
    "the quick brown fox jumps over a lazy dog while über naïve 東京 engineers write tests, "
    "and every answer must be the same answer. "
)
TEMPLATE = (
    "{% for m in messages %}{{ m.role + ': ' + m.content + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def graph_module() -> ModuleType:
    """`examples/chat/graph.py`, which makes decoders."""
    if "chat_graph" not in sys.modules:
        file = REPOSITORY / "examples/chat/graph.py"
        spec = importlib.util.spec_from_file_location("chat_graph", file)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        sys.modules["chat_graph"] = module
        spec.loader.exec_module(module)
    return sys.modules["chat_graph"]


def save_decoder(file: Path, *, seed: int = 1, vocabulary: int = 300, **sizes: int) -> Any:
    """A decoder in `file`; its shape."""
    graph = graph_module()
    small = {"hidden": 64, "heads": 4, "kv_heads": 2, "head_size": 16, "inner": 64, "context": 512}
    shape = graph.Shape(vocabulary, **{**small, **sizes})
    weights = graph.random_weights(shape, seed)
    head = np.random.default_rng(seed + 100).standard_normal((shape.hidden, vocabulary))
    weights["head"] = (head * 0.7).astype(np.float32)
    file.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(graph.make(shape, weights), file)
    return shape


def save_tokenizer(file: Path, vocabulary: int = 300) -> Any:
    """A byte-pair tokenizer; token 0 is the end."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<|end|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([WORDS * 20], trainer)
    tokenizer.save(str(file))
    return tokenizer


@dataclass
class TinyChat:
    """A folder with server.json; change `entry` and call `write` for another one."""

    folder: Path
    entry: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def make(cls, folder: Path, **changes: Any) -> TinyChat:
        base = folder / "models" / "chat" / "1"
        shape = save_decoder(base / "model.onnx")
        save_decoder(base / "draft" / "model.onnx", seed=2, layers=1, hidden=32)
        save_tokenizer(base / "tokenizer.json")
        (base / "chat_template.jinja").write_text(TEMPLATE)
        chat = cls(folder)
        chat.entry = {
            "name": "chat",
            "version": "1",
            "decoder": decoder_entry("models/chat/1/model.onnx", shape.layers),
            "execution_provider": "CPUExecutionProvider",
            "provider_options": {},
            "tokenizer": "models/chat/1/tokenizer.json",
            "chat_template": "models/chat/1/chat_template.jinja",
            "vocabulary": shape.vocabulary,
            "end_tokens": [0],
            "begin_token": None,
            "slots": 4,
            "slot_tokens": 256,
            "prefill_chunk": 16,
            "speculation": {"kind": "lookup", "tokens": 3, "ngram": 2},
            "golden": None,
            **changes,
        }
        chat.write()
        return chat

    def write(self) -> Path:
        """server.json, with every file of the model declared as it is now."""
        files = [
            {
                "path": file.relative_to(self.folder).as_posix(),
                "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
                "size": file.stat().st_size,
            }
            for file in sorted((self.folder / "models").rglob("*"))
            if file.is_file()
        ]
        config = self.folder / "server.json"
        config.write_text(
            json.dumps(
                {
                    "apiVersion": "packager.runtime/v1",
                    "release": {"name": "chat", "version": "1.0.0", "target": "de/x/kubernetes"},
                    "jurisdiction": {"id": "de", "regions": ["aws/eu-central-1"]},
                    "models": [],
                    "http": {
                        "host": "127.0.0.1",
                        "port": 0,
                        "max_body_bytes": 1 << 20,
                        "max_concurrency": 256,
                        "drain_seconds": 10,
                    },
                    "generative": [{**self.entry, "files": files}],
                }
            )
        )
        return config


def decoder_entry(path: str, layers: int, **sizes: int) -> dict[str, Any]:
    return {
        "path": path,
        "layers": layers,
        "kv_heads": 2,
        "head_size": 16,
        "intra_op_threads": 1,
        **sizes,
    }
