"""What the manifests in `targets/` would start: step 11.

A chart lies in the layout as well, packed: it must be the target's files, byte for byte.

A manifest is what the operator applies, so it may name one image only: its own target's, by digest.
The text is looked through for every `image` key and every reference by digest, in YAML and JSON of
whatever style; this needs no parser that could see a document differently than the site's engine.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from packager.attest.chart_check import chart_findings
from packager.attest.root import ImageBinding
from packager.attest.signed_release import SignedRelease
from packager.errors import Finding, VerificationError

TARGETS = "targets/"
MAX_MANIFEST = 16 << 20
_STRUCTURED = (".yaml", ".yml", ".json", ".container", ".kube", ".image")
_IMAGE_KEY = re.compile(
    r"""(?<![\w.-])["']?[iI]mage["']?[ \t]*[:=][ \t]*["']?(?P<reference>[^\s"',}\]#]+)"""
)
_BY_DIGEST = re.compile(r"(?P<reference>[\w.:/-]+@sha256:[\w]+)")


def check_manifests(release: SignedRelease) -> dict[str, int]:
    """Step 11, targets: each target has its files, and they name its own image, by digest, only."""
    findings: list[Finding] = []
    references = 0
    for image in release.root.images:
        prefix = f"{TARGETS}{image.target}/"
        paths = [path for path in release.listed if path.startswith(prefix)]
        if not paths:
            findings.append(Finding("the target has no files", prefix))
        for path in paths:
            for reference in _references(release, path):
                references += 1
                findings += _reference_findings(reference, image, path)
    findings += chart_findings(release)
    if findings:
        raise VerificationError.of(findings)
    charts = sum(image.chart is not None for image in release.root.images)
    return {"references": references} | ({"charts": charts} if charts else {})


def _references(release: SignedRelease, path: str) -> Iterator[str]:
    text = release.read(path, MAX_MANIFEST).decode(errors="replace")
    patterns = [_BY_DIGEST, _IMAGE_KEY] if path.endswith(_STRUCTURED) else [_BY_DIGEST]
    found = {match["reference"] for pattern in patterns for match in pattern.finditer(text)}
    yield from sorted(found)


def _reference_findings(reference: str, image: ImageBinding, path: str) -> list[Finding]:
    expected = f"{image.repository}@{image.manifest}"
    if reference == expected:
        return []
    return [Finding("it names another image than its target's", path, expected, reference[:300])]
