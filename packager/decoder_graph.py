"""Looks into a decoder's graph, without its weights: does packager's own engine take it, and if
not, why, and does the library's generator?

Read when a release is read, because who serves decides which wheels are locked. What cannot be read
here has nothing against it yet: it is refused in full words when the model itself is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_MOST_TOLD = 4
_ATTENTION = "GroupQueryAttention"
_SLIDES = (
    "its cache slides (sliding_window_cache of GroupQueryAttention), which ONNX Runtime before 1.31"
    " does not know"
)
_BENDS = "its positions are embedded in another way from a length on that cannot be read"
# Beside its caches a graph may read these and still be answered greedily by plain ONNX Runtime.
KNOWN_INPUTS = frozenset({"input_ids", "attention_mask", "position_ids"})


@dataclass(frozen=True, slots=True)
class Taken:
    """What is against packager's engine, and what is against any engine; empty for a graph that
    each takes. `cache` are the inputs and outputs of the cache, in their order. `reach` is
    the longest text to which the graph says what the model says, where that is known."""

    ours: tuple[str, ...] = ()
    any: tuple[str, ...] = ()
    cache: tuple[tuple[str, str], ...] = ()
    reach: int | None = None


def look(graph: Path, decoder: dict[str, Any], layers: int) -> Taken:
    """What the graph reads, against what the engines give it; `decoder` is that part of its
    genai_config.json."""
    import onnx  # not needed for models that are no text

    try:
        proto = onnx.load(str(graph), load_external_data=False).graph
    except Exception:  # protobuf's own classes differ from release to release
        return Taken()
    weights = {tensor.name for tensor in proto.initializer}
    inputs = [node.name for node in proto.input if node.name not in weights]
    outputs = {node.name for node in proto.output}
    cache = _cache(decoder, layers)
    attention = [_attributes(node) for node in proto.node if node.op_type == _ATTENTION]
    rotary = _rotary_limits(proto)
    limits = [*_lost_windows(decoder, attention), *rotary]
    refused = [_SLIDES] if any(one.get("sliding_window_cache") for one in attention) else []
    refused += [_BENDS] if None in rotary else []
    return Taken(
        ours=(*_against_ours(inputs, {node.op_type for node in proto.node}, layers), *refused),
        any=(*_against_any(inputs, outputs, cache), *refused),
        cache=tuple(pair for pair in cache if pair[0] in inputs),
        reach=min(filter(None, limits), default=None),
    )


def _attributes(node: Any) -> dict[str, int]:
    return {attribute.name: attribute.i for attribute in node.attribute}


def _lost_windows(decoder: dict[str, Any], attention: Sequence[dict[str, int]]) -> list[int]:
    """The builder for the CPU writes a Mistral's window into genai_config.json and leaves it out
    of the graph, whose words are others as soon as a text is longer than the window."""
    told = decoder.get("sliding_window")
    window = told.get("window_size") if isinstance(told, dict) else None
    kept = any(one.get("local_window_size", -1) > 0 for one in attention)
    return [window] if type(window) is int and window > 0 and attention and not kept else []


def _rotary_limits(proto: Any) -> list[int | None]:
    """Where the embedding of positions becomes another one for longer texts (LongRoPE, as Phi 3
    has it): by an `If` over the width of the mask, so for all rows of a step by the longest one,
    and not for what lies in the cache already. None for a length that cannot be read."""
    maker = {name: node for node in proto.node for name in node.output}
    rotary = {name for node in proto.node if node.op_type == _ATTENTION for name in node.input[7:9]}
    choices = [node for node in proto.node if node.op_type == "If" and rotary & {*node.output}]
    longer = [maker.get(choice.input[0]) for choice in choices]
    return [
        _number(one.input[1], maker, proto) if one and one.op_type == "Greater" else None
        for one in longer
    ]


def _number(name: str, maker: Mapping[str, Any], proto: Any) -> int | None:
    from onnx import numpy_helper

    node = maker.get(name)
    if node is not None and node.op_type == "Constant":
        held = [attribute.t for attribute in node.attribute if attribute.name == "value"]
    else:
        held = [tensor for tensor in proto.initializer if tensor.name == name]
    values = numpy_helper.to_array(held[0]).ravel().tolist() if held else []
    return values[0] if len(values) == 1 and type(values[0]) is int and values[0] > 0 else None


def _against_ours(inputs: Sequence[str], operators: set[str], layers: int) -> tuple[str, ...]:
    wanted = {
        "input_ids",
        "attention_mask",
        *(
            f"past_key_values.{layer}.{part}"
            for layer in range(layers)
            for part in ("key", "value")
        ),
    }
    found = []
    if more := sorted(set(inputs) - wanted):
        found.append(f"it also reads {_named(more)}")
    if less := sorted(wanted - set(inputs)):
        found.append(f"it does not read {_named(less)}")
    if _ATTENTION not in operators:
        found.append("its attention is not GroupQueryAttention")
    return tuple(found)


def _against_any(
    inputs: Sequence[str], outputs: set[str], cache: Sequence[tuple[str, str]]
) -> tuple[str, ...]:
    found = []
    known = KNOWN_INPUTS | {past for past, _ in cache}
    if odd := sorted(set(inputs) - known):
        found.append(f"it also reads {_named(odd)}")
    if "input_ids" not in inputs:
        found.append("it does not read input_ids")
    missing = {"logits", *(present for past, present in cache if past in inputs)} - outputs
    if missing:
        found.append(f"it does not give {_named(sorted(missing))}")
    if not any(past in inputs for past, _ in cache):
        found.append("it has no cache of keys and values")
    return tuple(found)


def _cache(decoder: dict[str, Any], layers: int) -> list[tuple[str, str]]:
    """Names of inputs and outputs of the cache, as the configuration or its defaults say."""
    inputs, outputs = decoder.get("inputs"), decoder.get("outputs")
    told = {
        **(inputs if isinstance(inputs, dict) else {}),
        **(outputs if isinstance(outputs, dict) else {}),
    }
    forms = [
        (told.get("past_key_names"), told.get("present_key_names")),
        (told.get("past_value_names"), told.get("present_value_names")),
        (told.get("past_names"), told.get("present_names")),
    ]
    if not any(past for past, _ in forms):
        forms = [
            ("past_key_values.%d.key", "present.%d.key"),
            ("past_key_values.%d.value", "present.%d.value"),
        ]
    return [
        (past.replace("%d", str(layer)), present.replace("%d", str(layer)))
        for layer in range(layers)
        for past, present in forms
        if isinstance(past, str) and isinstance(present, str)
    ]


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_TOLD} more" if len(names) > _MOST_TOLD else ""
    return f"{', '.join(names[:_MOST_TOLD])}{more}"
