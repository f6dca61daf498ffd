"""A release that speaks gRPC, at a site: by the one port that HTTP has, asked by a stock client."""

from __future__ import annotations

import os

import pytest
from real_site import PORT, real_site
from site_releases import site_release
from stock_clients import client_python

pytestmark = pytest.mark.engine

ENGINES = ["docker", "containerd", "podman", "quadlet"]
DEFAULT = 2 if os.environ.get("PACKAGER_REQUIRE_ENGINES") == "1" else 1
if os.environ.get("PACKAGER_LONG") == "1":
    DEFAULT = len(ENGINES)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_stock_client_by_grpc_before_and_after_a_switch(engine, tmp_path):
    if engine not in ENGINES[:DEFAULT]:
        pytest.skip("half a minute each: set PACKAGER_LONG=1")
    python = client_python("tritonclient.grpc")
    base, stick = tmp_path / "site", tmp_path / "stick"
    base.mkdir()
    stick.mkdir()
    # The door that the first release opens serves the gRPC of those after it as well.
    plain = site_release(stick / "1.0.0", "1.0.0", 1.0)
    key = plain.key_file
    first = site_release(stick / "1.1.0", "1.1.0", 2.0, key_file=key, grpc=True)
    second = site_release(stick / "1.2.0", "1.2.0", 3.0, key_file=key, grpc=True)
    with real_site(engine, "dash", base, stick) as site:
        for release in (plain, first):
            done = site.run("install", release)
            assert done.code == 0, done.err
        assert "gRPC" in done.out
        with site.load() as http, site.grpc_load(python, str(PORT)) as told:
            done = site.run("install", second)
        assert done.code == 0, done.err
        assert http["failures"] == []
        assert told["failures"] == []
        assert set(told["answers"]) == {"2.0", "3.0"}
