"""The commands of a site with an engine of files: the signed installer driven by `packager`."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
from bundles import make_bundle
from site_machine import DASH, StubSite
from site_releases import SiteTarget, site_release

from packager.attest.keys import generate_key


@pytest.fixture(scope="module")
def maker(tmp_path_factory):
    base = tmp_path_factory.mktemp("maker")
    first = site_release(base / "1.0.0", "1.0.0", 1.0, light=True)
    second = site_release(base / "1.1.0", "1.1.0", 1.0, light=True, key_file=first.key_file)
    return {"1.0.0": first, "1.1.0": second}


@pytest.fixture
def site(tmp_path, monkeypatch) -> StubSite:
    made = StubSite(tmp_path / "site", DASH)
    # The program is given a clean environment; the stub finds its folder through its own path.
    shutil.copy(shutil.which("docker", path=made.surroundings()["PATH"]), made.base / "engine")
    made.tool("docker", f'STUB={made.stub}; export STUB; exec sh {made.base / "engine"} "$@"')
    monkeypatch.setenv("PATH", made.surroundings()["PATH"])
    return made


def install(packager, site, release, *more):
    return packager(
        "install", release.folder, "--key", release.public_file, "--site", site.site_file, *more
    )


def test_install_status_rollback_history_and_uninstall(packager, site, maker):
    done = install(packager, site, maker["1.0.0"], "--operator", "Noor", "--json")
    assert done.code == 0, done.err
    record = done.json()["record"]
    assert (record["result"], record["operator"]) == ("done", "Noor")
    assert record["key"] == maker["1.0.0"].public.fingerprint
    assert install(packager, site, maker["1.1.0"]).code == 0
    status = packager("status", "--site", site.site_file, "--json")
    assert (status.code, status.json()["serving"]) == (0, "1.1.0")
    assert packager("rollback", "--site", site.site_file).code == 0
    told = packager("status", "--site", site.site_file).out
    assert "1.0.0 in service, ready" in told
    history = packager("history", "--site", site.site_file, "--json").json()
    assert [each["verb"] for each in history] == ["install", "install", "rollback"]
    assert packager("site", "resume", "--site", site.site_file).code == 0
    assert packager("uninstall", "--site", site.site_file, "--purge").code == 0
    gone = packager("status", "--site", site.site_file)
    assert gone.code == 1
    assert "packager install" in gone.err


def test_a_bundle_and_a_dry_run(packager, site, maker, tmp_path):
    bundle = tmp_path / "release.tar"
    make_bundle(maker["1.0.0"], bundle)
    release = replace(maker["1.0.0"], folder=bundle)
    dry = install(packager, site, release, "--dry-run")
    assert (dry.code, "would be installed" in dry.out) == (0, True), dry.err
    assert not site.data.exists()
    assert install(packager, site, release).code == 0


def test_a_delta_on_an_older_release(packager, site, maker, tmp_path):
    old, new = maker["1.0.0"], maker["1.1.0"]
    delta = tmp_path / "delta.tar"
    made = packager(
        "bundle", new.folder, "--key", new.public_file, "-o", delta, "--delta-from", old.folder
    )
    assert made.code == 0, made.err
    assert install(packager, site, old).code == 0
    done = install(packager, site, replace(new, folder=delta), "--base", old.folder)
    assert done.code == 0, done.err
    assert not list(site.data.glob(".whole-*"))
    lone = install(packager, site, replace(new, folder=delta))
    assert lone.code != 0
    assert site.status()["serving"] == "1.1.0"


def test_the_sites_own_key_is_enough_and_another_makers_is_not(packager, site, maker, tmp_path):
    site.profile(keys=f"[{maker['1.0.0'].public_file}]")
    done = packager("install", maker["1.0.0"].folder, "--site", site.site_file)
    assert done.code == 0, done.err
    other = generate_key(tmp_path / "other.pem", None)
    wrong = replace(maker["1.1.0"], public_file=other.private.with_suffix(".pub"))
    assert install(packager, site, wrong).code == 3  # none that the site names, as by hand
    site.profile()
    assert install(packager, site, wrong).code == 4
    assert packager("install", maker["1.0.0"].folder, "--site", site.site_file).code == 2


def test_the_findings_of_the_installer_come_out_with_their_code(packager, site, maker):
    site.profile(region="site/elsewhere", accept="[other]")
    refused = install(packager, site, maker["1.0.0"], "--json")
    assert refused.code == 3
    told = refused.json()
    assert told["error"] == "refused by policy"
    assert len(told["findings"]) == 2
    assert told["findings"][0]["got"] == "site/elsewhere"


def test_a_release_for_another_country_is_refused_before_its_program_runs(
    packager, site, maker, tmp_path
):
    target = SiteTarget("de", "Germany", "aws/eu-central-1")
    foreign = site_release(
        tmp_path / "de", "1.0.0", 1.0, light=True, key_file=maker["1.0.0"].key_file, target=target
    )
    refused = install(packager, site, foreign)
    assert refused.code == 3
    assert "no target for this site" in refused.err
    assert not site.data.exists()


def test_init_writes_a_profile_that_can_be_used(packager, maker, tmp_path):
    file = tmp_path / "place" / "site.yaml"
    key = maker["1.0.0"].public_file
    words = [
        "--name",
        "riyadh-lab",
        "-j",
        "sa",
        "--region",
        "site/riyadh-lab",
        "--engine",
        "docker",
    ]
    done = packager("site", "init", *words, "--key", key, "-o", file, "--owner", "Ops: Riyadh")
    assert done.code == 0, done.err
    from packager.site.profile import read_site

    read = read_site(file)
    assert (read.jurisdiction, read.owner) == ("sa", "Ops: Riyadh")
    assert read.key_files[0].resolve() == key.resolve()
    again = packager("site", "init", *words, "-o", file)
    assert again.code == 1
    wrong = packager("site", "init", *words[:-1], "docker", "-j", "atlantis", "-o", tmp_path / "no")
    assert wrong.code == 1
    assert not (tmp_path / "no").exists()


def test_a_record_is_signed_where_the_site_has_a_key(packager, site, maker):
    key = maker["1.0.0"].key_file
    site.profile(sign=str(key))
    assert install(packager, site, maker["1.0.0"]).code == 0
    record = site.home / "history" / "000001.json"
    json.loads(record.read_text())
    maker["1.0.0"].public.verify(record.with_suffix(".json.sig").read_bytes(), record.read_bytes())
