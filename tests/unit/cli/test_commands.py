"""The command line itself: help, usage errors, completion, one document on stdout."""

import json
import re
from pathlib import Path

import click
import pytest

from packager.cli.console import human_size, table
from packager.cli.main import cli, main

README = Path(__file__).resolve().parents[3] / "README.md"


def commands(group: click.Group = cli, prefix: tuple[str, ...] = ()):
    for name, command in sorted(group.commands.items()):
        if isinstance(command, click.Group):
            yield from commands(command, (*prefix, name))
        else:
            yield (*prefix, name), command


@pytest.mark.parametrize(("path", "command"), list(commands()), ids=lambda value: str(value))
def test_every_command_has_help_with_an_example(path, command, packager):
    outcome = packager(*path, "--help")
    assert outcome.code == 0
    assert f"packager {path[0]}" in command.help


def test_every_command_stands_in_the_readme():
    text = README.read_text()
    for path, _ in commands():
        assert re.search(rf"`[^`]*\b{path[0]}\b", text), f"{path} is missing in README.md"


@pytest.mark.parametrize(
    "arguments",
    [
        ["nothing"],
        ["build"],
        ["verify", "x"],
        ["check", "m.onnx"],
        ["build", "m.onnx", "-o", "x", "-p", "nomad"],
    ],
)
def test_usage_errors_exit_2(arguments, packager):
    outcome = packager(*arguments)
    assert outcome.code == 2
    assert "Usage:" in outcome.err


def test_no_key_no_verification(packager, tmp_path):
    outcome = packager("verify", tmp_path)
    assert outcome.code == 2
    assert "--key" in outcome.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell, packager):
    outcome = packager("completion", shell)
    assert outcome.code == 0
    assert "_PACKAGER_COMPLETE" in outcome.out


def test_completion_knows_the_profiles(monkeypatch, capsys):
    monkeypatch.setenv("_PACKAGER_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "packager build m.onnx -w nvidia-l")
    monkeypatch.setenv("COMP_CWORD", "4")
    assert main([]) == 0
    assert "nvidia-l4" in capsys.readouterr().out


def test_lists_are_json_when_asked(packager):
    outcome = packager("targets", "list", "--json")
    assert {row["jurisdiction"] for row in outcome.json()["jurisdictions"]} >= {"de", "sa", "sg"}


def test_a_refused_check_is_one_json_document(packager, tmp_path):
    outcome = packager(
        "check", tmp_path / "m.onnx", "-j", "sa", "-w", "x86-64-v3", "-p", "compose",
        "--region", "aws/me-central-1", "--json",
    )  # fmt: skip
    assert outcome.code == 3
    document = json.loads(outcome.out)
    statuses = {row["control"]: row["status"] for row in document["sa/x86-64-v3/compose"]}
    assert "violated" in statuses.values()


@pytest.mark.parametrize(
    ("sites", "code", "said"),
    [
        ((), 3, "--site lab="),
        (("lab=SA",), 0, "(SA)"),
        (("site/lab=SA",), 0, "(SA)"),
        (("lab=US",), 3, "US"),
        (("lab=SA", "lab=DE"), 2, "given as SA and as DE"),
        (("lab",), 2, "riyadh-lab=SA"),
        (("lab=saudi",), 2, "ISO 3166"),
    ],
    ids=["not said", "said", "as in --region", "outside", "twice", "no country", "no code"],
)
def test_a_bare_model_says_where_its_room_stands(packager, tmp_path, sites, code, said):
    given = [word for site in sites for word in ("--site", site)]
    outcome = packager(
        "check", tmp_path / "m.onnx", "-j", "sa", "-w", "x86-64-v3", "-p", "compose",
        "--region", "site/lab", "--license", "MIT", *given,
    )  # fmt: skip
    assert outcome.code == code, outcome.err
    assert said in outcome.out + outcome.err


def test_an_unexpected_error_is_told_without_a_traceback(packager, monkeypatch, tmp_path):
    def explode(*_):
        raise RuntimeError("something nobody thought of")

    monkeypatch.setattr("packager.cli.build.read_request", explode)
    outcome = packager("check", tmp_path / "m.onnx")
    assert outcome.code == 1
    assert "something nobody thought of" in outcome.err
    assert "PACKAGER_TRACEBACK" in outcome.err
    assert "Traceback" not in outcome.err


def test_keys_are_never_overwritten_and_never_shown(packager, tmp_path):
    assert packager("keys", "generate", "-o", tmp_path / "site.pem").code == 0
    assert (tmp_path / "site.pem").stat().st_mode & 0o777 == 0o600
    before = (tmp_path / "site.pem").read_bytes()
    again = packager("keys", "generate", "-o", tmp_path / "site.pem")
    assert again.code == 1
    assert (tmp_path / "site.pem").read_bytes() == before
    public = packager("keys", "public", tmp_path / "site.pem")
    assert public.out == (tmp_path / "site.pub").read_text()
    assert "PRIVATE" not in public.out + public.err + again.err


def test_targets_lint_show_and_new(packager, tmp_path):
    assert packager("targets", "lint").code == 0
    shown = packager("targets", "show", "sa")
    assert "Personal Data Protection Law" in shown.out
    unknown = packager("targets", "show", "saa")
    assert unknown.code == 1
    assert "'sa'" in unknown.err
    made = packager(
        "targets", "new", "jurisdiction", "my-state", "--extends", "de", "--in", tmp_path
    )
    assert made.code == 0
    listed = packager("targets", "list", "--targets", tmp_path)
    assert "my-state" in listed.out
    assert packager("targets", "new", "jurisdiction", "my-state", "--in", tmp_path).code == 1


def test_doctor_names_what_is_missing(packager, monkeypatch):
    monkeypatch.setenv("PACKAGER_DEBIAN_MIRROR", "not a mirror")
    rows = {row["part"]: row for row in packager("doctor", "--json").json()}
    assert rows["mirror"]["state"] == "missing"
    assert rows["packager"]["state"] == "ok"


def test_a_table_is_as_wide_as_its_content():
    assert table(["a", "b"], [["xxx", "y"]]).splitlines() == ["a    b", "───  ─", "xxx  y"]
    assert [human_size(size) for size in (999, 1500, 2_500_000)] == ["999 B", "1.5 kB", "2.5 MB"]


def test_a_check_tells_what_there_is_to_do_first(packager, tmp_path):
    asked = [
        "check", tmp_path / "m.onnx", "-j", "fr", "-w", "x86-64-v3", "-p", "kubernetes",
        "--region", "azure/francecentral", "--license", "MIT",
    ]  # fmt: skip
    shown = packager(*asked)
    assert shown.code == 0
    assert shown.out.index("\nleft to the operator\n") < shown.out.index("\nenforced\n")
    assert "listed with --all" in shown.out
    assert "eu/dora-third-parties" not in shown.out
    assert "eu/dora-third-parties" in packager(*asked, "--all").out
    # What nobody looked up says so wherever it is shown.
    told = " ".join(shown.out.split())
    assert "law: Regulation (EU) 2016/679 (GDPR), Art. 25 (from memory, not looked up)" in told
    assert max(map(len, shown.out.splitlines())) <= 120
