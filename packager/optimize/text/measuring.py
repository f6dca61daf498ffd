"""Times text models in the runtime's own engine, and makes settings of the figures.

The runtime is an island: it is started as a program (`packager.runtime.generative.measuring`), and
its figures come back as JSON. What the record knows already is not timed again.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from packager.digest import Digest
from packager.domain.generation import Decoder, Generation, Speculating
from packager.domain.hardware import HardwareProfile
from packager.domain.model import Model
from packager.optimize.measuring import host
from packager.optimize.processes import Failure, Workers
from packager.optimize.record import Figures, Guess, MeasurementRecord, Row, TextRow

MODULE = "packager.runtime.generative.measuring"
STREAMS = (1, 2, 4, 8)
CHUNKS = (16, 32, 64, 128, 256)
CHUNK = 64
TOKENS = 24
ROUNDS = 5
SECONDS = 0.5
"""Rounds at least, and as many more as fit into these seconds."""
GUESSING_PROMPTS = 8
GUESSING_TOKENS = 64
PAYS = 1.05
"""Guessing that gains less than this is not worth its complications."""
NEAR = 0.9
"""The fewest streams and the smallest chunk that come this near to the best are taken."""


@dataclass(frozen=True, slots=True)
class Timing:
    """What all measurements of one release share; `prompts` are tokens."""

    generation: Generation
    prompts: Sequence[Sequence[int]]
    folder: Path
    workers: Workers

    def engine(self) -> Workers:
        """Workers that run the runtime's engine."""
        return replace(self.workers, command=(sys.executable, "-P", "-m", MODULE))

    def row(
        self,
        name: str,
        source: Model,
        model: Model,
        hardware: HardwareProfile,
        record: MeasurementRecord,
    ) -> Row | Failure:
        """Figures of one candidate beside the source, known or new. Batches are answers at a time,
        latencies those between two tokens, throughput in tokens a second."""
        known = record.find(source.digest, model.digest, hardware.id)
        if known is None and (twin := record.elsewhere(source.digest, model.digest, host())):
            known = replace(twin, hardware=hardware.id)
        if known is not None:
            return known
        task = {
            "task": "paces",
            "source": self._entry(source),
            "candidate": self._entry(model),
            "prompts": [list(prompt) for prompt in self._short()],
            "threads": _threads(),
            "streams": list(STREAMS),
            "tokens": TOKENS,
            "rounds": ROUNDS,
            "patience": SECONDS,
            "chunk": CHUNK,
            "slot_tokens": self._slot_tokens(TOKENS),
        }
        result = self.engine().do(f"pace-{name}", task, self.folder)
        if isinstance(result, Failure):
            return Failure(f"could not be measured: {result.reason}")
        alone = {
            figure["threads"]: figure for figure in result["figures"] if figure["streams"] == 1
        }
        figures = [
            Figures(
                threads=figure["threads"],
                batch=figure["streams"],
                rounds=figure["rounds"],
                latency_p50_ms=alone[figure["threads"]]["step_p50_ms"],
                latency_p99_ms=alone[figure["threads"]]["step_p99_ms"],
                throughput_per_s=figure["tokens_per_s"],
                latency_speedup=alone[figure["threads"]]["step_speedup"],
                throughput_speedup=figure["speedup"],
            )
            for figure in result["figures"]
        ]
        return Row(
            source.digest,
            model.digest,
            hardware.id,
            host(),
            tuple(sorted(figures)),
            result["load_ms"],
            result["resident_bytes"],
        )

    def tuned(
        self, model: Model, hardware: HardwareProfile, threads: int, record: MeasurementRecord
    ) -> TextRow | Failure:
        """Prefill chunks and guesses of the chosen model, known or new."""
        draft = self._draft_digest()
        known = record.tuned(model.digest, draft, hardware.id, threads)
        if known is None and (twin := record.tuned_on(model.digest, draft, host(), threads)):
            known = replace(twin, hardware=hardware.id)
        if known is not None:
            return known
        task = {
            "task": "tuning",
            "candidate": self._entry(model),
            "draft": self._draft_entry(),
            "prompts": [list(prompt) for prompt in self._short()[:GUESSING_PROMPTS]],
            "threads": [threads],
            "tokens": GUESSING_TOKENS,
            "rounds": GUESSING_PROMPTS,
            "chunks": list(CHUNKS),
            "guesses": self._guesses(),
            "slot_tokens": self._slot_tokens(GUESSING_TOKENS),
        }
        result = self.engine().do("tuning", task, self.folder)
        if isinstance(result, Failure):
            return result
        return TextRow(
            candidate=model.digest,
            draft=draft,
            hardware=hardware.id,
            measured_on=host(),
            threads=threads,
            chunks=tuple((int(chunk), float(rate)) for chunk, rate in result["chunks"]),
            guesses=tuple(sorted(Guess(**guess) for guess in result["guesses"])),
        )

    def _guesses(self) -> list[tuple[str, int, int]]:
        """Kind, tokens and threads of the draft: two thread pools on the same cores may cost more
        than guessing gains, so that one thread is tried first."""
        wanted = self.generation.speculation
        found: list[tuple[str, int, int]] = []
        if wanted in (Speculating.AUTO, Speculating.LOOKUP):
            found += [(Speculating.LOOKUP.value, count, 1) for count in (2, 4, 6)]
        if wanted in (Speculating.AUTO, Speculating.DRAFT) and self.generation.draft:
            pools = sorted({1, min(2, len(os.sched_getaffinity(0)))})
            found += [
                (Speculating.DRAFT.value, count, pool) for pool in pools for count in (2, 3, 5)
            ]
        return found

    def _entry(self, model: Model) -> dict[str, object]:
        return _entry(model.files[0].path, self.generation.decoder)

    def _draft_entry(self) -> dict[str, object] | None:
        draft = self.generation.draft
        return _entry(draft.folder / draft.graph, draft) if draft else None

    def _draft_digest(self) -> str:
        """What the draft is, since figures with one are not those with another."""
        draft = self.generation.draft
        return str(Digest.of_file(draft.folder / draft.graph)) if draft else ""

    def _short(self) -> list[list[int]]:
        """Prompts of a bounded length: what is timed is mostly saying, as in service."""
        most = max(1, min(128, self.generation.context - GUESSING_TOKENS - 2))
        return [list(prompt)[:most] for prompt in self.prompts]

    def _slot_tokens(self, tokens: int) -> int:
        longest = max(len(prompt) for prompt in self._short())
        return min(self.generation.context, max(640, longest + tokens + 16))


