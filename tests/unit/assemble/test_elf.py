"""What a shared library asks for: made ones, a real one, and damaged ones."""

from __future__ import annotations

import contextlib
from pathlib import Path

import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_libraries import library

from packager.assemble.elf import read_library, sections
from packager.errors import LockError


def test_what_is_linked_and_where_it_is_looked_for():
    data = library(
        needed=("libcublas.so.13", "libc.so.6"),
        search="$ORIGIN:$ORIGIN/../lib",
        glibc=("GLIBC_2.2.5", "GLIBC_2.34", "GLIBC_PRIVATE"),
    )
    found = read_library(data, "x")
    assert found.needed == ("libcublas.so.13", "libc.so.6")
    assert found.search == ("$ORIGIN", "$ORIGIN/../lib")
    assert found.glibc == (2, 34)
    assert found.architecture == "amd64"
    assert read_library(library(machine=183), "x").architecture == "arm64"


def test_a_library_that_asks_for_nothing():
    found = read_library(library(), "x")
    assert (found.needed, found.search, found.glibc) == ((), (), None)


def test_sections_by_name():
    found = {section.name: section for section in sections(library(device_code=b"x" * 24), "x")}
    assert found[".nv_fatbin"].size == 24


def test_a_real_library():
    folder = Path(onnxruntime.__file__).parent / "capi"
    path = next(folder.glob("onnxruntime_pybind11_state*.so"))
    found = read_library(path.read_bytes(), path.name)
    assert "libc.so.6" in found.needed
    assert found.glibc is not None
    assert found.glibc >= (2, 17)


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"MZ" + bytes(200), bytes(64)])
def test_what_is_no_library_is_refused(data):
    with pytest.raises(LockError, match="malformed"):
        read_library(data, "x")


@settings(deadline=None)
@given(st.data())
def test_damage_is_told_and_never_a_crash(data):
    whole = library(needed=("libc.so.6",), glibc=("GLIBC_2.34",), device_code=b"y" * 40)
    cut = data.draw(st.integers(0, len(whole) - 1))
    place = data.draw(st.integers(0, len(whole) - 1))
    for damaged in (whole[:cut], whole[:place] + b"\xff" + whole[place + 1 :]):
        for read in (read_library, sections):
            with contextlib.suppress(LockError):
                read(damaged, "x")
