"""The chain of records that a site keeps: every attempt, in order, none changed, none removed.

`history/NNNNNN.json` names the digest of the record before it, and the state file that of the last.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packager.digest import Digest
from packager.errors import Finding, VerificationError

MAX_RECORD = 1 << 20


@dataclass(frozen=True, slots=True)
class Record:
    """One attempt: what was tried, with which release, by whom, and what came out."""

    number: int
    document: dict[str, Any]

    def row(self) -> list[str]:
        """For a table: number, time, verb, result, version, why."""
        told = self.document
        return [
            f"{self.number:06}",
            *(str(told[key]) for key in ("time", "verb", "result")),
            str(told["release"]["version"]),
            str(told["why"])[:100],
        ]


def read_history(home: Path) -> tuple[Record, ...]:
    """The records of `<data>/<release>/`, oldest first.

    Raises VerificationError, with all findings, when the chain is broken.
    """
    records: list[Record] = []
    findings: list[Finding] = []
    before = ""
    for file in sorted((home / "history").glob("[0-9]" * 6 + ".json")):
        try:
            data = file.read_bytes()
            if len(data) > MAX_RECORD:
                raise ValueError("it is too long for a record")
            record = Record(int(file.stem), json.loads(data))
            record.row()
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            findings.append(Finding("a record cannot be read", str(file), got=str(error)[:200]))
            continue
        if record.document.get("previous") != before:
            findings.append(
                Finding(
                    "the record before this one was changed or removed",
                    str(file),
                    expected=str(record.document.get("previous")) or "the first record",
                    got=before or "no record before it",
                )
            )
        before = Digest.of(data).hex
        records.append(record)
    findings += _last_finding(home, before, records)
    if findings:
        raise VerificationError.of(findings)
    return tuple(records)


def _last_finding(home: Path, last: str, records: list[Record]) -> list[Finding]:
    """The state names the last record; after a power cut it may name the one before."""
    try:
        lines = (home / "run" / "state").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []
    named = next((line[7:] for line in lines if line.startswith("record=")), "")
    allowed = {last, str(records[-1].document.get("previous"))} if records else {""}
    if named in allowed:
        return []
    where = str(home / "history")
    return [Finding("the last record is not the one that the state names", where, named, last)]