def best_chunk(chunks: Sequence[tuple[int, float]]) -> int:
    """The smallest chunk whose rate is near the best: a larger one would let others wait longer."""
    if not chunks:
        return CHUNK
    best = max(rate for _, rate in chunks)
    return min(chunk for chunk, rate in chunks if rate >= NEAR * best)


def best_guess(guesses: Sequence[Guess], wanted: Speculating) -> Guess | None:
    """The way of guessing that gains most, None where none pays; who named a kind gets its best."""
    named = wanted not in (Speculating.AUTO, Speculating.OFF)
    fit = [guess for guess in guesses if not named or guess.kind == wanted.value]
    best = max(fit, key=lambda guess: (guess.gain, -guess.tokens, -guess.threads), default=None)
    return best if best and (named or best.gain >= PAYS) else None


def best_slots(row: Row | None, threads: int, most: int) -> int:
    """The fewest answers at a time that come near the best rate of those that fit."""
    figures = row.figures if row else ()
    rates = {one.batch: one.throughput_per_s for one in figures if one.threads == threads}
    fit = {streams: rate for streams, rate in rates.items() if streams <= most}
    if not fit:
        return max(1, min(most, STREAMS[-1]))
    return min(streams for streams, rate in fit.items() if rate >= NEAR * max(fit.values()))


def _entry(path: Path, decoder: Decoder) -> dict[str, object]:
    return {
        "path": str(path.resolve()),
        "layers": decoder.layers,
        "kv_heads": decoder.kv_heads,
        "head_size": decoder.head_size,
    }


def _threads() -> list[int]:
    usable = len(os.sched_getaffinity(0))
    return [count for count in (1, 2, 4) if count <= usable] or [1]
