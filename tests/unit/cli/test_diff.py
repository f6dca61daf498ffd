"""`packager diff` on releases and renderings."""

from __future__ import annotations

import json
import shutil

from small_release import make_release

from packager.cli.main import main


def test_two_releases_are_told_apart_in_words(tmp_path, capsys):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    old = make_release(tmp_path / "a")
    new = make_release(tmp_path / "b", version="1.5.0", key_file=old.key_file)
    code = main(["diff", str(old.folder), str(new.folder), "--key", str(old.public_file)])
    out = capsys.readouterr().out
    assert code == 0
    assert "version 1.4.0 → 1.5.0" in out
    assert "de/x86-64-v3/kubernetes" in out


def test_an_opened_way_out_is_refused_for_its_jurisdiction(tmp_path, capsys):
    policy = (
        "kind: NetworkPolicy\nmetadata: {{name: a}}\n"
        "spec: {{policyTypes: [Egress], egress: [{}]}}\n"
    )
    workload = "---\nkind: Deployment\nmetadata: {name: a}\nspec: {}\n"
    for side, egress in (("old", ""), ("new", "{}")):
        folder = tmp_path / side / "targets/de/x86-64-v3/kubernetes"
        folder.mkdir(parents=True)
        (folder / "all.yaml").write_text(policy.format(egress) + workload)
    code = main(["diff", str(tmp_path / "old"), str(tmp_path / "new")])
    out = capsys.readouterr().out
    assert code == 3
    assert "egress opened to everywhere: refused by" in out
    code = main(["diff", str(tmp_path / "old"), str(tmp_path / "new"), "--json"])
    assert code == 3
    (target,) = json.loads(capsys.readouterr().out)["targets"]
    assert target["opened"] == ["everywhere"]
    assert target["refused_by"]
    assert main(["diff", str(tmp_path / "new"), str(tmp_path / "new")]) == 0
    assert "nothing differs" in capsys.readouterr().out


def test_what_is_neither_is_told_with_the_way_out(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert main(["diff", str(tmp_path / "empty"), str(tmp_path / "empty")]) == 1
    assert "neither a release nor a rendering" in capsys.readouterr().err


def test_a_release_that_is_not_as_signed_is_not_compared(tmp_path, capsys):
    release = make_release(tmp_path)
    shutil.copytree(release.folder, tmp_path / "copy")
    (tmp_path / "copy" / "checksums.txt").write_text("")
    code = main(
        ["diff", str(release.folder), str(tmp_path / "copy"), "--key", str(release.public_file)]
    )
    assert code == 4
