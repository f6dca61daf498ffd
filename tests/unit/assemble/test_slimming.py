"""Slimming: zeros where the GPU never reads, everything else as it was, and the record."""

from __future__ import annotations

import pytest
from tiny_libraries import PTX, fat_binary, fat_entry, library

from packager.archive import Entry
from packager.assemble.slimming import SLIMMED, Cut, find_cut
from packager.digest import Digest
from packager.errors import LockError


@pytest.fixture
def data(tmp_path, monkeypatch):
    monkeypatch.setenv("PACKAGER_CACHE", str(tmp_path / "cache"))
    entries = [fat_entry(n, bytes([n]) * 5000) for n in (75, 80, 86, 89)]
    entries.append(fat_entry(90, b"p" * 3000, kind=PTX))
    return library(needed=("libc.so.6",), device_code=fat_binary(entries, entries[:2]))


def slimmed(data, capability="8.9"):
    entry = Entry.of_bytes(SLIMMED, data)
    cut = find_cut(entry, capability)
    changed = cut.applied(entry)
    assert changed is not None
    with changed[0].open() as stream:
        return cut, changed, stream.read()


def test_only_payloads_of_other_gpus_become_zeros(data):
    cut, (entry, digest), bytes_ = slimmed(data)
    assert entry.size == len(bytes_) == len(data)
    assert Digest.of(bytes_) == digest == cut.digest
    changed = [n for n, (a, b) in enumerate(zip(data, bytes_, strict=True)) if a != b]
    assert all(bytes_[n] == 0 for n in changed)
    assert all(any(start <= n < end for start, end in cut.spans) for n in changed)
    assert bytes([89]) * 5000 in bytes_
    assert bytes_.count(bytes([80]) * 5000) == 1, "the second container has nothing better"
    assert b"p" * 3000 not in bytes_


def test_the_record_says_what_was_kept_and_cut(data):
    cut, _, _ = slimmed(data)
    assert cut.kept == ("sm_80", "sm_89")
    assert dict(cut.dropped) == {"sm_75": 10000, "sm_80": 5000, "sm_86": 5000, "PTX sm_90": 3000}
    assert Cut.of_dict(cut.as_dict()) == cut


def test_other_files_are_left_alone(data):
    cut, _, _ = slimmed(data)
    nvidia = Entry.of_bytes("usr/local/lib/x/nvidia/cu13/lib/libcublas.so.13", data)
    assert cut.applied(nvidia) is None


def test_a_gpu_without_any_code_is_refused(data):
    with pytest.raises(LockError, match="no device code"):
        find_cut(Entry.of_bytes(SLIMMED, data), "7.0")
