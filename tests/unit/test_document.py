"""YAML as people write it, right and wrong."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packager.document import MAX_BYTES, parse_document, read_document
from packager.domain.target import DataClass
from packager.errors import InputError

FILE = Path("given.yaml")


def findings_of(text: str, read) -> list:
    root = parse_document(text.encode(), FILE)
    read(root)
    with pytest.raises(InputError) as caught:
        root.finish()
    return list(caught.value.findings)


def test_norway_is_no_boolean():
    root = parse_document(b"countries: [NO, SE]\ncountry: NO", FILE)
    assert root.texts("countries") == ("NO", "SE")
    assert root.text("country") == "NO"
    root.finish()


def test_a_version_that_looks_like_a_number_is_a_string():
    root = parse_document(b"version: 1.10", FILE)
    assert root.text("version") == "1.10"


def test_all_findings_come_at_once_in_the_order_of_lines():
    text = "a: yes\nb: [1]\nc: 3\nd: {e: true}\n"

    def read(root):
        root.section("d").text("e")
        root.text("b")
        root.flag("a")

    found = findings_of(text, read)
    assert [finding.where for finding in found] == [
        "given.yaml:1: a",
        "given.yaml:2: b",
        "given.yaml:3: c",
        "given.yaml:4: d.e",
    ]
    assert found[2].what == "unknown key 'c'"


def test_an_unknown_key_is_met_with_the_nearest_one():
    found = findings_of("jurisdcition: de", lambda root: root.optional_text("jurisdiction"))
    assert found[0].next_step == "did you mean 'jurisdiction'?"


def test_a_key_given_twice_is_told_with_both_lines():
    found = findings_of("a: 1\nb: 2\na: 3\n", lambda root: (root.text("a"), root.text("b")))
    assert found[0].where == "given.yaml:3: a"
    assert found[0].got == "given before on line 1"


def test_a_missing_key_is_told_with_what_was_expected():
    found = findings_of("a: 1", lambda root: (root.text("a"), root.number("size")))
    assert found[0].what == "the key 'size' is missing"
    assert found[0].expected == "a number"


def test_a_wrong_word_is_met_with_the_known_ones():
    found = findings_of("class: helth", lambda root: root.choice("class", DataClass))
    assert "public | personal | health" in found[0].expected
    assert found[0].next_step == "did you mean 'health'?"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "just text",
        "- a\n- list",
        "a: [1",
        "a: &x 1\nb: *x",
        "a: 1\n---\nb: 2",
        "\x00",
        "a: !!python/object:os.system {}",
    ],
)
def test_what_is_no_plain_mapping_is_refused(text):
    with pytest.raises(InputError) as caught:
        root = parse_document(text.encode(), FILE)
        root.text("a")
        root.finish()
    assert "given.yaml" in caught.value.findings[0].where


def test_deep_nesting_is_an_error_and_no_recursion():
    with pytest.raises(InputError):
        parse_document(b"a: " + b"[" * 5000, FILE)


def test_a_large_file_is_refused_unread(tmp_path):
    file = tmp_path / "large.yaml"
    file.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(InputError, match="too large"):
        read_document(file)


@given(st.binary(max_size=200))
def test_any_bytes_give_a_document_or_an_input_error(data):
    try:
        root = parse_document(data, FILE)
        root.text("a")
        root.finish()
    except InputError as error:
        assert error.findings
