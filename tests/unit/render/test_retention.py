"""What a jurisdiction says of logs, as the site is told it."""

from __future__ import annotations

import dataclasses
import re

import yaml
from built_targets import HARDWARE, build_target, jurisdiction, release_request

from packager.catalogue import load_catalogue
from packager.domain.target import DataClass, DeploymentPlatform
from packager.render.rendering import render_target
from packager.render.retention import log_rules


def test_every_rule_on_logs_of_the_catalogue_gives_a_key_that_a_config_map_takes():
    catalogue = load_catalogue(None)
    found = [
        rule
        for name in catalogue.jurisdiction_ids()
        for data in DataClass
        for rule in log_rules(catalogue.jurisdiction(name), data)
    ]
    assert any("at least 183 days" in rule.text for rule in found)
    assert all(re.fullmatch(r"[-._a-zA-Z0-9]{1,253}", rule.key) for rule in found)


def test_rules_on_different_logs_of_one_country_stand_side_by_side():
    place = load_catalogue(None).jurisdiction("de")
    request = dataclasses.replace(release_request(), data_class=DataClass.GOVERNMENT)
    platform = DeploymentPlatform.KUBERNETES
    built = build_target(request, place, HARDWARE["x86-64-v3"], platform)
    files = render_target(built, request)
    told = yaml.safe_load(files["base/configmap.yaml"])["data"]
    assert told["eu.ai-act-logs"].startswith("at least 183 days")
    assert told["de.bsi-logs"].startswith("at most 90 days")


def test_where_no_rule_speaks_of_logs_there_is_no_file():
    built = build_target(
        release_request(),
        jurisdiction("de", "Germany", ()),
        HARDWARE["x86-64-v3"],
        DeploymentPlatform.KUBERNETES,
    )
    assert "base/configmap.yaml" not in render_target(built, release_request())
