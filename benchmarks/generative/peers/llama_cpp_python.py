"""llama.cpp by its Python binding: one context, which takes one request at a time."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from common import Say, main
from llama_cpp import Llama


def opened(folder: Path) -> Say:
    llama = Llama(str(folder / "model.gguf"), n_ctx=2048, n_threads=2, n_batch=512, verbose=False)

    def say(prompt: list[int], tokens: int) -> Iterator[int]:
        llama.reset()
        for number, token in enumerate(llama.generate(prompt, temp=0.0, repeat_penalty=1.0), 1):
            yield int(token)
            if number >= tokens:
                return

    return say


main(opened, serial=True)
