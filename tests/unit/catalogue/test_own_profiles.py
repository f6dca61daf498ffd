"""A user's own folder of profiles: what it may add, and what is refused with its line."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from packager.catalogue import Catalogue, load_catalogue
from packager.catalogue.linting import lint
from packager.catalogue.scaffolding import scaffold
from packager.catalogue.showing import describe_as_text
from packager.domain.target import Region
from packager.errors import Finding, InputError

TODAY = "2026-11-24"

RULE = """
  - id: {id}
    demand: inference_within
    data: [personal]
    within: [{within}]
    text: It stays here.
    law: {{name: Law, article: Art. 1, source: "https://example.org/law", confidence: high}}
"""


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def jurisdiction(
    name: str, *, extends: str = "", rules: str = "", countries: str = "DE", more: str = ""
) -> str:
    return (
        f"apiVersion: packager/v1\nkind: Jurisdiction\nid: {name}\nname: {name.upper()}\n"
        f"{f'extends: [{extends}]' if extends else ''}\ncountries: [{countries}]\n"
        f"confidence: high\nreviewed: 2026-11-23\n{more}\nrules: {rules or '[]'}\n"
    )


def rule(name: str, within: str = "DE") -> str:
    return RULE.format(id=name, within=within)


def findings(catalogue: Catalogue) -> list[Finding]:
    return list(lint(catalogue, TODAY))


def test_a_profile_of_your_own_extends_a_built_in_one(tmp_path: Path) -> None:
    write(
        tmp_path,
        "jurisdictions/de-acme.yaml",
        jurisdiction("de-acme", extends="de", rules=rule("acme-inside")),
    )
    catalogue = load_catalogue(tmp_path)
    assert findings(catalogue) == []
    ours, german = catalogue.jurisdiction("de-acme"), catalogue.jurisdiction("de")
    assert set(german.rules) < set(ours.rules)
    assert ours.owner["acme-inside"] == "de-acme"


def test_a_rule_is_set_aside_only_by_name(tmp_path: Path) -> None:
    text = rule("to-canada", "eea, CA").replace(
        "demand: inference_within", "replaces: gdpr-transfer\n    demand: transfer"
    )
    write(tmp_path, "jurisdictions/de-ca.yaml", jurisdiction("de-ca", extends="de", rules=text))
    ours = load_catalogue(tmp_path).jurisdiction("de-ca")
    assert "gdpr-transfer" not in ours.owner
    assert ours.owner["to-canada"] == "de-ca"
    assert "gdpr-logs" in ours.owner


def test_replacing_what_no_parent_has_is_refused(tmp_path: Path) -> None:
    text = rule("mine").replace("demand:", "replaces: gdpr-transfr\n    demand:")
    write(tmp_path, "jurisdictions/de-x.yaml", jurisdiction("de-x", extends="de", rules=text))
    with pytest.raises(InputError, match="to replace") as caught:
        load_catalogue(tmp_path).jurisdiction("de-x")
    assert "gdpr-transfer" in (caught.value.findings[0].expected or "")
    assert "de-x.yaml:" in (caught.value.findings[0].where or "")


def test_a_built_in_profile_cannot_be_replaced(tmp_path: Path) -> None:
    write(tmp_path, "jurisdictions/de.yaml", jurisdiction("de", rules=rule("weak")))
    with pytest.raises(InputError, match="built in already"):
        load_catalogue(tmp_path)


def test_circles_are_refused(tmp_path: Path) -> None:
    for one, other in itertools.permutations(["aa", "bb"]):
        write(tmp_path, f"jurisdictions/{one}.yaml", jurisdiction(one, extends=other))
    write(
        tmp_path,
        "hardware/box.yaml",
        "apiVersion: packager/v1\nkind: Hardware\nid: box\nname: Box\nextends: box\n"
        "confidence: low\nsources: [here]\n",
    )
    catalogue = load_catalogue(tmp_path)
    with pytest.raises(InputError, match="circle") as caught:
        catalogue.jurisdiction("aa")
    assert "aa → bb → aa" in (caught.value.findings[0].got or "")
    with pytest.raises(InputError, match="circle"):
        catalogue.hardware("box")
    assert any("circle" in finding.what for finding in findings(catalogue))


def test_two_parents_with_one_rule_name_clash(tmp_path: Path) -> None:
    write(tmp_path, "jurisdictions/p.yaml", jurisdiction("p", rules=rule("same")))
    write(tmp_path, "jurisdictions/q.yaml", jurisdiction("q", rules=rule("same")))
    write(tmp_path, "jurisdictions/r.yaml", jurisdiction("r", extends="p, q"))
    with pytest.raises(InputError, match="two parents"):
        load_catalogue(tmp_path).jurisdiction("r")


def test_a_diamond_is_no_clash_and_the_order_of_parents_means_nothing(tmp_path: Path) -> None:
    found = []
    for number, order in enumerate(itertools.permutations(["left", "right", "eu"])):
        folder = tmp_path / str(number)
        replacing = rule("ours").replace("demand:", "replaces: gdpr-logs\n    demand:")
        write(
            folder,
            "jurisdictions/left.yaml",
            jurisdiction("left", extends="eu", rules=replacing),
        )
        write(
            folder,
            "jurisdictions/right.yaml",
            jurisdiction("right", extends="eu", rules=rule("theirs")),
        )
        write(
            folder,
            "jurisdictions/bottom.yaml",
            jurisdiction("bottom", extends=", ".join(order)),
        )
        found.append(load_catalogue(folder).jurisdiction("bottom"))
    assert all(one == found[0] for one in found)
    assert all(list(one.mechanisms) == sorted(found[0].mechanisms) for one in found)
    assert "eu/dpf" in found[0].mechanisms
    assert [rule.id for rule in found[0].rules] == [rule.id for rule in found[-1].rules]
    assert "gdpr-logs" not in found[0].owner


PATH = """
mechanisms:
  - id: clauses
    kind: standard clauses
    opens: [{opens}]
    data: [personal]
    to: [US]
    until: {until}
    text: Our clauses.
    asks: The signed clauses.
    law: {{name: Law, article: Art. 2, source: "{source}", confidence: {confidence}}}
