"""YAML, kept narrow on purpose (StrictYAML's lesson).

One document, no anchors, no tags, no merge keys. Plain scalars follow YAML 1.2's core schema: only
`true` and `false` are booleans, so that the country code `NO` stays Norway.
"""

from __future__ import annotations

import re

import yaml


class _Loader(yaml.SafeLoader):
    """YAML 1.2's core schema for plain scalars, and nothing that could surprise or explode."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(
                problem="aliases (*name) are not used here", problem_mark=event.start_mark
            )
        return super().compose_node(parent, index)


_Loader.yaml_implicit_resolvers = {}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"(true|false)$"), list("tf"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"(null|~|)$"), ["n", "~", ""])
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"[-+]?[0-9]+$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?[0-9]+\.[0-9]*([eE][-+]?[0-9]+)?$"),
    list("-+0123456789"),
)


def compose(text: str) -> yaml.Node | None:
    """The tree of the one document in `text`; raises yaml.YAMLError for anything else."""
    loader = _Loader(text)
    try:
        return loader.get_single_node()
    finally:
        loader.dispose()
