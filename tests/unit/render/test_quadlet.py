"""What a rendered Quadlet target holds."""

from __future__ import annotations

import dataclasses

import pytest
from built_targets import (
    AMD64,
    L4,
    build_target,
    hardware,
    jurisdiction,
    release_request,
    sample_target,
)
from units import parse_unit

from packager.domain.target import DeploymentPlatform, Region
from packager.render.door import door_program
from packager.render.rendering import render_target
from packager.render.templating import is_unit, unit_text

QUADLET = DeploymentPlatform.QUADLET
NAME = "filetype-sa-x86-64-v3"


def rendered(where="sa", machine="x86-64-v3"):
    return render_target(*sample_target(where, machine, QUADLET))


def units(files):
    return {name: parse_unit(data) for name, data in files.items() if is_unit(name)}


def test_the_units_carry_the_targets_name_so_that_several_lie_side_by_side():
    assert set(rendered()) == {
        "README.md",
        f"{NAME}.container",
        f"{NAME}-door.container",
        f"{NAME}-door.socket",
        "install.sh",
    }


def test_the_server_has_no_network_and_the_door_shares_it():
    files = units(rendered())
    server = files[f"{NAME}.container"]["Container"]
    door = files[f"{NAME}-door.container"]["Container"]
    assert server["Network"] == ["none"]
    assert door["Network"] == [f"container:{NAME}"]
    assert server["ContainerName"] == [NAME]
    assert not {"PublishPort", "Volume", "Mount", "DNS"} & (server.keys() | door.keys())


def test_both_containers_have_no_rights():
    files = units(rendered())
    for name in (NAME, f"{NAME}-door"):
        container = files[f"{name}.container"]["Container"]
        assert container["User"] == container["Group"] == ["65532"]
        assert container["ReadOnly"] == container["NoNewPrivileges"] == ["true"]
        assert container["ReadOnlyTmpfs"] == ["false"]
        assert container["DropCapability"] == ["all"]
        assert container["Ulimit"] == ["core=0:0"]
        assert int(container["PidsLimit"][0]) > 0


def test_the_socket_listens_on_loopback_and_is_filtered_to_it():
    socket = units(rendered())[f"{NAME}-door.socket"]["Socket"]
    assert socket["ListenStream"] == ["127.0.0.1:8080"]
    assert socket["IPAddressDeny"] == ["any"]
    assert socket["IPAddressAllow"] == ["localhost"]


def test_the_doors_program_is_the_one_that_is_tested():
    (told,) = units(rendered())[f"{NAME}-door.container"]["Container"]["Exec"]
    program = told[1 : told.rindex('"')]
    assert program.encode().decode("unicode_escape") == door_program()
    assert told.endswith('" 127.0.0.1 8080 passed 3 10')


def test_one_region_is_told_to_the_runtime_and_several_are_not():
    container = units(rendered())[f"{NAME}.container"]["Container"]
    assert container["Environment"] == ['"PACKAGER_REGION=site/riyadh-lab"']
    several = units(rendered("de"))["filetype-de-x86-64-v3.container"]["Container"]
    assert "Environment" not in several


@pytest.mark.parametrize(
    ("vendor", "resource", "devices", "groups"),
    [
        ("NVIDIA", "nvidia.com/gpu", ["nvidia.com/gpu=0"], []),
        ("NVIDIA", "nvidia.com/mig-1g.10gb", ["nvidia.com/gpu=0:0"], []),
        ("AMD", "amd.com/gpu", ["amd.com/gpu=0"], ["keep-groups"]),
        ("Intel", "gpu.intel.com/i915", ["/dev/dri"], ["keep-groups"]),
        ("Huawei", "huawei.com/Ascend910",
         ["/dev/davinci0", "/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc"], []),
    ],
)  # fmt: skip
def test_one_piece_of_the_accelerator_is_handed_to_the_server_alone(
    vendor, resource, devices, groups
):
    one = dataclasses.replace(L4, vendor=vendor, kubernetes_resource=resource)
    built = build_target(
        release_request(), jurisdiction("de", "Germany", ()), hardware("gpu", AMD64, one), QUADLET
    )
    files = units(render_target(built, release_request()))
    server = files["filetype-de-gpu.container"]["Container"]
    assert server["AddDevice"] == devices
    assert server.get("GroupAdd", []) == groups
    assert "AddDevice" not in files["filetype-de-gpu-door.container"]["Container"]


def test_no_text_ends_a_line_or_is_expanded():
    odd = Region("site", 'a"b%c$d\\e\nImage=evil')
    place = jurisdiction("de", "Germany\nImage=evil", (odd,))
    profile = hardware("x86-64-v3")
    built = build_target(release_request(), place, profile, QUADLET, regions=(odd,))
    for unit in units(render_target(built, release_request())).values():
        assert all(values == [built.pinned_reference] for values in _images(unit))


def _images(unit):
    return [section["Image"] for section in unit.values() if "Image" in section]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("plain", "plain"),
        (8080, "8080"),
        ('a"b', 'a\\"b'),
        ("a\\b", "a\\\\b"),
        ("a\nb\tc", "a\\nb\\tc"),
        ("100%", "100%%"),
        ("$HOME", "$$HOME"),
        ("a\x07b\u2028c", "a b c"),
        ("Québec", "Québec"),
    ],
)
def test_a_value_is_escaped_for_systemd(value, text):
    assert unit_text(value) == text


def test_what_is_no_scalar_is_no_value():
    with pytest.raises(TypeError):
        unit_text(("a",))
