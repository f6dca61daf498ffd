"""What an installer must not go on with: each refusal by its code and by name, nothing loaded."""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import tarfile
from dataclasses import replace

import pytest
from bundles import make_bundle
from site_machine import installer
from site_releases import SiteTarget
from small_release import SmallRelease, change_root

from packager.attest.keys import generate_key
from packager.domain.target import DeploymentPlatform


def refused(site, release: SmallRelease, code: int, *told: str, more=()) -> None:
    """The installation ends with `code`, tells all of `told`, and has loaded nothing."""
    done = site.install(release, *more)
    assert done.code == code, done.err + done.out
    for text in told:
        assert text in done.err
    assert not list((site.stub / "images").glob("*"))
    assert site.containers() == {}


@pytest.fixture
def copy(releases, tmp_path) -> SmallRelease:
    """A copy of 1.0.0, to do harm to."""
    folder = tmp_path / "stick"
    shutil.copytree(releases["1.0.0"].folder, folder)
    return replace(releases["1.0.0"], folder=folder)


def a_blob(release: SmallRelease):
    return max((release.folder / "images/blobs/sha256").iterdir(), key=lambda path: path.name)


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


HARMS = {
    "a flipped bit": lambda release: flip(a_blob(release)),
    "a truncated file": lambda release: os.truncate(a_blob(release), 3),
    "a missing file": lambda release: a_blob(release).unlink(),
    "an added file": lambda release: (release.folder / "targets/more").write_text("x"),
    "a symlink": lambda release: (release.folder / "targets/link").symlink_to("/etc/passwd"),
    "a pipe": lambda release: os.mkfifo(release.folder / "evidence/pipe"),
    "another root": lambda release: flip(release.folder / "release.json"),
    "another signature": lambda release: flip(release.folder / "release.sig"),
    "another list": lambda release: (release.folder / "checksums.txt").write_text("x\n"),
    "no signature": lambda release: (release.folder / "release.sig").unlink(),
    "a changed manifest": lambda release: flip(installer(release.folder).parent / "compose.yaml"),
    "a changed installer": lambda release: installer(release.folder).open("a").write("# x\n"),
}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("harm", HARMS)
def test_a_harmed_release_is_refused(dash, copy, harm):
    HARMS[harm](copy)
    refused(dash, copy, 4, "verification failed")
    if harm in ("a flipped bit", "a truncated file", "a missing file"):
        assert a_blob_name(dash)


def a_blob_name(site) -> bool:
    """Whether the record of the refusal names the file."""
    record = (site.home / "history" / "000001.json").read_text()
    return '"result":"refused"' in record


def test_another_makers_key_is_refused(dash, copy, tmp_path):
    other = generate_key(tmp_path / "other.pem", None)
    refused(dash, replace(copy, public_file=other.private.with_suffix(".pub")), 4, "signature")


def test_a_key_that_the_site_does_not_trust_is_refused(dash, releases, tmp_path):
    other = generate_key(tmp_path / "other.pem", None)
    dash.profile(keys=f"[{other.private.with_suffix('.pub')}]")
    refused(dash, releases["1.0.0"], 3, "none that the site trusts")


def test_a_key_or_a_release_that_is_revoked_at_the_site_is_refused(dash, releases):
    key = releases["1.0.0"].public.fingerprint
    dash.profile(revoked=f"[{key}]")
    refused(dash, releases["1.0.0"], 4, "is revoked here")


def test_two_signatures_are_demanded_where_the_site_says_so(dash, releases):
    dash.profile(require="2")
    refused(dash, releases["1.0.0"], 4, "2 trusted keys")


def test_everything_that_does_not_fit_is_told_at_once(dash, releases):
    foreign = releases.other(
        "foreign", target=SiteTarget("de", "Germany", "aws/eu-central-1", "arm64-v8")
    )
    dash.profile(accept="[other]", hardware="nvidia-l4", jurisdiction="sg", region="site/x")
    dash.tool("uname", "echo x86_64")
    refused(
        dash, foreign, 3, "another jurisdiction", "this site's region", "does not accept",
        "other hardware", "another architecture",
    )  # fmt: skip


GPU = "echo '{driver}, {capability}, NVIDIA L4'"


