"""Step 10 understands every form that is rendered: no false alarm, and no stranger passes."""

from __future__ import annotations

import dataclasses
import json

import pytest
from small_release import make_release

from packager.attest.verifying import verify
from packager.cli.main import main
from packager.domain.target import DeploymentPlatform, TargetName
from packager.errors import VerificationError
from packager.render.rendering import images_named, render_target


def with_manifests(base, platform, change=None):
    """A sealed release whose first target holds everything that is rendered for `platform`."""

    def before_seal(folder, document):
        built, request = captured[0], captured[1]
        name = TargetName.parse(document["targets"][0]["name"])
        plan = dataclasses.replace(built.plan, name=dataclasses.replace(name, platform=platform))
        files = render_target(
            dataclasses.replace(built, plan=plan), request, public_key=captured[2]
        )
        for path, data in (change(files) if change else files).items():
            file = folder / "targets" / str(name) / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)

    captured = []

    def artifacts(built, request, signer):
        from small_release import artifacts_of

        if not captured:
            captured.extend([built, request, signer.public_key_pem()])
        return artifacts_of(built, request, signer)

    return make_release(base, artifacts=artifacts, before_seal=before_seal)


@pytest.mark.parametrize("platform", DeploymentPlatform)
def test_all_that_is_rendered_names_the_targets_own_image(tmp_path, platform):
    release = with_manifests(tmp_path, platform)
    report = verify(release.folder, release.public)
    (targets,) = [step for step in report.steps if step.title == "targets"]
    assert targets.counts["references"] > 2


@pytest.mark.parametrize(
    ("platform", "file", "line"),
    [
        (DeploymentPlatform.QUADLET, "-door.container", b"Image=evil.example/x@sha256:00\n"),
        (DeploymentPlatform.QUADLET, "-door.container", b" Image = evil.example/x:1\n"),
        (DeploymentPlatform.KUBERNETES, "base/deployment.yaml", b"image: evil.example/x:1\n"),
        (DeploymentPlatform.KUBERNETES, "policy/kyverno.yaml", b"    image: evil.example/x:1\n"),
        (DeploymentPlatform.COMPOSE, "compose.yaml", b"x: {image: evil.example/x}\n"),
    ],
)
def test_a_stranger_in_any_of_them_is_found(tmp_path, platform, file, line):
    def change(files):
        (name,) = [one for one in files if one.endswith(file)]
        return {**files, name: files[name] + line}

    release = with_manifests(tmp_path, platform, change)
    with pytest.raises(VerificationError, match="another image"):
        verify(release.folder, release.public)


@pytest.mark.parametrize("platform", DeploymentPlatform)
def test_what_the_manifests_name_is_what_a_bundle_of_the_target_carries(tmp_path, platform, capsys):
    release = with_manifests(tmp_path, platform)
    document = json.loads((release.folder / "release.json").read_bytes())
    target = document["targets"][0]["name"]
    bundle = tmp_path / "one.tar"
    asked = ["bundle", str(release.folder), "--key", str(release.public_file)]
    assert main([*asked, "--target", target, "-o", str(bundle)]) == 0
    capsys.readouterr()
    assert main(["inspect", str(bundle), "--key", str(release.public_file), "--json"]) == 0
    carried = {one["image"] for one in json.loads(capsys.readouterr().out)["targets"]}
    folder = release.folder / "targets" / target
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert images_named(files) == carried
