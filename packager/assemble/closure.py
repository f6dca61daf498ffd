"""Which packages come along: the closure of Depends and Pre-Depends, without those left out.

No input and no output; the same index always gives the same packages.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from packager.assemble.index import PackageRecord
from packager.errors import Finding, LockError

_ASKED = "asked for"


def closure(
    wanted: Iterable[str], index: Mapping[str, PackageRecord], dropped: Collection[str]
) -> tuple[PackageRecord, ...]:
    """`wanted` and everything they need, by name, save what is in `dropped`.

    Of alternatives (`a | b`) one that is in already, or left out, settles the matter; otherwise the
    first that exists is taken, as apt does. A virtual package is met by its first provider in the
    order of names. Raises LockError with everything that is missing.
    """
    providers = _providers(index)
    taken: dict[str, PackageRecord] = {}
    missing: dict[str, str] = {}
    reserved = sorted(set(wanted))
    queue: list[tuple[tuple[str, ...], str]] = [((name,), _ASKED) for name in reserved]
    for alternatives, asked_by in queue:
        met = {*taken, *reserved, *(name for record in taken.values() for name in record.provides)}
        if asked_by != _ASKED and not met.isdisjoint(alternatives):
            continue
        if any(name in dropped for name in alternatives):
            continue
        found = _first(alternatives, index, providers)
        if found is None:
            missing[" | ".join(alternatives)] = asked_by
        elif found.name not in taken:
            taken[found.name] = found
            queue.extend((choices, found.name) for choices in found.depends)
    if missing:
        raise LockError.of([_not_found(name, by) for name, by in sorted(missing.items())])
    return tuple(taken[name] for name in sorted(taken))


def _providers(index: Mapping[str, PackageRecord]) -> dict[str, list[str]]:
    providers: dict[str, list[str]] = {}
    for name in sorted(index):
        for provided in index[name].provides:
            providers.setdefault(provided, []).append(name)
    return providers


def _first(
    alternatives: tuple[str, ...],
    index: Mapping[str, PackageRecord],
    providers: Mapping[str, list[str]],
) -> PackageRecord | None:
    for name in alternatives:
        if name in index:
            return index[name]
        if name in providers:
            return index[providers[name][0]]
    return None


def _not_found(name: str, asked_by: str) -> Finding:
    return Finding(
        f"Debian's index does not have {name}",
        where=f"needed by {asked_by}" if asked_by != _ASKED else "packages of an image",
        next_step="try another mirror; if it stays, report it: the recipe is out of date",
    )
