"""A small but whole release: real layers, layout, signatures, evidence and seal; two targets.

Everything in it is made by the product's own parts, a few kilobytes in all, so that a test can copy
it and do harm to the copy. `make_release` also makes releases that are wrong on the inside but
validly sealed: what a careless or dishonest builder with the right key would make.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from built_targets import HARDWARE, JURISDICTIONS, build_target, jurisdiction, release_request
from tiny_images import tiny_image

from packager import __version__
from packager.attest import root, sigstore
from packager.attest.cosign import (
    attestation_artifact,
    bundle_referrer,
    repository_of,
    signature_artifact,
    signature_referrer,
)
from packager.attest.encryption_statement import encryption_predicate
from packager.attest.keys import PublicKey, Signer, generate_key, open_signer, read_public_key
from packager.attest.provenance import slsa_provenance
from packager.attest.sbom import cyclonedx
from packager.attest.sealing import seal
from packager.attest.spdx import spdx
from packager.attest.statement import (
    COMPLIANCE,
    CYCLONEDX,
    ENCRYPTION,
    QUALITY,
    SLSA_PROVENANCE,
    SPDX,
)
from packager.canonical import SourceDateEpoch, dumps, dumps_readable
from packager.comply.report import target_record
from packager.digest import Digest
from packager.domain.artifact import Artifact
from packager.domain.hardware import Precision
from packager.domain.lock import Lock, LockedEnvironment, LockedPackage, LockedWheel
from packager.domain.model import (
    Candidate,
    Measurement,
    Metric,
    Model,
    ModelFile,
    OptimizedModel,
    Quality,
    TensorSpec,
    Verdict,
)
from packager.domain.release import BuiltTarget, ReleaseRequest
from packager.domain.target import DeploymentPlatform, Region
from packager.oci.encryption import encrypt_image, is_encrypted, plain_manifest, read_recipient
from packager.oci.layer import LayerStore
from packager.oci.layout import LayoutWriter
from packager.optimize.evidence import quality_record
from packager.progress import SILENT
from packager.steps.charting import Charts, pack_charts
from packager.steps.describing import describe
from packager.steps.indexing import index_images

EPOCH = SourceDateEpoch(1767225600)
LOCK_DIGEST = Digest.of(b"the lock file")
PLACES = (
    ("de", DeploymentPlatform.KUBERNETES, "registry.example.de/ml"),
    ("sa", DeploymentPlatform.COMPOSE, "registry.example.sa/ml"),
)
ENVIRONMENT = LockedEnvironment(
    "amd64/onnxruntime==1.26.0",
    "amd64",
    (
        LockedPackage(
            "libc6", "2.41-12+deb13u1", "amd64", "pool/libc6.deb", Digest.of(b"libc6"), 9, "LGPL"
        ),
        LockedPackage("tzdata", "1:2025b-4", "all", "pool/tzdata.deb", Digest.of(b"tz"), 7),
    ),
    (
        LockedWheel("numpy", "2.1.0", "numpy.whl", Digest.of(b"numpy"), 5, "BSD-3-Clause"),
        LockedWheel("Onnx_Runtime", "1.26.0", "ort.whl", Digest.of(b"ort"), 5, "MIT License"),
    ),
)
LOCK = Lock(Digest.of(b"inputs"), "trixie", (ENVIRONMENT,))

MakeArtifacts = Callable[[BuiltTarget, ReleaseRequest, Signer], Sequence[Artifact]]
BuildTargets = Callable[
    [LayerStore, str, str | None], tuple[ReleaseRequest, tuple[BuiltTarget, ...]]
]
WriteFiles = Callable[[Path, BuiltTarget, ReleaseRequest], None]
PackCharts = Callable[[Sequence[BuiltTarget], Signer, LayoutWriter, Path], Charts]
ChangeFolder = Callable[[Path, dict[str, Any]], None]


@dataclass(frozen=True)
class SmallRelease:
    """A sealed folder, and what a test needs to verify it or to seal it again."""

    folder: Path
    key_file: Path
    public_file: Path
    built: tuple[BuiltTarget, ...]
    request: ReleaseRequest

    @property
    def signer(self) -> Signer:
        return open_signer(str(self.key_file), {})

    @property
    def public(self) -> PublicKey:
        return read_public_key(self.public_file)

    def blob(self, digest: Digest) -> Path:
        return self.folder / "images" / "blobs" / "sha256" / digest.hex


def optimized_model(size: int = 3_000_000) -> OptimizedModel:
    """An INT8 model made from an FP32 one, with measured quality."""
    inputs = (TensorSpec("x", "INT32", (-1, 2048)),)
    outputs = (TensorSpec("scores", "FP32", (-1, 214)),)

    def model(name: bytes, precision: Precision) -> Model:
        file = ModelFile("model.onnx", Path("model.onnx"), Digest.of(name), size)
        return Model((file,), inputs, outputs, 15, precision)

    source, shipped = model(b"source", Precision.FP32), model(b"shipped", Precision.INT8)
    baseline = Candidate(
        "baseline", Precision.FP32, Verdict.ELIGIBLE, "slower", (), source.digest, size
    )
    chosen = Candidate(
        "int8-dynamic",
        Precision.INT8,
        Verdict.CHOSEN,
        "fastest within the budget",
        ("quantize_dynamic",),
        shipped.digest,
        size,
        Measurement(1.25, 2.5, 812.5, 1.75),
        Quality(Metric.TOP1_AGREEMENT, 0.998, 0.995, 500),
    )
    return OptimizedModel(
        source,
        shipped,
        (baseline, chosen),
        "measured on a test machine",
        None,
        2,
        (("onnxruntime", "1.26.0"), ("packager", __version__)),
    )


def build_targets(
    store: LayerStore,
    version: str = "1.4.0",
    registry: str | None = None,
    weights: bytes | None = None,
):
    """The request and its built targets, with real images in `store`."""
    request = release_request(version=version)
    built = []
    for place, platform, inside in PLACES:
        title, labels, _ = JURISDICTIONS[place]
        regions = tuple(Region.parse(label) for label in labels)
        target = build_target(
            request,
            jurisdiction(place, title, regions),
            HARDWARE["x86-64-v3"],
            platform,
            regions=regions,
            registry=registry or inside,
            model=optimized_model(),
        )
        image = tiny_image(
            store, target.plan.reference, model=weights or f"weights {version}".encode()
        )
        built.append(replace(target, image=image))
    return request, tuple(built)


def architectures(*machines: str) -> BuildTargets:
    """As `build_targets`, for one place and one platform on these machines."""

    def build(store: LayerStore, version: str = "1.4.0", registry: str | None = None):
        request = release_request(version=version)
        title, labels, _ = JURISDICTIONS["de"]
        regions = tuple(Region.parse(label) for label in labels)
        built = []
        for machine in machines:
            target = build_target(
                request,
                jurisdiction("de", title, regions),
                HARDWARE[machine],
                DeploymentPlatform.KUBERNETES,
                regions=regions,
                registry=registry or "registry.example.de/ml",
                model=optimized_model(),
            )
            image = tiny_image(
                store,
                target.plan.reference,
                model=f"weights {version}".encode(),
                architecture=HARDWARE[machine].platform.architecture,
            )
            built.append(replace(target, image=image))
        return request, tuple(built)

    return build


def evidence_of(built: BuiltTarget, request: ReleaseRequest) -> dict[str, dict[str, Any]]:
    """Predicate type → predicate."""
    bom = cyclonedx(built, request, ENVIRONMENT, EPOCH)
    return {
        CYCLONEDX: bom,
        SPDX: spdx(bom),
        COMPLIANCE: target_record(request, built, EPOCH.rfc3339()),
        QUALITY: quality_record(built.model),
        SLSA_PROVENANCE: slsa_provenance(built, request, ENVIRONMENT, LOCK_DIGEST, EPOCH, "0.1.0"),
        **(
            {ENCRYPTION: encryption_predicate(built.image, Digest.of(plain_manifest(built.image)))}
            if is_encrypted(built.image)
            else {}
        ),
    }


def encrypted_targets(*recipients: Path) -> BuildTargets:
    """As `build_targets`, with the models encrypted for `recipients`."""

    def build(store: LayerStore, version: str = "1.4.0", registry: str | None = None):
        request, built = build_targets(store, version, registry)
        read = [read_recipient(path) for path in recipients]
        hidden = [replace(it, image=encrypt_image(it.image, read, store.blobs)) for it in built]
        return request, tuple(hidden)

    return build


def artifacts_of(built: BuiltTarget, request: ReleaseRequest, signer: Signer) -> list[Artifact]:
    """What an image is accompanied by, as `steps.attest` makes it."""
    evidence = evidence_of(built, request)
    image = built.image
    return [
        signature_artifact(image, repository_of(image.reference), signer),
        attestation_artifact(image, evidence, signer),
        signature_referrer(image, signer),
        *(bundle_referrer(image, kind, body, signer) for kind, body in evidence.items()),
    ]


def packed(
    built: Sequence[BuiltTarget], signer: Signer, layout: LayoutWriter, folder: Path
) -> Charts:
    """The charts of the targets that have one, in the layout."""
    return pack_charts(built, EPOCH, signer, layout, folder, SILENT)


def make_release(
    base: Path,
    *,
    version: str = "1.4.0",
    key_file: Path | None = None,
    registry: str | None = None,
    artifacts: MakeArtifacts = artifacts_of,
    before_seal: ChangeFolder | None = None,
    also: Sequence[Signer] = (),
    build: BuildTargets = build_targets,
    manifests: WriteFiles | None = None,
    layers: Path | None = None,
    signer: Signer | None = None,
    charts: PackCharts = packed,
) -> SmallRelease:
    """Build and seal a release in `base`/release.

    `artifacts` and `before_seal` are where a test makes it wrong on the inside: the one decides
    what accompanies each image, the other changes the folder and the document before sealing.
    `build` makes the targets, `manifests` writes their files, `charts` packs those of Helm,
    `layers` is a shared store.
    """
    if key_file is None:
        key_file = generate_key(base / "site.pem", None).private
    signer = signer or open_signer(str(key_file), {})
    store = LayerStore(layers or base / "store", EPOCH)
    request, built = build(store, version, registry)
    folder = base / "release"
    layout = LayoutWriter(folder / "images", store.blobs)
    for target in built:
        layout.add_image(target.image)
        for artifact in artifacts(target, request, signer):
            layout.add_artifact(artifact)
    for target in built:
        (manifests or _write_manifest)(folder, target, request)
        _write_evidence(folder, target, request)
    made = charts(built, signer, layout, folder)
    indexes = index_images(built, signer, layout)
    layout.close()
    document = describe(request, built, LOCK, EPOCH, made, indexes)
    if before_seal:
        before_seal(folder, document)
    seal(folder, document, signer, also=also)
    return SmallRelease(folder, key_file, key_file.with_suffix(".pub"), built, request)


def _write_manifest(folder: Path, target: BuiltTarget, request: ReleaseRequest) -> None:
    manifest = folder / target.folder / "workload.yaml"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(f"containers:\n  - name: server\n    image: {target.pinned_reference}\n")


def _write_evidence(folder: Path, target: BuiltTarget, request: ReleaseRequest) -> None:
    for path, kind in (
        (target.plan.name.sbom_path, CYCLONEDX),
        (target.plan.name.spdx_path, SPDX),
        (target.plan.name.provenance_path, SLSA_PROVENANCE),
    ):
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(dumps_readable(evidence_of(target, request)[kind]))


def sign_root(folder: Path, data: bytes, signer: Signer) -> None:
    """Put `data` in the place of release.json, validly signed, whatever it is."""
    (folder / root.ROOT).write_bytes(data)
    (folder / root.BUNDLE).write_bytes(sigstore.message_bundle(data, signer))
    (folder / root.RAW_SIGNATURE).write_bytes(signer.sign(data))


def change_root(release: SmallRelease, change: Callable[[dict[str, Any]], None]) -> None:
    """Change release.json and sign it again with the release's own key."""
    import json

    document = json.loads((release.folder / root.ROOT).read_bytes())
    change(document)
    sign_root(release.folder, dumps(document), release.signer)
