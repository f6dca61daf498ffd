"""`install.sh`: what brings a release to a machine or cluster with a shell and no network.

The program lies in `templates/site/`, in the order of its file names, and is the same for every
release. What it must know of this release stands at its top as quoted values, so that the site
parses no manifest. The door and the self-test, which run in the image's own Python, are carried
inside it: one file, one line of checksums.txt.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

from packager.domain.artifact import MediaType
from packager.domain.release import BuiltTarget
from packager.domain.target import DeploymentPlatform
from packager.render.context import GRPC_PORT, Context
from packager.render.devices import devices_of
from packager.render.door import door_network
from packager.render.placement import Place
from packager.resources import data_folder

NAME = "install.sh"
_END = "END_OF_PACKAGER_PROGRAM"
_MIB = 1 << 20
# What gzip's layers come to when an engine unpacks them; measured on images of ours: 2.9.
_UNPACKED = 3
_CLUSTER = (
    *("INSTANCE", "SERVICE", "IMAGE", "REPLICAS"),
    *("PROGRESS", "PLACES", "RESOURCE", "RUNTIME_CLASS"),
)


def serves(platform: DeploymentPlatform) -> bool:
    """Whether targets of this platform bring an installer; a chart is for Helm."""
    return platform is not DeploymentPlatform.HELM


def installer(built: BuiltTarget, context: Context) -> bytes:
    """The bytes of `install.sh` for one target."""
    folder = data_folder("templates") / "site"
    head, *parts = sorted(folder.glob("*.sh"))
    facts = "".join(f"{name}={shlex.quote(value)}\n" for name, value in _facts(built, context))
    text = "\n".join(
        [
            head.read_text(encoding="utf-8"),
            _function("our_facts", facts),
            'eval "$(our_facts)"\n',
            _function("door_program", _read(folder / "door.py")),
            _function("selftest_program", _read(folder / "selftest.py")),
            _function("launcher_program", _read(folder / "launcher.py")),
            *(_read(part) for part in parts),
        ]
    )
    return text.encode()


def _read(file: Path) -> str:
    return file.read_text(encoding="utf-8")


def _function(name: str, text: str) -> str:
    """A shell function that prints the text, whatever stands in it."""
    return f"{name}() {{\n  cat <<'{_END}'\n{text}{_END}\n}}\n"


def _facts(built: BuiltTarget, context: Context) -> list[tuple[str, str]]:
    plan, image = built.plan, built.image
    accelerator = plan.hardware.accelerator
    door = door_network(f"{context.name}-site")
    # A cluster's device plug-in hands them out, by the name of a resource.
    devices = devices_of(None) if plan.name.platform.on_kubernetes else context.devices
    facts: Mapping[str, object] = {
        "NAME": context.release,
        "VERSION": context.version,
        "TARGET": context.target,
        "JURISDICTION": context.jurisdiction,
        "REGIONS": " ".join(context.regions),
        "HARDWARE": context.hardware,
        "DATA_CLASS": context.data_class,
        "PLATFORM": plan.name.platform.value,
        "ARCHITECTURE": image.platform.architecture,
        "INSTRUCTIONS": " ".join(sorted(plan.hardware.instructions)),
        "VENDOR": accelerator.vendor if accelerator else "",
        "PRODUCT": accelerator.product if accelerator else "",
        "CAPABILITY": (accelerator.compute_capability if accelerator else None) or "",
        "DRIVER": (accelerator.driver_floor if accelerator else None) or "",
        "CUDA": (accelerator.cuda if accelerator else None) or "",
        "PODMAN_DEVICES": " ".join(devices.podman),
        "NVIDIA_DEVICES": " ".join(devices.nvidia),
        "DEVICE_NODES": " ".join(devices.nodes),
        "DEVICE_GROUP": "1" if devices.group else "",
        "REFERENCE": image.reference,
        "MANIFEST": image.manifest.digest.hex,
        "MANIFEST_SIZE": image.manifest.size,
        "CONFIG": image.config.digest.hex,
        "LAYERS": " ".join(layer.descriptor.digest.hex for layer in image.layers),
        "ENCRYPTED": "1" if _encrypted(built) else "",
        "SPACE_MIB": _space_mib(built),
        "MEMORY_MIB": context.sizing.memory_mib,
        "TMP_MIB": context.sizing.tmp_mib,
        "START_SECONDS": context.sizing.startup_seconds,
        "DRAIN": context.stopping.drain,
        "GRACE": context.stopping.grace,
        "PORT": context.port,
        "GRPC": "1" if context.grpc_port else "",
        "GRPC_PORT": GRPC_PORT,  # also where this release has none: the door outlives it
        "PYTHON": context.python,
        "DOOR_SUBNET": door.subnet,
        "DOOR_HOST": door.host,
        "DOOR_NOWHERE": door.nowhere,
        **_cluster_facts(built, context),
    }
    return [(f"R_{name}", str(value)) for name, value in facts.items()]


def _cluster_facts(built: BuiltTarget, context: Context) -> Mapping[str, object]:
    """What a cluster is told; empty where the target is one machine's."""
    if not built.plan.name.platform.on_kubernetes:
        return dict.fromkeys(_CLUSTER, "")
    accelerator, scaling = built.plan.hardware.accelerator, context.sizing.autoscaling
    values = (
        context.instance,
        context.name,
        context.image,
        scaling.minimum if scaling else context.sizing.replicas,
        context.sizing.progress_seconds,
        " ".join(map(_place, context.places)),
        (accelerator.kubernetes_resource if accelerator else None) or "",
        (accelerator.runtime_class if accelerator else None) or "",
    )
    return dict(zip(_CLUSTER, values, strict=True))


def _place(place: Place) -> str:
    """`region|label=value,label=value`, as kubectl takes a selector."""
    labels = ",".join(f"{label.key}={label.value}" for label in place.labels)
    return f"{place.region or ''}|{labels}"


def _encrypted(built: BuiltTarget) -> bool:
    return any("+encrypted" in layer.descriptor.media_type for layer in built.image.layers)


def _space_mib(built: BuiltTarget) -> int:
    """An estimate: what an engine takes while it unpacks, and what it keeps."""
    unpacked = sum(
        layer.descriptor.size
        * (1 if layer.descriptor.media_type == MediaType.LAYER_TAR else _UNPACKED)
        for layer in built.image.layers
    )
    return -(-(built.image.size + unpacked) // _MIB) + 1
