"""Which mirror is asked: the option, the environment, apt's own list, in that order."""

from __future__ import annotations

import pytest

from packager.assemble.mirror import Mirror, find_mirror
from packager.errors import InputError

SOURCES = """\
# comment
Types: deb
URIs: http://security.example/debian-security
Suites: bookworm-security
Components: main

Types: deb-src
URIs: http://source.example/debian
Suites: bookworm
Components: main

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main

Types: deb
URIs: http://main.example/debian/
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 URIs: http://inside.example/debian
"""


def apt(folder, name, text):
    place = folder / "sources.list.d"
    place.mkdir(exist_ok=True)
    (place / name).write_text(text)


def test_the_option_wins_over_environment_and_apt(tmp_path):
    apt(tmp_path, "debian.sources", SOURCES)
    environ = {"PACKAGER_DEBIAN_MIRROR": "http://env.example/debian"}
    found = find_mirror("https://option.example/d/", environ=environ, apt_folder=tmp_path)
    assert found.base == "https://option.example/d"
    assert (
        find_mirror(None, environ=environ, apt_folder=tmp_path).base == "http://env.example/debian"
    )


def test_apts_deb822_entry_of_the_main_archive_is_found(tmp_path):
    apt(tmp_path, "debian.sources", SOURCES)
    found = find_mirror(None, environ={}, apt_folder=tmp_path)
    assert found.url("pool/x") == "http://main.example/debian/pool/x"


@pytest.mark.parametrize(
    ("line", "base"),
    [
        (
            "deb [arch=amd64 signed-by=/k] http://a.example/debian trixie main",
            "http://a.example/debian",
        ),
        (
            "deb http://s.example/archive/debian/20250520T000000Z trixie main # x",
            "http://s.example/archive/debian/20250520T000000Z",
        ),
    ],
)
def test_apts_one_line_entry_is_found(tmp_path, line, base):
    (tmp_path / "sources.list").write_text(f"# deb http://no.example/debian trixie main\n{line}\n")
    assert find_mirror(None, environ={}, apt_folder=tmp_path).base == base


@pytest.mark.parametrize(
    "line",
    [
        "deb http://a.example/debian trixie-security main",
        "deb http://a.example/debian trixie stable",
        "deb http://a.example/ubuntu noble main",
        "deb http://vendor.example/debian/12/prod bookworm main",
        "deb cdrom:[Debian]/debian trixie main",
    ],
)
def test_other_archives_are_not_taken_and_the_error_names_the_three_ways(tmp_path, line):
    (tmp_path / "sources.list").write_text(f"{line}\n")
    with pytest.raises(InputError) as caught:
        find_mirror(None, environ={}, apt_folder=tmp_path)
    step = caught.value.findings[0].next_step
    assert "--mirror" in step
    assert "PACKAGER_DEBIAN_MIRROR" in step
    assert "apt" in step


@pytest.mark.parametrize("text", ["debian", "file:///debian", "http://", "http://a.example/?q"])
def test_what_is_no_address_is_refused(text):
    with pytest.raises(InputError):
        find_mirror(text, environ={})


def test_credentials_never_reach_a_message():
    assert str(Mirror("http://user:secret@a.example/debian")) == "http://a.example/debian"
    with pytest.raises(InputError) as caught:
        find_mirror("ftp://user:secret@a.example", environ={})
    assert "secret" not in str(caught.value.findings)
