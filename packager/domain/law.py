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

    def __str__(self) -> str:
        """Name and article; a house rule has none."""
        return self.name if self.article == "none" else f"{self.name}, {self.article}"

    @property
    def told(self) -> str:
        """As `str`, and that nobody looked it up where that is so."""
        unsure = {
            Confidence.MEMORY: " (from memory, not looked up)",
            Confidence.LOW: " (from a weak source)",
        }
        return f"{self}{unsure.get(self.confidence, '')}"

    def as_dict(self) -> dict[str, str]:
        return {
            "name": self.name,
            "article": self.article,
            "source": self.source,
            "confidence": self.confidence.value,
            "reviewed": self.reviewed,
        }
