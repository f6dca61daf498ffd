"""ONNX Runtime GenAI's own Generator, one for each stream, as its examples do it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime_genai as og
from common import Say, main


def opened(folder: Path) -> Say:
    model = og.Model(str(folder))

    def say(prompt: list[int], tokens: int) -> Iterator[int]:
        parameters = og.GeneratorParams(model)
        longest = len(prompt) + tokens
        parameters.set_search_options(max_length=longest, min_length=longest, do_sample=False)
        generator = og.Generator(model, parameters)
        generator.append_tokens(prompt)
        for _ in range(tokens):
            if generator.is_done():
                return
            generator.generate_next_token()
            yield int(generator.get_next_tokens()[0])

    return say


main(opened)
