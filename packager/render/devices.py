"""How an accelerator is handed to a container, on each platform: always one piece of it.

Kubernetes counts resources that a device plug-in offers. Podman names a CDI device where the maker
of the device has a generator for CDI files, else the device's nodes. Compose asks NVIDIA's runtime,
else names the nodes. A CDI name never stands in a Kubernetes object, where `=` is no resource.

NVIDIA's names are those of `nvidia-ctk cdi generate`, a MIG slice being `<gpu>:<slice>`; AMD's
those of `amd-ctk cdi generate`. Nodes are the ones that the makers' documentation hands to
`docker run --device`. All of it is from memory, and has not been run here for want of devices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from packager.domain.hardware import Accelerator
from packager.domain.target import DeploymentPlatform
from packager.errors import InputError

_MIG = "nvidia.com/mig-"
_NODES: Mapping[str, tuple[str, ...]] = {
    "amd": ("/dev/kfd", "/dev/dri"),
    "intel": ("/dev/dri",),
    "huawei": ("/dev/davinci0", "/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc"),
    "hailo": ("/dev/hailo0",),
    "aws": ("/dev/neuron0",),
}


@dataclass(frozen=True, slots=True)
class Devices:
    """What a container is given; all of it empty on a machine without an accelerator.

    `podman` are values of `AddDevice=`; `cdi` is the one that stands in a CDI file, None when they
    are nodes; `nvidia` are device ids for NVIDIA's runtime (`0`, or `0:0` for a MIG slice); `nodes`
    are device nodes for engines that take those; `group` says that a group owns the nodes; `how`
    tells the operator what must be there.
    """

    podman: tuple[str, ...] = ()
    cdi: str | None = None
    nvidia: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    group: bool = False
    how: str = ""

    @property
    def cdi_or_nodes(self) -> tuple[str, ...]:
        """For engines that take either by the same option."""
        return self.podman


def devices_of(accelerator: Accelerator | None) -> Devices:
    """One piece of the accelerator; empty for a maker whose devices we cannot name."""
    if accelerator is None:
        return Devices()
    maker = accelerator.vendor.lower()
    if maker == "nvidia":
        index = "0:0" if (accelerator.kubernetes_resource or "").startswith(_MIG) else "0"
        name = f"nvidia.com/gpu={index}"
        command = "`nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml`"
        return Devices(podman=(name,), cdi=name, nvidia=(index,), how=command)
    nodes = _NODES.get(maker, ())
    group = maker in ("amd", "intel")
    if maker == "amd":
        command = "`amd-ctk cdi generate --output=/etc/cdi/amd.json`"
        name = "amd.com/gpu=0"
        return Devices(podman=(name,), cdi=name, nodes=nodes, group=group, how=command)
    how = f"the driver's nodes {', '.join(nodes)}, and for whoever starts it the right to open them"
    return Devices(podman=nodes, nodes=nodes, group=group, how=how if nodes else "")


def refuse_inexpressible(
    accelerator: Accelerator | None, platform: DeploymentPlatform, hardware: str, where: str
) -> None:
    """A device that cannot be asked for would leave a server that never becomes ready.

    Raises InputError naming the profile and what it lacks.
    """
    if accelerator is None:
        return
    found = devices_of(accelerator)
    match platform:
        case DeploymentPlatform.KUBERNETES | DeploymentPlatform.HELM:
            if not accelerator.kubernetes_resource:
                raise InputError(
                    f"the profile {hardware!r} names no Kubernetes resource",
                    where=where,
                    expected="accelerator.kubernetes_resource, such as nvidia.com/gpu",
                    next_step="add it to the hardware profile",
                )
        case DeploymentPlatform.COMPOSE | DeploymentPlatform.QUADLET:
            if not (found.podman or found.nvidia or found.nodes):
                raise InputError(
                    f"how {platform.value} hands a device of {accelerator.vendor} to a container "
                    "is not known here",
                    where=where,
                    expected=f"an accelerator of NVIDIA, {', '.join(map(str.title, _NODES))}",
                    got=f"{hardware} ({accelerator.product})",
                    next_step="choose the platform kubernetes for this hardware",
                )
