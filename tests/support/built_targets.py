"""Built targets by hand: what the renderer takes, without building anything.

The values stand for the catalogue's and do not follow it, so that a change of a profile changes no
golden file of the renderer.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from packager.digest import Digest
from packager.domain.artifact import Descriptor, Image, MediaType, Platform
from packager.domain.decision import Decision, Status
from packager.domain.hardware import (
    Accelerator,
    Confidence,
    HardwareProfile,
    Precision,
    Proof,
    Wheel,
)
from packager.domain.jurisdiction import Jurisdiction
from packager.domain.model import (
    Candidate,
    Model,
    ModelFile,
    Objective,
    OptimizedModel,
    QualityBudget,
    TensorSpec,
    Verdict,
)
from packager.domain.release import BuiltTarget, PlannedTarget, ReleaseRequest, TargetRequest
from packager.domain.target import DataClass, DeploymentPlatform, Region, TargetName
from packager.domain.version import counter_of

AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64", "v8")
L4 = Accelerator("NVIDIA", "NVIDIA-L4", "8.9", "525", "12", "nvidia.com/gpu", "nvidia")

# A key that signs nothing; its private half was never kept.
PUBLIC_KEY = b"""-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEfv7TxL4UZKC59GKcTg2iuorFjLXt
gCxx+6SD0nbextldAXgwqqUFOTcCI3jrikX6Tke1Zcjz+2dpzCL8Efzl3Q==
-----END PUBLIC KEY-----
"""

JURISDICTIONS = {
    "de": ("Germany", ("aws/eu-central-1", "azure/germanywestcentral"), "registry.example.de/ml"),
    "sa": ("Saudi Arabia", ("site/riyadh-lab",), "registry.example.sa/ml"),
    "sg": ("Singapore", ("aws/ap-southeast-1",), None),
}


def hardware(
    name: str,
    platform: Platform = AMD64,
    accelerator: Accelerator | None = None,
    node_labels: dict[str, str] | None = None,
) -> HardwareProfile:
    return HardwareProfile(
        id=name,
        name=f"Profile {name}",
        platform=platform,
        execution_provider="CUDAExecutionProvider" if accelerator else "CPUExecutionProvider",
        wheel=Wheel("onnxruntime-gpu" if accelerator else "onnxruntime", "1.26.0"),
        precisions={Precision.FP32: None, Precision.INT8: None},
        memory_gb=24,
        bandwidth_gb_s=None,
        instructions=frozenset(),
        accelerator=accelerator,
        node_labels=node_labels or {},
        deployment_platforms=frozenset({"kubernetes", "compose"}),
        power_w=None,
        price_class=None,
        export_class=None,
        proven=Proof.NEVER,
        proven_where=None,
        confidence=Confidence.HIGH,
        sources=(),
    )


HARDWARE = {
    "x86-64-v3": hardware("x86-64-v3", node_labels={"kubernetes.io/arch": "amd64"}),
    "arm64-v8": hardware("arm64-v8", ARM64),
    "nvidia-l4": hardware(
        "nvidia-l4", accelerator=L4, node_labels={"nvidia.com/gpu.product": "NVIDIA-L4"}
    ),
}


MIG = replace(
    L4, product="NVIDIA-H100-80GB-HBM3", compute_capability="9.0",
    kubernetes_resource="nvidia.com/mig-1g.10gb",
)  # fmt: skip
ORIN = replace(L4, product="Orin", compute_capability="8.7", driver_floor=None)
MI300X = Accelerator(
    "AMD", "AMD_Instinct_MI300X_OAM", None, None, None, kubernetes_resource="amd.com/gpu",
    runtime_class=None,
)  # fmt: skip
ASCEND = Accelerator(
    "Huawei", "Ascend 910B3 64GB", None, None, None, kubernetes_resource="huawei.com/Ascend910",
    runtime_class=None,
)  # fmt: skip
# Everything that manifests are shown for: the golden files hold every pair of these two.
EVERY_HARDWARE = HARDWARE | {
    "nvidia-h100-mig": hardware(
        "nvidia-h100-mig", accelerator=MIG,
        node_labels={"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"},
    ),
    "nvidia-jetson-agx-orin-64": hardware("nvidia-jetson-agx-orin-64", ARM64, ORIN),
    "amd-mi300x": hardware(
        "amd-mi300x", accelerator=MI300X,
        node_labels={"amd.com/gpu.product-name": "AMD_Instinct_MI300X_OAM"},
    ),
    "intel-xeon-openvino": hardware("intel-xeon-openvino"),
    "huawei-ascend-910b3": hardware(
        "huawei-ascend-910b3", ARM64, ASCEND, {"accelerator": "huawei-Ascend910"}
    ),
}  # fmt: skip
EVERY_JURISDICTION = JURISDICTIONS | {
    "us-fedramp": ("FedRAMP", ("aws/us-gov-west-1",), "registry.example.us/ml"),
}


def jurisdiction(name: str, title: str, regions: tuple[Region, ...]) -> Jurisdiction:
    return Jurisdiction(
        id=name,
        name=title,
        countries=(name[:2].upper(),),
        parents=(),
        rules=(),
        regions=frozenset(regions),
        registries=(),
        owner={},
        uncertain=(),
        confidence=Confidence.HIGH,
        reviewed="2026-11-23",
    )


def optimized(size: int = 3_000_000, threads: int = 2) -> OptimizedModel:
    """A model of `size` bytes for which the optimizer chose `threads`; no file is behind it."""
    tensor = TensorSpec("x", "INT32", (-1, 2048))
    file = ModelFile("model.onnx", Path("model.onnx"), Digest.of(b"model"), size)
    model = Model((file,), (tensor,), (tensor,), 15, Precision.INT8)
    chosen = Candidate("int8", Precision.INT8, Verdict.CHOSEN, "fastest", ())
    return OptimizedModel(model, model, (chosen,), "measured on a test machine", None, threads, ())


def release_request(name: str = "filetype", version: str = "1.4.0") -> ReleaseRequest:
    return ReleaseRequest(
        name=name,
        version=version,
        model_path=Path("model.onnx"),
        model_license="Apache-2.0",
        samples=None,
        quality=QualityBudget(),
        objective=Objective.LATENCY,
        data_class=DataClass.PERSONAL,
        targets=(),
        registries={},
        sites={},
        registry_countries={},
        signing_keys=(),
        where="release.yaml",
        counter=counter_of(version) or 0,
    )


def build_target(
    request: ReleaseRequest,
    place: Jurisdiction,
    profile: HardwareProfile,
    platform: DeploymentPlatform,
    *,
    regions: tuple[Region, ...] = (),
    registry: str | None = None,
    digest: Digest | None = None,
    model: OptimizedModel | None = None,
    decisions: tuple[Decision, ...] = (),
) -> BuiltTarget:
    """One built target as `pipeline.build` hands it to the renderer."""
    name = TargetName(place.id, profile.id, platform)
    asked = TargetRequest(name, regions, "release.yaml: targets[0]")
    plan = PlannedTarget(
        name=name,
        jurisdiction=place,
        hardware=profile,
        regions=asked.regions,
        registry=registry,
        reference=f"{registry or 'localhost'}/{request.name}:{request.version}-{name.slug}",
        where=asked.where,
    )
    manifest = Descriptor(MediaType.MANIFEST, digest or Digest.of(str(name).encode()), 1000)
    config = Descriptor(MediaType.CONFIG, Digest.of(b"config"), 1000)
    image = Image(plan.reference, profile.platform, manifest, config, ())
    return BuiltTarget(plan, model or optimized(), image, decisions)


def sample_target(
    where: str, machine: str, platform: DeploymentPlatform
) -> tuple[BuiltTarget, ReleaseRequest]:
    """One of the sample targets: a jurisdiction and a machine of those above, and a platform."""
    title, labels, registry = EVERY_JURISDICTION[where]
    regions = tuple(Region.parse(label) for label in labels)
    request = release_request()
    built = build_target(
        request,
        jurisdiction(where, title, regions),
        EVERY_HARDWARE[machine],
        platform,
        regions=regions,
        registry=registry,
        decisions=(
            Decision(
                f"{where}/log-retention",
                "Logs are kept for 183 days",
                Status.LEFT_TO_OPERATOR,
                "the server writes to standard output and keeps nothing",
            ),
            Decision(f"{where}/egress", "Nothing leaves", Status.ENFORCED, "by the manifests"),
        ),
    )
    return built, request