@pytest.mark.parametrize(
    ("smi", "told"),
    [
        ("exit 9", "no NVIDIA accelerator answers"),
        (GPU.format(driver="470.1", capability="8.9"), "driver is older"),
        (GPU.format(driver="550.54.15", capability="7.5"), "compute capability"),
    ],
)
def test_a_gpu_that_does_not_fit_is_refused(dash, releases, smi, told):
    dash.tool("nvidia-smi", smi)
    gpu = releases.other("gpu", target=SiteTarget(hardware="nvidia-l4"))
    refused(dash, gpu, 3, told)


def test_a_gpu_that_fits_is_taken(dash, releases):
    version = "| NVIDIA-SMI 550.54.15   Driver Version: 550.54.15   CUDA Version: 12.4 |"
    dash.tool("nvidia-smi", f"[ $# = 0 ] && echo '{version}' || echo '550.54.15, 8.9, NVIDIA L4'")
    gpu = releases.other("gpu", target=SiteTarget(hardware="nvidia-l4"))
    done = dash.install(gpu)
    assert done.code == 0, done.err
    assert "--gpus device=0" in (dash.stub / "log").read_text()


def test_an_older_release_and_a_version_with_other_content_are_refused(dash, releases):
    assert dash.install(releases["1.1.0"]).code == 0
    before = dash.containers()
    older = dash.install(releases["1.0.0"])
    assert (older.code, "older than one that was installed" in older.err) == (3, True)
    twin = releases.other(
        "twin", "1.1.0", fault="", change=lambda folder, document: document.update(objective="size")
    )
    other = dash.install(twin)
    assert (other.code, "other content" in other.err) == (3, True)
    assert dash.containers() == before


@pytest.mark.parametrize(
    ("validity", "told"),
    [
        ({"not_before": "2020-01-01T00:00:00Z", "not_after": "2020-02-01T00:00:00Z"}, "is over"),
        (
            {"not_before": "2999-01-01T00:00:00Z", "not_after": "2999-02-01T00:00:00Z"},
            "not valid yet",
        ),
    ],
)
def test_outside_of_its_validity_a_release_is_refused(dash, copy, validity, told):
    change_root(copy, lambda document: document.update(validity=validity))
    refused(dash, copy, 3, told)


def test_a_clock_that_is_behind_is_told(dash, releases):
    dash.tool("date", 'case "$*" in *%s*) echo 86400 ;; *) echo 1970-01-02T00:00:00Z ;; esac')
    refused(dash, releases["1.0.0"], 5, "clock is behind")


def test_too_little_memory_and_space_are_told_together(dash, releases):
    proc = dash.base / "proc"
    proc.mkdir()
    (proc / "meminfo").write_text("MemTotal: 999 kB\nMemAvailable:    1024 kB\n")
    (proc / "cpuinfo").write_text("flags : sse2\n")
    dash.environment["PACKAGER_PROC"] = str(proc)
    dash.tool("df", "echo Filesystem; echo '/dev/x 100 100 0 100% /'")
    refused(dash, releases["1.0.0"], 5, "too little memory", "too little space")


def test_a_port_of_somebody_else_is_told(dash, releases):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        dash.profile(listen=f"127.0.0.1:{taken.getsockname()[1]}")
        refused(dash, releases["1.0.0"], 5, "somebody else listens")


def test_an_engine_that_is_down_or_too_old_is_told(dash, releases):
    dash.stub.mkdir()
    (dash.stub / "down").touch()
    refused(dash, releases["1.0.0"], 5, "docker does not answer")
    (dash.stub / "down").unlink()
    dash.environment["STUB_VERSION"] = "19.03.1"
    refused(dash, releases["1.0.0"], 5, "too old")


def test_what_an_engine_says_in_several_lines_is_one_finding(dash, releases):
    dash.profile(engine="quadlet")
    dash.tool("systemctl", "printf 'not booted\\nbus is down\\n' >&2; exit 1")
    dash.environment["PACKAGER_FRAMES"] = "1"
    refused(dash, releases["1.0.0"], 5, "@finding\t5\tquadlet does not answer", "not booted bus is")


def test_an_engine_that_loads_another_image_is_not_believed(dash, releases):
    dash.stub.mkdir()
    (dash.stub / "another-image").write_text("f" * 64)
    done = dash.install(releases["1.0.0"])
    assert done.code == 4
    assert "another image than the signed one" in done.err
    assert dash.containers() == {}


