"""Whom models are encrypted for, looked at before any work is done for them."""

from __future__ import annotations

from packager.domain.release import ReleaseRequest
from packager.errors import Finding, InputError


def refuse_unusable_recipients(request: ReleaseRequest) -> None:
    """Raises InputError with every key that no model can be encrypted for, before any work."""
    if not request.recipients:
        return
    from packager.oci.encryption import read_recipient

    findings: list[Finding] = []
    for files in request.recipients.values():
        for file in files:
            try:
                read_recipient(file)
            except InputError as error:
                findings += error.findings
    if findings:
        raise InputError.of(findings)
