"""Filling the cache from mirrors and indexes that work, and from those that do not."""

from __future__ import annotations

import hashlib

import pytest
from tiny_packages import wheel_of

from packager.assemble.fetch import cached_path, fetch
from packager.digest import Digest
from packager.domain.lock import LockedEnvironment, LockedPackage, LockedWheel
from packager.errors import LockError, UnavailableError
from packager.progress import SILENT

DEB = b"the bytes of a package" * 100
PATH = "pool/main/t/thing/thing_1_amd64.deb"


def package(data=DEB):
    return LockedPackage("thing", "1", "amd64", PATH, Digest.of(data), len(data))


def environment(packages=(), wheels=()):
    return LockedEnvironment("amd64/x==1", "amd64", tuple(packages), tuple(wheels))


def bring(env, cache, mirror):
    return fetch(env, cache, mirror_option=mirror, progress=SILENT)


def test_a_package_is_fetched_once_and_then_needs_no_mirror(tmp_path, site, monkeypatch):
    site.files[PATH] = DEB
    env = environment([package()])
    found = bring(env, tmp_path, site.address)
    assert found[Digest.of(DEB)].read_bytes() == DEB
    monkeypatch.delenv("PACKAGER_DEBIAN_MIRROR", raising=False)
    assert bring(env, tmp_path, "http://127.0.0.1:9/nobody/listens") == found
    assert site.asked == [PATH]


def test_a_spoilt_cache_entry_is_never_believed(tmp_path, site):
    site.files[PATH] = DEB
    path = cached_path(tmp_path, Digest.of(DEB))
    path.parent.mkdir(parents=True)
    path.write_bytes(DEB[:-1] + b"X")
    assert (
        bring(environment([package()]), tmp_path, site.address)[Digest.of(DEB)].read_bytes() == DEB
    )


def test_other_bytes_are_refused_by_name_and_not_kept(tmp_path, site):
    site.files[PATH] = DEB[:-1] + b"X"
    with pytest.raises(LockError) as caught:
        bring(environment([package()]), tmp_path, site.address)
    finding = caught.value.findings[0]
    assert "thing 1" in finding.what
    assert finding.expected.startswith(str(Digest.of(DEB)))
    assert finding.got == str(Digest.of(site.files[PATH]))
    assert not cached_path(tmp_path, Digest.of(DEB)).exists()


def test_a_shorter_file_is_other_bytes(tmp_path, site):
    site.files[PATH] = DEB[:50]
    with pytest.raises(LockError):
        bring(environment([package()]), tmp_path, site.address)


def redirect_to_itself(handler):
    handler.send_response(302)
    handler.send_header("Location", handler.path)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def half_a_file(handler):
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(DEB)))
    handler.end_headers()
    handler.wfile.write(DEB[:100])


def without_end(handler):
    handler.send_response(200)
    handler.end_headers()
    for _ in range(2000):
        handler.wfile.write(b"x" * 65536)


def error_page(handler):
    handler.send_response(503)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("answer", [redirect_to_itself, half_a_file, without_end, error_page])
def test_a_mirror_that_misbehaves_is_told_by_name(tmp_path, site, answer, capsys):
    site.files[PATH] = answer
    with pytest.raises(UnavailableError) as caught:
        bring(environment([package()]), tmp_path, site.address)
    assert PATH in caught.value.findings[0].where
    assert not cached_path(tmp_path, Digest.of(DEB)).exists()


def test_a_package_that_is_gone_points_to_the_upgrade(tmp_path, site):
    with pytest.raises(UnavailableError) as caught:
        bring(environment([package()]), tmp_path, site.address)
    assert "thing 1" in caught.value.findings[0].what
    assert "packager lock --upgrade" in caught.value.findings[0].next_step


def test_nobody_listens(tmp_path):
    with pytest.raises(UnavailableError) as caught:
        bring(environment([package()]), tmp_path, "http://127.0.0.1:9/debian")
    assert "no connection" in caught.value.findings[0].got


def locked_wheel(path, data=None):
    data = data or path.read_bytes()
    return LockedWheel("thing", "1.0", path.name, Digest.of(data), len(data))


def test_a_wheel_comes_through_pip(tmp_path, wheels):
    path = wheel_of(wheels / "thing-1.0-py3-none-any.whl", {"thing.py": b""})
    cache = tmp_path / "cache"
    env = environment((), [locked_wheel(path)])
    digest = env.wheels[0].digest
    assert bring(env, cache, None)[digest].read_bytes() == path.read_bytes()
    path.unlink()
    assert Digest.of_file(bring(env, cache, None)[digest]) == digest


def test_another_wheel_of_that_name_is_refused(tmp_path, wheels):
    path = wheel_of(wheels / "thing-1.0-py3-none-any.whl", {"thing.py": b""})
    with pytest.raises(LockError) as caught:
        bring(environment((), [locked_wheel(path, b"other")]), tmp_path / "cache", None)
    finding = caught.value.findings[0]
    assert finding.expected == f"sha256:{hashlib.sha256(b'other').hexdigest()}"
    assert finding.got == str(Digest.of_file(path))


def test_a_wheel_that_the_index_lacks(tmp_path, wheels):
    gone = LockedWheel("thing", "1.0", "thing-1.0-py3-none-any.whl", Digest.of(b"x"), 1)
    with pytest.raises(LockError) as caught:
        bring(environment((), [gone]), tmp_path / "cache", None)
    assert "packager lock --upgrade" in caught.value.findings[0].next_step
