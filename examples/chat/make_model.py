"""Makes a small model that talks like Python's own documentation. Deterministic, half a minute.

    python examples/chat/make_model.py [FOLDER] [--padding LAYERS]   (default: examples/chat/model)

The text is the docstrings of the standard library of the Python that runs this. A byte-pair
tokenizer is trained on it; a decoder with random, frozen layers reads it; and only its head is
trained, by ridge regression on what the layers remember. That is enough to have something real to
serve: it has the graph, the files and the manners of a large model, and the wit of a small one.
A draft model half its width is distilled the same way, from the choices of the first.

`--padding` adds layers that cost time and say nothing: benchmarks want tokens that cost something.
"""

from __future__ import annotations

import argparse
import ast
import json
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from graph import Shape, Weights, make, random_weights
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

VOCABULARY = 1024
SPECIAL = ("<|end|>", "<|user|>", "<|assistant|>", "<|system|>")
WINDOW, WINDOWS = 128, 1600
RIDGE, SHARPNESS = 10.0, 20.0
TEXT_BYTES = 500_000
TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message.role + '|>' + message.content + '<|end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def docstrings() -> Iterator[str]:
    """The docstrings of the standard library, in the order of its files."""
    root = Path(sysconfig.get_paths()["stdlib"])
    for file in sorted(root.glob("*.py")):
        try:
            tree = ast.parse(file.read_bytes())
        except (SyntaxError, ValueError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                text = ast.get_docstring(node)
                if text and text.isascii():
                    yield " ".join(text.split())


def train_tokenizer(texts: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def hidden_states(shape: Shape, weights: Weights, windows: np.ndarray) -> np.ndarray:
    """What the frozen layers make of each position: [windows, WINDOW, hidden]."""
    model = make(shape, weights)
    model.graph.output.append(onnx.ValueInfoProto(name="hidden"))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    found = []
    for block in np.array_split(windows, max(1, len(windows) // 16)):
        empty = np.zeros((len(block), shape.kv_heads, 0, shape.head_size), np.float32)
        feeds = {"input_ids": block, "attention_mask": np.ones_like(block)}
        for layer in range(shape.layers + shape.padding):
            for part in ("key", "value"):
                feeds[f"past_key_values.{layer}.{part}"] = empty
        found.append(session.run(["hidden"], feeds)[0])
    return np.concatenate(found)


def train_head(states: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Ridge regression on which token came next, in closed form; scaled up to be logits."""
    moment = states.T @ states + RIDGE * np.eye(states.shape[1], dtype=np.float32)
    joint = np.zeros((states.shape[1], VOCABULARY), np.float32)
    np.add.at(joint.T, targets, states)
    return (SHARPNESS * np.linalg.solve(moment, joint)).astype(np.float32)


def write(folder: Path, shape: Shape, weights: Weights, tokenizer: Tokenizer) -> None:
    """A folder as the builder of ONNX Runtime GenAI leaves it."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(make(shape, weights), folder / "model.onnx")
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    end = tokenizer.token_to_id(SPECIAL[0])
    config = {
        "model": {
            "type": "llama",
            "context_length": shape.context,
            "vocab_size": shape.vocabulary,
            "bos_token_id": end,
            "eos_token_id": [end],
            "pad_token_id": end,
            "decoder": {
                "filename": "model.onnx",
                "hidden_size": shape.hidden,
                "head_size": shape.head_size,
                "num_attention_heads": shape.heads,
                "num_key_value_heads": shape.kv_heads,
                "num_hidden_layers": shape.layers + shape.padding,
            },
        },
        "search": {"max_length": shape.context},
    }
    (folder / "genai_config.json").write_text(json.dumps(config, indent=2) + "\n")


def main(folder: Path, padding: int) -> None:
    texts, size = [], 0
    for text in docstrings():
        texts.append(text)
        size += len(text)
        if size > TEXT_BYTES:
            break
    tokenizer = train_tokenizer(texts)
    print(f"{len(texts)} docstrings, {size} characters, {VOCABULARY} tokens", flush=True)
    joined = (SPECIAL[0] + SPECIAL[2]).join(texts)
    ids = np.array(tokenizer.encode(joined).ids[: WINDOWS * (WINDOW + 1)], np.int64)
    windows = ids[: len(ids) // (WINDOW + 1) * (WINDOW + 1)].reshape(-1, WINDOW + 1)
    inputs, targets = windows[:, :-1], windows[:, 1:].reshape(-1)

    shape = Shape(VOCABULARY, padding=padding)
    weights = random_weights(shape, seed=1)
    states = hidden_states(shape, weights, inputs).reshape(-1, shape.hidden)
    weights["head"] = train_head(states, targets)
    choices = (states @ weights["head"]).argmax(axis=1)
    print(f"target: {(choices == targets).mean():.3f} of the next tokens right", flush=True)
    write(folder, shape, weights, tokenizer)

    small = Shape(VOCABULARY, hidden=256, layers=1, heads=2, kv_heads=1, inner=256)
    draft = random_weights(small, seed=2)
    states = hidden_states(small, draft, inputs).reshape(-1, small.hidden)
    draft["head"] = train_head(states, choices)
    agreed = ((states @ draft["head"]).argmax(axis=1) == choices).mean()
    print(f"draft: agrees with the target on {agreed:.3f}", flush=True)
    write(folder / "draft", small, draft, tokenizer)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", default=Path(__file__).parent / "model")
    parser.add_argument("--padding", type=int, default=0)
    options = parser.parse_args()
    main(options.folder, options.padding)
