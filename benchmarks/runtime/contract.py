"""The OpenAPI document against the server, by schemathesis: `python -m benchmarks.runtime.contract
SCHEMATHESIS [--examples 40]`, where SCHEMATHESIS is its program, in an environment of its own.

Served are a classifier of numbers, texts as vectors, and images as classes, so that every path
stands in the document. A call that answers 5xx, or not as the document says, is a failure.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))

from runtime_process import RuntimeProcess
from tiny_models import RuntimeFolder, brightness, embedder, tensor

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_schema_conformance"
)
_IMAGE = {
    "width": 6,
    "height": 4,
    "channels_first": True,
    "mean": [0, 0, 0],
    "std": [0.1, 0.1, 0.1],
}


def main() -> int:
    """Exit status of schemathesis."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("--examples", type=int, default=40)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as room, RuntimeProcess(_served(Path(room))) as process:
        process.wait_ready()
        url = f"http://127.0.0.1:{process.port}/openapi.json"
        return subprocess.run(
            [options.program, "run", url, "--checks", CHECKS, "-n", str(options.examples)],
            check=False,
        ).returncode


def _served(room: Path) -> Path:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    folder = RuntimeFolder(room)
    folder.add_classifier()
    ids = [tensor(name, "INT64", [-1, -1]) for name in ("input_ids", "attention_mask")]
    texts = folder.add("colours", embedder(), ids, [tensor("vectors", "FP32", [-1, -1, 4])])
    words = {"[PAD]": 0, "[UNK]": 1, "red": 2, "green": 3, "blue": 4}
    tokenizer = Tokenizer(WordLevel(words, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    path = "models/colours/1/tokenizer.json"
    texts["files"].append(folder.file(path, tokenizer.to_str().encode()))
    texts["serving"] = {
        "task": "embeddings",
        "pooling": "mean",
        "normalize": True,
        "labels": [],
        "output": None,
        "tokenizer": {"path": path, "max_tokens": 3},
    }
    image = [tensor("image", "FP32", [-1, 3, 4, 6])]
    images = folder.add("bright", brightness(), image, [tensor("scores", "FP32", [-1, 3])])
    labels = ["red", "green", "blue"]
    images["serving"] = {"task": "image-classification", "labels": labels, "image": _IMAGE}
    return folder.write()


if __name__ == "__main__":
    sys.exit(main())
