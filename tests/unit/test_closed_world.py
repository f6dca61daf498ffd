"""The census: what may stand in a release, whoever lists it."""

from __future__ import annotations

import pytest

from packager.closed_world import MAX_FILES, MAX_FINDINGS, Census, plain_path


def census_of(*paths: str) -> Census:
    census = Census("here")
    for path in paths:
        census.file(path, 1)
    return census


@pytest.mark.parametrize(
    ("paths", "what"),
    [
        (("a", "a"), "two entries have this name"),
        (("a/b", "A/b"), "only in case"),
        (("é", "e\u0301"), "only in case or Unicode form"),
        (("../a",), "cannot stand in a release"),
        (("/a",), "cannot stand in a release"),
        (("a//b",), "cannot stand in a release"),
        (("a/./b",), "cannot stand in a release"),
        (("a\\b",), "cannot stand in a release"),
        (("a\nb",), "cannot stand in a release"),
        (("a" * 1025,), "cannot stand in a release"),
        (("/".join("a" * 40),), "cannot stand in a release"),
        (("a\udcff",), "not UTF-8"),
    ],
)
def test_names_that_are_refused(paths, what):
    (finding,) = census_of(*paths).inventory().findings
    assert what in finding.what


def test_plain_names_pass():
    inventory = census_of("a", "b/c", "ü/日本.txt").inventory()
    assert (inventory.findings, sorted(inventory.files)) == ((), ["a", "b/c", "ü/日本.txt"])


def test_a_file_and_a_folder_of_one_name_are_two_entries():
    census = census_of("a")
    census.folder("a")
    census.folder("b")
    census.folder("b")
    assert [finding.what for finding in census.inventory().findings] == [
        "two entries have this name"
    ]


def test_a_place_without_end_is_cut():
    census = Census("here")
    met = 0
    while not census.full:
        census.file(f"f{met}", 0)
        met += 1
    assert met == MAX_FILES + MAX_FINDINGS + 1
    assert census.inventory().findings[-1].what == "there is more than can be listed"


def test_a_flood_of_refusals_is_cut():
    census = Census("here")
    for number in range(MAX_FINDINGS):
        assert not census.full
        census.refuse(str(number), "it is a symlink")
    assert census.full


@pytest.mark.parametrize("path", ["", ".", "..", "a/..", "a/", "/", "a\0", "a\u202eb"])
def test_paths_that_are_not_plain(path):
    assert not plain_path(path)
