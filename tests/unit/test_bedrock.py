"""Digests, canonical JSON, the epoch and errors."""

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packager.canonical import SourceDateEpoch, dumps
from packager.digest import Digest, copy_hashing
from packager.errors import (
    Finding,
    InputError,
    LockError,
    OutputError,
    PackagerError,
    PolicyRefusal,
    UnavailableError,
    VerificationError,
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.binary())
def test_a_digest_reads_back_as_itself(data):
    digest = Digest.of(data)
    assert Digest.parse(str(digest)) == digest
    assert Digest.of_chunks([data[:3], data[3:]]) == digest
    target = io.BytesIO()
    assert copy_hashing(io.BytesIO(data), target) == (digest, len(data))
    assert target.getvalue() == data


@pytest.mark.parametrize(
    "text", ["", "sha256:", "sha256:" + "A" * 64, "sha512:" + "a" * 64, "sha256:" + "a" * 64 + "\n"]
)
def test_what_is_no_digest_is_refused(text):
    with pytest.raises(ValueError, match="not a sha256"):
        Digest.parse(text)


@given(json_values)
def test_canonical_json_is_idempotent_and_ignores_key_order(value):
    data = dumps(value)
    assert dumps(json.loads(data)) == data
    if isinstance(value, dict):
        assert dumps(dict(reversed(list(value.items())))) == data


def test_canonical_json_has_no_nan():
    with pytest.raises(ValueError):
        dumps(float("nan"))


def test_the_epoch_is_a_parameter():
    assert SourceDateEpoch.from_environment({}).rfc3339() == "1970-01-01T00:00:00Z"
    given_epoch = SourceDateEpoch.from_environment({"SOURCE_DATE_EPOCH": "1767225600"})
    assert given_epoch.rfc3339() == "2026-01-01T00:00:00Z"


@pytest.mark.parametrize("text", ["", "now", "-1", "1.5", "9" * 30])
def test_a_wrong_epoch_is_told(text):
    with pytest.raises(InputError, match="SOURCE_DATE_EPOCH"):
        SourceDateEpoch.from_environment({"SOURCE_DATE_EPOCH": text})


def test_exit_codes_tell_refused_from_broken():
    codes = {
        kind.__name__: kind.exit_code
        for kind in (
            PackagerError,
            InputError,
            LockError,
            OutputError,
            PolicyRefusal,
            VerificationError,
            UnavailableError,
        )
    }
    assert codes == {
        "PackagerError": 1,
        "InputError": 1,
        "LockError": 1,
        "OutputError": 1,
        "PolicyRefusal": 3,
        "VerificationError": 4,
        "UnavailableError": 5,
    }


def test_an_error_carries_all_its_findings():
    error = PolicyRefusal.of([Finding("a", "x"), Finding("b", next_step="c")])
    assert isinstance(error, PolicyRefusal)
    assert [finding.as_dict() for finding in error.findings] == [
        {"what": "a", "where": "x"},
        {"what": "b", "next_step": "c"},
    ]
