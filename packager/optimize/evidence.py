"""The quality record: what was tried, measured and chosen, as a document for the auditor.

Everything in it is known already; nothing is computed here. Samples are told by count and digest
only. Figures carry the machine that they were measured on.
"""

from __future__ import annotations

from dataclasses import asdict

from packager.domain.generation import GenerationSettings
from packager.domain.model import (
    Candidate,
    Estimate,
    Measurement,
    Model,
    OptimizedModel,
    Quality,
)


def quality_record(optimized: OptimizedModel) -> dict[str, object]:
    """The evidence document of one hardware profile, ready for canonical JSON."""
    return {
        "apiVersion": "packager/v1",
        "kind": "QualityRecord",
        "hardware": optimized.hardware,
        "source": _model(optimized.source),
        "model": _model(optimized.model),
        "budget": {
            "metric": optimized.budget.metric.value,
            "bound": optimized.budget.bound,
            "confidence": 0.95,
            **{
                name: str(digest)
                for name, digest in (
                    ("plugin", optimized.budget.plugin),
                    ("labels", optimized.budget.labels),
                )
                if digest
            },
        },
        "objective": optimized.objective.value,
        "constraints": {
            name: value
            for name, value in asdict(optimized.constraints).items()
            if value is not None
        },
        "chosen": optimized.chosen.name,
        "reason": optimized.chosen.reason,
        "where": optimized.where,
        "intra_op_threads": optimized.intra_op_threads,
        "batching": asdict(optimized.batching) if optimized.batching else None,
        "front": {
            "axes": list(optimized.front_axes),
            "candidates": [row.name for row in optimized.candidates if row.on_front],
        },
        "samples": [
            {
                "purpose": use.purpose,
                "count": use.count,
                "digest": str(use.digest),
                "synthetic": use.synthetic,
            }
            for use in optimized.samples
        ],
        "layers_sqnr_db": [[name, value] for name, value in optimized.layers],
        **({"held_bytes": optimized.held_bytes} if optimized.held_bytes else {}),
        **({"generation": _generation(optimized.generation)} if optimized.generation else {}),
        "candidates": [_candidate(candidate) for candidate in optimized.candidates],
        "tools": dict(optimized.tools),
    }


def _generation(settings: GenerationSettings) -> dict[str, object]:
    """How a text model is run, with the figures that say why."""
    cost = settings.cost_usd_per_million
    return {
        "engine": settings.engine.value,
        "context": settings.context,
        "slots": settings.slots,
        "cache_bytes": settings.cache_bytes(),
        "prefill_chunk": settings.prefill_chunk,
        "speculation": {
            "kind": settings.speculation.value,
            "tokens": settings.guessed,
            "draft_threads": settings.draft_threads if settings.drafting else None,
            "gain": settings.gain,
        },
        "paces": [asdict(pace) for pace in settings.paces],
        "estimated_cost_usd_per_million_tokens": list(cost) if cost else None,
        "why": list(settings.why),
    }


def _model(model: Model) -> dict[str, object]:
    return {
        "digest": str(model.digest),
        "size": model.size,
        "opset": model.opset,
        "precision": model.precision.value,
        "files": [
            {"name": file.name, "digest": str(file.digest), "size": file.size}
            for file in model.files
        ],
        "inputs": [spec.as_dict() for spec in model.inputs],
        "outputs": [spec.as_dict() for spec in model.outputs],
    }


def _candidate(candidate: Candidate) -> dict[str, object]:
    told: dict[str, object] = {
        "name": candidate.name,
        "precision": candidate.precision.value,
        "verdict": candidate.verdict.value,
        "reason": candidate.reason,
        "passes": list(candidate.passes),
        "notes": list(candidate.notes),
        "digest": str(candidate.digest) if candidate.digest else None,
        "size": candidate.size,
        "measurement": _measurement(candidate.measurement) if candidate.measurement else None,
        "quality": _quality(candidate.quality) if candidate.quality else None,
        "estimated": _estimate(candidate.estimate) if candidate.estimate else None,
        "on_front": candidate.on_front,
    }
    return {key: value for key, value in told.items() if value is not None}


def _measurement(measurement: Measurement) -> dict[str, object]:
    return _said(asdict(measurement))


def _estimate(estimate: Estimate) -> dict[str, object]:
    method = "roofline of the profile's peak rate and bandwidth; power and price over throughput"
    return {**_said(asdict(estimate)), "method": method}


def _said(values: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if value is not None}


def _quality(quality: Quality) -> dict[str, object]:
    told: dict[str, object] = {
        "metric": quality.metric.value,
        "value": quality.value,
        "confidence_bound": quality.bound,
        "samples": quality.samples,
    }
    if quality.task:
        told["score"] = {"source": quality.task[0], "candidate": quality.task[1]}
    return told
