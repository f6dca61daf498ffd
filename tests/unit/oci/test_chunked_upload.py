"""Uploads in pieces: whatever breaks on the way, the registry ends with the blob's bytes."""

from __future__ import annotations

import io
import random

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from packager.oci import chunked_upload
from packager.oci.chunked_upload import ChunkedUpload, ForgottenUpload

BLOB = random.Random(5).randbytes(10_007)
PIECE = 1_000


class Broken(Exception):
    """The connection went away."""


class Registry:
    """Keeps one upload. Each entry of `faults` spoils one PATCH, by the share that arrives."""

    def __init__(self, faults=()):
        self.stored = b""
        self.faults = list(faults)
        self.known = True
        self.moves = 0

    def exchange(self, step, method, url, expected, **options):
        if not self.known:
            return self.answer(404)
        if method == "GET":
            if not self.stored:
                return self.answer(204, Range="0-0")
            return self.answer(204, Range=f"0-{len(self.stored) - 1}")
        start, end = map(int, options["headers"]["Content-Range"].split("-"))
        data = options["data"]
        assert end - start + 1 == len(data)
        assert url.endswith(f"/{self.moves}"), "not where the last answer said"
        if start != len(self.stored):
            return self.answer(416)
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            self.stored += data[: round(len(data) * fault)]
            raise Broken
        self.stored += data
        self.moves += 1
        return self.answer(202)

    def answer(self, status, **headers):
        answer = requests.Response()
        answer.status_code = status
        answer.url = f"http://registry/upload/{self.moves}"
        answer.headers.update(headers | {"Location": f"/upload/{self.moves}"})
        return answer


def pushed(registry, monkeypatch=None, tries=60):
    told = []
    upload = ChunkedUpload(registry.exchange, "upload", "http://registry/upload/0", len(BLOB))
    for _ in range(tries):
        try:
            upload.advance(io.BytesIO(BLOB), told.append)
            return told
        except Broken:
            continue
    raise AssertionError("too many failures")


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch):
    monkeypatch.setattr(chunked_upload, "PIECE", PIECE)


def test_nothing_breaks():
    registry = Registry()
    told = pushed(registry)
    assert registry.stored == BLOB
    assert sum(told) == len(BLOB)
    assert registry.moves == 11


def test_whatever_arrived_is_not_sent_again(monkeypatch):
    monkeypatch.setattr(chunked_upload, "PIECE", PIECE)

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.floats(0, 1), max_size=25))
    def check(faults):
        registry = Registry(faults)
        told = pushed(registry)
        assert registry.stored == BLOB
        assert sum(told) == len(BLOB)

    check()


def test_a_forgotten_upload_is_told():
    registry = Registry([0.5])
    upload = ChunkedUpload(registry.exchange, "upload", "http://registry/upload/0", len(BLOB))
    told = []
    with pytest.raises(Broken):
        upload.advance(io.BytesIO(BLOB), told.append)
    registry.known = False
    with pytest.raises(ForgottenUpload):
        upload.advance(io.BytesIO(BLOB), told.append)
    assert sum(told) == 0, "progress goes back to nothing"
