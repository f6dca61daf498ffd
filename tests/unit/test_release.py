"""release.yaml: what is accepted, and how everything wrong is told at once."""

from pathlib import Path

import pytest

from packager.domain.model import Constraints, Metric, QualityBudget, TaskFiles
from packager.domain.target import DeploymentPlatform, Region, TargetName
from packager.errors import InputError
from packager.release import ModelOptions, read_release, request_for_model

GOOD = """\
apiVersion: packager/v1
kind: Release
metadata: {name: filetype, version: 1.4.0}
model: {path: model.onnx, license: Apache-2.0, samples: samples.npz}
quality: {metric: top1_agreement, at_least: 0.995}
objective: latency
data: {class: personal}
targets:
  - {jurisdiction: de, hardware: nvidia-l4, platform: kubernetes, regions: [aws/eu-central-1]}
  - {jurisdiction: sa, hardware: x86-64-v3, platform: compose, regions: [site/riyadh-lab]}
sites: {riyadh-lab: SA}
registry: {de: registry.example.de/ml}
signing: {key: env://KEY}
"""


def read(tmp_path: Path, text: str):
    file = tmp_path / "release.yaml"
    file.write_text(text)
    return read_release(file)


def refused(tmp_path: Path, text: str):
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    return caught.value.findings


def test_a_whole_release_is_read(tmp_path):
    request = read(tmp_path, GOOD)
    assert request.name == "filetype"
    assert request.model_path == tmp_path / "model.onnx"
    assert request.quality == QualityBudget(Metric.TOP1_AGREEMENT, 0.995)
    assert request.targets[0].name == TargetName("de", "nvidia-l4", DeploymentPlatform.KUBERNETES)
    assert request.targets[0].regions == (Region("aws", "eu-central-1"),)
    assert request.sites == {"riyadh-lab": "SA"}
    assert request.registries == {"de": "registry.example.de/ml"}
    assert request.signing_keys == ("env://KEY",)


def test_constraints_are_read_with_their_units(tmp_path):
    text = GOOD + "constraints: {p99_ms: 5, max_size: 2.5 MB, min_qps: 100}\n"
    assert read(tmp_path, text).constraints == Constraints(5.0, 2_500_000, 100.0)
    assert read(tmp_path, GOOD).constraints == Constraints()
    wrong = refused(tmp_path, GOOD + "constraints: {p99_ms: -1, max_size: 3 XB, min_qpz: 1}\n")
    keys = ("p99_ms", "max_size", "min_qpz")
    assert all(any(f"constraints.{key}" in finding.where for finding in wrong) for key in keys)


def test_a_task_brings_its_metric_and_its_labels(tmp_path):
    asked = "quality: {metric: top1_agreement, at_least: 0.995}"
    task = "quality: {metric: task, plugin: own/accuracy.py, labels: labels.npz, at_most: 0.005}"
    request = read(tmp_path, GOOD.replace(asked, task))
    assert request.quality == QualityBudget(Metric.TASK, 0.005)
    assert request.task == TaskFiles(tmp_path / "own/accuracy.py", tmp_path / "labels.npz")
    assert read(tmp_path, GOOD).task is None
    bare = "quality: {metric: task, at_least: 0.9}"
    wrong = refused(tmp_path, GOOD.replace(asked, bare).replace(", samples: samples.npz", ""))
    told = " ".join(finding.what for finding in wrong)
    assert "'at_most'" in told
    assert "scored on samples" in told
    assert all(any(f"quality.{key}" in one.where for one in wrong) for key in ("plugin", "labels"))
    (strange,) = refused(tmp_path, GOOD.replace("0.995}", "0.995, plugin: accuracy.py}"))
    assert "'task'" in strange.what


def test_only_model_and_targets_are_needed_beside_the_name(tmp_path):
    text = """\
apiVersion: packager/v1
kind: Release
metadata: {name: a, version: 1.0}
model: {path: model.onnx}
targets: [{jurisdiction: de, hardware: x86-64-v3, platform: compose}]
"""
    request = read(tmp_path, text)
    assert request.version == "1.0"
    assert request.model_license is None


@pytest.mark.parametrize(
    ("old", "new", "where", "told"),
    [
        ("packager/v1", "packager/v9", ":1: apiVersion", "packager/v1"),
        ("kind: Release", "kind: Bundle", ":2: kind", "Release"),
        ("name: filetype", "name: File_Type", ":3: metadata.name", "lower-case"),
        ("version: 1.4.0", "version: 'a b'", ":3: metadata.version", "digits"),
        ("path: model.onnx", "paht: model.onnx", ":4: model.paht", "path"),
        ("top1_agreement", "top1_agrement", ":5: quality.metric", "top1_agreement"),
        ("0.995", "1.5", ":5: quality.at_least", "at most 1"),
        ("0.995", "high", ":5: quality.at_least", "a number"),
        ("objective: latency", "objective: speed", ":6: objective", "latency"),
        ("class: personal", "class: secret", ":7: data.class", "personal"),
        ("platform: kubernetes", "platform: nomad", ":9: targets[0].platform", "kubernetes"),
        ("aws/eu-central-1", "eu-central-1", ":9: targets[0].regions", "provider/region"),
        ("riyadh-lab: SA", "riyadh-lab: Saudi", ":11: sites.riyadh-lab", "ISO 3166"),
        ("registry.example.de/ml", "HTTPS://x", ":12: registry.de", "host"),
        ("license: Apache-2.0", "license: [a]", ":4: model.license", "a string"),
    ],
)
def test_each_mistake_is_told_at_its_line(tmp_path, old, new, where, told):
    found = refused(tmp_path, GOOD.replace(old, new))
    assert found[0].where.endswith(f"release.yaml{where}")
    assert told in " ".join(str(part) for part in found[0].as_dict().values())


