"""What reading a model found, kept in the cache: weights of gigabytes are parsed once, from then on
hashed.

A reading is found by the digest of the graph's file and the text of this package, carries its own
digest, and counts only when every file that it names is here with the very same bytes. Whatever is
wrong with one, the model is read anew.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from packager.canonical import dumps
from packager.digest import Digest
from packager.domain.model import Model
from packager.errors import OutputError
from packager.hashed import digest_once
from packager.optimize.plain import from_plain, to_plain
from packager.optimize.reading import graph_file, read_model
from packager.optimize.remembering import own_text
from packager.optimize.tools import tools
from packager.workspace import write_atomically


@dataclass(frozen=True, slots=True)
class KnownReadings:
    """The folder of readings."""

    folder: Path

    def read(self, path: Path) -> Model:
        """As `read_model`, and remembered. Raises InputError."""
        file = graph_file(path)
        with suppress(OSError):
            if model := self._recall(file, digest_once(file)):
                return model
        model = read_model(path)
        plain = dumps(to_plain(model)).decode()
        kept = {"digest": str(Digest.of(plain.encode())), "model": plain}
        with suppress(OSError, OutputError):  # without it the next run is slower, no more
            write_atomically(self._entry(model.files[0].digest), dumps(kept))
        return model

    def _entry(self, graph: Digest) -> Path:
        made_by = [str(graph), own_text().hex, [list(tool) for tool in tools()]]
        return self.folder / f"{Digest.of(dumps(made_by)).hex}.json"

    def _recall(self, file: Path, digest: Digest) -> Model | None:
        try:
            kept = json.loads(self._entry(digest).read_bytes())
            plain = str(kept["model"])
            if str(Digest.of(plain.encode())) != kept["digest"]:
                return None
            model = from_plain(Model, json.loads(plain))
            files = [replace(one, path=file.parent / one.name) for one in model.files]
            # What lies beside the graph is read anew when it is not the plain file that it was.
            whole = all(
                one.path.resolve().is_relative_to(file.parent.resolve())
                and not one.path.is_symlink()
                and digest_once(one.path) == one.digest
                for one in files[1:]
            )
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None
        if not whole or files[0].digest != digest:
            return None
        return replace(model, files=(replace(files[0], name=file.name, path=file), *files[1:]))
