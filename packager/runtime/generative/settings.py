"""The `generative` part of server.json: a text model, its tokenizer, and how it is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from ..declared_files import DeclaredFile, Golden, read_files
from ..reading import Reader

MOST_SLOTS = 256
MOST_DRAFTED = 16


@dataclass(frozen=True, slots=True)
class Decoder:
    """The graph of a decoder and the shape of its cache."""

    path: str
    layers: int
    kv_heads: int
    head_size: int
    intra_op_threads: int


class EngineKind(StrEnum):
    """Who runs the graph: our engine, or the library's serial generator or batching engine."""

    PACKAGER = "packager"
    GENERATOR = "genai-generator"
    LIBRARY = "genai-engine"


class Speculation(StrEnum):
    """Who guesses the next tokens: nobody, the text so far, or a small model."""

    OFF = "off"
    LOOKUP = "lookup"
    DRAFT = "draft"


@dataclass(frozen=True, slots=True)
class SpeculationSettings:
    """`tokens` are guessed at a time, by `ngram` last tokens or by `draft`; only while at most
    `most_active` requests are being answered, since a busy server does better in batches."""

    kind: Speculation = Speculation.OFF
    tokens: int = 4
    ngram: int = 3
    most_active: int = 1
    draft: Decoder | None = None


@dataclass(frozen=True, slots=True)
class Marks:
    """What every answer is marked with. `text` goes into a header and into every object; `producer`
    stands in China's metadata label AIGC, which is there unless it is None."""

    text: str | None = None
    producer: str | None = None


@dataclass(frozen=True, slots=True)
class GenerativeSettings:
    """One text model. `slots` requests are answered at a time, each within `slot_tokens` of prompt
    and answer; a prompt is read `prefill_chunk` tokens at a time between the steps of the others.

    `engine` runs it; the library's ones read `library_configuration`, which is the model's
    genai_config.json.

    `shared_prefixes` lets requests of different callers reuse each other's cache; it is off, since
    the time that an answer takes would tell one caller what another one asked.
    """

    name: str
    version: str
    path: str
    files: tuple[DeclaredFile, ...]
    decoder: Decoder
    execution_provider: str
    provider_options: Mapping[str, str]
    tokenizer: str
    chat_template: str | None
    vocabulary: int
    end_tokens: tuple[int, ...]
    begin_token: int | None
    slots: int
    slot_tokens: int
    prefill_chunk: int
    max_queue_size: int
    speculation: SpeculationSettings
    shared_prefixes: bool
    marks: Marks
    golden: Golden | None
    engine: EngineKind = EngineKind.PACKAGER
    library_configuration: str | None = None

    def __str__(self) -> str:
        return f"model {self.name} version {self.version}"


def read_generative(root: Reader) -> tuple[GenerativeSettings, ...]:
    """The entries of `generative`, none when there is no such key; raises Refusal."""
    if not root.has("generative"):
        return ()
    found = tuple(_model(entry) for entry in root.entries("generative"))
    if len({model.name for model in found}) != len(found):
        raise root.at("generative").wrong("names one model twice")
    return found


