"""`site.yaml`: what a place says about itself, and whom it believes.

The shell installer reads the same file without a YAML parser, so every value stands on the line of
its key; lists are written `[a, b]`. What it refuses is refused here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import StrEnum
from pathlib import Path

from packager.document import parse_document
from packager.domain.target import DeploymentPlatform, Region
from packager.errors import CallError, InputError
from packager.section import Section

API_VERSION = "packager/v1"
KIND = "Site"
DEFAULT_DATA = "/var/lib/packager"
DEFAULT_LISTEN = "127.0.0.1:8080"
MAX_BYTES = 1 << 16
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_LISTEN = re.compile(r"(\d{1,3}(?:\.\d{1,3}){3}):(\d{1,5})")
_DIGEST = re.compile(r"(?:sha256:)?[0-9a-f]{64}")
_REGISTRY = re.compile(r"[a-z0-9][a-z0-9.-]*(:\d{1,5})?(/[a-z0-9][a-z0-9._-]*)+")
_URL = re.compile(r"https?://[A-Za-z0-9.-]+(:\d{1,5})?(/[A-Za-z0-9._-]+)*/?")
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_CLUSTER = ("registry", "push", "authority", "login", "kubeconfig", "context", "namespace")
# Words that YAML 1.1 reads as yes, no or nothing: Norway's id is one of them.
_NO_TEXT = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
_LINE = re.compile(r"(#.*|---|[A-Za-z]+:.*)?")


class SiteEngine(StrEnum):
    """What starts containers there; `QUADLET` is podman with systemd as their owner."""

    DOCKER = "docker"
    PODMAN = "podman"
    QUADLET = "quadlet"
    CONTAINERD = "containerd"
    KUBERNETES = "kubernetes"

    @property
    def is_podman(self) -> bool:
        """Whether podman holds the images, and its platform's targets are this site's own."""
        return self in (SiteEngine.PODMAN, SiteEngine.QUADLET)

    @property
    def platforms(self) -> tuple[DeploymentPlatform, ...]:
        """Whose targets it runs; either engine of one machine runs either's."""
        if self is SiteEngine.KUBERNETES:
            return (DeploymentPlatform.KUBERNETES,)
        return (DeploymentPlatform.COMPOSE, DeploymentPlatform.QUADLET)

    @property
    def tool(self) -> str:
        """The command that is there where the engine is."""
        tools = {self.QUADLET: "podman", self.CONTAINERD: "ctr", self.KUBERNETES: "kubectl"}
        return tools.get(self, self.value)


@dataclass(frozen=True, slots=True)
class Site:
    """A site profile. `file` is where it was read; relative key files are relative to it.

    `accept` are names of releases (empty: any); `keys` are files of public keys, of which `require`
    must have signed; `revoked` are digests of keys and releases that count for nothing; `listen` is
    an IPv4 address and port; `keep` counts versions beside the one in service; `watch` is in
    seconds; `stock` says whether files of installed bundles stay, for deltas to stand on; `sign` is
    a private key file for the site's own records. A cluster is named by `kubeconfig`, `context` and
    `namespace` (empty: kubectl's own, and the release's); its nodes pull from `registry`, which
    this machine reaches at the URL `push`, with the CA file `authority` and netrc file `login`.
    """

    file: Path
    name: str
    jurisdiction: str
    region: Region
    engine: SiteEngine
    owner: str = ""
    hardware: str = ""
    keys: tuple[str, ...] = ()
    require: int = 1
    revoked: tuple[str, ...] = ()
    accept: tuple[str, ...] = ()
    data: Path = Path(DEFAULT_DATA)
    listen: str = DEFAULT_LISTEN
    keep: int = 2
    watch: int = 30
    stock: bool = True
    sign: str = ""
    registry: str = ""
    push: str = ""
    authority: str = ""
    login: str = ""
    kubeconfig: str = ""
    context: str = ""
    namespace: str = ""

    @property
    def key_files(self) -> tuple[Path, ...]:
        """The trusted keys as files."""
        return tuple(self.file.parent / key for key in self.keys)

    def as_bytes(self) -> bytes:
        """The file that `read_site` reads; empty values are left out."""
        lines = [f"apiVersion: {API_VERSION}", f"kind: {KIND}"]
        for field in fields(self)[1:]:
            value = getattr(self, field.name)
            if value not in ("", ()):
                lines.append(f"{field.name}: {_written(value)}")
        return ("\n".join(lines) + "\n").encode()