"""


def own_path(folder: Path, **values: str) -> Catalogue:
    filled = {
        "opens": "gdpr-transfer, gdpr-logs, gdpr-at-rest",
        "until": "2030-01-01",
        "source": "https://example.org/law",
        "confidence": "high",
        **values,
    }
    text = jurisdiction("de-acme", extends="de", rules=rule("acme-inside")) + PATH.format(**filled)
    write(folder, "jurisdictions/de-acme.yaml", text)
    return load_catalogue(folder)


def test_a_path_of_your_own_stands_beside_the_inherited_ones(tmp_path: Path) -> None:
    catalogue = own_path(tmp_path)
    assert findings(catalogue) == []
    found = catalogue.jurisdiction("de-acme").mechanisms
    assert {"de-acme/clauses", "eu/dpf", "eu/scc"} <= set(found)
    assert found["de-acme/clauses"].confirmed


def test_a_path_that_opens_nothing_known_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        own_path(tmp_path, opens="gdpr-transfre").jurisdiction("de-acme")
    (finding,) = caught.value.findings
    assert finding.got == "gdpr-transfre"
    assert "gdpr-transfer" in (finding.expected or "")


def test_a_path_from_memory_is_read_and_stays_off(tmp_path: Path) -> None:
    catalogue = own_path(tmp_path, source="memory", confidence="memory")
    assert findings(catalogue) == []
    assert not catalogue.jurisdiction("de-acme").mechanisms["de-acme/clauses"].confirmed


def test_a_path_that_has_ended_is_told_by_lint(tmp_path: Path) -> None:
    (finding,) = findings(own_path(tmp_path, until="2026-11-23"))
    assert finding.what == "the path has ended"
    assert finding.got == "until 2026-11-23"


def test_a_rule_that_is_replaced_takes_the_path_with_it(tmp_path: Path) -> None:
    """That is how a house closes a door: the inherited mechanism opens the parent's rule only."""
    closing = rule("ours").replace("demand:", "replaces: gdpr-transfer\n    demand:")
    write(tmp_path, "jurisdictions/de-x.yaml", jurisdiction("de-x", extends="de", rules=closing))
    profile = load_catalogue(tmp_path).jurisdiction("de-x")
    assert "gdpr-transfer" not in profile.owner
    assert not any("ours" in path.opens for path in profile.mechanisms.values())