def _model(reader: Reader) -> GenerativeSettings:
    reader.only(
        *("name", "version", "files", "decoder", "execution_provider", "provider_options"),
        *("tokenizer", "chat_template", "vocabulary", "end_tokens", "begin_token"),
        *("slots", "slot_tokens", "prefill_chunk", "speculation", "golden"),
        optional=(
            *("max_queue_size", "shared_prefixes", "marker", "aigc"),
            *("engine", "genai_config"),
        ),
    )
    decoder = _decoder(reader.at("decoder"))
    begin = reader.at("begin_token")
    template = reader.at("chat_template")
    vocabulary = reader.integer("vocabulary", 1, 1 << 24)
    engine, library_configuration = _engine(reader)
    model = GenerativeSettings(
        name=reader.text("name"),
        version=reader.text("version"),
        path=decoder.path,
        files=read_files(reader),
        decoder=decoder,
        execution_provider=reader.text("execution_provider"),
        provider_options={
            key: reader.at("provider_options").text(key)
            for key in reader.at("provider_options").names()
        },
        tokenizer=reader.at("tokenizer").relative_path(),
        chat_template=None if template.value is None else template.relative_path(),
        vocabulary=vocabulary,
        end_tokens=tuple(
            entry.as_integer(0, vocabulary - 1) for entry in reader.entries("end_tokens")
        ),
        begin_token=None if begin.value is None else begin.as_integer(0, vocabulary - 1),
        slots=reader.integer("slots", 1, MOST_SLOTS),
        slot_tokens=reader.integer("slot_tokens", 2, 1 << 22),
        prefill_chunk=reader.integer("prefill_chunk", 1, 1 << 16),
        max_queue_size=reader.integer("max_queue_size", 1, 1 << 16, 64),
        speculation=_speculation(reader.at("speculation")),
        shared_prefixes=reader.flag("shared_prefixes", False),
        marks=_marks(reader),
        golden=_golden(reader.at("golden")),
        engine=engine,
        library_configuration=library_configuration,
    )
    listed = {file.path for file in model.files}
    needed = [model.path, model.tokenizer, model.chat_template, model.library_configuration]
    needed += [model.golden.path] if model.golden else []
    needed += [model.speculation.draft.path] if model.speculation.draft else []
    for path in needed:
        if path is not None and path not in listed:
            raise reader.at("files").wrong(f"must list {path}, so that its digest is known")
    return model


def _engine(reader: Reader) -> tuple[EngineKind, str | None]:
    """Who runs the graph, and where the library finds what the graph is."""
    if not reader.has("engine"):
        return EngineKind.PACKAGER, None
    words = [kind.value for kind in EngineKind]
    if reader.text("engine") not in words:
        raise reader.at("engine").wrong(f"must be one of {', '.join(words)}")
    kind = EngineKind(reader.text("engine"))
    if (kind is not EngineKind.PACKAGER) != reader.has("genai_config"):
        raise reader.at("genai_config").wrong("is given exactly for an engine of the library")
    if kind is EngineKind.PACKAGER:
        return kind, None
    return kind, reader.at("genai_config").relative_path()


def _decoder(reader: Reader) -> Decoder:
    reader.only("path", "layers", "kv_heads", "head_size", "intra_op_threads")
    return Decoder(
        path=reader.at("path").relative_path(),
        layers=reader.integer("layers", 1, 1000),
        kv_heads=reader.integer("kv_heads", 1, 1000),
        head_size=reader.integer("head_size", 1, 4096),
        intra_op_threads=reader.integer("intra_op_threads", 0, 1024),
    )


def _speculation(reader: Reader) -> SpeculationSettings:
    reader.only("kind", optional=("tokens", "ngram", "most_active", "draft"))
    words = [kind.value for kind in Speculation]
    if reader.text("kind") not in words:
        raise reader.at("kind").wrong(f"must be one of {', '.join(words)}")
    kind = Speculation(reader.text("kind"))
    draft = reader.at("draft")
    if (kind is Speculation.DRAFT) != (reader.has("draft") and draft.value is not None):
        raise draft.wrong("is given exactly when the kind is draft")
    return SpeculationSettings(
        kind=kind,
        tokens=reader.integer("tokens", 1, MOST_DRAFTED, 4),
        ngram=reader.integer("ngram", 2, 16, 3),
        most_active=reader.integer("most_active", 1, MOST_SLOTS, 1),
        draft=_decoder(draft) if kind is Speculation.DRAFT else None,
    )


def _marks(reader: Reader) -> Marks:
    """Raises Refusal for a marker that a header cannot carry: half a mark is none."""
    text = producer = None
    if reader.has("marker") and reader.at("marker").value is not None:
        text = reader.text("marker")
        if not (text.isascii() and text.isprintable() and text.strip() == text and text):
            raise reader.at("marker").wrong(
                "must be printable ASCII, since a header carries it; name a producer under aigc"
            )
    if reader.has("aigc"):
        section = reader.at("aigc")
        section.only("producer")
        producer = section.text("producer")
    return Marks(text, producer)


def _golden(reader: Reader) -> Golden | None:
    if reader.value is None:
        return None
    reader.only("path")
    return Golden(reader.at("path").relative_path(), 0.0)
