"""Reads `release.yaml`, or makes the same request from a bare model and command-line options.

Parsed once, here: past this module there is no YAML and no string that means something else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from packager.budget_section import quality_of
from packager.declared import COUNTRY, read_base, read_declarations
from packager.decoder_folder import is_decoder_folder, read_decoder
from packager.document import read_document
from packager.domain.generation import ModelKind
from packager.domain.hardware import Precision
from packager.domain.model import Objective
from packager.domain.release import NO_BASE, BaseImage, ReleaseRequest, TargetRequest
from packager.domain.serving import Serving
from packager.domain.target import DataClass, DeploymentPlatform, Region, TargetName
from packager.domain.version import MAX_COUNTER, counter_of
from packager.errors import InputError
from packager.generation_section import generation_of
from packager.models_section import read_models
from packager.section import Section, matching
from packager.serving_section import read_serving

API_VERSION = "packager/v1"
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?")
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,39}")
_REGISTRY = re.compile(
    r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?(/[a-z0-9]+([._-][a-z0-9]+)*)*"
)
_ORDERED = "numbers that grow, such as 1.4.0, 2026.11.27 or 1.5.0-rc1"


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """What the command line says about a bare model."""

    jurisdiction: str
    hardware: str
    platform: DeploymentPlatform
    regions: tuple[Region, ...]
    sites: Mapping[str, str] = field(default_factory=dict)
    name: str | None = None
    version: str = "0.1.0"
    registry: str | None = None
    model_license: str | None = None
    samples: Path | None = None
    data_class: DataClass = DataClass.PERSONAL
    objective: Objective = Objective.LATENCY
    precision: Precision | None = None
    recipients: tuple[Path, ...] = ()
    base: BaseImage = NO_BASE


def read_release(file: Path) -> ReleaseRequest:
    """Read and validate `release.yaml`. Raises InputError with all findings, each with its line.

    Relative paths in the file are relative to the file.
    """
    root = read_document(file)
    root.parsed("apiVersion", _exactly(API_VERSION), API_VERSION, API_VERSION)
    root.parsed("kind", _exactly("Release"), "Release", "Release")
    metadata = root.section("metadata", required=True)
    models, kind = read_models(root, file.parent)
    first, *beside = models
    serving = read_serving(root, kind, first)
    targets = _targets(root)
    signing = root.section("signing")
    request = ReleaseRequest(
        name=metadata.parsed(
            "name", matching(_NAME), "lower-case letters, digits and dashes, at most 40", ""
        ),
        version=metadata.parsed(
            "version", matching(_VERSION), "letters, digits, '.', '_', '-', at most 40", ""
        ),
        model_path=first.path,
        model_license=first.license,
        samples=first.samples,
        quality=first.quality,
        objective=first.objective,
        data_class=root.section("data").choice("class", DataClass, DataClass.PERSONAL),
        targets=targets,
        registries=_registries(root),
        sites=_countries(root, "sites"),
        registry_countries=_countries(root, "registry_countries"),
        signing_keys=_signing_keys(signing),
        precision=first.precision,
        constraints=first.constraints,
        where=str(file),
        declared=read_declarations(root, first.origin, signing),
        serving=serving,
        base=read_base(root, file.parent),
        counter=_counter(metadata),
        recipients=_recipients(root, file.parent, targets),
        task=first.task,
        called=first.name if "models" in root else None,
        beside=tuple(beside),
    )
    root.finish()
    return request


def request_for_model(model: Path, options: ModelOptions) -> ReleaseRequest:
    """The request that `packager build MODEL -j … -w … -p …` stands for."""
    name = options.name or re.sub(r"[^a-z0-9]+", "-", model.stem.lower()).strip("-") or "model"
    wrong = [
        (flag, value, expected)
        for flag, value, expected, pattern in (
            ("--name", name, "lower-case letters, digits and dashes, at most 40", _NAME),
            ("--version", options.version, "letters, digits, '.', '_', '-'", _VERSION),
            ("--registry", options.registry, "host[:port]/path in lower case", _REGISTRY),
        )
        if value is not None and not pattern.fullmatch(value)
    ]
    counter = counter_of(options.version)
    if counter is None:
        wrong.append(("--version", options.version, _ORDERED))
    if wrong:
        flag, value, expected = wrong[0]
        raise InputError("cannot be read", where=flag, expected=expected, got=repr(value))
    target = TargetName(options.jurisdiction, options.hardware, options.platform)
    text = is_decoder_folder(model)
    return ReleaseRequest(
        name=name,
        version=options.version,
        model_path=model,
        model_license=options.model_license,
        samples=options.samples,
        quality=quality_of(ModelKind.GENERATIVE) if text else quality_of(ModelKind.PREDICTIVE),
        objective=options.objective,
        data_class=options.data_class,
        targets=(TargetRequest(target, options.regions, "command line"),),
        registries={options.jurisdiction: options.registry} if options.registry else {},
        sites=dict(options.sites),
        registry_countries={},
        signing_keys=(),
        precision=options.precision,
        where="command line",
        serving=Serving(generation=generation_of(read_decoder(model))) if text else Serving(),
        base=options.base,
        counter=counter or 0,
        recipients={options.jurisdiction: options.recipients} if options.recipients else {},
    )


def _counter(metadata: Section) -> int:
    """What a site compares against downgrade: as written, else from the version."""
    if "counter" in metadata:
        written = metadata.whole("counter")
        if not 0 <= written <= MAX_COUNTER:
            metadata.note("counter", "out of range", expected=f"0 to {MAX_COUNTER}")
        return written
    metadata.whole("counter", 0)
    version = metadata.text("version", "0")
    derived = counter_of(version)
    if derived is None and _VERSION.fullmatch(version):
        metadata.note(
            "version",
            "the version does not say which release is newer",
            expected=_ORDERED,
            got=repr(version),
            next_step="write metadata.counter: a whole number that grows with every release; sites "
            "refuse to go back below what they installed",
        )
    return derived or 0


def _recipients(
    root: Section, base: Path, targets: tuple[TargetRequest, ...]
) -> dict[str, tuple[Path, ...]]:
    """Whose keys open the model of a jurisdiction's images; nobody's, when nothing is written."""
    section = root.section("encryption")
    used = {target.name.jurisdiction for target in targets}
    found = {}
    for key in section.keys():  # noqa: SIM118 - a Section is no dict
        found[key] = tuple(base / name for name in section.texts(key))
        if not found[key]:
            section.note(key, "there is no recipient", expected="a list of public key files")
        if key not in used:
            section.note(key, "no target has this jurisdiction", expected=", ".join(sorted(used)))
    return found


def _signing_keys(signing: Section) -> tuple[str, ...]:
    """`key` signs everything, each of `also` signs the root beside it."""
    key, also = signing.optional_text("key"), signing.texts("also")
    if also and key is None:
        signing.note("also", "there is no first key", next_step="write signing.key as well")
    return ((key,) if key else ()) + also


def _targets(root: Section) -> tuple[TargetRequest, ...]:
    requests = []
    entries = root.sections("targets", required=True)
    if "targets" in root and not entries:
        root.note("targets", "the list is empty", expected="at least one target")
    for entry in entries:
        name = TargetName(
            entry.text("jurisdiction"),
            entry.text("hardware"),
            entry.choice("platform", DeploymentPlatform),
        )
        requests.append(TargetRequest(name, _regions(entry), entry.where()))
        if name in [earlier.name for earlier in requests[:-1]]:
            entry.note("jurisdiction", f"the target {name} is given twice")
    return tuple(requests)


def _regions(entry: Section) -> tuple[Region, ...]:
    regions = []
    for text in entry.texts("regions"):
        try:
            regions.append(Region.parse(text))
        except ValueError:
            entry.note(
                "regions",
                "a region is always provider/region",
                expected="such as aws/eu-central-1, or site/<name> for a room of your own",
                got=repr(text),
                next_step="the same label lies in different countries with different providers",
            )
    return tuple(regions)


def _registries(root: Section) -> dict[str, str]:
    section = root.section("registry")
    return {
        key: section.parsed(key, matching(_REGISTRY), "host[:port]/path in lower case", "")
        for key in section.keys()  # noqa: SIM118 - a Section is no dict
    }


def _countries(root: Section, name: str) -> dict[str, str]:
    section = root.section(name)
    return {
        key: section.parsed(key, matching(COUNTRY), "an ISO 3166 code such as SA", "")
        for key in section.keys()  # noqa: SIM118 - a Section is no dict
    }


def _exactly(word: str) -> Callable[[str], str]:
    return matching(re.compile(re.escape(word)))
