"""A program of its own: what a model's source says to some tokens, and what its export says.

    python -P export_proof.py source COUNT FOLDER LOGITS     torch and transformers
    python -P export_proof.py graph COUNT FOLDER LOGITS      numpy and ONNX Runtime
    python -P export_proof.py library COUNT FOLDER LOGITS    numpy and ONNX Runtime GenAI

The first writes the logits after each of the tokens, the others print, as JSON, how far those of
the exported graph are from them. It runs in the builder's environment, where there is no packager.
A builder that leaves out what it does not know (a scaling of the rotary embedding, a multiplier)
makes a graph that loads and runs and says something else.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

_NUMBERS = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
}


def tokens(vocabulary: int, count: int) -> list[int]:
    """The same ones for every model of a size, spread over the vocabulary."""
    return [(number * number * 7919 + 13) % vocabulary for number in range(count)]


def of_source(folder: str, count: int) -> Any:
    """Logits `[tokens, vocabulary]` in FP32, by transformers. Nothing that the folder brings is
    run, and no hub is asked."""
    torch, transformers = import_module("torch"), import_module("transformers")
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, local_files_only=True, trust_remote_code=False
    ).eval()
    asked = torch.tensor([tokens(model.config.get_text_config().vocab_size, count)])
    with torch.no_grad():
        said = model(asked, use_cache=False).logits[0]
    return said.to(torch.float32).numpy()


def of_graph(folder: str, asked: Any) -> Any:
    """The same by the exported graph alone, as our own engine runs it."""
    numpy, onnxruntime = import_module("numpy"), import_module("onnxruntime")
    told = json.loads(Path(folder, "genai_config.json").read_bytes())["model"]["decoder"]
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        str(Path(folder, told.get("filename", "model.onnx"))),
        settings,
        providers=["CPUExecutionProvider"],
    )
    fed = {node.name: _given(node, asked, told, numpy) for node in session.get_inputs()}
    return session.run(["logits"], fed)[0][0]


def of_library(folder: str, asked: Any) -> Any:
    """The same by the library, which keeps caches of its own kinds."""
    library = import_module("onnxruntime_genai")
    model = library.Model(folder)
    settings = library.GeneratorParams(model)
    settings.set_search_options(max_length=asked.shape[1] + 1)
    generator = library.Generator(model, settings)
    generator.append_tokens(asked.astype("int32"))
    return generator.get_output("logits")[0]


def likeness(found: Any, wanted: Any) -> dict[str, float]:
    """How far logits are from those that are wanted, root of mean squares over their own, and at
    how many of the places both would say the same token. An export may have the last ones only, and
    a table that is longer than the vocabulary."""
    numpy = import_module("numpy")
    places, width = min(len(found), len(wanted)), min(found.shape[1], wanted.shape[1])
    found = found[-places:, :width].astype(numpy.float64)
    wanted = wanted[-places:, :width].astype(numpy.float64)
    distance = numpy.sqrt(((found - wanted) ** 2).mean() / max((wanted**2).mean(), 1e-30))
    same = (found.argmax(-1) == wanted.argmax(-1)).mean()
    return {"distance": float(distance), "same": float(same)}


def main(part: str, count: int, folder: str, file: str) -> None:
    """See above."""
    numpy = import_module("numpy")
    if part == "source":
        numpy.save(file, of_source(folder, count))
        return
    wanted = numpy.load(file)
    asked = numpy.array([tokens(wanted.shape[1], count)], numpy.int64)
    found = (of_graph if part == "graph" else of_library)(folder, asked)
    sys.stdout.write(json.dumps(likeness(found, wanted)) + "\n")


def _given(node: Any, asked: Any, told: dict[str, Any], numpy: Any) -> Any:
    """An input of the graph: the tokens, or a cache with nothing in it."""
    kind = _NUMBERS[node.type]
    if node.name == "input_ids":
        return asked.astype(kind)
    if node.name == "attention_mask":
        return numpy.ones_like(asked, dtype=kind)
    if node.name == "position_ids":
        return numpy.arange(asked.shape[1], dtype=kind)[None]
    if node.name.startswith("past_key_values."):
        return numpy.zeros((1, told["num_key_value_heads"], 0, told["head_size"]), kind)
    raise SystemExit(f"the graph asks for {node.name}, which no decoder of text has")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
