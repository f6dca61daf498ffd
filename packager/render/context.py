"""The values that templates may use, decided here and nowhere else.

`Context` is what a template sees: `{{ name }}`, `{{ sizing.memory_mib }}`, and so on. It follows
from the declared target alone; the machine that renders is never looked at.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, fields

from packager.domain.chart import chart_repository
from packager.domain.decision import Status
from packager.domain.hardware import Accelerator
from packager.domain.names import dns_label, instance_name, label_value, semantic_version
from packager.domain.release import BuiltTarget, PlannedTarget, ReleaseRequest
from packager.domain.target import DeploymentPlatform
from packager.render.admission import Admission, admission
from packager.render.devices import Devices, devices_of, refuse_inexpressible
from packager.render.door import DoorNetwork, door_network, door_program
from packager.render.placement import Place, places
from packager.render.retention import LogRule, log_rules
from packager.render.settings import Settings
from packager.render.sizing import Sizing, size

PREFIX = "packager.dev"
# On the namespace of a caller: the instance that it may call.
MAY_CALL = f"{PREFIX}/may-call"
# How many requests wait in the server; the name is Triton's.
QUEUE_METRIC = "nv_inference_pending_request_count"
# What containerd's own tool grants by default (containerd, oci.defaultUnixCaps).
CONTAINERD_CAPABILITIES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW",
    "CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
)  # fmt: skip
PORT = 8080
GRPC_PORT = 8081
UID = 65532
# Where the image keeps its interpreter; it holds no shell, so that probes are Python too.
PYTHON = "/usr/bin/python3.13"
_DRAIN_SECONDS = 10
_ENDPOINT_SECONDS = 5
_MARGIN_SECONDS = 5

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Stopping:
    """Seconds. `endpoints`: until nothing is routed to a pod any more; `drain`: what the runtime
    takes to answer what it accepted; `grace`: until a container that drains is killed; `pod_grace`:
    the same for a pod, which first waits for the endpoints."""

    endpoints: int
    drain: int
    grace: int
    pod_grace: int


@dataclass(frozen=True, slots=True)
class Duty:
    """What the decision leaves to the operator: the control, what it requires, and why."""

    control: str
    requirement: str
    why: str


@dataclass(frozen=True, slots=True)
class AdmissionNames:
    """Cluster-wide names of the two admission policies."""

    pods: str
    networks: str


@dataclass(frozen=True, slots=True)
class GitOps:
    """Where the manifests lie as an OCI artifact, under which tag, and the name of the secret with
    the public key."""

    artifact: str
    tag: str
    secret: str


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The public key that the site shall demand: as PEM, and the same in one line of base64."""

    pem: str
    base64: str

    @classmethod
    def of(cls, pem: bytes) -> SigningKey:
        return cls(pem.decode(), base64.b64encode(pem).decode())


