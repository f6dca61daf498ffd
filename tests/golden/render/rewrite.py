"""Writes the golden files of the renderer again: `python tests/golden/render/rewrite.py`."""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parents[1] / "support"))


class Readable(yaml.SafeDumper):
    """Texts of several lines as blocks, and no aliases."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def main() -> None:
    from golden_targets import PAIRS, golden, golden_name

    Readable.add_representer(str, _text)
    for path in FOLDER.glob("*.yaml"):
        path.unlink()
    for machine, platform in PAIRS:
        documents = golden(machine, platform)
        text = yaml.dump(documents, Dumper=Readable, width=120, allow_unicode=True, sort_keys=False)
        path = FOLDER / f"{golden_name(machine, platform)}.yaml"
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
