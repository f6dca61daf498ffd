"""Write the decisions of every target as evidence: JSON, Markdown and one HTML page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from packager.canonical import dumps_readable
from packager.comply.report import compliance_html, compliance_markdown, compliance_record
from packager.domain.release import BuiltTarget, ReleaseRequest
from packager.workspace import write_atomically


def report(request: ReleaseRequest, built: Sequence[BuiltTarget], release: Path) -> None:
    """`evidence/compliance.{json,md,html}`."""
    record = compliance_record(request, built)
    evidence = release / "evidence"
    write_atomically(evidence / "compliance.json", dumps_readable(record))
    write_atomically(evidence / "compliance.md", compliance_markdown(record).encode())
    write_atomically(evidence / "compliance.html", compliance_html(record).encode())
