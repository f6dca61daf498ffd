"""Templates: values encoded for where they stand, and broken ones told with file and line."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from packager.domain.target import DeploymentPlatform
from packager.errors import InputError
from packager.render.templating import Templates, yaml_scalar

KUBERNETES = DeploymentPlatform.KUBERNETES
COMPOSE = DeploymentPlatform.COMPOSE


@pytest.fixture
def render(tmp_path):
    """Render one text as the built-in template `one.yaml` (or another name)."""

    def rendered(text, platform=KUBERNETES, name="one.yaml", **variables):
        folder = tmp_path / "built-in" / platform.value
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.j2").write_text(text)
        return Templates(tmp_path / "built-in", platform, None).render(name, variables)

    return rendered


@given(st.text())
def test_every_text_is_one_scalar_and_comes_back(text):
    scalar = yaml_scalar(text)
    assert "\n" not in scalar
    assert yaml.safe_load(f"[{scalar}, {{key: {scalar}}}]") == [text, {"key": text}]


@pytest.mark.parametrize("text", ["1e3", "0o7", "1.0", "no", "Null", "y", "0x1f", "12:30", ".inf"])
def test_what_some_yaml_reader_takes_for_something_else_is_quoted(text):
    assert yaml_scalar(text) == f'"{text}"'


def test_no_value_can_write_a_line_of_its_own(render):
    text = render("a: {{ value }}\n", value='x\nb: "1" # $HOME {{ y }}')
    assert yaml.safe_load(text) == {"a": 'x\nb: "1" # $HOME {{ y }}'}


def test_in_compose_no_value_is_taken_for_a_variable(render):
    assert yaml.safe_load(render("a: {{ v }}\n", COMPOSE, v="${HOME}")) == {"a": "$${HOME}"}
    assert yaml.safe_load(render("a: {{ v }}\n", KUBERNETES, v="${HOME}")) == {"a": "${HOME}"}


def test_in_prose_a_value_stays_on_its_line(render):
    assert render("# {{ v }}\n", name="README.md", v="a\n# b  c") == "# a # b c\n"


@pytest.mark.parametrize(
    ("text", "line", "told"),
    [
        ("a: 1\nb: {{ missing }}\n", 2, "'missing' is undefined"),
        ("{% if missing %}a{% endif %}\n", 1, "'missing' is undefined"),
        ("a: 1\n\n{% for %}\n", 3, "Expected an expression"),
        ("a: {{ many }}\n", 1, "a tuple is no scalar"),
        ("a: {{ none }}\n", 1, "a NoneType is no scalar"),
        ("a: {{ 1 / 0 }}\n", 1, "ZeroDivisionError"),
        ("a: {{ many.__class__.__mro__ }}\n", 1, "unsafe"),
        ("{% include 'kubernetes/other.yaml.j2' %}\n", 1, "kubernetes/other.yaml.j2"),
    ],
)
def test_a_broken_template_is_told_with_its_file_and_line(render, text, line, told):
    with pytest.raises(InputError) as caught:
        render(text, many=(1,), none=None)
    finding = caught.value.findings[0]
    assert finding.where
    assert finding.where.endswith(f"kubernetes/one.yaml.j2: line {line}")
    assert told in (finding.got or "")


def test_a_template_that_is_no_text_is_told(tmp_path):
    folder = tmp_path / "kubernetes"
    folder.mkdir()
    (folder / "one.yaml.j2").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be rendered"):
        Templates(tmp_path, KUBERNETES, None).render("one.yaml", {})


def test_the_users_template_replaces_one_and_adds_one(tmp_path):
    for root, name, text in (
        ("built-in", "a.yaml", "from: ours\n"),
        ("built-in", "b.yaml", "from: ours\n"),
        ("user", "b.yaml", "from: theirs\n"),
        ("user", "c.yaml", "from: theirs\n"),
    ):
        file = tmp_path / root / "kubernetes" / f"{name}.j2"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    templates = Templates(tmp_path / "built-in", KUBERNETES, tmp_path / "user")
    made = {name: templates.render(name, {}) for name in templates.names}
    assert made == {
        "a.yaml": "from: ours\n",
        "b.yaml": "from: theirs\n",
        "c.yaml": "from: theirs\n",
    }


@pytest.mark.parametrize(
    ("entry", "next_step"),
    [
        ("deployment.yaml.j2", "rename"),
        ("kubernets/deployment.yaml.j2", "rename"),
        ("kubernetes/deployment.yaml", "deployment.yaml.j2"),
    ],
)
def test_what_would_never_be_read_is_refused(tmp_path, entry, next_step):
    file = tmp_path / "user" / entry
    file.parent.mkdir(parents=True)
    file.write_text("a: 1\n")
    with pytest.raises(InputError, match="never read") as caught:
        Templates(tmp_path, KUBERNETES, tmp_path / "user")
    assert next_step in (caught.value.findings[0].next_step or "")


def test_a_folder_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        Templates(tmp_path, KUBERNETES, tmp_path / "absent")
