"""Picks hardware profiles by vendor, architecture and execution provider."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from packager.domain.hardware import HardwareProfile


@dataclass(frozen=True, slots=True)
class HardwareFilter:
    """What a profile must match; None matches all. Words are compared without regard to case."""

    vendor: str | None = None
    architecture: str | None = None
    provider: str | None = None

    def of(self, profiles: Iterable[HardwareProfile]) -> list[HardwareProfile]:
        """The profiles that match, in their order."""
        return [profile for profile in profiles if self._matches(profile)]

    def _matches(self, profile: HardwareProfile) -> bool:
        vendor = profile.accelerator.vendor if profile.accelerator else ""
        return (
            (self.vendor is None or self.vendor.lower() == vendor.lower())
            and self.architecture in (None, profile.platform.architecture)
            and (
                self.provider is None or _short(self.provider) == _short(profile.execution_provider)
            )
        )


def known_words(profiles: Iterable[HardwareProfile]) -> str:
    """The vendors and providers that there are, in the words in which they are asked for."""
    profiles = list(profiles)
    vendors = {one.accelerator.vendor.lower() for one in profiles if one.accelerator}
    providers = {_short(one.execution_provider) for one in profiles}
    told = (", ".join(sorted(words - {""})) for words in (vendors, providers))
    return "--vendor {}; --provider {}".format(*told)


def _short(provider: str) -> str:
    """`cuda` for `CUDAExecutionProvider`."""
    return provider.lower().removesuffix("executionprovider")
