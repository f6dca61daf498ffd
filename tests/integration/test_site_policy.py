"""podman of Debian 13 under the rendered policy: it pulls what is signed, and refuses the rest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from engines import docker_registry
from peer_engines import EngineRoom, engine_room
from small_release import SmallRelease, artifacts_of, make_release

from packager.attest.cosign import repository_of, signature_artifact
from packager.attest.keys import generate_key, read_public_key
from packager.domain.release import BuiltTarget
from packager.domain.target import DeploymentPlatform
from packager.oci.registry import push
from packager.render.rendering import render_target

pytestmark = pytest.mark.engine


@dataclass(frozen=True)
class Site:
    """A registry, and a machine with podman whose policy is the one that was rendered."""

    room: EngineRoom
    registry: str
    key_file: Path
    base: Path

    def pushed(self, name: str, make=artifacts_of, key_file: Path | None = None) -> SmallRelease:
        """A release in the registry's folder `name`, and its policy at the site."""
        (self.base / name).mkdir()
        release = make_release(
            self.base / name,
            key_file=key_file or self.key_file,
            registry=f"{self.registry}/{name}",
            artifacts=make,
        )
        images = {target.image.reference: target.image.reference for target in release.built}
        push(release.folder / "images", images)
        self.obey(release)
        return release

    def obey(self, release: SmallRelease) -> None:
        """Lay the rendered policy files where podman looks; they demand the site's own key."""
        public_key = read_public_key(self.key_file.with_suffix(".pub")).pem
        files = render_target(on_quadlet(release.built[0]), release.request, public_key=public_key)
        folder = self.room.root / "etc/containers"
        for name, data in files.items():
            if name.startswith("policy/"):
                place = folder / name.removeprefix("policy/")
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(data)

    def pull(self, reference: str):
        return self.room.run("podman", "pull", "--tls-verify=false", reference, check=False)


def on_quadlet(built: BuiltTarget) -> BuiltTarget:
    name = replace(built.plan.name, platform=DeploymentPlatform.QUADLET)
    return replace(built, plan=replace(built.plan, name=name))


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Iterator[Site]:
    base = tmp_path_factory.mktemp("policy")
    pair = generate_key(base / "site.pem", None)
    with (
        engine_room("podman", network="host") as room,
        docker_registry(base / "registry") as address,
    ):
        yield Site(room, address, pair.private, base)


def test_the_signed_image_is_pulled_by_its_digest(site):
    release = site.pushed("signed")
    reference = release.built[0].pinned_reference
    done = site.pull(reference)
    assert done.returncode == 0, done.stderr
    assert site.room.run("podman", "image", "exists", reference).returncode == 0


def test_an_unsigned_image_is_refused(site):
    release = site.pushed("unsigned", lambda *given: artifacts_of(*given)[1:])
    done = site.pull(release.built[0].pinned_reference)
    assert done.returncode != 0
    assert "no signature exists" in done.stderr


def test_an_image_of_another_key_is_refused(site):
    thief = generate_key(site.base / "thief.pem", None)
    release = site.pushed("thief", key_file=thief.private)
    done = site.pull(release.built[0].pinned_reference)
    assert done.returncode != 0
    assert "invalid signature" in done.stderr


def test_a_tag_that_was_moved_to_another_image_is_refused(site):
    """The name that people know, pointed at an image that nobody signed."""
    release = site.pushed("moved", lambda *given: artifacts_of(*given)[1:])
    reference = release.built[0].image.reference
    done = site.pull(reference)
    assert done.returncode != 0
    assert "no signature exists" in done.stderr


def test_an_image_that_was_signed_for_another_repository_is_refused(site):
    def elsewhere(built, request, signer):
        return [signature_artifact(built.image, f"{site.registry}/other/filetype", signer)]

    release = site.pushed("renamed", elsewhere)
    done = site.pull(release.built[0].pinned_reference)
    assert done.returncode != 0
    assert "is not accepted" in done.stderr


def test_a_signed_image_under_a_name_that_the_policy_does_not_know_is_refused(site):
    first = site.pushed("known")
    site.pushed("current")  # its policy is now the site's
    done = site.pull(first.built[0].pinned_reference)
    assert done.returncode != 0
    assert "rejected by policy" in done.stderr
    assert repository_of(first.built[0].pinned_reference) in done.stderr