@pytest.mark.parametrize(
    ("text", "what", "line"),
    [
        (jurisdiction("bad", rules=rule("x", "NOR")), "neither a country code", 14),
        (jurisdiction("bad", rules=rule("x") + rule("x")), "given twice", 18),
        (jurisdiction("bad", rules=rule("x"), countries="de"), "neither a country code", 6),
        (jurisdiction("bad", rules=rule("x"), more="colour: red"), "unknown key 'colour'", 9),
        (jurisdiction("bad", rules=rule("x")).replace("high}", "memory}"), "both places", 16),
        (jurisdiction("bad", rules=rule("x")).replace("inference_within", "infer"), "known", 12),
        (jurisdiction("bad", rules=rule("x")).replace("2026-11-23", "yesterday"), "no date", 8),
        (jurisdiction("bad", rules=rule("x")).replace("id: bad", "id: good"), "wrong id", 3),
        (jurisdiction("bad", rules=rule("x").replace("[DE]", "[]")), "needs the countries", 14),
    ],
)
def test_what_is_wrong_is_told_at_its_line(tmp_path: Path, text: str, what: str, line: int) -> None:
    file = write(tmp_path, "jurisdictions/bad.yaml", text)
    told = [finding for finding in findings(load_catalogue(tmp_path)) if what in finding.what]
    assert told, findings(load_catalogue(tmp_path))
    assert (told[0].where or "").startswith(f"{file}:{line}:")


def test_norway_without_quotes_stays_norway(tmp_path: Path) -> None:
    text = jurisdiction("north", rules=rule("x", "NO"), countries="NO")
    write(tmp_path, "jurisdictions/north.yaml", text)
    profile = load_catalogue(tmp_path).jurisdiction("north")
    assert profile.countries == ("NO",)
    assert profile.rules[0].within == ("NO",)


def test_law_that_names_the_forbidden(tmp_path: Path) -> None:
    text = rule("no-concern", "world").replace("[world]", "[world]\n    except: [CN, RU]")
    write(tmp_path, "jurisdictions/free.yaml", jurisdiction("free", rules=text))
    profile = load_catalogue(tmp_path).jurisdiction("free")
    within = profile.rules[0].within
    assert {"DE", "NO", "US"} < set(within)
    assert not {"CN", "RU"} & set(within)
    assert f"{len(within)} countries: all but" in describe_as_text(profile)


def test_an_exception_from_nothing_is_refused(tmp_path: Path) -> None:
    text = rule("odd", "DE, FR").replace("FR]", "FR]\n    except: [CN]")
    write(tmp_path, "jurisdictions/odd.yaml", jurisdiction("odd", rules=text))
    with pytest.raises(InputError, match="does not list") as caught:
        load_catalogue(tmp_path).jurisdiction("odd")
    assert caught.value.findings[0].got == "CN"


def test_lint_tells_of_stale_reviews_and_laundered_permissions(tmp_path: Path) -> None:
    text = jurisdiction("old", rules=rule("abroad", "DE, US"))
    text = text.replace("2026-11-23", "2025-01-01")
    text = text.replace('"https://example.org/law", confidence: high', "memory, confidence: memory")
    write(tmp_path, "jurisdictions/old.yaml", text)
    told = [finding.what for finding in findings(load_catalogue(tmp_path))]
    assert "the review is stale" in told
    assert "a rule allows other countries on a fact that nobody confirmed" in told


def test_memory_may_narrow_what_a_parent_allows_and_never_widen_it(tmp_path: Path) -> None:
    unsure = ('"https://example.org/law", confidence: high', "memory, confidence: memory")
    for name, within in (("narrow", "eu"), ("wide", "eu, CA")):
        text = jurisdiction(name, extends="eu", rules=rule("ours", within)).replace(*unsure)
        write(tmp_path, f"jurisdictions/{name}.yaml", text)
    told = findings(load_catalogue(tmp_path))
    assert [(finding.what, finding.got) for finding in told] == [
        ("a rule allows other countries on a fact that nobody confirmed", "CA")
    ]


def test_what_a_rule_replaces_does_not_vouch_for_it(tmp_path: Path) -> None:
    text = jurisdiction("sly", extends="eu", rules=rule("ours", "eu"))
    text = text.replace('"https://example.org/law", confidence: high', "memory, confidence: memory")
    text = text.replace("demand: inference_within", "replaces: gdpr-transfer\n    demand: transfer")
    write(tmp_path, "jurisdictions/sly.yaml", text)
    assert [finding.what for finding in findings(load_catalogue(tmp_path))] == [
        "a rule allows other countries on a fact that nobody confirmed"
    ]


def test_a_review_is_stale_after_four_hundred_days() -> None:
    assert lint(load_catalogue(), "2027-12-28") == ()
    assert lint(load_catalogue(), "2027-12-29")


def test_lint_needs_a_date() -> None:
    with pytest.raises(InputError):
        lint(load_catalogue(), "tomorrow")


def table(name: str, regions: str) -> str:
    return (
        f"apiVersion: packager/v1\nkind: Provider\nid: {name}\nname: {name}\nsource: own look\n"
        f"confidence: high\nreviewed: 2026-11-23\nregions:\n{regions}\n"
    )


