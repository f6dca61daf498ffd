"""Images are found by reading the manifests."""

import pytest

from packager.errors import InputError
from packager.render.images import images_named


@pytest.mark.parametrize(
    ("name", "text", "images"),
    [
        ("pod.yaml", "spec: {containers: [{image: a}], initContainers: [{image: b}]}", {"a", "b"}),
        ("two.yaml", "image: a\n---\nspec: {template: {containers: [{image: b}]}}", {"a", "b"}),
        ("compose.yaml", "services: {one: {image: a}, two: {image: a}}", {"a"}),
        ("volume.yaml", "volumes: [{name: v, image: {reference: a, pullPolicy: Always}}]", {"a"}),
        ("kustomization.yaml", "images: [{name: a, newTag: '1'}]", {"a:1"}),
        ("kustomization.yaml", "images: [{name: a, newName: b, digest: 's:0'}]", {"b@s:0"}),
        ("kustomization.yaml", "images: [{name: a, newName: b}]", {"b"}),
        ("one.container", "[Container]\nImage=a@s:0\n#Image=b\n Image = c \n", {"a@s:0", "c"}),
        ("one.volume", "[Volume]\nImage=a", {"a"}),
        ("README.md", "image: a", set()),
        ("empty.yaml", "", set()),
    ],
)  # fmt: skip
def test_every_way_of_naming_an_image_is_found(name, text, images):
    assert images_named({name: text.encode()}) == images


def test_what_is_no_yaml_is_told_with_its_line():
    with pytest.raises(InputError) as caught:
        images_named({"bad.yaml": b"a: 1\nb: [\n"})
    assert (caught.value.findings[0].where or "").startswith("bad.yaml: line")
