"""Measurements as an input: what was timed once is known again, so that builds give equal bytes.

A row belongs to one candidate (by digest), timed against one source (by digest), and one hardware
profile. Rows are sorted and rounded; `record_file` is their form on the disk. The
host is described by CPU model and engine version, never by its name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from packager.digest import Digest
from packager.domain.model import Batching, Measurement, Objective

BATCHING_PAYS = 1.5
"""Gains below this are not worth that requests wait for each other: what the stop-watch told as
1.43 was 1.0 to 1.1 in the server under eight callers (benchmarks/optimize/batcher.py)."""

TOGETHER_PAYS = 1.1
"""And eight callers must surely gain this much (`callers`): of the encoder they got 0.7 to 0.97
times as much, at least, of a wide MLP, whose server gains 2.3, 1.1 to 1.5."""


@dataclass(frozen=True, slots=True, order=True)
class Figures:
    """One comparison with the source. Milliseconds at batch 1, inferences a second at `batch`.

    The ratios to the source are None in the record of a site, where the source was not. `spread`
    is how far the ratio may lie off, as a share of it: half of its 95 % interval; None where nobody
    knows.
    """

    threads: int
    batch: int
    rounds: int
    latency_p50_ms: float
    latency_p99_ms: float
    throughput_per_s: float
    latency_speedup: float | None
    throughput_speedup: float | None
    spread: float | None = None


@dataclass(frozen=True, slots=True, order=True)
class Row:
    """All figures of one candidate for one hardware profile, for each number of threads and batch.

    `load_ms` and `resident_bytes` are None in records that do not say. `compared_on` is the machine
    that the ratios to the source come from, where that is another one than `measured_on`.
    """

    source: Digest
    candidate: Digest
    hardware: str
    measured_on: str
    figures: tuple[Figures, ...]
    load_ms: float | None = None
    resident_bytes: int | None = None
    compared_on: str | None = None
    together: float | None = None
    """How many times as many rows a second eight callers got at least when they were put together;
    None where nobody tried."""

    @property
    def compared(self) -> bool:
        """Whether it says how the candidate stands to the source."""
        return all(f.latency_speedup and f.throughput_speedup for f in self.figures)

    def compared_like(self, other: Row) -> Row:
        """These figures with the ratios that `other` has for the same threads and batch, or for the
        nearest ones."""
        figures = []
        for own in self.figures:
            near = min(
                other.figures,
                key=lambda f, own=own: (  # type: ignore[misc]
                    abs(f.threads - own.threads),
                    abs(f.batch - own.batch),
                ),
            )
            figures.append(
                replace(
                    own,
                    latency_speedup=near.latency_speedup,
                    throughput_speedup=near.throughput_speedup,
                    spread=near.spread,
                )
            )
        return replace(self, figures=tuple(figures), compared_on=other.measured_on)

    def compared_with(self, source: Row) -> Row:
        """These figures with ratios to the source's own figures of the same machine."""
        theirs = {(f.threads, f.batch): f for f in source.figures}
        figures = tuple(
            replace(
                own,
                latency_speedup=round(base.latency_p50_ms / own.latency_p50_ms, 2),
                throughput_speedup=round(own.throughput_per_s / base.throughput_per_s, 2),
            )
            for own in self.figures
            if (base := theirs.get((own.threads, own.batch)))
        )
        return replace(self, figures=figures) if figures else self

    def best(self, objective: Objective) -> Figures:
        """The figures within a tenth of the best at the fewest threads and the smallest batch."""
        if objective is Objective.LATENCY:
            bound = min(f.latency_p50_ms for f in self.figures) * 1.1
            good = [f for f in self.figures if f.latency_p50_ms <= bound]
        else:
            least = max(f.throughput_per_s for f in self.figures) * 0.9
            good = [f for f in self.figures if f.throughput_per_s >= least]
        return min(good, key=lambda f: (f.threads, f.batch))

    def most(self, threads: int) -> float:
        """The largest throughput that was seen with so many threads."""
        return max(f.throughput_per_s for f in self.figures if f.threads == threads)

    def batching(self, threads: int) -> Batching:
        """Whether batches pay with so many threads: the smallest batch within a tenth of the best,
        when that is worth the waiting; else none.

        Requests that are not put together run side by side, so what batches must beat is one row
        on each thread at the same time. Of MiniLM 16 rows on two threads were 1.9 times as fast as
        row by row on both, and eight callers got no more of it (benchmarks/optimize/batcher.py). So
        where eight callers were tried (`callers`), it is the least of what they gained that counts.
        """
        rates = {f.batch: f.throughput_per_s for f in self.figures if f.threads == threads}
        single = rates.get(1)
        if not single:
            return Batching(0, 1.0)
        alone = [f.throughput_per_s for f in self.figures if (f.threads, f.batch) == (1, 1)]
        single = max([single, *(threads * rate for rate in alone)])
        batch = min(size for size, rate in rates.items() if rate >= 0.9 * max(rates.values()))
        gain = round(rates[batch] / single, 2)
        pays = batch > 1 and gain >= BATCHING_PAYS
        if pays and self.together is not None:
            pays, gain = self.together >= TOGETHER_PAYS, self.together
        return Batching(batch if pays else 0, gain)


