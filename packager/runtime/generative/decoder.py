"""A decoder session with a slot for each conversation: the only module that runs the graph.

Keys and values of all slots lie in one array a layer, `[slots, kv_heads, slot_tokens, head_size]`,
that ONNX Runtime reads and writes in place: the same memory is bound as past and as present. What a
slot holds is told by its length alone, so that going back is setting a number. GroupQueryAttention
takes the length of each row from the attention mask, which is what lets rows of different lengths
share a step (ONNX Runtime's contrib operators, "com.microsoft.GroupQueryAttention").
"""

from __future__ import annotations

import contextlib
import math
import mmap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ExitCode, Refusal
from ..silence import onnxruntime
from .settings import Decoder

Array = np.ndarray[Any, Any]
_CPU = "CPUExecutionProvider"
_FATAL = 4
_MASK_BLOCK = 64  # a mask for steps is bound again each so many tokens
_STEP_TOKENS = 8  # what a step reads of a row: a token, or a few guesses
_MOST_STEPS = 128
_NUMBER_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


@dataclass(slots=True)
class _Step:
    """What a step of some rows reads and writes, bound once: a step of a small model is not much
    longer than it takes to bind a tensor. `ends` is each row's last place."""

    binding: Any
    inputs: Array
    mask: Array
    ends: Array
    logits: Array


