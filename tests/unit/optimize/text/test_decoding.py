"""A decoder whose graph leaves the sizes of its cache open, as GenAI's builder does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from tiny_decoder import save_decoder

from packager.optimize.text.decoding import Reading, open_decoder


def test_sizes_of_the_cache_that_the_graph_leaves_open_are_those_of_the_configuration(
    tmp_path: Path,
) -> None:
    shape = save_decoder(tmp_path / "model.onnx")
    model = onnx.load(tmp_path / "model.onnx")
    for one in model.graph.input:
        if one.name.startswith("past_key_values."):
            for place, name in ((1, "heads"), (3, "kv_cache_dim")):
                one.type.tensor_type.shape.dim[place].dim_param = name
    onnx.save(model, tmp_path / "open.onnx")
    heard = []
    for name in ("model.onnx", "open.onnx"):
        session = open_decoder(str(tmp_path / name))
        reading = Reading(session, shape.kv_heads, shape.head_size)
        heard.append(np.concatenate([reading.read([5, 6, 7]), reading.read([8])]))
    assert np.array_equal(*heard)
