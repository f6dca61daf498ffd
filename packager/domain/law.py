"""Where a rule comes from."""

from __future__ import annotations

from dataclasses import dataclass

from packager.domain.hardware import Confidence


@dataclass(frozen=True, slots=True)
class Law:
    """A law with its article. `source` is an address or `memory`; never upgraded in silence."""

    name: str
    article: str
    source: str
    confidence: Confidence
    reviewed: str

    def as_dict(self) -> dict[str, str]:
        return {
            "name": self.name,
            "article": self.article,
            "source": self.source,
            "confidence": self.confidence.value,
            "reviewed": self.reviewed,
        }
