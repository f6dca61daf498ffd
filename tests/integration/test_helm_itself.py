"""Helm's own code lints, checks and renders the charts, and says the same as Go's bare engine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml
from built_targets import EVERY_HARDWARE, EVERY_JURISDICTION, PUBLIC_KEY, sample_target
from charts import ChartEngine, chart_engine
from helm import Helm, helm

from packager.domain.target import DeploymentPlatform
from packager.render.rendering import render_target

pytestmark = pytest.mark.engine
ADDED = {"keda": {"enabled": True}, "monitoring": {"enabled": True}}
FIRST = next(iter(EVERY_JURISDICTION))
CHARTS = [(FIRST, machine) for machine in EVERY_HARDWARE] + [
    (where, "x86-64-v3") for where in EVERY_JURISDICTION if where != FIRST
]
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@pytest.fixture(scope="module")
def go() -> Helm:
    return helm()


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> Iterator[ChartEngine]:
    with chart_engine(tmp_path_factory.mktemp("charts")) as engine:
        yield engine


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    base = tmp_path_factory.mktemp("written")

    def write(where: str, machine: str):
        files = render_target(
            *sample_target(where, machine, DeploymentPlatform.HELM), public_key=PUBLIC_KEY
        )
        folder = base / f"{where}-{machine}" / "filetype"
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return folder, files

    return write


def test_it_is_helm_4(go):
    assert go("version").startswith("v4.")


@pytest.mark.parametrize(("where", "machine"), CHARTS)
def test_helm_lints_checks_and_renders_every_chart(go, bare, written, where, machine):
    folder, files = written(where, machine)
    told = go("lint", chart=folder)
    assert told["errors"] == []
    assert [one["error"] for one in told["messages"]] == ["icon is recommended"]
    rendered = go("render", chart=folder, name="one", namespace="models", values=ADDED)
    wanted = bare.render(files, changes=ADDED)
    assert {f"filetype/{name}" for name in wanted} == rendered.keys()
    for name, text in wanted.items():
        found = rendered[f"filetype/{name}"]
        if name.endswith(".yaml"):
            assert documents(found) == documents(text), name
        else:
            assert found.strip() == text.strip()


def documents(text: str) -> list[object]:
    return list(yaml.load_all(text, LOADER))