class SlotDecoder:
    """`lengths[slot]` tokens of each slot are in the cache. Used by one thread alone."""

    def __init__(
        self,
        folder: Path,
        decoder: Decoder,
        slots: int,
        slot_tokens: int,
        provider: str = _CPU,
        options: Mapping[str, str] | None = None,
    ) -> None:
        self._session = _open(folder / decoder.path, decoder, provider, dict(options or {}))
        self._check(decoder)
        self.slots, self.slot_tokens = slots, slot_tokens
        self.lengths = [0] * slots
        kind = _NUMBER_TYPES[self._types["past_key_values.0.key"]]
        shape = (slots, decoder.kv_heads, slot_tokens, decoder.head_size)
        self._names = [
            (f"past_key_values.{layer}.{part}", f"present.{layer}.{part}")
            for layer in range(decoder.layers)
            for part in ("key", "value")
        ]
        self._cache = [_zeros(shape, kind) for _ in self._names]
        self._bindings: dict[tuple[int, int], Any] = {}
        self._steps: dict[tuple[int, int, int], _Step] = {}
        self._places = np.arange(slot_tokens)
        self._is_float32 = self._logits_type is np.float32

    @property
    def provider(self) -> str:
        """The execution provider that the session really uses."""
        first: str = self._session.get_providers()[0]
        return first

    def back_to(self, slot: int, length: int) -> None:
        """Forget what a slot read behind its first `length` tokens."""
        self.lengths[slot] = length

    def read(self, slot: int, tokens: Sequence[int]) -> Array:
        """Append tokens to a slot; the logits after each of them, `[tokens, vocabulary]`, which are
        good until the slot reads as many again."""
        length = self.lengths[slot]
        if length and len(tokens) <= _STEP_TOKENS:
            logits = self._few(slot, slot + 1, tokens, length + len(tokens) - 1)
        else:
            mask = np.ones((1, length + len(tokens)), np.int64)
            logits = self._run(slot, slot + 1, np.array([tokens], np.int64), mask)
        self.lengths[slot] = length + len(tokens)
        rows: Array = logits[0]
        return rows

    def begin(self, prompts: Mapping[int, Sequence[int]]) -> dict[int, Array]:
        """Read whole prompts into empty slots that lie side by side, in one run: the weights are
        read once for all of them. The logits after the last token of each by slot.

        Shorter ones are filled up on the right. What comes of that is behind their length.
        """
        first, last = min(prompts), max(prompts) + 1
        width = max(map(len, prompts.values()))
        inputs = np.zeros((last - first, width), np.int64)
        mask = np.zeros((last - first, width), np.int64)
        for slot, tokens in prompts.items():
            inputs[slot - first, : len(tokens)] = tokens
            mask[slot - first, : len(tokens)] = 1
        logits = self._run(first, last, inputs, mask)
        for slot, tokens in prompts.items():
            self.lengths[slot] = len(tokens)
        return {slot: logits[slot - first, len(prompts[slot]) - 1] for slot in prompts}

    def step(self, tokens: Mapping[int, int]) -> dict[int, Array]:
        """Append one token to each of several slots at once; the logits after it by slot, which
        are good until the next step.

        Slots below the highest one take part in the step whether they like it or not. What is
        written for them lies behind their length, where nobody reads it.
        """
        rows = max(tokens) + 1
        inputs = [[tokens.get(slot, 0)] for slot in range(rows)]
        logits = self._few(0, rows, inputs, self.lengths[:rows])
        for slot in tokens:
            self.lengths[slot] += 1
        return {slot: logits[slot, 0] for slot in tokens}

    def _few(self, first: int, last: int, inputs: Any, ends: int | Sequence[int]) -> Array:
        """Read a few tokens of each of some rows, `ends` the place of the last of them. The logits
        are good until the same is done again."""
        step = self._step(first, last, np.size(inputs) // (last - first))
        step.inputs[:] = inputs
        step.ends[:, 0] = ends
        longest = int(step.ends.max())
        width = min(longest // _MASK_BLOCK * _MASK_BLOCK + _MASK_BLOCK, self.slot_tokens)
        if step.mask.shape[1] != width:
            step.mask = np.empty((last - first, width), np.int64)
            step.binding.bind_ortvalue_input("attention_mask", _value(step.mask))
        np.less_equal(self._places[:width], step.ends, out=step.mask)
        self._session.run_with_iobinding(step.binding)
        return step.logits if self._is_float32 else step.logits.astype(np.float32)

    def _step(self, first: int, last: int, width: int) -> _Step:
        step = self._steps.get((first, last, width))
        if step is None:
            if len(self._steps) >= _MOST_STEPS:
                self._steps.clear()
            rows = last - first
            step = self._steps[first, last, width] = _Step(
                self._new_binding(first, last),
                np.zeros((rows, width), np.int64),
                np.zeros((rows, 0), np.int64),
                np.zeros((rows, 1), np.int64),
                np.empty((rows, width, self._width), self._logits_type),
            )
            step.binding.bind_ortvalue_input("input_ids", _value(step.inputs))
            step.binding.bind_ortvalue_output("logits", _value(step.logits))
        return step

    def _run(self, first: int, last: int, inputs: Array, mask: Array) -> Array:
        binding = self._bound(first, last)
        binding.bind_cpu_input("input_ids", inputs)
        binding.bind_cpu_input("attention_mask", mask)
        logits = np.empty((*inputs.shape, self._width), self._logits_type)
        binding.bind_ortvalue_output("logits", _value(logits))
        self._session.run_with_iobinding(binding)
        return logits if logits.dtype == np.float32 else logits.astype(np.float32)

    def _bound(self, first: int, last: int) -> Any:
        key = (first, last)
        if key not in self._bindings:
            self._bindings[key] = self._new_binding(first, last)
        return self._bindings[key]

    def _new_binding(self, first: int, last: int) -> Any:
        """A binding of some rows of the cache, past and present in the same memory. It is kept,
        since binding all layers takes longer than a small draft computes."""
        binding = self._session.io_binding()
        for (past, present), array in zip(self._names, self._cache, strict=True):
            rows = _value(array[first:last])
            binding.bind_ortvalue_input(past, rows)
            binding.bind_ortvalue_output(present, rows)
        return binding

    def _check(self, decoder: Decoder) -> None:
        """Raises Refusal for a graph that this engine does not understand."""
        self._types = {node.name: node.type for node in self._session.get_inputs()}
        wanted = {"input_ids", "attention_mask"} | {
            f"past_key_values.{layer}.{part}"
            for layer in range(decoder.layers)
            for part in ("key", "value")
        }
        odd = sorted(wanted.symmetric_difference(self._types))
        if odd:
            raise Refusal(
                ExitCode.DATA,
                f"{decoder.path}: inputs are not those of a decoder with {decoder.layers} layers;"
                f" they differ in {', '.join(odd[:4])}",
            )
        kind = self._types["past_key_values.0.key"]
        if kind not in _NUMBER_TYPES:
            raise Refusal(ExitCode.DATA, f"{decoder.path}: a cache of {kind} is not understood")
        logits = {node.name: node for node in self._session.get_outputs()}.get("logits")
        if logits is None or logits.type not in _NUMBER_TYPES or type(logits.shape[-1]) is not int:
            raise Refusal(ExitCode.DATA, f"{decoder.path}: no output `logits` of a known width")
        self._logits_type, self._width = _NUMBER_TYPES[logits.type], logits.shape[-1]


def _zeros(shape: tuple[int, ...], kind: Any) -> Array:
    """Memory that is taken from the machine as it is written, in small pages: with huge ones a
    slot of a few words held by half a megabyte for each layer (372 MB of a server were such)."""
    size = math.prod(shape) * np.dtype(kind).itemsize
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):  # a kernel without huge pages
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    array: Array = np.frombuffer(memory, kind).reshape(shape)
    return array


def _value(array: Array) -> Any:
    """ONNX Runtime's view of an array; the memory is shared."""
    return onnxruntime.OrtValue.ortvalue_from_numpy(array)


def _open(path: Path, decoder: Decoder, provider: str, options: dict[str, str]) -> Any:
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = _FATAL
    settings.intra_op_num_threads = decoder.intra_op_threads
    if provider != _CPU:
        settings.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
    try:
        session = onnxruntime.InferenceSession(str(path), settings, providers=[(provider, options)])
    except Exception as error:
        told = " ".join(str(error).split())[:300]
        raise Refusal(ExitCode.DATA, f"{decoder.path}: no session on {provider}: {told}") from error
    if session.get_providers()[0] != provider:
        raise Refusal(
            ExitCode.UNAVAILABLE,
            f"{decoder.path}: declared for {provider}, but runs on {session.get_providers()[0]}",
        )
    return session
