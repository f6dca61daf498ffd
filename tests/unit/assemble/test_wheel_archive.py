"""Reading wheels: placement, RECORD as a closed world, contents checked while they are read."""

from __future__ import annotations

import csv
import io
import zipfile

import pytest
from tiny_packages import wheel_of

from packager.assemble.recipe import SITE_PACKAGES
from packager.assemble.wheel_archive import read_wheel
from packager.errors import LockError

NAME = "thing-1.0-py3-none-any.whl"
FILES = {"thing/__init__.py": b"x = 1\n", "thing/tests/test_x.py": b"", "thing/big": b"b" * 300_000}


def read(path, dropped=lambda path: False):
    return {
        entry.path.removeprefix(f"{SITE_PACKAGES}/"): entry
        for entry in read_wheel(path, NAME, dropped)
    }


def content(entry):
    with entry.open() as stream:
        return stream.read()


def test_files_land_in_debians_folder_and_read_back(tmp_path):
    found = read(wheel_of(tmp_path / NAME, FILES))
    assert content(found["thing/__init__.py"]) == b"x = 1\n"
    assert content(found["thing/big"]) == FILES["thing/big"]
    assert content(found["thing/big"]) == FILES["thing/big"], "an entry can be opened again"


def test_only_libraries_of_the_data_folder_are_installed(tmp_path):
    data = {f"thing-1.0.data/{scheme}/x/f": b"" for scheme in ("purelib", "platlib2", "headers")}
    data["thing-1.0.data/platlib/y.py"] = b""
    data["thing-1.0.data/scripts/run"] = b"#!python\n"
    found = read(wheel_of(tmp_path / NAME, data))
    assert sorted(path for path in found if "dist-info" not in path) == ["x/f", "y.py"]


def test_record_in_the_image_lists_what_is_there(tmp_path):
    found = read(wheel_of(tmp_path / NAME, FILES), lambda path: "/tests/" in path)
    assert "thing/tests/test_x.py" not in found
    rows = csv.reader(io.StringIO(content(found["thing-1.0.dist-info/RECORD"]).decode()))
    assert sorted(row[0] for row in rows) == sorted(found)


def test_a_file_with_other_bytes_is_refused_when_it_is_read(tmp_path):
    path = wheel_of(tmp_path / NAME, FILES, record={"thing/big": b"other"})
    found = read(path)
    with pytest.raises(LockError) as caught:
        content(found["thing/big"])
    assert caught.value.findings[0].where == f"{NAME}: thing/big"


def test_exactly_the_announced_bytes_are_enough_to_notice(tmp_path):
    """write_tar never asks for more than the size, so the check must not wait for the end."""
    found = read(wheel_of(tmp_path / NAME, FILES, record={"thing/__init__.py": b"y"}))
    entry = found["thing/__init__.py"]
    with entry.open() as stream, pytest.raises(LockError):
        stream.read(entry.size)


def test_a_file_that_record_lists_in_vain_is_refused(tmp_path):
    with pytest.raises(LockError) as caught:
        read(wheel_of(tmp_path / NAME, FILES, record={"thing/gone.py": b""}))
    assert "thing/gone.py" in caught.value.findings[0].got


def add(path, name, data=b"", attr=0):
    info = zipfile.ZipInfo(name)
    info.external_attr = attr << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(info, data)
    return path


@pytest.mark.parametrize(
    ("name", "attr"),
    [
        ("thing/extra.py", 0),
        ("../outside.py", 0),
        ("/etc/passwd", 0),
        ("thing/a\\b", 0),
        ("thing/link", 0o120777),
        ("other-2.dist-info/METADATA", 0),
    ],
)
def test_extra_and_hostile_members_are_refused(tmp_path, name, attr):
    with pytest.raises(LockError):
        read(add(wheel_of(tmp_path / NAME, FILES), name, attr=attr))


def test_a_member_that_stands_twice_is_refused(tmp_path):
    path = wheel_of(tmp_path / NAME, FILES)
    with pytest.warns(UserWarning, match="Duplicate"):
        add(path, "thing/__init__.py", b"x = 2\n")
    with pytest.raises(LockError):
        read(path)


def test_what_is_no_zip_is_refused(tmp_path):
    path = tmp_path / NAME
    path.write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(LockError):
        read(path)
