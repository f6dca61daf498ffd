"""The policies that a site's own engine is handed: which key, which repository, no more."""

from __future__ import annotations

import base64
import json

import pytest
import yaml
from built_targets import PUBLIC_KEY, sample_target

from packager.domain.target import DeploymentPlatform
from packager.render.rendering import render_target

KUBERNETES, QUADLET = DeploymentPlatform.KUBERNETES, DeploymentPlatform.QUADLET
REPOSITORY = "registry.example.de/ml/filetype"
INSTANCE = "filetype-de-x86-64-v3"


def rendered(platform, public_key=PUBLIC_KEY):
    return render_target(*sample_target("de", "x86-64-v3", platform), public_key=public_key)


@pytest.mark.parametrize("platform", [KUBERNETES, QUADLET])
def test_the_policy_takes_this_repository_under_this_key_and_rejects_all_else(platform):
    policy = json.loads(rendered(platform)["policy/policy.json"])
    assert policy["default"] == [{"type": "reject"}]
    assert policy["transports"].keys() == {"docker"}
    assert policy["transports"]["docker"].keys() == {REPOSITORY}
    (demand,) = policy["transports"]["docker"][REPOSITORY]
    assert demand["type"] == "sigstoreSigned"
    assert base64.b64decode(demand["keyData"]) == PUBLIC_KEY
    assert demand["signedIdentity"] == {
        "type": "exactRepository",
        "dockerRepository": REPOSITORY,
    }


@pytest.mark.parametrize("platform", [KUBERNETES, QUADLET])
def test_signatures_are_looked_for_where_they_lie(platform):
    told = yaml.safe_load(rendered(platform)[f"policy/registries.d/{INSTANCE}.yaml"])
    assert told == {"docker": {REPOSITORY: {"use-sigstore-attachments": True}}}


def test_admission_policies_carry_the_key_and_ask_no_log():
    files = rendered(KUBERNETES)
    sigstore = yaml.safe_load(files["policy/clusterimagepolicy.yaml"])
    (authority,) = sigstore["spec"]["authorities"]
    assert authority["key"]["data"].encode() == PUBLIC_KEY
    assert "ctlog" not in authority
    assert {glob["glob"] for glob in sigstore["spec"]["images"]} == {
        f"{REPOSITORY}@*",
        f"{REPOSITORY}:*",
    }
    signed, own = yaml.safe_load(files["policy/kyverno.yaml"])["spec"]["rules"]
    (verify,) = signed["verifyImages"]
    (entry,) = verify["attestors"][0]["entries"]
    assert entry["keys"]["publicKeys"].encode() == PUBLIC_KEY
    assert entry["keys"]["rekor"] == {"ignoreTlog": True}
    built, _ = sample_target("de", "x86-64-v3", KUBERNETES)
    (container,) = own["validate"]["pattern"]["spec"]["containers"]
    assert container == {"image": built.pinned_reference}
    for rule in (signed, own):
        assert rule["match"]["any"][0]["resources"]["namespaces"] == [INSTANCE]


@pytest.mark.parametrize("platform", DeploymentPlatform)
def test_without_a_key_there_is_no_policy_that_could_be_mistaken_for_one(platform):
    files = rendered(platform, public_key=None)
    assert not [name for name in files if name.startswith("policy/")]
    assert b"policy/" not in files["README.md"]
