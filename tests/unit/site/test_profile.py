"""The site profile, the state file and the history as Python reads them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from packager.domain.target import DeploymentPlatform, Region
from packager.errors import InputError, VerificationError
from packager.site.history import read_history
from packager.site.profile import Site, SiteEngine, read_site
from packager.site.state import parse_state, read_state

WORDS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
PLAIN = st.text(
    st.characters(codec="ascii", exclude_categories=["C"], exclude_characters="\"\\'#"), max_size=30
)


@given(
    name=WORDS, jurisdiction=WORDS, owner=PLAIN, accept=st.lists(WORDS, max_size=3),
    keep=st.integers(1, 99), engine=st.sampled_from(SiteEngine),
)  # fmt: skip
def test_what_is_written_is_read(tmp_path_factory, name, jurisdiction, owner, accept, keep, engine):
    file = tmp_path_factory.mktemp("profile") / "site.yaml"
    site = Site(
        file, name, jurisdiction, Region("site", "lab"), engine,
        owner=owner.strip(), accept=tuple(accept), keep=keep,
        registry="registry.example:5000/ml" if engine is SiteEngine.KUBERNETES else "",
    )  # fmt: skip
    file.write_bytes(site.as_bytes())
    assert read_site(file) == site


@pytest.mark.parametrize("owner", [":", "a:", "-", "- a", "a: b", "~x", "1:30"])
def test_what_yaml_would_read_otherwise_is_quoted(tmp_path, owner):
    file = tmp_path / "site.yaml"
    site = Site(file, "x", "no", Region("site", "oslo"), SiteEngine.PODMAN, owner=owner)
    file.write_bytes(site.as_bytes())
    assert read_site(file).owner == owner


def test_norway_is_a_jurisdiction(tmp_path):
    file = tmp_path / "site.yaml"
    site = Site(file, "oslo", "no", Region("site", "oslo"), SiteEngine.PODMAN, accept=("on", "x"))
    file.write_bytes(site.as_bytes())
    assert read_site(file) == site


def test_all_faults_are_told_at_once(tmp_path):
    file = tmp_path / "site.yaml"
    file.write_text("apiVersion: packager/v1\nkind: Sight\nname: x\nregion: riyadh\nkeep: 0\n")
    with pytest.raises(InputError) as refused:
        read_site(file)
    told = " ".join(str(finding.where) for finding in refused.value.findings)
    for key in ("kind", "region", "keep", "jurisdiction", "engine"):
        assert key in told


CLUSTER = """apiVersion: packager/v1
kind: Site
name: riyadh-lab
jurisdiction: sa
region: site/riyadh-lab
engine: kubernetes
"""


def test_a_cluster_says_where_its_nodes_pull_from(tmp_path):
    file = tmp_path / "site.yaml"
    file.write_text(CLUSTER + "push: ftp://x\nnamespace: Vision\nlogin: absent\n")
    with pytest.raises(InputError) as refused:
        read_site(file)
    told = " ".join(str(finding.where) for finding in refused.value.findings)
    for key in ("registry", "push", "namespace", "login"):
        assert key in told
    file.write_text(CLUSTER + "registry: registry.site.example:5000/ml\n")
    assert read_site(file).engine.platforms == (DeploymentPlatform.KUBERNETES,)


def test_an_absent_profile_says_how_to_write_one(tmp_path):
    with pytest.raises(InputError) as refused:
        read_site(tmp_path / "site.yaml")
    assert "packager site init" in str(refused.value.findings[0].next_step)


@given(st.binary(max_size=300))
def test_a_state_that_is_not_whole_is_refused(data):
    with pytest.raises(ValueError):
        parse_state(data)


@given(cut=st.integers(0, 10_000))
def test_no_part_of_a_state_is_a_state(cut):
    import hashlib

    body = b"format=packager-site/v1\nserving=a\nslot=a 1.0 " + b"0" * 64 + b" t i 1\n"
    whole = body + b"sum=" + hashlib.sha256(body).hexdigest().encode() + b"\n"
    serving = parse_state(whole).serving
    assert serving
    assert serving.version == "1.0"
    if cut < len(whole) - 1:
        with pytest.raises(ValueError):
            parse_state(whole[:cut])


def test_no_state_is_no_fault(tmp_path):
    assert read_state(tmp_path) is None
    assert read_history(tmp_path) == ()


def test_a_record_that_cannot_be_read_is_named(tmp_path: Path):
    folder = tmp_path / "history"
    folder.mkdir()
    (folder / "000001.json").write_text(json.dumps([]))
    with pytest.raises(VerificationError) as refused:
        read_history(tmp_path)
    assert "000001.json" in str(refused.value.findings[0].where)
