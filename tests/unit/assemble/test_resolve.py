"""From profiles to a lock, with a mirror signed by a key made here, and what is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import lzma
import shutil
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny_packages import wheel_of

from packager.assemble.index import read_index
from packager.assemble.lock_file import lock_bytes
from packager.assemble.mirror import Mirror
from packager.assemble.recipe import PACKAGES, environment_key, requirements
from packager.assemble.resolve import is_fresh, lock_inputs, resolve
from packager.digest import Digest
from packager.domain.artifact import Platform
from packager.domain.hardware import Wheel
from packager.errors import InputError, LockError
from packager.progress import SILENT

needs_gpg = pytest.mark.skipif(
    not (shutil.which("gpg") and shutil.which("gpgv")), reason="gpg and gpgv are not installed"
)


def profile(architecture="amd64", wheel="onnxruntime", version="1.28.0"):
    return SimpleNamespace(platform=Platform("linux", architecture), wheel=Wheel(wheel, version))


@pytest.fixture(scope="module")
def key():
    """A key for signing mirrors, in a short path (sockets), and the keyring that knows it."""
    with tempfile.TemporaryDirectory(prefix="gpg-", dir="/tmp") as home:
        gpg = ["gpg", "--homedir", home, "--batch", "--quiet", "--pinentry-mode", "loopback"]
        make = [*gpg, "--passphrase", "", "--quick-generate-key", "mirror@example.org", "ed25519"]
        subprocess.run([*make, "sign"], check=True, capture_output=True)
        keyring = Path(home, "keyring.gpg")
        subprocess.run([*gpg, "--output", str(keyring), "--export"], check=True)
        yield SimpleNamespace(gpg=gpg, keyring=keyring)
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], capture_output=True)


def stanza(name, architecture):
    depends = "Depends: libthing\n" if name == "libc6" else ""
    return (
        f"Package: {name}\nVersion: 1.0\nArchitecture: {architecture}\n{depends}"
        f"Filename: pool/main/x/{name}_1.0_{architecture}.deb\nSize: 10\nSHA256: {'ab' * 32}\n"
    )


def sign(key, text):
    done = subprocess.run([*key.gpg, "--clearsign"], input=text.encode(), capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fill(site, key, codename="trixie"):
    lines = ""
    for architecture in ("amd64", "arm64"):
        text = "\n".join(stanza(name, architecture) for name in (*PACKAGES, "libthing", "more"))
        packed = lzma.compress(text.encode())
        path = f"main/binary-{architecture}/Packages.xz"
        site.files[f"dists/trixie/{path}"] = packed
        lines += f" {hashlib.sha256(packed).hexdigest()} {len(packed)} {path}\n"
    release = f"Origin: Debian\nCodename: {codename}\nSHA256:\n{lines}"
    site.files["dists/trixie/InRelease"] = sign(key, release)


@pytest.fixture
def mirror(site, key, monkeypatch):
    monkeypatch.setenv("PACKAGER_DEBIAN_KEYRING", str(key.keyring))
    fill(site, key)
    return site


@needs_gpg
def test_a_lock_for_two_architectures(mirror, wheels, tmp_path):
    for name in ("httptools-1", "numpy-2", "orjson-3", "onnxruntime-1.28.0"):
        wheel_of(wheels / f"{name}-py3-none-any.whl", {})
    profiles = [profile("arm64"), profile(), profile()]
    (cache := tmp_path / "cache").mkdir()

    def make():
        return resolve(profiles, mirror_option=mirror.address, progress=SILENT, cache=cache)

    lock = make()
    keys = [entry.key for entry in lock.environments]
    assert keys == ["amd64/onnxruntime==1.28.0", "arm64/onnxruntime==1.28.0"]
    first = lock.environments[0]
    assert [one.name for one in first.packages] == sorted([*PACKAGES, "libthing"])
    assert [one.name for one in first.wheels] == ["httptools", "numpy", "onnxruntime", "orjson"]
    assert is_fresh(lock, profiles)
    assert is_fresh(lock, profiles[:1]), "a lock may hold more than is asked for"
    assert not is_fresh(lock, [profile(version="1.27.0")])
    assert not is_fresh(dataclasses.replace(lock, inputs=lock_inputs([profile()])), profiles)
    assert lock_bytes(make()) == lock_bytes(lock)
    assert mirror.address.encode() not in lock_bytes(lock)


def index(mirror):
    return read_index(Mirror(mirror.address), "amd64")


@needs_gpg
def test_the_index_is_read_by_digest_where_the_mirror_has_it(mirror):
    packed = mirror.files.pop("dists/trixie/main/binary-amd64/Packages.xz")
    digest = hashlib.sha256(packed).hexdigest()
    mirror.files[f"dists/trixie/main/binary-amd64/by-hash/SHA256/{digest}"] = packed
    assert "libc6" in index(mirror)


@needs_gpg
def test_a_changed_release_file_is_refused(mirror):
    signed = mirror.files["dists/trixie/InRelease"]
    mirror.files["dists/trixie/InRelease"] = signed.replace(b"Origin: Debian", b"Origin: Debiam")
    with pytest.raises(LockError, match="signature") as caught:
        index(mirror)
    assert "BADSIG" in caught.value.findings[0].got


@needs_gpg
def test_text_around_the_signed_part_is_not_read(mirror):
    signed = mirror.files["dists/trixie/InRelease"]
    forged = b"Codename: trixie\nSHA256:\n " + b"0" * 64 + b" 1 main/binary-amd64/Packages.xz\n\n"
    mirror.files["dists/trixie/InRelease"] = forged + signed
    try:
        assert "libc6" in index(mirror)
    except LockError as error:
        assert "signature" in str(error)


@needs_gpg
def test_an_unsigned_release_file_is_refused(mirror):
    mirror.files["dists/trixie/InRelease"] = b"Codename: trixie\n"
    with pytest.raises(LockError, match="signature"):
        index(mirror)


@needs_gpg
def test_a_key_that_is_not_debians_is_refused(mirror, monkeypatch, tmp_path):
    empty = tmp_path / "empty.gpg"
    empty.touch()
    monkeypatch.setenv("PACKAGER_DEBIAN_KEYRING", str(empty))
    with pytest.raises(LockError, match="signature"):
        index(mirror)


@needs_gpg
def test_another_suite_under_that_name_is_refused(mirror, key):
    fill(mirror, key, codename="sid")
    with pytest.raises(LockError, match="another suite"):
        index(mirror)


@needs_gpg
def test_an_index_that_was_not_signed_is_refused(mirror):
    mirror.files["dists/trixie/main/binary-amd64/Packages.xz"] = lzma.compress(b"Package: x\n")
    with pytest.raises(LockError, match="not the one that Debian signed"):
        index(mirror)


@needs_gpg
def test_an_architecture_that_debian_does_not_list(mirror):
    with pytest.raises(LockError, match="does not list"):
        read_index(Mirror(mirror.address), "vax")


def test_a_missing_keyring_says_what_to_install(site, monkeypatch, tmp_path):
    site.files["dists/trixie/InRelease"] = b""
    monkeypatch.setenv("PACKAGER_DEBIAN_KEYRING", str(tmp_path / "none.gpg"))
    with pytest.raises(InputError) as caught:
        index(site)
    assert "debian-archive-keyring" in caught.value.findings[0].next_step


def test_a_missing_gpgv_says_what_to_install(site, monkeypatch, tmp_path):
    site.files["dists/trixie/InRelease"] = b""
    keyring = tmp_path / "k.gpg"
    keyring.touch()
    monkeypatch.setenv("PACKAGER_DEBIAN_KEYRING", str(keyring))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError) as caught:
        index(site)
    assert "gpgv" in caught.value.findings[0].next_step


def test_inputs_depend_on_the_set_of_environments_only():
    one, two = profile(), profile("arm64")
    assert lock_inputs([one, two]) == lock_inputs([two, one, one])
    assert lock_inputs([one]) != lock_inputs([two])
    assert environment_key(two) == "arm64/onnxruntime==1.28.0"


def test_the_libraries_of_a_cuda_wheel_follow_its_cuda():
    cuda_12 = requirements(Wheel("onnxruntime-gpu", "1.26.0"))
    cuda_13 = requirements(Wheel("onnxruntime-gpu", "1.28.0"))
    assert "nvidia-cublas-cu12" in cuda_12
    assert "nvidia-cublas>=13.0,<13.1" in cuda_13
    assert not any(name.startswith("nvidia-") for name in requirements(Wheel("onnxruntime", "1")))


def test_text_for_cuda_brings_the_librarys_build_for_it():
    gpu = Wheel("onnxruntime-gpu", "1.31.1")
    assert "onnxruntime-genai-cuda==0.18.0" in requirements(gpu, ("generation",))
    both = requirements(gpu, ("genai", "generation"))
    assert [one for one in both if "genai" in one] == ["onnxruntime-genai-cuda==0.18.0"]
    cpu = Wheel("onnxruntime", "1.32.0")
    assert "onnxruntime-genai==0.18.0" in requirements(cpu, ("genai", "generation"))
    assert not any("genai" in one for one in requirements(cpu, ("generation",)))


def test_a_cuda_wheel_whose_version_cannot_be_read_is_refused():
    with pytest.raises(InputError):
        lock_inputs([profile(wheel="onnxruntime-gpu", version="newest")])


@needs_gpg
def test_an_own_wheel_is_locked_and_another_one_makes_the_lock_stale(mirror, wheels, tmp_path):
    for name in ("httptools-1", "numpy-2", "orjson-3", "onnxruntime-1.28.0"):
        wheel_of(wheels / f"{name}-py3-none-any.whl", {})
    (mine := tmp_path / "mine").mkdir()
    (cache := tmp_path / "cache").mkdir()
    own = wheel_of(mine / "onnxruntime-1.28.0+mine-py3-none-any.whl", {"onnxruntime.py": b"1"})
    lock = resolve(
        [profile()],
        mirror_option=mirror.address,
        progress=SILENT,
        cache=cache,
        wheels=mine,
    )
    locked = {wheel.name: wheel for wheel in lock.environments[0].wheels}
    assert locked["onnxruntime"].digest == Digest.of_file(own)
    assert is_fresh(lock, [profile()], mine)
    wheel_of(own, {"onnxruntime.py": b"2"})
    assert not is_fresh(lock, [profile()], mine)