def test_several_mistakes_are_told_together(tmp_path):
    text = GOOD.replace("objective: latency", "objective: fast").replace("1.4.0", "'-'")
    assert len(refused(tmp_path, text)) == 2


def test_the_same_target_twice_is_refused(tmp_path):
    text = GOOD.replace(
        "jurisdiction: sa, hardware: x86-64-v3, platform: compose",
        "jurisdiction: de, hardware: nvidia-l4, platform: kubernetes",
    )
    assert "twice" in refused(tmp_path, text)[0].what


def test_an_empty_list_of_targets_is_refused(tmp_path):
    text = GOOD[: GOOD.index("targets:")] + "targets: []\n"
    assert "empty" in refused(tmp_path, text)[0].what


def test_max_abs_is_bounded_from_above(tmp_path):
    text = GOOD.replace(
        "{metric: top1_agreement, at_least: 0.995}", "{metric: max_abs, at_most: 0.01}"
    )
    assert read(tmp_path, text).quality == QualityBudget(Metric.MAX_ABS, 0.01)
    wrong = GOOD.replace("top1_agreement", "max_abs")
    assert "at_most" in refused(tmp_path, wrong)[0].next_step
    below = text.replace("0.01", "-1")
    assert refused(tmp_path, below)[0].expected == "0 or more"


def test_sqnr_is_in_decibels(tmp_path):
    text = GOOD.replace("{metric: top1_agreement, at_least: 0.995}", "{metric: sqnr, at_least: 45}")
    assert read(tmp_path, text).quality == QualityBudget(Metric.SQNR, 45)
    usual = text.replace(", at_least: 45", "")
    assert read(tmp_path, usual).quality == QualityBudget(Metric.SQNR, 40)
    assert "at most 200" in refused(tmp_path, text.replace("45", "201"))[0].expected


def test_a_bare_model_makes_the_same_request():
    options = ModelOptions("de", "x86-64-v3", DeploymentPlatform.COMPOSE, (), model_license="MIT")
    request = request_for_model(Path("My Model.v2.onnx"), options)
    assert request.name == "my-model-v2"
    assert str(request.targets[0].name) == "de/x86-64-v3/compose"
    with pytest.raises(InputError, match="cannot be read"):
        request_for_model(
            Path("m.onnx"),
            ModelOptions("de", "x", DeploymentPlatform.COMPOSE, (), registry="a b"),
        )


FACTS = """\
apiVersion: packager/v1
kind: Release
metadata: {name: a, version: 1.0}
model: {path: model.onnx, origin: FR}
targets: [{jurisdiction: fr, hardware: x86-64-v3, platform: compose}]
hosting: {certifications: [HDS v2, ISO 27001]}
logs: {region: aws/eu-west-3}
signing: {key: site.pem, location: FR}
"""


def test_what_only_the_user_knows_is_declared(tmp_path):
    said = read(tmp_path, FACTS).declared
    assert said.hosting_certifications == ("HDS v2", "ISO 27001")
    assert said.model_origin == "FR"
    assert said.log_region == Region("aws", "eu-west-3")
    assert said.key_location == "FR"


def test_nothing_said_is_not_the_same_as_nothing_held(tmp_path):
    silent = read(tmp_path, GOOD).declared
    assert silent == type(silent)(None, None, None, None)
    none_held = FACTS.replace("[HDS v2, ISO 27001]", "[]")
    assert read(tmp_path, none_held).declared.hosting_certifications == ()


@pytest.mark.parametrize(
    ("good", "bad", "where"),
    [
        ("origin: FR", "origin: France", "model.origin"),
        ("location: FR", "location: fr", "signing.location"),
        ("aws/eu-west-3", "eu-west-3", "logs.region"),
        ("certifications:", "certificates:", "hosting.certificates"),
        ("[HDS v2, ISO 27001]", "HDS v2", "hosting.certifications"),
    ],
)
def test_declarations_are_read_as_strictly_as_the_rest(tmp_path, good, bad, where):
    findings = refused(tmp_path, FACTS.replace(good, bad))
    assert any(where in (finding.where or "") for finding in findings)


def test_norway_is_no_boolean(tmp_path):
    text = FACTS.replace("origin: FR", "origin: NO").replace("location: FR", "location: NO")
    said = read(tmp_path, text).declared
    assert (said.model_origin, said.key_location) == ("NO", "NO")


def test_what_is_trusted_later_is_read_too(tmp_path):
    text = GOOD.replace(
        "signing: {key: env://KEY}", "signing: {key: env://KEY, also: [quantum.pem]}"
    )
    text += "encryption: {de: [berlin.pub, bonn.pub]}\n"
    request = read(tmp_path, text)
    assert request.counter == 100004000009
    assert request.signing_keys == ("env://KEY", "quantum.pem")
    assert request.recipients == {"de": (tmp_path / "berlin.pub", tmp_path / "bonn.pub")}
    written = read(tmp_path, GOOD.replace("version: 1.4.0", "version: nightly, counter: 17"))
    assert written.counter == 17


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("version: 1.4.0", "version: nightly", "which release is newer"),
        ("version: 1.4.0", "version: 1.4.0, counter: -1", "out of range"),
        ("signing: {key: env://KEY}", "signing: {also: [a.pem]}", "no first key"),
        ("kind: Release", "kind: Release\nencryption: {fr: [a.pub]}", "no target has"),
        ("kind: Release", "kind: Release\nencryption: {de: []}", "no recipient"),
    ],
)
def test_what_is_wrong_about_trust_is_told(tmp_path, old, new, told):
    assert old in GOOD
    assert any(told in finding.what for finding in refused(tmp_path, GOOD.replace(old, new)))