@dataclass(frozen=True, slots=True)
class Context:
    """Everything that a template may name.

    `name` names objects, `instance` the namespace, the Compose project or the unit; `image` is
    pinned by digest, `reference` is its name with a tag, `repository` without one; `signed_by` is
    None when nobody says whose signature counts; `registry` is None when the release names none;
    `grpc_port` is None when the image has no gRPC; `region` is set when the target has exactly one,
    and the runtime then refuses to start elsewhere. `labels`, `selector` and `annotations` are
    pairs of key and value.
    """

    name: str
    instance: str
    release: str
    version: str
    target: str
    jurisdiction: str
    jurisdiction_name: str
    hardware: str
    hardware_name: str
    data_class: str
    image: str
    reference: str
    repository: str
    signed_by: SigningKey | None
    registry: str | None
    regions: tuple[str, ...]
    region: str | None
    model_digest: str
    labels: Pairs
    selector: Pairs
    annotations: Pairs
    places: tuple[Place, ...]
    may_call: str
    admission: Admission
    admission_names: AdmissionNames
    log_rules: tuple[LogRule, ...]
    log_rules_name: str
    accelerator: Accelerator | None
    devices: Devices
    sizing: Sizing
    settings: Settings
    monitoring_name: str
    queue_metric: str
    queue_query: str
    gitops: GitOps
    containerd_capabilities: tuple[str, ...]
    chart: bool
    chart_version: str
    chart_repository: str
    measured: str
    stopping: Stopping
    door: DoorNetwork
    door_program: str
    port: int
    grpc_port: int | None
    uid: int
    python: str
    duties: tuple[Duty, ...]

    def variables(self) -> dict[str, object]:
        """The fields by name, as a template takes them."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def make_context(
    built: BuiltTarget,
    request: ReleaseRequest,
    public_key: bytes | None = None,
    settings: Settings | None = None,
) -> Context:
    """Decide every value of a target. Raises InputError when the platform cannot express one."""
    plan = built.plan
    settings = settings or Settings()
    accelerator = plan.hardware.accelerator
    refuse_inexpressible(accelerator, plan.name.platform, plan.hardware.id, plan.where)
    instance = instance_name(request.name, plan.name.jurisdiction, plan.name.hardware)
    selector = (
        ("app.kubernetes.io/instance", instance),
        ("app.kubernetes.io/name", dns_label(request.name)),
    )
    regions = tuple(str(region) for region in sorted(plan.regions))
    stands = places(plan) if plan.name.platform.on_kubernetes else ()
    return Context(
        name=dns_label(request.name),
        instance=instance,
        release=request.name,
        version=request.version,
        target=str(plan.name),
        jurisdiction=plan.jurisdiction.id,
        jurisdiction_name=plan.jurisdiction.name,
        hardware=plan.hardware.id,
        hardware_name=plan.hardware.name,
        data_class=request.data_class.value,
        image=built.pinned_reference,
        reference=plan.reference,
        repository=built.pinned_reference.partition("@")[0],
        signed_by=SigningKey.of(public_key) if public_key else None,
        registry=plan.registry,
        regions=regions,
        region=regions[0] if len(regions) == 1 else None,
        model_digest=_digests(built),
        labels=_labels(plan, request, selector),
        selector=selector,
        annotations=_annotations(built, request, regions),
        places=stands,
        may_call=MAY_CALL,
        admission=admission(dns_label(request.name), built.pinned_reference, stands),
        admission_names=AdmissionNames(
            dns_label(instance, "pods"), dns_label(instance, "networks")
        ),
        log_rules=log_rules(plan.jurisdiction, request.data_class),
        log_rules_name=dns_label(request.name, "log-rules"),
        accelerator=accelerator,
        devices=devices_of(accelerator),
        sizing=size(built.models, accelerator, settings),
        settings=settings,
        monitoring_name=dns_label(request.name, "monitoring"),
        queue_metric=QUEUE_METRIC,
        gitops=GitOps(
            f"{built.pinned_reference.partition('@')[0]}-manifests",
            label_value(f"{request.version}-{plan.name.jurisdiction}-{plan.name.hardware}"),
            dns_label(instance, "key"),
        ),
        containerd_capabilities=CONTAINERD_CAPABILITIES,
        chart=plan.name.platform is DeploymentPlatform.HELM,
        chart_version=semantic_version(request.version),
        chart_repository=chart_repository(
            plan.registry or "localhost", plan.name, dns_label(request.name)
        ),
        queue_query=f'sum({QUEUE_METRIC}{{namespace="{instance}"}})',
        measured=built.model.where,
        stopping=Stopping(
            _ENDPOINT_SECONDS,
            _DRAIN_SECONDS,
            _DRAIN_SECONDS + _MARGIN_SECONDS,
            _ENDPOINT_SECONDS + _DRAIN_SECONDS + _MARGIN_SECONDS,
        ),
        door=door_network(instance),
        door_program=door_program(),
        port=PORT,
        grpc_port=GRPC_PORT if request.serving.grpc else None,
        uid=UID,
        python=PYTHON,
        duties=tuple(
            Duty(decision.control, decision.requirement, decision.why)
            for decision in built.decisions
            if decision.status is Status.LEFT_TO_OPERATOR
        ),
    )


def _labels(plan: PlannedTarget, request: ReleaseRequest, selector: Pairs) -> Pairs:
    described = {
        "app.kubernetes.io/component": "inference",
        "app.kubernetes.io/managed-by": "packager",
        "app.kubernetes.io/version": label_value(request.version),
        f"{PREFIX}/data-class": request.data_class.value,
        f"{PREFIX}/hardware": label_value(plan.hardware.id),
        f"{PREFIX}/jurisdiction": label_value(plan.jurisdiction.id),
    }
    return tuple(sorted({**described, **dict(selector)}.items()))


def _digests(built: BuiltTarget) -> str:
    """The digest of the model; of several models each one's, in the order of the release."""
    return ",".join(str(model.model.digest) for model in built.models)


def _annotations(built: BuiltTarget, request: ReleaseRequest, regions: tuple[str, ...]) -> Pairs:
    return (
        (f"{PREFIX}/model", _digests(built)),
        (f"{PREFIX}/regions", ",".join(regions)),
        (f"{PREFIX}/release", f"{request.name} {request.version}"),
        (f"{PREFIX}/target", str(built.plan.name)),
    )
