"""Resolving with pip for a foreign platform, from wheels of this folder only."""

from __future__ import annotations

import pytest
from tiny_packages import wheel_of

from packager.assemble.wheels import read_metadata, resolve_wheels
from packager.errors import InputError, LockError

ARM = "cp313-cp313-manylinux_2_28_aarch64.whl"
INTEL = "cp313-cp313-manylinux_2_28_x86_64.whl"


def names(asked, architecture, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return [wheel.path.name for wheel in resolve_wheels(asked, architecture, scratch)]


@pytest.mark.parametrize(("architecture", "tags"), [("arm64", ARM), ("amd64", INTEL)])
def test_the_target_s_wheel_is_taken_on_any_machine(tmp_path, wheels, architecture, tags):
    for one in (ARM, INTEL):
        wheel_of(wheels / f"native-2.0-{one}", {"native.so": b""}, requires=("pure>=1",))
    wheel_of(wheels / "pure-1.0-py3-none-any.whl", {})
    assert names(["native"], architecture, tmp_path) == [
        f"native-2.0-{tags}",
        "pure-1.0-py3-none-any.whl",
    ]


def test_markers_count_for_the_target_and_not_for_this_machine(tmp_path, wheels):
    requires = (
        'arm; platform_machine == "aarch64"',
        'intel; platform_machine == "x86_64"',
        'old; python_version < "3.13"',
        'windows; sys_platform == "win32"',
        'more; extra == "all"',
    )
    wheel_of(wheels / "top-1.0-py3-none-any.whl", {}, requires=requires)
    for name in ("arm", "intel", "old", "windows", "more"):
        wheel_of(wheels / f"{name}-1.0-py3-none-any.whl", {})
    assert names(["top"], "arm64", tmp_path) == [
        "arm-1.0-py3-none-any.whl",
        "top-1.0-py3-none-any.whl",
    ]


def test_extras_and_wheels_that_are_left_out(tmp_path, wheels):
    requires = ("protobuf", 'more>1; extra == "all"')
    wheel_of(wheels / "top-1.0-py3-none-any.whl", {}, requires=requires)
    wheel_of(wheels / "protobuf-1.0-py3-none-any.whl", {})
    wheel_of(wheels / "more-1.5-py3-none-any.whl", {})
    assert names(["top[all]"], "amd64", tmp_path) == [
        "more-1.5-py3-none-any.whl",
        "top-1.0-py3-none-any.whl",
    ]


def test_no_wheel_for_the_target_is_told_with_what_was_looked_for(tmp_path, wheels):
    wheel_of(wheels / f"native-2.0-{INTEL}", {})
    with pytest.raises(LockError) as caught:
        names(["native==2.0"], "arm64", tmp_path)
    assert caught.value.findings[0].where == "native==2.0"
    assert "glibc 2.41" in caught.value.findings[0].expected


def test_an_architecture_that_is_not_built_for(tmp_path, wheels):
    with pytest.raises(InputError):
        names(["x"], "riscv64", tmp_path)


def test_metadata_gives_name_licence_and_digest(tmp_path):
    path = wheel_of(tmp_path / "Some_Thing-1.0-py3-none-any.whl", {})
    locked = read_metadata(path).locked()
    assert (locked.name, locked.version, locked.license) == ("some-thing", "1.0", "MIT")
    assert locked.size == path.stat().st_size


def test_a_wheel_without_metadata_is_refused(tmp_path):
    path = wheel_of(tmp_path / "x-1.0-py3-none-any.whl", {})
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(LockError):
        read_metadata(path)
