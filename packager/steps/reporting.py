"""Write the decisions of every target as evidence: JSON, Markdown, one HTML page, and OSCAL."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from packager.canonical import SourceDateEpoch, dumps_readable
from packager.comply.oscal import oscal_documents
from packager.comply.report import (
    compliance_html,
    compliance_markdown,
    compliance_record,
    evidence_named,
)
from packager.digest import Digest
from packager.domain.release import BuiltTarget, ReleaseRequest
from packager.errors import PackagerError
from packager.workspace import write_atomically


def report(
    request: ReleaseRequest, built: Sequence[BuiltTarget], epoch: SourceDateEpoch, release: Path
) -> None:
    """`evidence/compliance.{json,md,html}` and `evidence/oscal/`.

    Comes after everything that decisions name, since it carries their digests. Raises PackagerError
    when a decision names a file that the release lacks.
    """
    digests = {name: str(_digest(release, name)) for name in evidence_named(built)}
    record = compliance_record(request, built, digests, epoch.rfc3339())
    evidence = release / "evidence"
    write_atomically(evidence / "compliance.json", dumps_readable(record))
    write_atomically(evidence / "compliance.md", compliance_markdown(record).encode())
    write_atomically(evidence / "compliance.html", compliance_html(record).encode())
    for name, document in oscal_documents(record).items():
        write_atomically(evidence / "oscal" / name, dumps_readable(document))


def _digest(release: Path, name: str) -> Digest:
    try:
        return Digest.of_file(release / name)
    except OSError as error:
        raise PackagerError(
            "a decision names a file that the release lacks",
            where=name,
            got=error.strerror or str(error),
            next_step="if --templates is given, keep the names of the built-in templates",
        ) from error
