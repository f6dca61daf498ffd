"""The lock as a file: the same value back, and everything wrong told with its place."""

from __future__ import annotations

import json

import pytest

from packager.assemble.lock_file import lock_bytes, parse_lock, read_lock
from packager.digest import Digest
from packager.domain.lock import Lock, LockedEnvironment, LockedPackage, LockedWheel
from packager.errors import LockError

PACKAGE = LockedPackage(
    "libc6", "2:1~x+deb13u1", "amd64", "pool/main/g/glibc/libc6_1_amd64.deb", Digest.of(b"p"), 7
)
WHEEL = LockedWheel("numpy", "2.5.5", "numpy-2.5.5-py3-none-any.whl", Digest.of(b"w"), 9, "BSD")
LOCK = Lock(
    Digest.of(b"inputs"),
    "trixie",
    (LockedEnvironment("amd64/onnxruntime==1.28.0", "amd64", (PACKAGE,), (WHEEL,)),),
)


def test_a_lock_survives_writing_and_reading(tmp_path):
    path = tmp_path / "packager.lock"
    path.write_bytes(lock_bytes(LOCK))
    assert read_lock(path) == LOCK
    assert lock_bytes(read_lock(path)) == path.read_bytes()


def test_a_lock_names_no_address():
    assert b"//" not in lock_bytes(LOCK)


def changed(change):
    value = json.loads(lock_bytes(LOCK))
    change(value)
    return json.dumps(value).encode()


def entry(value, kind):
    return value["environments"][0][kind][0]


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda v: v.update(apiVersion="packager.lock/v2"), "apiVersion"),
        (lambda v: v.pop("suite"), "suite"),
        (lambda v: v.update(more=1), "more"),
        (lambda v: v.update(environments={}), "environments"),
        (lambda v: v["environments"].append(v["environments"][0]), "environments"),
        (lambda v: v["environments"].append(3), "environments[1]"),
        (lambda v: entry(v, "packages").update(size=True), "environments[0].packages[0].size"),
        (lambda v: entry(v, "packages").update(size=-1), "environments[0].packages[0].size"),
        (
            lambda v: entry(v, "packages").update(digest="md5:1"),
            "environments[0].packages[0].digest",
        ),
        (
            lambda v: entry(v, "packages").update(filename="pool/../../etc/passwd.deb"),
            "environments[0].packages[0].filename",
        ),
        (
            lambda v: entry(v, "packages").update(filename="http://x.example/pool/a.deb"),
            "environments[0].packages[0].filename",
        ),
        (
            lambda v: entry(v, "wheels").update(filename="../x.whl"),
            "environments[0].wheels[0].filename",
        ),
        (lambda v: entry(v, "wheels").update(name="-r x"), "environments[0].wheels[0].name"),
        (
            lambda v: entry(v, "wheels").update(version="1 --pre"),
            "environments[0].wheels[0].version",
        ),
        (lambda v: entry(v, "wheels").update(license="a\nb"), "environments[0].wheels[0].license"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(change, where):
    with pytest.raises(LockError) as caught:
        parse_lock(changed(change), "the.lock")
    assert f"the.lock: {where}" in [finding.where for finding in caught.value.findings]


def test_several_faults_are_told_at_once():
    def change(value):
        value.pop("inputs")
        entry(value, "wheels").pop("name")

    with pytest.raises(LockError) as caught:
        parse_lock(changed(change), "l")
    places = {finding.where for finding in caught.value.findings}
    assert {"l: inputs", "l: environments[0].wheels[0].name"} <= places


@pytest.mark.parametrize(
    "data",
    [b"", b"{", b"\xff", b"[" * 100_000, b'{"suite": "a", "suite": "b"}', b"[]", b"null", b"NaN"],
)
def test_what_is_no_lock_at_all_is_refused(data):
    with pytest.raises(LockError):
        parse_lock(data, "l")


def test_a_missing_and_a_huge_file_are_refused(tmp_path):
    with pytest.raises(LockError) as caught:
        read_lock(tmp_path / "none.lock")
    assert "packager lock" in caught.value.findings[0].next_step
    huge = tmp_path / "huge.lock"
    huge.write_bytes(b" " * ((8 << 20) + 1))
    with pytest.raises(LockError, match="too large"):
        read_lock(huge)
