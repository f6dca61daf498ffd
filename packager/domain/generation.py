"""Text generation: what a release asks for, what its model is, and what was measured for it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
CACHE_ELEMENT_BYTES = 4  # keys and values are kept in FP32 unless the graph says otherwise
USABLE_MEMORY = 0.9
"""The share of a machine's memory that weights and caches may take; the rest is the system's."""
SERVER_BYTES = 400_000_000
"""What the interpreter, ONNX Runtime and the requests in hand take beside them; a rough figure."""
USUAL_CONTEXT = 4096
MOST_SLOTS = 256
PERPLEXITY_AT_MOST = 1.02


class ModelKind(StrEnum):
    """What a model does: tensors in and out, or text that it continues."""

    PREDICTIVE = "predictive"
    GENERATIVE = "generative"


class TextEngine(StrEnum):
    """Who runs the graph: packager's engine, or ONNX Runtime GenAI's serial generator or batching
    engine; `auto` leaves it to the graph and the hardware."""

    AUTO = "auto"
    PACKAGER = "packager"
    GENERATOR = "genai-generator"
    LIBRARY = "genai-engine"

    @property
    def of_library(self) -> bool:
        """Whether the library has to be in the image."""
        return self in (TextEngine.GENERATOR, TextEngine.LIBRARY)


class Speculating(StrEnum):
    """Who guesses the next tokens; `auto` leaves it to what was measured."""

    AUTO = "auto"
    OFF = "off"
    LOOKUP = "lookup"
    DRAFT = "draft"


@dataclass(frozen=True, slots=True)
class Decoder:
    """A decoder by its own `genai_config.json`, and the bytes of the files that lie beside it.

    `graph` is relative to the folder; `context` the most tokens that the model was made for.
    `objections` say why packager's own engine does not take the graph, `unknown` why no plain run
    of it is known; `cache` are the inputs and outputs of its cache, two of a layer. `reach` is
    the longest text to which the graph says what the model says: `context` is no longer then.
    """

    folder: Path
    graph: str
    layers: int
    kv_heads: int
    head_size: int
    vocabulary: int
    context: int
    end_tokens: tuple[int, ...]
    begin_token: int | None
    weights: int
    objections: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    cache: tuple[tuple[str, str], ...] = ()
    reach: int | None = None

    def cache_bytes(self, tokens: int, element: int = CACHE_ELEMENT_BYTES) -> int:
        """What the keys and values of so many tokens take: two of each layer and head."""
        return 2 * self.layers * self.kv_heads * self.head_size * element * tokens


@dataclass(frozen=True, slots=True)
class Generation:
    """The section `generation:` of release.yaml, and what it is about.

    `context` tokens of prompt and answer fit into a slot; `slots` conversations are held at a time,
    None to measure how many pay; `producer` names the provider in China's metadata label.
    """

    decoder: Decoder
    context: int
    slots: int | None = None
    speculation: Speculating = Speculating.AUTO
    draft: Decoder | None = None
    grammars: bool = False
    shared_prefixes: bool = False
    queue: int = 64
    perplexity_at_most: float = PERPLEXITY_AT_MOST
    producer: str | None = None
    engine: TextEngine = TextEngine.AUTO

    def engine_on(self, execution_provider: str) -> TextEngine:
        """Who serves on such hardware: packager's engine wherever it can."""
        if self.engine is not TextEngine.AUTO:
            return self.engine
        if execution_provider != CPU:
            return TextEngine.LIBRARY
        return TextEngine.GENERATOR if self.decoder.objections else TextEngine.PACKAGER

    def slot_bytes(self) -> int:
        """The caches of one slot, the draft's included."""
        draft = self.draft.cache_bytes(self.context) if self.draft else 0
        return self.decoder.cache_bytes(self.context) + draft

    def weights(self) -> int:
        """The files of decoder and draft, in bytes, as they came."""
        return self.decoder.weights + (self.draft.weights if self.draft else 0)

    def slots_within(self, memory: float, weights: int | None = None) -> int:
        """How many slots fit beside the weights into `memory` bytes of a machine."""
        left = memory * USABLE_MEMORY - SERVER_BYTES
        left -= self.weights() if weights is None else weights
        return max(0, min(MOST_SLOTS, int(left // self.slot_bytes())))

    def tokens_within(self, memory: float, weights: int) -> int:
        """How long a single slot can be beside the weights."""
        left = memory * USABLE_MEMORY - SERVER_BYTES - weights
        each = self.decoder.cache_bytes(1) + (self.draft.cache_bytes(1) if self.draft else 0)
        return max(0, int(left // each))


@dataclass(frozen=True, slots=True)
class Pace:
    """A text model as it was measured with `streams` answers at a time: tokens a second of all of
    them, their prompts included, and the time between two tokens of a lone answer."""

    streams: int
    tokens_per_s: float
    token_p50_ms: float


@dataclass(frozen=True, slots=True)
class GenerationSettings:
    """What is baked into server.json, and the figures that say why.

    `guessed` tokens are drafted at a time by `speculation`, which gives `gain` times the tokens a
    second of a lone answer; `cost_usd_per_million` tokens is from low to high price, an estimate.
    """

    decoder: Decoder
    context: int
    slots: int
    prefill_chunk: int
    speculation: Speculating
    guessed: int
    draft: Decoder | None
    draft_threads: int
    gain: float | None
    queue: int
    shared_prefixes: bool
    paces: tuple[Pace, ...] = ()
    cost_usd_per_million: tuple[float, float] | None = None
    why: tuple[str, ...] = ()
    engine: TextEngine = TextEngine.PACKAGER

    @property
    def drafting(self) -> Decoder | None:
        """The draft, where it is used."""
        return self.draft if self.speculation is Speculating.DRAFT else None

    def cache_bytes(self) -> int:
        """Keys and values of all slots, the draft's included."""
        draft = self.drafting.cache_bytes(self.context) if self.drafting else 0
        return self.slots * (self.decoder.cache_bytes(self.context) + draft)
