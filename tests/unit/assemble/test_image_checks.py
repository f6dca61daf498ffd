"""Closure, code and floor: each refuses by name."""

from __future__ import annotations

import pytest
from tiny_libraries import fat_binary, fat_entry, library

from packager.archive import Entry
from packager.assemble.image_checks import check_image
from packager.errors import LockError

GPU = "usr/local/lib/nvidia/cu13/lib"


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PACKAGER_CACHE", str(tmp_path))


def files(**changes):
    code = fat_binary([fat_entry(89, b"x" * 32)])
    found = {
        "usr/lib/x86_64-linux-gnu/libc.so.6": library(),
        f"{GPU}/libcublas.so.13": library(needed=("libcublasLt.so.13",), search="$ORIGIN"),
        f"{GPU}/libcublasLt.so.13": library(needed=("libc.so.6", "libcuda.so.1"), device_code=code),
        "opt/x/libown.so": library(needed=("libbeside.so.1",), search="$ORIGIN/../y"),
        "opt/y/libbeside.so.1": library(glibc=("GLIBC_2.17",)),
        "opt/y/notes.so": b"no library at all",
    }
    return {**found, **changes}


def check(found, **changes):
    options = {
        "architecture": "amd64",
        "folders": [GPU],
        "chosen": frozenset({"cublas"}),
        "capability": "8.9",
        "glibc": (2, 41),
    }
    entries = [Entry.of_bytes(path, data) for path, data in found.items()]
    return check_image(entries, **(options | changes))


def refused(found, **changes):
    with pytest.raises(LockError) as caught:
        check(found, **changes)
    return [(finding.what, finding.where) for finding in caught.value.findings]


def test_a_sound_image():
    checked = check(files())
    assert checked.libraries == 5
    assert checked.glibc == "2.17"
    assert checked.code == {f"{GPU}/libcublasLt.so.13": "1 of 1"}


def test_a_library_that_is_not_there():
    found = files()
    del found["opt/y/libbeside.so.1"]
    assert refused(found) == [
        ("a library is missing in the image: libbeside.so.1", "opt/x/libown.so")
    ]


def test_a_library_in_a_place_where_nobody_looks():
    found = files()
    found["opt/z/libbeside.so.1"] = found.pop("opt/y/libbeside.so.1")
    assert refused(found)[0][1] == "opt/x/libown.so"


def test_the_drivers_libraries_are_not_asked_for_others_are():
    found = files(**{"opt/driver.so": library(needed=("libcuda.so.1", "libnvidia-ml.so.1"))})
    check(found)
    found = files(**{"opt/other.so": library(needed=("libnvinfer.so.10",))})
    assert refused(found) == [
        ("a library is missing in the image: libnvinfer.so.10", "opt/other.so")
    ]


def test_a_gpu_without_code():
    [(what, where)] = refused(files(), capability="9.0")
    assert "no device code for compute capability 9.0" in what
    assert where == f"{GPU}/libcublasLt.so.13"


def test_a_chosen_library_that_is_missing():
    assert "nvrtc" in refused(files(), chosen=frozenset({"cublas", "nvrtc"}))[0][0]


def test_a_newer_c_library_and_another_machine():
    found = files(
        **{"opt/new.so": library(glibc=("GLIBC_2.42",)), "opt/arm.so": library(machine=183)}
    )
    assert refused(found) == [
        ("a library is for another machine", "opt/arm.so"),
        ("a library needs a newer C library than the image has", "opt/new.so"),
    ]


def test_without_a_gpu_no_code_is_asked_for():
    assert check(files(), capability=None, chosen=frozenset()).code == {}


def test_a_telemetry_end_point_is_recorded_where_it_occurs():
    assert check(files()).telemetry == ()
    loud = library() + b"https://mobile.events.data.microsoft.com/OneCollector/1.0"
    assert check(files(**{"opt/loud.so": loud})).telemetry == ("opt/loud.so",)
