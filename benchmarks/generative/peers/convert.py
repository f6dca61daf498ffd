"""The weights of the benchmark's graph as a Transformers folder and as GGUF: the same model.

`python -P convert.py MODEL_FOLDER`, in the peers' environment. llama.cpp rotates neighbouring pairs
where the graph rotates halves, so the rows of queries and keys are interleaved for it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

folder = Path(sys.argv[1])
config = json.loads((folder / "genai_config.json").read_bytes())["model"]
decoder = config["decoder"]
graph = onnx.load(folder / "model.onnx").graph
weights = {t.name.removeprefix("w."): numpy_helper.to_array(t) for t in graph.initializer}
layers, heads = decoder["num_hidden_layers"], decoder["num_attention_heads"]
kv_heads, size = decoder["num_key_value_heads"], decoder["head_size"]
hidden, inner = decoder["hidden_size"], weights["0.up"].shape[1]
unit = np.ones(hidden, np.float32)


def to_transformers() -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    settings = LlamaConfig(
        vocab_size=config["vocab_size"],
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=size,
        max_position_embeddings=config["context_length"],
        rms_norm_eps=1e-5,
        rope_theta=10_000.0,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    model: Any = LlamaForCausalLM(settings)
    state = model.state_dict()
    names = {
        "self_attn.q_proj": "q",
        "self_attn.k_proj": "k",
        "self_attn.v_proj": "v",
        "self_attn.o_proj": "o",
        "mlp.gate_proj": "gate",
        "mlp.up_proj": "up",
        "mlp.down_proj": "down",
    }
    for layer in range(layers):
        for theirs, ours in names.items():
            state[f"model.layers.{layer}.{theirs}.weight"] = torch.tensor(
                weights[f"{layer}.{ours}"].T.copy()
            )
    state["model.embed_tokens.weight"] = torch.tensor(weights["embed"])
    state["lm_head.weight"] = torch.tensor(weights["head"].T.copy())
    model.load_state_dict(state)
    model.save_pretrained(folder / "hf")


def to_gguf() -> None:
    import gguf

    writer = gguf.GGUFWriter(str(folder / "model.gguf"), "llama")
    writer.add_block_count(layers)
    writer.add_context_length(config["context_length"])
    writer.add_embedding_length(hidden)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_key_length(size)
    writer.add_value_length(size)
    writer.add_rope_dimension_count(size)
    writer.add_rope_freq_base(10_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(config["vocab_size"])
    tokenizer = json.loads((folder / "tokenizer.json").read_bytes())["model"]
    tokens = sorted(tokenizer["vocab"], key=tokenizer["vocab"].__getitem__)
    merges = [" ".join(one) if isinstance(one, list) else one for one in tokenizer["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    special = {"<|end|>", "<|user|>", "<|assistant|>", "<|system|>"}
    kinds = [gguf.TokenType.CONTROL if t in special else gguf.TokenType.NORMAL for t in tokens]
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    writer.add_tensor("token_embd.weight", weights["embed"])
    writer.add_tensor("output_norm.weight", unit)
    writer.add_tensor("output.weight", weights["head"].T.copy())
    for layer in range(layers):
        own = {
            part: weights[f"{layer}.{part}"].T.copy() for part in ("v", "o", "gate", "up", "down")
        }
        own["q"] = interleaved(weights[f"{layer}.q"].T, heads)
        own["k"] = interleaved(weights[f"{layer}.k"].T, kv_heads)
        names = {"q": "attn_q", "k": "attn_k", "v": "attn_v", "o": "attn_output"}
        names |= {"gate": "ffn_gate", "up": "ffn_up", "down": "ffn_down"}
        for part, name in names.items():
            writer.add_tensor(f"blk.{layer}.{name}.weight", own[part])
        writer.add_tensor(f"blk.{layer}.attn_norm.weight", unit)
        writer.add_tensor(f"blk.{layer}.ffn_norm.weight", unit)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def interleaved(matrix: Any, count: int) -> Any:
    rows, columns = matrix.shape
    halves = matrix.reshape(count, 2, rows // count // 2, columns)
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(rows, columns))


to_transformers()
to_gguf()
