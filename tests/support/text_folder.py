"""A folder as the builder of ONNX Runtime GenAI leaves it, with a decoder of random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tiny_decoder import TEMPLATE, WORDS, save_decoder, save_tokenizer


def save_text_folder(folder: Path, *, seed: int = 1, **sizes: int) -> Path:
    """Graph, tokenizer, chat template and genai_config.json in `folder`."""
    shape = save_decoder(folder / "model.onnx", seed=seed, **sizes)
    save_tokenizer(folder / "tokenizer.json", shape.vocabulary)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    write_configuration(folder, configuration(shape))
    return folder


def save_library_folder(folder: Path, *, seed: int = 1, **sizes: int) -> Path:
    """The same with what the library's own engines ask for beside."""
    save_text_folder(folder, seed=seed, **sizes)
    told = json.loads((folder / "genai_config.json").read_text())
    decoder = told["model"]["decoder"]
    decoder |= {"hidden_size": sizes.get("hidden", 64), "num_attention_heads": 4}
    told["search"] = {"max_length": 512, "past_present_share_buffer": True}
    write_configuration(folder, told)
    tokenizer = {"tokenizer_class": "GPT2Tokenizer", "eos_token": "<|end|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    return folder


def configuration(shape: Any) -> dict[str, Any]:
    """`genai_config.json` of a decoder."""
    return {
        "model": {
            "type": "llama",
            "context_length": shape.context,
            "vocab_size": shape.vocabulary,
            "bos_token_id": 0,
            "eos_token_id": [0],
            "decoder": {
                "filename": "model.onnx",
                "head_size": shape.head_size,
                "num_key_value_heads": shape.kv_heads,
                "num_hidden_layers": shape.layers + shape.padding,
            },
        }
    }


def write_configuration(folder: Path, document: dict[str, Any]) -> None:
    (folder / "genai_config.json").write_text(json.dumps(document))


def save_prompts(file: Path, count: int) -> Path:
    """So many different prompts of a few words, half of them chats."""
    words = sorted(set(WORDS.split()))
    lines = []
    for number in range(count):
        text = " ".join(
            words[(number * 7 + step * (number % 5 + 1)) % len(words)] for step in range(6)
        )
        text = f"{number} {text}"
        chat = {"messages": [{"role": "user", "content": text}]}
        lines.append(json.dumps(chat if number % 2 else {"prompt": text}))
    file.write_text("\n".join(lines) + "\n")
    return file
