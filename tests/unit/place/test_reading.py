"""Bad demand and site files: told with file, line, key and next step, all at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from packager.catalogue import load_catalogue
from packager.domain.placement import Scaling
from packager.domain.target import Region
from packager.errors import Finding, InputError
from packager.place.demand_file import read_demand
from packager.place.geography import read_geography
from packager.place.service_file import read_services
from packager.place.sites_file import Sites, read_sites
from packager.resources import data_folder
from packager.steps.placing import jurisdiction_of

CATALOGUE = load_catalogue()
GEOGRAPHY = read_geography(data_folder("targets") / "placement")
DEMAND_HEAD = "apiVersion: packager/v1\nkind: Demand\n"
SITES_HEAD = "apiVersion: packager/v1\nkind: Sites\n"


def demand(tmp_path: Path, text: str) -> object:
    file = tmp_path / "demand.yaml"
    file.write_text(DEMAND_HEAD + text)
    return read_demand(
        file,
        GEOGRAPHY,
        lambda country: jurisdiction_of(CATALOGUE, country),
        frozenset(CATALOGUE.jurisdiction_ids()),
    )


def sites(tmp_path: Path, text: str) -> Sites:
    file = tmp_path / "sites.yaml"
    file.write_text(SITES_HEAD + text)
    return read_sites(file, CATALOGUE, GEOGRAPHY)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("{country: DE, requests: {per_second: -3}}", "more than 0"),
        ("{country: DE, requests: 12}", "without its unit"),
        ("{country: DE, requests: {per_second: 1, per_day: 2}}", "one way"),
        ("{country: DE, requests: {hourly_per_second: [1, 2]}}", "no day"),
        ("{country: DE, requests: {csv: nowhere.csv}}", "history"),
        ("{country: DE, requests: {per_second: 1}, latency: 20}", "without its unit"),
        ("{country: DE}", "'requests' is missing"),
        ("{country: XX, requests: {per_second: 1}}", "no profile for XX"),
        ("{country: Germany, requests: {per_second: 1}}", "no ISO 3166 code"),
        ("{country: DE, jurisdiction: nowhere, requests: {per_second: 1}}", "unknown jurisdiction"),
        ("{country: DE, requests: {per_second: 1}, latency: {p95_ms: 0}}", "more than 0 ms"),
        ("{country: DE, requests: {per_second: 1}, latency: {p99_ms: 5}}", "one limit"),
        ("{country: DE, requests: {per_second: 1}, surge: {factor: 0.5}}", "at least 1"),
        ("{country: DE, requests: {per_second: 1}, sites_at_least: 9}", "1 to 5"),
        ("{country: DE, requests: {per_second: 1}, at: [200, 1]}", "-90 to 90"),
        ("{country: DE, requests: {per_second: 1}, colour: red}", "unknown key 'colour'"),
    ],
)
def test_a_bad_demand_is_told(tmp_path: Path, entry: str, told: str) -> None:
    with pytest.raises(InputError) as raised:
        demand(tmp_path, f"demands:\n  - {entry}\n")
    text = " ".join(str(finding.as_dict()) for finding in raised.value.findings)
    assert told in text
    assert "demand.yaml:4" in text
    assert all(map(leads_on, raised.value.findings))


def leads_on(finding: Finding) -> bool:
    """Whether it says where, and what to do; a key that is missing or unknown says so itself."""
    told = finding.next_step or finding.what.startswith(("the key", "unknown key"))
    return bool(finding.where and ".yaml:" in str(finding.where) and told)


def test_all_findings_come_at_once(tmp_path: Path) -> None:
    with pytest.raises(InputError) as raised:
        demand(
            tmp_path,
            "demands:\n  - {country: DE, requests: {per_second: -1}}\n"
            "  - {country: XX, requests: {per_second: 1}}\n",
        )
    assert len(raised.value.findings) >= 2


def test_norway_is_no_boolean(tmp_path: Path) -> None:
    (read,) = demand(tmp_path, "demands:\n  - {country: NO, requests: {per_second: 1}}\n")  # type: ignore[misc]
    assert read.jurisdiction == "no"


def test_a_member_state_without_a_profile_has_the_union_s(tmp_path: Path) -> None:
    (read,) = demand(tmp_path, "demands:\n  - {country: BG, requests: {per_second: 1}}\n")  # type: ignore[misc]
    assert read.jurisdiction == "eu"


def test_units_and_growth(tmp_path: Path) -> None:
    (read,) = demand(  # type: ignore[misc]
        tmp_path,
        "defaults: {growth: 2}\ndemands:\n  - {country: DE, requests: {per_day: 864000}}\n",
    )
    assert read.peak == pytest.approx(20)


def test_the_busiest_day_of_a_history(tmp_path: Path) -> None:
    rows = ["time,requests", "2026-01-01T00:00,3600", "2026-01-02T05:00,7200"]
    (tmp_path / "h.csv").write_text("\n".join(rows) + "\n")
    (read,) = demand(tmp_path, "demands:\n  - {country: DE, requests: {csv: h.csv}}\n")  # type: ignore[misc]
    assert read.hourly[5] == pytest.approx(2.0)
    assert read.hourly[0] == 0


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "no requests at all"),
        ("time,requests\n", "no requests at all"),
        ("time,requests\n2026-01-01T00:00,0\n", "no requests at all"),
        ("when,requests\n2026-01-01T00:00,1\n", "line 2"),
        ("time,requests\nyesterday,1\n", "line 2"),
        ("time,requests\n2026-01-01T00:00,1\n2026-01-01T01:00,-5\n", "line 3: -5 requests"),
        ("time,requests\n2026-01-01T00:00,many\n", "line 2"),
        ("time,requests\n2026-01-01T00:00,nan\n", "line 2: nan requests"),
        ("time,requests\n2026-01-01T00:00\n", "line 2"),
        ("time,requests\n2026-01-01T00:00,1e999\n", "line 2: inf requests"),
        (b"\xff\xfe\x00binary", "utf-8"),
        ("time,requests\n" + "9" * 200_000 + ",1\n", "field larger than field limit"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_history_is_told(tmp_path: Path, content: str | bytes, told: str) -> None:
    (tmp_path / "h.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as raised:
        demand(tmp_path, "demands:\n  - {country: DE, requests: {csv: h.csv}}\n")
    (finding,) = raised.value.findings
    assert told in str(finding.got)
    assert "demand.yaml:4: demands[0].requests.csv" in str(finding.where)
    assert "columns time (ISO 8601) and requests" in str(finding.expected)
    assert finding.next_step


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sites:\n  - {region: aws/nowhere-1, hardware: []}\n", "unknown region"),
        ("sites:\n  - {region: site/a, hardware: []}\n", "'country' is missing"),
        (
            "sites:\n  - {region: aws/eu-west-3, hardware: [{profile: nvidia-l5}]}\n",
            "unknown hardware profile",
        ),
        (
            "sites:\n  - {region: aws/eu-west-3, hardware: [{profile: nvidia-l4, price: 0.8}]}\n",
            "amount, currency and unit",
        ),
        (
            "sites:\n  - {region: aws/eu-west-3, hardware: "
            "[{profile: nvidia-l4, price: 0.8 EUR/hour}]}\n",
            "two currencies",
        ),
        (
            "sites:\n  - {region: aws/eu-west-3, like: aws/eu-west-1}\n"
            "  - {region: aws/eu-west-1, like: aws/eu-west-3}\n",
            "in a circle",
        ),
        ("sites:\n  - {region: aws/eu-west-3, like: aws/eu-west-1}\n", "there is no site"),
        ("regions: {providers: [nobody], hardware: []}\n", "unknown provider"),
        ("spare: 99\nsites:\n  - {region: aws/eu-west-3, hardware: []}\n", "0 to 10"),
        ("budget: 5\nsites:\n  - {region: aws/eu-west-3, hardware: []}\n", "USD/month"),
        ("spare: 1\n", "no place to serve from"),
    ],
)
def test_bad_sites_are_told(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(InputError) as raised:
        sites(tmp_path, text)
    assert told in " ".join(str(finding.as_dict()) for finding in raised.value.findings)
    assert all(map(leads_on, raised.value.findings))


def test_prices(tmp_path: Path) -> None:
    read = sites(
        tmp_path,
        "pue: 1.5\nsites:\n  - region: site/room\n    country: SA\n    hardware:\n"
        "      - {profile: nvidia-l4, price: 8766 USD over 1 years, power_price: 0.10 USD/kWh}\n"
        "      - {profile: nvidia-t4}\n"
        "      - {profile: x86-64-v3, vcpus: 2, scaling: elastic, limit: 3}\n",
    )
    owned, by_class, cpu = read.sites[0].offers
    assert owned.price == pytest.approx(1 + 0.072 * 1.5 * 0.10)
    assert "power" in owned.told
    assert by_class.price == pytest.approx((0.20 + 0.55) / 2)
    assert by_class.told.startswith("estimated")
    assert cpu.price == pytest.approx(0.09)
    assert cpu.scaling is Scaling.ELASTIC
    assert cpu.limit == 3
    assert read.rooms == {"room": "SA"}


def test_public_regions_and_their_own_entry(tmp_path: Path) -> None:
    read = sites(
        tmp_path,
        "regions: {providers: [aws], countries: [DE, FR], hardware: [{profile: nvidia-l4}]}\n"
        "sites:\n  - {region: aws/eu-west-3, hardware: "
        "[{profile: nvidia-l4, price: 0.5 USD/hour}]}\n",
    )
    found = {str(site.region): site.offers[0].price for site in read.sites}
    assert found["aws/eu-west-3"] == 0.5
    assert found["aws/eu-central-1"] == pytest.approx(0.65)
    assert read.sites[0].carbon == 381.0


def test_measured_round_trips(tmp_path: Path) -> None:
    (tmp_path / "rtt.csv").write_text("country,region,rtt_ms\nDE,aws/eu-west-3,11.5\n")
    read = sites(
        tmp_path,
        "latencies: rtt.csv\nsites:\n  - {region: aws/eu-west-3, hardware: []}\n",
    )
    assert read.measured == {("DE", Region("aws", "eu-west-3")): 11.5}
    (tmp_path / "rtt.csv").write_text("country,region,rtt_ms\nDE,aws/eu-west-3,-1\n")
    with pytest.raises(InputError, match="round trip"):
        sites(tmp_path, "latencies: rtt.csv\nsites:\n  - {region: aws/eu-west-3, hardware: []}\n")


def test_services(tmp_path: Path) -> None:
    file = tmp_path / "service.yaml"
    head = "apiVersion: packager/v1\nkind: ServiceRecords\nservices:\n"
    file.write_text(head + "  - {hardware: a, p50_ms: 9, p99_ms: 3, per_second: 0, told: x}\n")
    with pytest.raises(InputError) as raised:
        read_services(file)
    assert len(raised.value.findings) == 2
