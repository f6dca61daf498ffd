"""Credentials: Docker's own order of places, and never a secret in sight."""

import base64
import json

import pytest

from packager.errors import InputError, UnavailableError
from packager.oci.credentials import Credentials, find_credentials

HOST = "registry.example.de"
SECRET = "open:sesame"


@pytest.fixture
def configured(tmp_path):
    def write(config):
        text = config if isinstance(config, str) else json.dumps(config)
        (tmp_path / "config.json").write_text(text)
        return {"DOCKER_CONFIG": str(tmp_path)}

    return write


@pytest.fixture
def helper(tmp_path, monkeypatch):
    def write(script):
        program = tmp_path / "docker-credential-ours"
        program.write_text(f"#!/bin/sh\nread host\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    return write


def encoded(text):
    return base64.b64encode(text.encode()).decode()


def test_no_configuration_is_nobody(tmp_path):
    assert find_credentials(HOST, {"DOCKER_CONFIG": str(tmp_path)}) is None


@pytest.mark.parametrize("key", [HOST, f"https://{HOST}", f"https://{HOST}/v2/"])
def test_entries(configured, key):
    environ = configured({"auths": {key: {"auth": encoded(f"user:{SECRET}")}}})
    assert find_credentials(HOST, environ) == Credentials("user", SECRET)
    assert find_credentials(f"other.{HOST}", environ) is None


def test_an_identity_token(configured):
    environ = configured({"auths": {HOST: {"identitytoken": "token"}}})
    assert find_credentials(HOST, environ) == Credentials(identity_token="token")


def test_the_docker_hub_has_a_name_of_its_own(configured):
    environ = configured({"auths": {"https://index.docker.io/v1/": {"auth": encoded("a:b")}}})
    assert find_credentials("docker.io", environ) == Credentials("a", "b")


def test_a_helper_comes_first_and_is_told_the_registry(configured, helper):
    helper('printf \'{"Username":"%s","Secret":"from helper"}\' "$host"')
    environ = configured({"credHelpers": {HOST: "ours"}, "auths": {HOST: {"auth": encoded("a:b")}}})
    assert find_credentials(HOST, environ) == Credentials(HOST, "from helper")
    assert find_credentials(HOST, configured({"credsStore": "ours"})) == Credentials(
        HOST, "from helper"
    )


def test_a_helper_with_a_token_and_one_that_knows_nothing(configured, helper):
    environ = configured({"credsStore": "ours"})
    helper('echo \'{"Username":"<token>","Secret":"t"}\'')
    assert find_credentials(HOST, environ) == Credentials(identity_token="t")
    helper("echo credentials not found in native keychain; exit 1")
    assert find_credentials(HOST, environ) is None


@pytest.mark.parametrize(
    "script", ["exit 3", "echo not-json-but-hush", 'echo \'{"Secret":"hush"}\'']
)
def test_a_helper_that_fails_is_told_without_its_words(configured, helper, script):
    helper(script)
    with pytest.raises(UnavailableError) as refused:
        find_credentials(HOST, configured({"credsStore": "ours"}))
    assert "hush" not in str(refused.value.findings)
    assert refused.value.__cause__ is None


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000])
def test_a_configuration_that_cannot_be_read(configured, text):
    with pytest.raises(InputError, match="cannot be read"):
        find_credentials(HOST, configured(text))


def test_a_helper_with_a_path_for_a_name(configured):
    with pytest.raises(InputError, match="helper"):
        find_credentials(HOST, configured({"credsStore": "../evil"}))


def test_secrets_are_not_shown():
    assert SECRET not in repr(Credentials("user", SECRET, SECRET))
