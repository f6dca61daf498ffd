"""Packages are opened once, however many ask for them at a time."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from tiny_packages import deb_of, member

from packager.assemble import inputs as module
from packager.assemble.inputs import Inputs
from packager.digest import Digest
from packager.domain.lock import LockedPackage
from packager.errors import LockError


@pytest.fixture
def packages(tmp_path):
    made, files = [], {}
    for number in range(6):
        path = tmp_path / f"p{number}.deb"
        path.write_bytes(
            deb_of([(member(f"./usr/lib/f{number}"), b"x" * number)], name=f"p{number}")
        )
        digest = Digest.of_file(path)
        files[digest] = path
        made.append(
            LockedPackage(f"p{number}", "1", "amd64", path.name, digest, path.stat().st_size)
        )
    return made, files


def test_once_for_all_and_in_the_order_asked_for(packages, monkeypatch):
    made, files = packages
    opened = []
    read = module.read_debian_archive
    monkeypatch.setattr(
        module, "read_debian_archive", lambda path, name: opened.append(name) or read(path, name)
    )
    inputs = Inputs(files)
    with ThreadPoolExecutor(4) as pool:
        asked = [made[::-1], made, made[1:3], []]
        answers = list(pool.map(inputs.archives, asked))
    assert sorted(opened) == sorted(package.filename for package in made)
    for packages_asked, archives in zip(asked, answers, strict=True):
        found = [entry.path for archive in archives for entry in archive.entries]
        assert found == [f"usr/lib/f{package.name[1:]}" for package in packages_asked]


def test_a_spoilt_package_is_told_by_name(packages):
    made, files = packages
    files[made[3].digest].write_bytes(b"!<arch>\nno")
    with pytest.raises(LockError) as refused:
        Inputs(files).archives(made)
    assert refused.value.findings[0].where == "p3.deb"
