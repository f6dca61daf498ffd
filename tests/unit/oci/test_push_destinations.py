"""Where images are pushed to: all wrong destinations told at once, before anything is sent."""

import pytest
from tiny_images import REFERENCE, layout, tiny_image

from packager.errors import InputError, VerificationError
from packager.oci.registry import push

OTHER = "registry.example.sa/ml/tiny:1.0.0-sa"


@pytest.fixture
def folder(tmp_path, store):
    return layout(tmp_path / "images", store, tiny_image(store), tiny_image(store, OTHER))


def test_two_images_at_one_name_are_refused(folder):
    with pytest.raises(InputError, match="two images") as refused:
        push(folder, {REFERENCE: "127.0.0.1:1/ml/tiny:1", OTHER: "127.0.0.1:1/ml/tiny:1"})
    assert REFERENCE in refused.value.findings[0].got


def test_all_that_are_no_names_are_told(folder):
    with pytest.raises(InputError) as refused:
        push(folder, {REFERENCE: "ml/tiny:1", OTHER: "registry.example.sa/ml/tiny"})
    assert [finding.where for finding in refused.value.findings] == [
        "ml/tiny:1",
        "registry.example.sa/ml/tiny",
    ]


def test_an_image_that_is_not_there(folder):
    with pytest.raises(VerificationError, match="lacks an image"):
        push(folder, {"registry.example.de/ml/none:1": "127.0.0.1:1/ml/none:1"})
