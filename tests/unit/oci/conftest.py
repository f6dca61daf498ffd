"""A store of layers in a folder of the test's own."""

import pytest

from packager.canonical import SourceDateEpoch
from packager.oci.layer import LayerStore


@pytest.fixture
def store(tmp_path):
    return LayerStore(tmp_path / "store", SourceDateEpoch())
