"""How far a site is from its users, in milliseconds of round trip.

Without a measurement it is estimated from the great circle: light in fibre covers about 200 km a
millisecond, a real path is about 1.5 times as long (1.3 to 2.0 are seen), and 2 ms go to the ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from packager.catalogue.places import great_circle_km
from packager.domain.placement import Demand, Site
from packager.domain.target import Region

KM_PER_MS = 200.0
PATH_STRETCH = 1.5
ENDS_MS = 2.0
FORMULA = "estimated: 2 × great circle ÷ 200 km/ms × 1.5 + 2 ms"


@dataclass(frozen=True, slots=True)
class Latencies:
    """Round trips by country and region: measured where given, estimated elsewhere."""

    measured: Mapping[tuple[str, Region], float] = field(default_factory=dict)

    def rtt_ms(self, demand: Demand, site: Site) -> float:
        """Milliseconds there and back."""
        known = self.measured.get((demand.country, site.region))
        return estimated_ms(demand, site) if known is None else known

    def told(self, demand: Demand, site: Site) -> str:
        """What the figure rests on."""
        return "as given" if (demand.country, site.region) in self.measured else FORMULA


def estimated_ms(demand: Demand, site: Site) -> float:
    """The round trip by the formula of this module."""
    km = great_circle_km(
        demand.at.latitude, demand.at.longitude, site.at.latitude, site.at.longitude
    )
    return 2 * km / KM_PER_MS * PATH_STRETCH + ENDS_MS