@dataclass(frozen=True, slots=True, order=True)
class Guess:
    """What guessing gains a lone answer: the ratio of its time without to that with it."""

    kind: str
    tokens: int
    threads: int
    gain: float
    accepted: float


@dataclass(frozen=True, slots=True, order=True)
class TextRow:
    """How a text model is best run on a profile: tokens a second of reading in chunks, and guesses.

    `draft` is the digest of the draft's graph, empty without one.
    """

    candidate: Digest
    draft: str
    hardware: str
    measured_on: str
    threads: int
    chunks: tuple[tuple[int, float], ...]
    guesses: tuple[Guess, ...]


@dataclass(frozen=True, slots=True)
class MeasurementRecord:
    """`measurements.json`: rows sorted, one for each source, candidate and profile; `texts` of text
    models alone."""

    rows: tuple[Row, ...] = ()
    texts: tuple[TextRow, ...] = ()

    def find(self, source: Digest, candidate: Digest, hardware: str) -> Row | None:
        """The row of this candidate for this profile."""
        key = (source, candidate, hardware)
        return next((r for r in self.rows if (r.source, r.candidate, r.hardware) == key), None)

    def elsewhere(self, source: Digest, candidate: Digest, measured_on: str) -> Row | None:
        """A row of this candidate for any profile, timed on the machine `measured_on`."""
        key = (source, candidate, measured_on)
        return next((r for r in self.rows if (r.source, r.candidate, r.measured_on) == key), None)

    def having(self, rows: Iterable[Row]) -> MeasurementRecord:
        """This record with `rows` added or replaced."""
        merged = {(r.source, r.candidate, r.hardware): r for r in (*self.rows, *rows)}
        return MeasurementRecord(tuple(merged[key] for key in sorted(merged)), self.texts)

    def having_texts(self, texts: Iterable[TextRow]) -> MeasurementRecord:
        """This record with rows of text models added or replaced."""
        merged = {(t.candidate, t.draft, t.hardware, t.threads): t for t in (*self.texts, *texts)}
        return MeasurementRecord(self.rows, tuple(merged[key] for key in sorted(merged)))

    def tuned(self, candidate: Digest, draft: str, hardware: str, threads: int) -> TextRow | None:
        """How this text model is best run on this profile."""
        key = (candidate, draft, hardware, threads)
        found = (t for t in self.texts if (t.candidate, t.draft, t.hardware, t.threads) == key)
        return next(found, None)

    def tuned_on(self, candidate: Digest, draft: str, host: str, threads: int) -> TextRow | None:
        """The same for any profile, timed on the machine `host`."""
        key = (candidate, draft, host, threads)
        found = (t for t in self.texts if (t.candidate, t.draft, t.measured_on, t.threads) == key)
        return next(found, None)


def measurement(row: Row, objective: Objective) -> Measurement:
    """The row in the words of the optimizer's table, with the objective's own speed-up."""
    figures = row.best(objective)
    latency = objective in (Objective.LATENCY, Objective.SIZE)
    return Measurement(
        latency_p50_ms=figures.latency_p50_ms,
        latency_p99_ms=figures.latency_p99_ms,
        throughput_per_s=row.most(figures.threads),
        speedup=figures.latency_speedup if latency else figures.throughput_speedup,
        threads=figures.threads,
        batch=figures.batch,
        latency_speedup=figures.latency_speedup,
        throughput_speedup=figures.throughput_speedup,
        load_ms=row.load_ms,
        resident_bytes=row.resident_bytes,
        spread=figures.spread,
    )
