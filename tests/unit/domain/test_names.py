"""Names that Kubernetes and Compose accept."""

import re

import pytest

from packager.domain.names import dns_label, is_label_value, label_value

RFC_1035 = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")


def test_a_good_name_stays_as_it_is():
    assert dns_label("filetype", "de", "x86-64-v3") == "filetype-de-x86-64-v3"


@pytest.mark.parametrize("parts", [("3d-scan",), ("Größe", "de"), ("a" * 40, "b" * 40), ("-",)])
def test_any_name_becomes_one_that_a_service_accepts(parts):
    assert RFC_1035.fullmatch(dns_label(*parts))


@pytest.mark.parametrize(
    ("one", "other"),
    [("model_a", "model.a"), ("Model", "model"), ("r-3d", "3d"), ("a" * 70, "a" * 71)],
)
def test_two_names_never_become_one(one, other):
    assert dns_label(one) != dns_label(other)


@pytest.mark.parametrize("text", ["1.4.0", "1.4.0_rc-1", "a", "A" * 63])
def test_a_good_label_value_stays_as_it_is(text):
    assert label_value(text) == text


@pytest.mark.parametrize("text", ["1.0-", ".1", "a b", "ü", "", "x" * 64, "a\nb"])
def test_any_text_becomes_a_label_value(text):
    assert not is_label_value(text)
    assert is_label_value(label_value(text))
