"""One name for several architectures: what it leads to is what the root says, and nothing else."""

import json
import shutil
from dataclasses import replace

import pytest
from bundles import make_bundle, trusting
from small_release import architectures, change_root, make_release

from packager import pipeline
from packager.attest.verifying import verify
from packager.bundle.opening import open_source
from packager.canonical import dumps
from packager.digest import Digest
from packager.domain.artifact import MediaType
from packager.errors import VerificationError
from packager.oci.layout import read_layout
from packager.progress import SILENT
from packager.release_folder import ReleaseFolder
from packager.release_source import FolderSource

BOTH = ("x86-64-v3", "arm64-v8")
NAME = "registry.example.de/ml/filetype:1.4.0-de-kubernetes"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    return make_release(tmp_path_factory.mktemp("both"), build=architectures(*BOTH))


def root_of(release):
    return json.loads((release.folder / "release.json").read_bytes())


def test_both_architectures_have_one_signed_name(pristine):
    (index,) = root_of(pristine)["indexes"]
    assert index["reference"] == NAME
    assert index["pinned"] == f"registry.example.de/ml/filetype@{index['digest']}"
    assert index["targets"] == ["de/x86-64-v3/kubernetes", "de/arm64-v8/kubernetes"]
    digest = Digest.parse(index["digest"])
    document = json.loads(pristine.blob(digest).read_bytes())
    assert document["mediaType"] == MediaType.INDEX
    assert [one["platform"]["architecture"] for one in document["manifests"]] == ["amd64", "arm64"]
    report = verify(pristine.folder, pristine.public)
    assert report.steps[7].counts["indexes"] == 1
    layout = read_layout(pristine.folder / "images")
    assert len(layout.images) == 2
    named = [one for one in layout.artifacts if one.descriptor.digest == digest]
    assert named[0].descriptor.annotations["org.opencontainers.image.ref.name"] == NAME
    folder = ReleaseFolder.read(FolderSource.at(pristine.folder))
    assert folder.indexes("127.0.0.1:5000/ours") == {
        NAME: (digest, "127.0.0.1:5000/ours/filetype:1.4.0-de-kubernetes")
    }


@pytest.mark.parametrize(
    ("machines", "chosen"),
    [
        (("x86-64-v3",), None),
        (("x86-64-v3", "nvidia-l4"), None),
        (("x86-64-v3", "nvidia-l4", "arm64-v8"), {"x86-64-v3", "arm64-v8"}),
        (("nvidia-l4", "arm64-v8"), {"nvidia-l4", "arm64-v8"}),
    ],
)
def test_an_index_has_one_obvious_image_for_each_architecture(tmp_path, machines, chosen):
    made = make_release(tmp_path, build=architectures(*machines))
    indexes = root_of(made).get("indexes", [])
    assert [{name.split("/")[1] for name in one["targets"]} for one in indexes] == (
        [chosen] if chosen else []
    )


@pytest.mark.parametrize(
    ("machines", "there"), [(BOTH, True), (BOTH[:1], False), (BOTH[1:], False)]
)
def test_an_index_travels_with_all_its_images_or_not_at_all(pristine, tmp_path, machines, there):
    output = tmp_path / "some.tar"
    make_bundle(pristine, output, *(f"de/{machine}/kubernetes" for machine in machines))
    report = pipeline.verify(output, trusting(pristine), SILENT)
    assert ("indexes" in report.steps[7].counts) == there
    source = open_source(output)
    assert bool(ReleaseFolder.read(source).indexes(None)) == there
    layout = read_layout(ReleaseFolder.read(source).images)
    kinds = [one.descriptor.media_type for one in layout.artifacts]
    assert (MediaType.INDEX in kinds) == there
    about = {one.subject for one in layout.artifacts if one.subject}
    assert about - {image.manifest.digest for image in layout.images} == (
        {Digest.parse(root_of(pristine)["indexes"][0]["digest"])} if there else set()
    )


def refused(release, told: str) -> None:
    with pytest.raises(VerificationError) as error:
        verify(release.folder, release.public)
    assert told in str(error.value.findings)


def test_an_index_that_the_root_does_not_name_is_refused(tmp_path):
    release = make_release(
        tmp_path,
        build=architectures(*BOTH),
        before_seal=lambda folder, document: document.pop("indexes"),
    )
    refused(release, "no image manifest")


def test_an_index_that_is_not_there_is_refused(tmp_path):
    def change(folder, document):
        document["indexes"].append(
            {
                "reference": "r.example.de/x:1",
                "digest": str(Digest.of(b"")),
                "pinned": f"r.example.de/x@{Digest.of(b'')}",
                "targets": ["de/x86-64-v3/kubernetes"],
            }
        )

    release = make_release(tmp_path, build=architectures(*BOTH), before_seal=change)
    refused(release, "is not in the layout")


def test_an_index_that_leads_elsewhere_is_refused(tmp_path):
    release = make_release(
        tmp_path,
        build=architectures(*BOTH),
        before_seal=lambda folder, document: (
            document["indexes"][0]["targets"].reverse() or document["indexes"][0]["targets"].pop()
        ),
    )
    refused(release, "leads to other images")


def test_an_index_without_a_signature_is_refused(tmp_path):
    def change(folder, document):
        path = folder / "images" / "index.json"
        index = json.loads(path.read_bytes())
        digest = document["indexes"][0]["digest"]
        gone = [
            one
            for one in index["manifests"]
            if one.get("annotations", {}).get("dev.packager.tag") == f"sha256-{digest[7:]}.sig"
        ]
        assert len(gone) == 1
        blobs = folder / "images/blobs/sha256"
        manifest = json.loads((blobs / gone[0]["digest"][7:]).read_bytes())
        for name in (gone[0], manifest["config"], *manifest["layers"]):
            (blobs / name["digest"][7:]).unlink()
        index["manifests"].remove(gone[0])
        path.unlink()
        path.write_bytes(dumps(index))

    release = make_release(tmp_path, build=architectures(*BOTH), before_seal=change)
    refused(release, "the index is not signed")


@pytest.mark.parametrize(
    "change",
    [
        lambda index: index.update(targets=["de/none/kubernetes"]),
        lambda index: index.update(targets=[index["targets"][0]] * 2),
        lambda index: index.update(pinned="elsewhere"),
        lambda index: index.update(more=1),
        lambda index: index.update(targets=[1]),
    ],
)
def test_an_index_of_another_shape_is_not_understood(pristine, tmp_path, change):
    release = replace(pristine, folder=tmp_path / "release")
    shutil.copytree(pristine.folder, release.folder)
    change_root(release, lambda document: change(document["indexes"][0]))
    refused(release, "cannot be understood")
