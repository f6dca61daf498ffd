"""Prices as people write them: `0.80 USD/hour`, `9000 USD over 4 years`, or a profile's class.

One file has one currency; another one is refused rather than converted at a rate that nobody gave.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from packager.domain.hardware import HardwareProfile
from packager.section import Section

HOURS_A_YEAR = 8766.0
_CURRENCY = re.compile(r"[A-Z]{3}")
_RENT = re.compile(r"([0-9]+(?:\.[0-9]+)?) ([A-Z]{3})/(hour|month|year)")
_OWNED = re.compile(r"([0-9]+(?:\.[0-9]+)?) ([A-Z]{3}) over ([0-9]+(?:\.[0-9]+)?) years")
_POWER = re.compile(r"([0-9]+(?:\.[0-9]+)?) ([A-Z]{3})/kWh")
_BUDGET = re.compile(r"([0-9]+(?:\.[0-9]+)?) ([A-Z]{3})/month")
_CLASS = re.compile(r"([0-9.]+) to ([0-9.]+) USD (an hour|a vCPU and hour) \((.+)\)")
_HOURS = {"hour": 1.0, "month": HOURS_A_YEAR / 12, "year": HOURS_A_YEAR}


@dataclass(frozen=True, slots=True)
class Price:
    """Money for one replica and hour, and what it rests on."""

    an_hour: float
    told: str


def read_currency(root: Section) -> str:
    """The currency of the file, an ISO 4217 code."""
    currency = root.text("currency", "USD")
    if not _CURRENCY.fullmatch(currency):
        root.note("currency", "no ISO 4217 code", expected="such as EUR", got=repr(currency))
    return currency


def read_price(
    section: Section, currency: str, profile: HardwareProfile | None, vcpus: int, pue: float
) -> Price | None:
    """`price:` and, for hardware that is owned, `power_price:`; else the profile's price class.

    None, with a finding, when nothing gives a price.
    """
    power = _money(section, "power_price", currency, _POWER, "such as 0.12 USD/kWh")
    if "price" not in section:
        return _from_class(section, currency, profile, vcpus)
    text = section.text("price")
    if match := _OWNED.fullmatch(text):
        amount, years = _amount(section, "price", match, currency), float(match[3])
        if amount is None or years <= 0:
            return None
        an_hour, told = amount / years / HOURS_A_YEAR, f"owned: {text}"
        watts = profile.power_w if profile else None
        if power is None:
            return Price(an_hour, f"{told}, power not counted")
        if watts is None:
            section.note("power_price", "the profile does not say how much power it takes")
            return None
        return Price(an_hour + watts / 1000 * pue * power, f"{told}, power at its full draw")
    match = _RENT.fullmatch(text)
    if match is None:
        section.note(
            "price",
            "a price needs its amount, currency and unit",
            expected=f"such as 0.80 {currency}/hour, or 9000 {currency} over 4 years",
            got=repr(text),
            next_step="write all three, or leave price out for the profile's price class",
        )
        return None
    amount = _amount(section, "price", match, currency)
    return None if amount is None else Price(amount / _HOURS[match[3]], "as given")


def read_budget(root: Section, currency: str) -> float | None:
    """`budget: 20000 USD/month`; None without one."""
    return _money(root, "budget", currency, _BUDGET, f"such as 20000 {currency}/month")


def _money(
    section: Section, key: str, currency: str, pattern: re.Pattern[str], expected: str
) -> float | None:
    text = section.optional_text(key)
    if text is None:
        return None
    match = pattern.fullmatch(text)
    if match is None:
        section.note(
            key, "cannot be read", expected=expected, got=repr(text), next_step="add the unit"
        )
        return None
    return _amount(section, key, match, currency)


def _amount(section: Section, key: str, match: re.Match[str], currency: str) -> float | None:
    if match[2] != currency:
        section.note(
            key,
            "two currencies in one file",
            expected=currency,
            got=match[2],
            next_step="convert it at the rate that you trust",
        )
        return None
    return float(match[1])


def _from_class(
    section: Section, currency: str, profile: HardwareProfile | None, vcpus: int
) -> Price | None:
    if profile is None:
        return None
    match = _CLASS.fullmatch(profile.price_class or "")
    if match is None or currency != "USD":
        section.note(
            "price",
            f"nothing says what {profile.id} costs"
            + ("" if match is None else f" in {currency}: the catalogue knows US dollars"),
            expected=f"price: … {currency}/hour",
            next_step="write what you pay",
        )
        return None
    middle = (float(match[1]) + float(match[2])) / 2
    by_cpu = match[3] != "an hour"
    told = f"estimated: middle of {profile.price_class}"
    return Price(middle * (vcpus if by_cpu else 1), f"{told} × {vcpus} vCPU" if by_cpu else told)