def test_a_table_of_your_own_adds_providers_and_confirms_what_was_from_memory(
    tmp_path: Path,
) -> None:
    spot = "city: Here, latitude: 52.0, longitude: 21.0"
    write(tmp_path, "regions/stackit.yaml", table("stackit", f"  eu01: {{country: DE, {spot}}}"))
    write(
        tmp_path, "regions/aws.yaml", table("aws", f"  eu-central-1-waw-1: {{country: PL, {spot}}}")
    )
    catalogue = load_catalogue(tmp_path)
    assert catalogue.country_of(Region("stackit", "eu01")) == "DE"
    assert catalogue.country_of(Region("aws", "eu-central-1-waw-1")) == "PL"
    assert catalogue.country_of(Region("aws", "eu-central-1")) == "DE"
    assert Region("stackit", "eu01") in catalogue.jurisdiction("de").regions


def test_a_table_of_your_own_cannot_move_a_region(tmp_path: Path) -> None:
    spot = "city: Here, latitude: 24.7, longitude: 46.7"
    write(tmp_path, "regions/aws.yaml", table("aws", f"  me-central-1: {{country: SA, {spot}}}"))
    with pytest.raises(InputError, match="known to lie elsewhere"):
        load_catalogue(tmp_path).country_of(Region("aws", "me-central-1"))


def test_sites_are_no_provider(tmp_path: Path) -> None:
    spot = "city: Here, latitude: 1.0, longitude: 2.0"
    write(tmp_path, "regions/site.yaml", table("site", f"  lab: {{country: SA, {spot}}}"))
    with pytest.raises(InputError, match="declared in release"):
        load_catalogue(tmp_path).country_of(Region("site", "lab"))


@pytest.mark.parametrize(
    ("kind", "name", "parent"),
    [
        ("jurisdiction", "my-state", "de"),
        ("jurisdiction", "my-union", "eu"),
        ("jurisdiction", "zz", None),
        ("hardware", "my-box", None),
        ("hardware", "my-card", "nvidia-l4"),
    ],
)
def test_a_scaffold_is_valid_as_it_is(
    tmp_path: Path, kind: str, name: str, parent: str | None
) -> None:
    folder = "jurisdictions" if kind == "jurisdiction" else "hardware"
    write(tmp_path, f"{folder}/{name}.yaml", scaffold(kind, name, "2026-11-23", parent))
    catalogue = load_catalogue(tmp_path)
    assert findings(catalogue) == []
    assert catalogue.find(name).id == name


def test_a_scaffold_needs_an_id() -> None:
    with pytest.raises(InputError):
        scaffold("jurisdiction", "../evil", "2026-11-23")


def test_hardware_states_only_what_differs(tmp_path: Path) -> None:
    write(
        tmp_path,
        "hardware/l4-shared.yaml",
        "apiVersion: packager/v1\nkind: Hardware\nid: l4-shared\nname: Shared\n"
        "extends: nvidia-l4\nmemory_gb: 12\nconfidence: low\nsources: [here]\n"
        "accelerator: {product: NVIDIA-L4-SHARED}\n"
        "node_labels: {nvidia.com/gpu.product: NVIDIA-L4-SHARED}\n",
    )
    catalogue = load_catalogue(tmp_path)
    ours, card = catalogue.hardware("l4-shared"), catalogue.hardware("nvidia-l4")
    assert ours.memory_gb == 12
    assert ours.precisions == card.precisions
    assert ours.export_class == card.export_class
    assert ours.accelerator is not None
    assert ours.accelerator.product == "NVIDIA-L4-SHARED"
    assert ours.accelerator.driver_floor == "525"
    assert ours.node_labels == {**card.node_labels, "nvidia.com/gpu.product": "NVIDIA-L4-SHARED"}


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (("linux/amd64", "windows/amd64"), "unknown platform"),
        (("fp32: unknown", "fp31: unknown"), "no number format"),
        (("proven: never", "proven: measured"), "says where"),
        (("[kubernetes, compose, quadlet]", "[swarm]"), "known words"),
        (("memory_gb: 128", "memory_gb: plenty"), "wrong type"),
        (("wheel:", "weel:"), "missing"),
    ],
)
def test_bad_hardware_is_told(tmp_path: Path, change: tuple[str, str], what: str) -> None:
    text = Path("targets/hardware/x86-64-v3.yaml").resolve()
    if not text.exists():
        pytest.skip("needs the checkout's own profiles")
    body = text.read_text().replace("id: x86-64-v3", "id: bad").replace(*change)
    write(tmp_path, "hardware/bad.yaml", body)
    assert any(what in finding.what for finding in findings(load_catalogue(tmp_path)))
