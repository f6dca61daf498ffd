"""A record of measurements as a file: canonical JSON, indented, to be committed beside the lock."""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from packager.canonical import dumps_readable
from packager.digest import Digest
from packager.errors import InputError
from packager.optimize.record import Figures, Guess, MeasurementRecord, Row, TextRow

KIND = {"apiVersion": "packager/v1", "kind": "MeasurementRecord"}
_OPTIONAL = ("latency_speedup", "throughput_speedup", "spread")


def record_bytes(record: MeasurementRecord) -> bytes:
    """The record as a file; equal records are equal bytes."""
    rows = [
        {
            "source": str(row.source),
            "candidate": str(row.candidate),
            "hardware": row.hardware,
            "measured_on": row.measured_on,
            "figures": [_said(asdict(figures)) for figures in row.figures],
            **_said(
                {
                    "load_ms": row.load_ms,
                    "resident_bytes": row.resident_bytes,
                    "compared_on": row.compared_on,
                    "together": row.together,
                }
            ),
        }
        for row in record.rows
    ]
    texts = [{**asdict(row), "candidate": str(row.candidate)} for row in record.texts]
    return dumps_readable({**KIND, "measurements": rows, **({"texts": texts} if texts else {})})


def _said(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def read_record(path: Path) -> MeasurementRecord:
    """Read a record. Raises InputError for anything that `record_bytes` would not write."""
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from error
    except (ValueError, RecursionError) as error:
        raise _unusable(path, f"no JSON: {error}") from error
    if not isinstance(document, dict) or {key: document.get(key) for key in KIND} != KIND:
        raise _unusable(path, "another kind of document")
    try:
        rows = [_row(entry) for entry in document["measurements"]]
        texts = [_text(entry) for entry in document.get("texts", [])]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _unusable(path, f"{type(error).__name__}: {error}") from error
    return MeasurementRecord().having(rows).having_texts(texts)


def _row(entry: dict[str, Any]) -> Row:
    figures = tuple(sorted(_figures(item) for item in entry["figures"]))
    texts = (entry["hardware"], entry["measured_on"])
    if not figures or not all(isinstance(text, str) for text in texts):
        raise ValueError("a row needs texts and at least one set of figures")
    load, resident = entry.get("load_ms"), entry.get("resident_bytes")
    compared_on, together = entry.get("compared_on"), entry.get("together")
    if not isinstance(compared_on, str | None):
        raise ValueError("compared_on is no text")
    return Row(
        Digest.parse(entry["source"]),
        Digest.parse(entry["candidate"]),
        *texts,
        figures,
        None if load is None else float(_number("load_ms", load)),
        None if resident is None else int(_number("resident_bytes", resident)),
        compared_on,
        None if together is None else float(_number("together", together)),
    )


def _text(entry: dict[str, Any]) -> TextRow:
    texts = (entry["draft"], entry["hardware"], entry["measured_on"])
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a row of a text model needs texts")
    guesses = [
        Guess(
            str(guess["kind"]),
            int(_number("tokens", guess["tokens"])),
            int(_number("threads", guess["threads"])),
            float(_number("gain", guess["gain"])),
            float(_number("accepted", guess["accepted"])),
        )
        for guess in entry["guesses"]
    ]
    return TextRow(
        Digest.parse(entry["candidate"]),
        *texts,
        int(_number("threads", entry["threads"])),
        tuple((int(_number("chunk", c)), float(_number("rate", r))) for c, r in entry["chunks"]),
        tuple(sorted(guesses)),
    )


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e15:
        raise ValueError(f"{name} is not a number")
    return value


def _figures(item: dict[str, Any]) -> Figures:
    values: dict[str, Any] = {}
    for field in fields(Figures):
        value = item.get(field.name) if field.name in _OPTIONAL else item[field.name]
        if value is None and field.name in _OPTIONAL:
            values[field.name] = None
            continue
        whole = field.name in ("threads", "batch", "rounds")
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
            raise ValueError(f"{field.name} is not a number")
        if not 0 <= value < 1e12 or (not value and field.name != "spread"):
            raise ValueError(f"{field.name} is out of range")
        values[field.name] = value if whole else float(value)
    return Figures(**values)


def _unusable(path: Path, got: str) -> InputError:
    return InputError(
        "the measurements cannot be used",
        where=str(path),
        expected="a MeasurementRecord as packager writes it",
        got=got[:200],
        next_step="move the file away; the next build measures again",
    )
