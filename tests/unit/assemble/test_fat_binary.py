"""Device code: which GPU runs what, and what is never read."""

from __future__ import annotations

import pytest
from tiny_libraries import EXACT, FAMILY, PTX, fat_binary, fat_entry, library

from packager.assemble.fat_binary import (
    Code,
    capability_number,
    read_fat_binary,
    taken,
    unused,
)
from packager.errors import LockError


@pytest.mark.parametrize(
    ("code", "capability", "runs"),
    [
        (Code(86, "", False), 86, True),
        (Code(86, "", False), 89, True),  # same major version, lower minor
        (Code(89, "", False), 86, False),
        (Code(80, "", False), 90, False),  # another major version
        (Code(86, "", False), 87, False),  # Jetson Orin
        (Code(90, "a", False), 90, True),
        (Code(100, "a", False), 103, False),
        (Code(100, "f", False), 103, True),
        (Code(120, "f", True), 121, True),
        (Code(90, "", True), 120, True),  # the driver compiles
        (Code(90, "a", True), 100, False),
        (Code(120, "", True), 110, False),
        (Code(75, "", True), 70, False),
        (Code(110, "", False), 110, True),
    ],
)
def test_which_gpu_runs_what(code, capability, runs):
    assert code.runs_on(capability) is runs


def test_names_are_those_of_the_field():
    assert str(Code(90, "a", False)) == "sm_90a"
    assert str(Code(120, "", True)) == "PTX sm_120"


def containers():
    first = [
        fat_entry(86, b"a" * 16),
        fat_entry(89, b"b" * 16),
        fat_entry(90, b"c" * 16, flags=EXACT),
        fat_entry(90, b"p" * 16, kind=PTX),
    ]
    second = [fat_entry(86, b"d" * 8), fat_entry(120, b"e" * 8, kind=PTX, flags=FAMILY)]
    return library(device_code=fat_binary(first, second))


def test_containers_and_their_entries():
    data = containers()
    found = read_fat_binary(data, "x")
    assert [[str(entry.code) for entry in one] for one in found] == [
        ["sm_86", "sm_89", "sm_90a", "PTX sm_90"],
        ["sm_86", "PTX sm_120f"],
    ]
    assert [data[one.offset : one.offset + one.size] for one in found[1]] == [b"d" * 8, b"e" * 8]


def test_the_best_machine_code_is_taken_and_the_rest_is_unused():
    found = read_fat_binary(containers(), "x")
    assert [sorted(map(str, taken(one, 89))) for one in found] == [["sm_89"], ["sm_86"]]
    assert [str(entry.code) for entry in unused(found, 89)] == [
        *("sm_86", "sm_90a", "PTX sm_90"),
        "PTX sm_120f",
    ]
    assert [sorted(map(str, taken(one, 120))) for one in found] == [["PTX sm_90"], ["PTX sm_120f"]]
    assert not any(taken(one, 87) for one in found)


def test_a_library_without_device_code():
    assert read_fat_binary(library(), "x") == ()


@pytest.mark.parametrize("damage", [b"\x01" * 16, fat_binary([fat_entry(89, b"x")])[:-40]])
def test_device_code_that_cannot_be_read_is_told(damage):
    with pytest.raises(LockError, match="device code"):
        read_fat_binary(library(device_code=damage), "x")


def test_capabilities_as_numbers():
    assert [capability_number(text) for text in ("8.9", "12.0")] == [89, 120]
    for text in ("89", "8.", "8.91", "x.y", ""):
        with pytest.raises(ValueError, match="compute capability"):
            capability_number(text)
