"""What workers do with text: encode prompts, answer them, and be judged on what was answered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from packager.optimize.text.decoding import Reading, open_decoder
from packager.optimize.text.templates import chat_template


def encode(task: dict[str, Any]) -> dict[str, Any]:
    """Prompts as tokens: a chat's messages through the model's template, texts as they are."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(task["tokenizer"])
    template = chat_template(task["template"]) if task["template"] else None
    special = {
        name: "" if token is None else tokenizer.id_to_token(token) or ""
        for name, token in task["special"].items()
    }
    encoded = []
    for prompt in json.loads(Path(task["prompts"]).read_text(encoding="utf-8")):
        if isinstance(prompt, list):
            if template is None:
                raise ValueError("a prompt is a list of messages, but there is no chat template")
            text = template.render(
                messages=prompt, tools=None, add_generation_prompt=True, **special
            )
            tokens = tokenizer.encode(text, add_special_tokens=False).ids
        else:
            tokens = tokenizer.encode(prompt).ids
        encoded.append(tokens)
    return {"tokens": encoded}


def answer(task: dict[str, Any]) -> dict[str, Any]:
    """Greedy answers. With each token goes its lead: how far its logit is above the next best one,
    as a share of all logits' spread."""
    session = open_decoder(task["model"])
    ends = set(task["ends"])
    answers, leads = [], []
    for prompt in task["prompts"]:
        reading = Reading(session, *task["cache"])
        logits = reading.read(prompt)[-1]
        said: list[int] = []
        lead: list[float] = []
        while len(said) < task["tokens"]:
            token = int(logits.argmax())
            if token in ends:
                break
            said.append(token)
            lead.append(_lead(logits))
            logits = reading.read([token])[-1]
        answers.append(said)
        leads.append(lead)
    return {"answers": answers, "leads": leads}


def judge(task: dict[str, Any]) -> dict[str, Any]:
    """For each text: how many tokens of the source's answer this model would say too, each after
    the source's own words; and its surprise at the prompt, in nats over its tokens but the first.
    """
    session = open_decoder(task["model"])
    agreed, surprise = [], []
    for prompt, said in zip(task["prompts"], task["answers"], strict=True):
        reading = Reading(session, *task["cache"])
        logits = reading.read([*prompt, *said[:-1]] if said else prompt)
        if not np.isfinite(logits).all():
            raise ValueError("it gives NaN or infinity")
        best = logits[len(prompt) - 1 :].argmax(axis=1)[: len(said)]
        agreed.append(int((best == np.array(said, np.int64)).sum()) if said else 0)
        rows = logits[: len(prompt) - 1].astype(np.float64)
        peaks = rows.max(axis=1, keepdims=True)
        totals = np.log(np.exp(rows - peaks).sum(axis=1)) + peaks[:, 0]
        surprise.append(float((totals - rows[np.arange(len(rows)), prompt[1:]]).sum()))
    return {"agreed": agreed, "surprise": surprise}


def _lead(logits: Any) -> float:
    second, first = np.partition(logits, -2)[-2:]
    spread = float(logits.max() - logits.min())
    return float(first - second) / spread if spread > 0 else 0.0


TASKS: Mapping[str, Any] = {"text_encode": encode, "text_answer": answer, "text_judge": judge}
