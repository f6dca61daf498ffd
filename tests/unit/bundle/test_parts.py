"""Parts: each is told from all others before anything is read as a bundle; nothing is joined."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from bundles import make_bundle, trusting
from small_release import SmallRelease, make_release

from packager import pipeline
from packager.attest.keys import generate_key
from packager.errors import InputError, OutputError, VerificationError
from packager.progress import SILENT

NAME = "stick"
SIZE = 20_000


@pytest.fixture(scope="module")
def release(tmp_path_factory) -> SmallRelease:
    return make_release(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="module")
def whole(release, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "b.tar"
    make_bundle(release, path)
    return path


def split(release: SmallRelease, output: Path, size: int = SIZE, key: Path | None = None):
    cut = pipeline.Cut(size, str(key or release.key_file))
    return pipeline.bundle(release.folder, trusting(release), output, [], SILENT, cut)


@pytest.fixture(scope="module")
def pristine(release, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("parts") / NAME
    split(release, path)
    return path


@pytest.fixture
def parts(pristine, tmp_path) -> Path:
    shutil.copytree(pristine, tmp_path / NAME)
    return tmp_path / NAME


def verify(release: SmallRelease, path: Path):
    return pipeline.verify(path, trusting(release), SILENT)


def refused(release: SmallRelease, path: Path) -> list:
    with pytest.raises(VerificationError) as caught:
        verify(release, path)
    return list(caught.value.findings)


def part(folder: Path, number: int) -> Path:
    return folder / f"{NAME}.part{number:03d}"


def test_parts_verify_as_the_bundle_does(release, whole, parts):
    expected = verify(release, whole)
    assert verify(release, parts) == expected
    assert verify(release, parts / f"{NAME}.parts.json") == expected
    sizes = {path.stat().st_size for path in parts.glob("*.part0*")}
    assert max(sizes) == SIZE - SIZE % 4096


def test_cat_joins_them_and_so_do_we(release, whole, parts, tmp_path):
    joined = b"".join(path.read_bytes() for path in sorted(parts.glob("*.part0*")))
    assert joined == whole.read_bytes()
    pipeline.bundle(parts, trusting(release), tmp_path / "joined.tar", [], SILENT)
    assert (tmp_path / "joined.tar").read_bytes() == whole.read_bytes()
    assert verify(release, parts)


def test_stock_tools_check_them(release, parts):
    done = subprocess.run(
        ["sha256sum", "-c", f"{NAME}.parts.txt"], cwd=parts, capture_output=True, check=False
    )
    assert done.returncode == 0
    done = subprocess.run(
        ["openssl", "dgst", "-sha256", "-verify", release.public_file, "-signature",
         f"{NAME}.parts.sig", f"{NAME}.parts.json"],
        cwd=parts, capture_output=True, check=False,
    )  # fmt: skip
    assert done.stdout == b"Verified OK\n"


def test_the_same_release_gives_the_same_parts(release, pristine, tmp_path):
    split(release, tmp_path / NAME)
    for path in pristine.iterdir():
        assert (tmp_path / NAME / path.name).read_bytes() == path.read_bytes()


def test_a_missing_part_is_named(release, parts):
    part(parts, 2).unlink()
    part(parts, 4).unlink()
    told = refused(release, parts)
    assert [Path(finding.where).name for finding in told] == ["stick.part002", "stick.part004"]
    assert "part 2 of " in told[0].what


def test_swapped_parts_are_named(release, parts):
    first, second = part(parts, 1), part(parts, 3)
    first.rename(parts / "x")
    second.rename(first)
    (parts / "x").rename(second)
    told = refused(release, parts)
    assert {Path(finding.where).name for finding in told} == {"stick.part001", "stick.part003"}
    assert all("swapped" in finding.what for finding in told)


def test_a_damaged_part_is_named(release, parts):
    data = bytearray(part(parts, 5).read_bytes())
    data[77] ^= 1
    part(parts, 5).write_bytes(data)
    (told,) = refused(release, parts)
    assert Path(told.where).name == "stick.part005"
    assert "damaged" in told.what


def test_a_truncated_part_and_one_that_is_no_file_are_named(release, parts):
    part(parts, 1).write_bytes(part(parts, 1).read_bytes()[:-1])
    part(parts, 2).unlink()
    part(parts, 2).symlink_to(part(parts, 3))
    told = refused(release, parts)
    assert ["size" in told[0].what, "plain file" in told[1].what] == [True, True]


def test_a_part_of_another_bundle_is_named(release, parts, tmp_path):
    other = make_release(tmp_path / "other", version="1.3.0", key_file=release.key_file)
    split(other, tmp_path / "old" / NAME)
    shutil.copyfile(part(tmp_path / "old" / NAME, 3), part(parts, 3))
    (told,) = refused(release, parts)
    assert "of another bundle" in told.what


def test_a_part_left_over_from_an_older_bundle_is_named(release, parts):
    shutil.copyfile(part(parts, 1), parts / f"{NAME}.part099")
    (told,) = refused(release, parts)
    assert "left over" in told.what
    assert "part099" in told.where


@pytest.mark.parametrize("ending", ["json", "sig", "sigstore.json"])
def test_a_changed_index_or_signature_is_refused_before_the_parts(release, parts, ending):
    path = parts / f"{NAME}.parts.{ending}"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    part(parts, 1).unlink()
    (told,) = refused(release, parts)
    assert ".part001" not in str(told.where)


def test_an_index_signed_by_another_key_is_refused(release, tmp_path):
    thief = generate_key(tmp_path / "thief.pem", None).private
    split(release, tmp_path / NAME, key=thief)
    (told,) = refused(release, tmp_path / NAME)
    assert "trusted key" in told.what


def test_an_index_of_another_release_is_refused_by_name(release, parts, tmp_path):
    """All of it old and validly signed, but renamed: the index says whose it is."""
    for path in parts.iterdir():
        path.rename(parts / path.name.replace(NAME, "new"))
    (told,) = refused(release, parts)
    assert told.got == NAME


def test_two_bundles_in_one_folder_have_to_be_told_apart(release, parts, pristine):
    split(release, parts.parent / "b")
    for path in (parts.parent / "b").iterdir():
        shutil.copyfile(path, parts / path.name)
    with pytest.raises(InputError):
        verify(release, parts)
    assert verify(release, parts / f"{NAME}.parts.json")


def test_too_many_parts_and_a_name_that_is_taken_are_refused(release, tmp_path):
    with pytest.raises(InputError):
        split(release, tmp_path / NAME, size=100)
    (tmp_path / NAME).mkdir()
    with pytest.raises(OutputError):
        split(release, tmp_path / NAME)
    assert list(tmp_path.iterdir()) == [tmp_path / NAME]


def test_what_a_killed_run_had_begun_is_no_part_of_the_next(
    release, pristine, tmp_path, monkeypatch
):
    """Killed while it wrote one of the small files: the next run goes on in the same folder."""
    from packager.bundle import writing

    def killed(path: Path, data: bytes) -> None:
        (path.parent / ".packager-begun").write_bytes(data[:3])
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(writing, "write_atomically", killed)
        with pytest.raises(KeyboardInterrupt):
            split(release, tmp_path / NAME)
    assert list(tmp_path.rglob(".packager-begun"))
    split(release, tmp_path / NAME)
    assert names(tmp_path / NAME) == names(pristine)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())
