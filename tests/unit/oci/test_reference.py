"""Names of images: the registry always written out, nothing ambiguous taken."""

import pytest

from packager.errors import InputError
from packager.oci.reference import Reference


@pytest.mark.parametrize(
    ("text", "host", "repository", "tag", "loopback"),
    [
        ("registry.example.de/a/b:1.4.0", "registry.example.de", "a/b", "1.4.0", False),
        ("127.0.0.1:5000/a:b", "127.0.0.1:5000", "a", "b", True),
        ("localhost/a-b/c_d:V1", "localhost", "a-b/c_d", "V1", True),
        ("[::1]:5000/a:b", "[::1]:5000", "a", "b", True),
        ("localhost.example.de/a:b", "localhost.example.de", "a", "b", False),
    ],
)  # fmt: skip
def test_names(text, host, repository, tag, loopback):
    parsed = Reference.parse(text)
    assert (parsed.host, parsed.repository, parsed.tag) == (host, repository, tag)
    assert parsed.on_loopback is loopback
    assert str(parsed) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "filetype:1",
        "ml/filetype:1",
        "registry.example.de/ml/filetype",
        "registry.example.de/ml/Filetype:1",
        "registry.example.de/ml/../x:1",
        "registry.example.de/ml//x:1",
        "registry.example.de/x:1 2",
        "user:pw@registry.example.de/x:1",
        "registry.example.de/x@sha256:" + "0" * 64,
        "https://registry.example.de/x:1",
        "registry.example.de:port/x:1",
        "registry.example.de/x:" + "t" * 129,
    ],
)
def test_what_is_no_name(text):
    with pytest.raises(InputError, match="not the name"):
        Reference.parse(text)