def test_a_full_disk_switches_nothing(dash, releases, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "none", small], check=True)
    try:
        (small / "ballast").write_bytes(bytes(504 << 10))
        dash.profile(data=str(small))
        done = dash.install(releases["1.0.0"])
        assert done.code in (1, 5), done.err
        assert "free some" in done.err
        (small / "ballast").unlink()
        again = dash.install(releases["1.0.0"])
        assert again.code == 0, again.err
    finally:
        subprocess.run(["umount", small], check=True)


def test_without_a_scratch_folder_the_next_step_is_told(site, releases):
    site.environment["TMPDIR"] = "/proc/none"
    refused(site, releases["1.0.0"], 1, "no scratch folder can be made", "TMPDIR=")
    assert "mktemp" not in site.install(releases["1.0.0"]).err


def test_a_stick_that_is_read_only_is_enough(dash, releases, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("mounting needs root")
    stick = tmp_path / "stick"
    stick.mkdir()
    bind = ["mount", "--bind", releases["1.0.0"].folder, stick]
    subprocess.run(bind, check=True)
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", stick], check=True)
        done = dash.install(replace(releases["1.0.0"], folder=stick))
        assert done.code == 0, done.err
    finally:
        subprocess.run(["umount", stick], check=True)


def test_a_bundle_is_taken_whole_or_not_at_all(site, releases, tmp_path):
    release = releases["1.0.0"]
    bundle = tmp_path / "release.tar"
    make_bundle(release, bundle)
    good = bundle.read_bytes()
    bundle.write_bytes(good[: len(good) * 2 // 3])
    refused(site, release, 4, more=(bundle,))
    for name, kind in (("targets/evil", tarfile.REGTYPE), ("images/evil", tarfile.SYMTYPE)):
        bundle.write_bytes(with_member(good, name, kind))
        refused(site, release, 4, "verification failed", more=(bundle,))
    bundle.write_bytes(with_member(good, "release.json", tarfile.REGTYPE))
    refused(site, release, 4, more=(bundle,))
    flipped = bytearray(good)
    flipped[good.index(b"weights" if b"weights" in good else b"probe") + 1] ^= 1
    bundle.write_bytes(flipped)
    refused(site, release, 4, more=(bundle,))
    bundle.write_bytes(good)
    done = site.install(release, bundle)
    assert done.code == 0, done.err
    assert not (site.home / "incoming").exists()


def with_member(tar: bytes, name: str, kind: bytes) -> bytes:
    """The archive with one more member at its end."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "/etc/passwd" if kind == tarfile.SYMTYPE else ""
    more = io.BytesIO()
    with tarfile.open(fileobj=more, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        archive.addfile(info, io.BytesIO(b""))
    return tar[:-1024] + more.getvalue()


@pytest.mark.parametrize(
    "line",
    ["region site/x", "  region: site/x", "keys:\n  - a.pub", "region: site/y\nregion: site/x",
     "colour: blue", "keep: many", "keep: 0", "engine: lxc", "listen: localhost:8080",
     "engine: kubernetes", "data: here", "region: riyadh", "require: 0", "accept: multiply",
     "watch: soon"],
)  # fmt: skip
def test_what_the_shell_refuses_in_a_profile_python_refuses_too(dash, releases, line):
    from packager.errors import InputError
    from packager.site.profile import read_site

    key = line.partition(":")[0].strip().partition(" ")[0]
    kept = [text for text in dash.site_file.read_text().splitlines() if not text.startswith(key)]
    dash.site_file.write_text("\n".join([*kept, line]) + "\n")
    done = dash.install(releases["1.0.0"], "--dry-run")
    assert done.code == 2, done.err
    assert str(dash.site_file) in done.err
    with pytest.raises(InputError):
        read_site(dash.site_file)


def test_a_chart_brings_no_installer(releases):
    chart = releases.other("chart", target=SiteTarget(platform=DeploymentPlatform.HELM))
    assert not list(chart.folder.glob("targets/*/*/*/install.sh"))


def test_a_target_for_clusters_is_not_one_machines(dash, releases):
    cluster = releases.other("cluster", target=SiteTarget(platform=DeploymentPlatform.KUBERNETES))
    refused(dash, cluster, 3, "the release's target is for another kind of engine")