def read_site(file: Path) -> Site:
    """Read a site profile. Raises CallError with all findings, each with its line."""
    try:
        return _read(file)
    except InputError as error:
        raise CallError.of(error.findings) from error


def _read(file: Path) -> Site:
    try:
        data = file.read_bytes()[: MAX_BYTES + 1]
    except OSError as error:
        raise InputError(
            "there is no site profile",
            where=str(file),
            got=error.strerror,
            next_step="write one with: packager site init",
        ) from error
    root = parse_document(data, file)
    _refuse_long_values(root, data)
    root.parsed(
        "apiVersion", _matching(re.compile(re.escape(API_VERSION))), API_VERSION, API_VERSION
    )
    root.parsed("kind", _matching(re.compile(KIND)), KIND, KIND)
    site = Site(
        file=file,
        name=root.parsed("name", _matching(_WORD), "letters, digits, '.', '_', '-'", ""),
        jurisdiction=root.parsed("jurisdiction", _matching(_WORD), "a profile's id", ""),
        region=root.parsed(
            "region", Region.parse, "provider/region, such as site/riyadh-lab", Region("site", "x")
        ),
        engine=root.choice("engine", SiteEngine),
        owner=root.text("owner", ""),
        hardware=root.text("hardware", ""),
        keys=root.texts("keys"),
        require=_bounded(root, "require", 1, 1, 9),
        revoked=root.texts("revoked"),
        accept=root.texts("accept"),
        data=Path(root.text("data", DEFAULT_DATA)),
        listen=root.text("listen", DEFAULT_LISTEN),
        keep=_bounded(root, "keep", 2, 1, 99),
        watch=_bounded(root, "watch", 30, 0, 86400),
        stock=root.flag("stock", True),
        sign=root.text("sign", ""),
        **{name: root.text(name, "") for name in _CLUSTER},
    )
    _check_cluster(root, site)
    if not site.data.is_absolute():
        root.note("data", "the path must be absolute", got=str(site.data))
    if not _is_listen(site.listen):
        root.note("listen", "cannot be read", expected="address:port", got=site.listen)
    for digest in site.revoked:
        if not _DIGEST.fullmatch(digest):
            root.note("revoked", "not a digest", expected="64 hexadecimal digits", got=digest)
    root.finish()
    return site


def _check_cluster(root: Section, site: Site) -> None:
    if site.engine is not SiteEngine.KUBERNETES:
        return
    if not _REGISTRY.fullmatch(site.registry):
        root.note(
            "registry",
            "where the nodes of the cluster pull from is not named",
            expected="host:port/folder, such as registry.site.example:5000/ml",
            got=site.registry or "nothing",
        )
    if site.push and not _URL.fullmatch(site.push):
        root.note("push", "not an address", expected="http:// or https://", got=site.push)
    if site.namespace and not _NAMESPACE.fullmatch(site.namespace):
        root.note("namespace", "no name of a namespace", got=site.namespace)
    for name in ("authority", "login", "kubeconfig"):
        file = getattr(site, name)
        if file and not (site.file.parent / file).is_file():
            root.note(name, "there is no such file", got=file)


def _refuse_long_values(root: Section, data: bytes) -> None:
    for number, line in enumerate(data.decode(errors="replace").splitlines(), 1):
        if not _LINE.fullmatch(line.rstrip()):
            root.note(
                "",
                f"line {number} is no 'key: value'",
                expected="every value on the line of its key, lists as [a, b]",
                next_step="the shell installer reads this file too, and no other YAML",
            )


def _bounded(root: Section, key: str, default: int, least: int, most: int) -> int:
    value = root.whole(key, default)
    if not least <= value <= most:
        root.note(key, "out of bounds", expected=f"{least} to {most}", got=str(value))
    return value


def _matching(pattern: re.Pattern[str]) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError(text)
        return text

    return parse


def _is_listen(text: str) -> bool:
    found = _LISTEN.fullmatch(text)
    return (
        found is not None
        and all(int(part) < 256 for part in found[1].split("."))
        and 0 < int(found[2]) < 65536
    )


def _written(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_written, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    # A colon at the end, or a dash at the beginning, would be YAML's own.
    plain = re.fullmatch(r"[A-Za-z0-9/.]([A-Za-z0-9/._:-]*[A-Za-z0-9/._-])?", text)
    plain = plain if text.lower() not in _NO_TEXT else None
    return text if plain else f'"{text}"'
