"""Wheels of the user's own: found by their tags, and taken instead of the index's."""

from __future__ import annotations

import pytest
from tiny_packages import wheel_of

from packager.assemble.own_wheels import own_wheels
from packager.assemble.wheels import resolve_wheels
from packager.digest import Digest
from packager.errors import InputError


def test_wheels_that_load_in_the_image_count(tmp_path):
    for name in (
        "a-1-py3-none-any.whl",
        "b-1-cp313-cp313-manylinux_2_34_x86_64.whl",
        "c-1-cp313-cp313-manylinux_2_34_aarch64.whl",
        "d-1-cp312-cp312-manylinux_2_34_x86_64.whl",
        "e-1-cp313-cp313-manylinux_2_42_x86_64.whl",
        "f-1-cp311-abi3-manylinux_2_17_x86_64.whl",
        "g-1-cp313-cp313-win_amd64.whl",
    ):
        (tmp_path / name).touch()
    assert sorted(own_wheels(tmp_path, "amd64")) == ["a", "b", "f"]
    assert sorted(own_wheels(tmp_path, "arm64")) == ["a", "c"]
    assert own_wheels(None, "amd64") == {}


def test_what_cannot_be_meant_is_told(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        own_wheels(tmp_path / "none", "amd64")
    (tmp_path / "a-1-py3-none-any.whl").touch()
    (tmp_path / "a-2-py3-none-any.whl").touch()
    (tmp_path / "strange.whl").touch()
    with pytest.raises(InputError) as caught:
        own_wheels(tmp_path, "amd64")
    assert len(caught.value.findings) == 2


def test_an_own_wheel_is_taken_instead_of_the_indexs(wheels, tmp_path):
    wheel_of(wheels / "thing-1.0-py3-none-any.whl", {"thing.py": b"theirs"})
    wheel_of(wheels / "part-1.0-py3-none-any.whl", {})
    (mine := tmp_path / "mine").mkdir()
    own = wheel_of(
        mine / "thing-1.0+mine-py3-none-any.whl", {"thing.py": b"mine"}, requires=("part",)
    )
    (place := tmp_path / "place").mkdir()
    found = resolve_wheels(["thing==1.0"], "amd64", place, own_wheels(mine, "amd64"))
    locked = {wheel.name: wheel.locked() for wheel in found}
    assert locked["thing"].digest == Digest.of_file(own)
    assert sorted(locked) == ["part", "thing"]
