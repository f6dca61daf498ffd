"""Pack the chart of every Helm target into the layout, signed like an image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from packager.attest.cosign import manifest_referrer, manifest_signature, repository_of
from packager.attest.keys import Signer
from packager.canonical import SourceDateEpoch
from packager.domain.chart import PackedChart, chart_repository
from packager.domain.release import BuiltTarget
from packager.domain.target import DeploymentPlatform
from packager.oci.chart import chart_artifact
from packager.oci.layout import LayoutWriter
from packager.plan import NO_REGISTRY
from packager.progress import Progress
from packager.render.chart_metadata import chart_metadata

Charts = dict[str, PackedChart]


def pack_charts(
    built: Sequence[BuiltTarget],
    epoch: SourceDateEpoch,
    signer: Signer,
    layout: LayoutWriter,
    release: Path,
    progress: Progress,
) -> Charts:
    """Target → its chart, made of exactly the files that were rendered for it.

    Raises InputError when a user's own template left no chart.
    """
    charts: Charts = {}
    for target in built:
        if target.plan.name.platform is not DeploymentPlatform.HELM:
            continue
        progress.step(f"pack the chart of {target.plan.name}")
        folder = release / target.folder
        files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        metadata = chart_metadata(files, target.folder)
        chart = PackedChart(
            f"{_repository(target, metadata['name'])}:{metadata['version']}",
            chart_artifact(metadata, files, epoch),
        )
        layout.add_artifact(chart.artifact)
        repository = repository_of(chart.reference)
        layout.add_artifact(manifest_signature(chart.digest, repository, signer))
        layout.add_artifact(manifest_referrer(chart.artifact.descriptor, repository, signer))
        charts[str(target.plan.name)] = chart
    return charts


def _repository(target: BuiltTarget, name: str) -> str:
    return chart_repository(target.plan.registry or NO_REGISTRY, target.plan.name, name)
