"""What workers are asked about text: tokens of prompts, greedy answers, and what a model hears."""

from __future__ import annotations

from typing import Any

from packager.canonical import dumps
from packager.domain.generation import Generation
from packager.domain.model import Model
from packager.errors import InputError
from packager.optimize.making import Workshop
from packager.optimize.processes import Failure
from packager.optimize.text.gate import Heard
from packager.optimize.text.source import chat_template

ANSWER_TOKENS = 32


def answer_task(generation: Generation, model: Model, prompts: list[list[int]]) -> dict[str, Any]:
    """What a worker is asked for greedy answers."""
    return {
        "task": "text_answer",
        "model": str(model.files[0].path),
        "prompts": prompts,
        "cache": _cache(generation),
        "tokens": ANSWER_TOKENS,
        "ends": list(generation.decoder.end_tokens),
    }


def judge_task(
    generation: Generation, model: Model, prompts: list[list[int]], answers: list[list[int]]
) -> dict[str, Any]:
    """What a worker is asked for what a model makes of prompts and the source\'s answers."""
    return {
        "task": "text_judge",
        "model": str(model.files[0].path),
        "cache": _cache(generation),
        "prompts": prompts,
        "answers": answers,
    }


def _cache(generation: Generation) -> list[Any]:
    """Heads, their size, and the names of the cache, as Decoder tells them."""
    decoder = generation.decoder
    return [decoder.kv_heads, decoder.head_size, [list(pair) for pair in decoder.cache]]


def heard_of(result: dict[str, Any], prompts: list[list[int]], answers: list[list[int]]) -> Heard:
    """A worker\'s answer to `judge_task`."""
    return Heard(
        tuple(result["agreed"]),
        tuple(len(answer) for answer in answers),
        tuple(result["surprise"]),
        tuple(len(prompt) - 1 for prompt in prompts),
    )


def encoded(
    workshop: Workshop, generation: Generation, prompts: tuple[Any, ...], most: int
) -> list[list[int]]:
    """The prompts as tokens, those that are too long for a slot cut off at its end."""
    if not prompts:
        return []
    file = workshop.folder / "prompts.json"
    file.write_bytes(dumps(list(prompts)))
    decoder = generation.decoder
    task = {
        "task": "text_encode",
        "tokenizer": str(decoder.folder / "tokenizer.json"),
        "template": chat_template(decoder.folder),
        "prompts": str(file),
        "special": {
            "bos_token": decoder.begin_token,
            "eos_token": decoder.end_tokens[0] if decoder.end_tokens else None,
        },
    }
    result = workshop.workers.do("encode", task, workshop.folder)
    if isinstance(result, Failure):
        missing = "No module named" in result.reason
        raise InputError(
            "the prompts cannot be turned into tokens",
            where="model.samples",
            got=result.reason,
            next_step="pip install '.[generate]' in packager's source"
            if missing
            else "check tokenizer.json, the chat template and the prompts",
        )
    kept = [list(tokens)[:most] for tokens in result["tokens"]]
    wrong = [tokens for tokens in kept if any(t >= decoder.vocabulary for t in tokens)]
    if wrong:
        raise InputError(
            "the tokenizer knows tokens that the model does not",
            where=str(decoder.folder / "tokenizer.json"),
            expected=f"tokens below {decoder.vocabulary}",
        )
    return [tokens for tokens in kept if tokens]


def done(workshop: Workshop, name: str, task: dict[str, Any]) -> dict[str, Any]:
    """What a worker did with the source; raises InputError when it could not."""
    result = workshop.workers.do(name, task, workshop.folder)
    if isinstance(result, Failure):
        raise InputError(
            "ONNX Runtime cannot run the model",
            where=str(workshop.source.files[0].path),
            expected="a decoder that loads and answers prompts",
            got=result.reason,
        )
    return result
