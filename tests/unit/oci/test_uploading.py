"""Blobs side by side: each once, from where it is nearest, and nothing new after a failure."""

import threading
import time

import pytest
from tiny_images import REFERENCE, referrer, tiny_image

from packager.digest import Digest
from packager.errors import UnavailableError
from packager.oci.holders import Holders
from packager.oci.reference import Reference
from packager.oci.registry import push_manifests
from packager.oci.uploading import Meter, Upload, side_by_side, upload

TARGET = Reference.parse("127.0.0.1:5000/ml/tiny:1")
OTHER = Reference.parse("127.0.0.1:5000/ml/other:1")
BLOBS = [Upload(Digest.of(bytes([n]) * n), n, bytes([n]) * n) for n in range(1, 30)]


class Repository:
    """Remembers what it was asked for."""

    def __init__(self, refused=None):
        self.blobs, self.manifests, self.refused = [], [], refused
        self.lock = threading.Lock()

    def push_blob(self, digest, size, blob, sent, *, mount_from=None):
        with self.lock:
            self.blobs.append((digest, mount_from))
        if digest == self.refused:
            raise UnavailableError("no")
        sent(size)
        time.sleep(0.05 if self.refused else 0.001)

    def push_manifest(self, reference, data, media_type):
        with self.lock:
            self.manifests.append((reference, data, media_type))
        return False

    def pull_index(self, tag):
        with self.lock:
            self.manifests.append((f"read {tag}", b"", ""))


def test_every_blob_once_and_every_byte_told():
    told = []
    repository, holders = Repository(), Holders()
    upload(repository, TARGET, [*BLOBS, *BLOBS], holders, told.append)
    assert sorted(repository.blobs) == sorted((one.digest, None) for one in BLOBS)
    assert repository.blobs[0][0] == BLOBS[-1].digest, "the largest first"
    assert sum(told) == sum(one.size for one in BLOBS)


def test_what_is_known_is_neither_sent_nor_asked_for_and_the_neighbour_has_it():
    told = []
    repository, holders = Repository(), Holders()
    upload(repository, TARGET, BLOBS[:3], holders, told.append)
    upload(repository, TARGET, BLOBS[:4], holders, told.append)
    assert sorted(repository.blobs) == sorted((one.digest, None) for one in BLOBS[:4])
    assert sum(told) == sum(one.size for one in [*BLOBS[:3], *BLOBS[:4]])
    beside = Repository()
    upload(beside, OTHER, BLOBS[:4], holders, told.append)
    assert {mount for _, mount in beside.blobs} == {"ml/tiny"}
    elsewhere = Reference.parse("127.0.0.1:5001/ml/other:1")
    assert not holders.has(elsewhere, BLOBS[0].digest)
    assert holders.elsewhere(elsewhere, BLOBS[0].digest) is None


def test_nothing_is_begun_after_a_failure():
    repository, holders = Repository(refused=BLOBS[-1].digest), Holders()
    with pytest.raises(UnavailableError):
        upload(repository, TARGET, BLOBS, holders, lambda _: None)
    assert not holders.has(TARGET, BLOBS[-1].digest), "what was refused is not there"
    assert len(repository.blobs) < len(BLOBS)


def test_results_keep_their_order():
    def slow(number):
        time.sleep(0.01 / (number + 1))
        return number

    assert side_by_side([lambda n=n: slow(n) for n in range(20)]) == list(range(20))


def test_the_referrers_of_one_image_are_one_reading_and_one_writing(store):
    image = tiny_image(store, REFERENCE)
    artifacts = [referrer(image, f"statement {number}") for number in range(5)]
    repository = Repository()
    push_manifests(repository, artifacts)
    tag = f"sha256-{image.manifest.digest.hex}"
    names = [name for name, _, _ in repository.manifests]
    assert names[5:] == [f"read {tag}", tag], "after the manifests that it names"
    for artifact in artifacts:
        assert str(artifact.descriptor.digest).encode() in repository.manifests[-1][1]


def test_a_meter_never_tells_more_than_there_is():
    told = []

    class Progress:
        def advance(self, detail, done, total):
            told.append((detail, done, total))

    meter = Meter("push", 10, Progress())
    for size in (8, -8, 8, 8):
        meter(size)
    assert told == [("push", 8, 10), ("push", 0, 10), ("push", 8, 10), ("push", 10, 10)]
