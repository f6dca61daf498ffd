"""The closure of dependencies over a small index."""

from __future__ import annotations

import pytest

from packager.assemble.closure import closure
from packager.assemble.index import parse_packages
from packager.errors import LockError


def index(*stanzas: str):
    blocks = []
    for stanza in stanzas:
        name = stanza.split("\n", 1)[0]
        rest = stanza[len(name) :].lstrip("\n")
        blocks.append(
            f"Package: {name}\nVersion: 1\nArchitecture: amd64\nFilename: pool/{name}.deb\n"
            f"SHA256: {'a' * 64}\nSize: 5\n{rest}"
        )
    return parse_packages("\n\n".join(blocks))


def names(wanted, packages, dropped=()):
    return [record.name for record in closure(wanted, packages, dropped)]


def test_depends_and_pre_depends_come_along():
    found = index("a\nDepends: b (>= 2:1~x), c:any", "b\nPre-Depends: d", "c", "d", "unrelated")
    assert names(["a"], found) == ["a", "b", "c", "d"]


def test_a_cycle_ends():
    assert names(["a"], index("a\nDepends: b", "b\nDepends: a")) == ["a", "b"]


def test_the_first_alternative_that_exists_is_taken():
    assert names(["a"], index("a\nDepends: gone | c | b", "b", "c")) == ["a", "c"]


def test_an_alternative_that_is_asked_for_settles_the_matter():
    assert names(["a", "b"], index("a\nDepends: c | b", "b", "c")) == ["a", "b"]


def test_a_virtual_package_is_met_by_its_provider():
    found = index("a\nDepends: awk", "zawk\nProvides: awk", "mawk\nProvides: awk (= 1), other")
    assert names(["a"], found) == ["a", "mawk"]
    assert names(["a", "zawk"], found) == ["a", "zawk"]


def test_what_is_left_out_takes_its_own_dependencies_along():
    found = index("a\nDepends: shell | b, c", "shell\nDepends: d", "b", "c", "d")
    assert names(["a"], found, {"shell"}) == ["a", "c"]


def test_everything_missing_is_told_at_once():
    with pytest.raises(LockError) as caught:
        closure(["a", "z"], index("a\nDepends: x | y, w"), ())
    told = [(finding.what, finding.where) for finding in caught.value.findings]
    assert [what.rpartition("have ")[2] for what, _ in told] == ["w", "x | y", "z"]
    assert told[0][1] == "needed by a"


@pytest.mark.parametrize("line", ["Size: many", "SHA256: 12", "Filename"])
def test_a_stanza_that_lacks_something_is_refused(line):
    field = line.partition(":")[0]
    stanza = {"Package": "a", "Version": "1", "Architecture": "all", "Filename": "f"}
    stanza |= {"Size": "1", "SHA256": "a" * 64}
    stanza[field] = line.partition(": ")[2]
    text = "\n".join(f"{name}: {value}" for name, value in stanza.items() if value)
    with pytest.raises(LockError):
        parse_packages(text)
