"""Transformers' `generate` on the CPU, a thread for each stream."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import torch
from common import Say, main
from transformers import LlamaForCausalLM
from transformers.generation.streamers import BaseStreamer


class Tokens(BaseStreamer):
    """Hands over each token as it is made; the first call brings the prompt."""

    def __init__(self) -> None:
        from queue import Queue

        self.queue: Any = Queue()
        self._prompt = True

    def put(self, value: Any) -> None:
        if self._prompt:
            self._prompt = False
            return
        for token in value.reshape(-1).tolist():
            self.queue.put(token)

    def end(self) -> None:
        self.queue.put(None)


def opened(folder: Path) -> Say:
    torch.set_num_threads(2)
    model: Any = LlamaForCausalLM.from_pretrained(folder / "hf", dtype=torch.float32).eval()

    def say(prompt: list[int], tokens: int) -> Iterator[int]:
        streamer = Tokens()
        asked = {
            "input_ids": torch.tensor([prompt]),
            "attention_mask": torch.ones(1, len(prompt), dtype=torch.long),
            "max_new_tokens": tokens,
            "min_new_tokens": tokens,
            "do_sample": False,
            "streamer": streamer,
            "pad_token_id": 0,
        }
        thread = Thread(target=model.generate, kwargs=asked)
        thread.start()
        while (token := streamer.queue.get()) is not None:
            yield int(token)
        thread.join()

    return say


main(opened)
