"""List the installed packages that tfresnet needs, with versions and licenses."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

ROOT = "tfresnet"
UNKNOWN = "unknown"
CLASSIFIER = "License :: "
LONGEST = 60  # characters of a license's name; what is longer is its text


@dataclass(frozen=True)
class Dependency:
    """An installed package.

    Attributes:
        name: normalized, as ``pip`` writes it.
        version: that is installed.
        license: an SPDX expression, or what else the package calls it; ``unknown`` if nothing.
        needs: names of the packages that it needs here, sorted.
    """

    name: str
    version: str
    license: str
    needs: tuple[str, ...]


@functools.cache
def installed(root: str = ROOT) -> tuple[Dependency, ...]:
    """Return what a package needs, and what that needs in turn, sorted by name.

    Extras count only where a package asks for them. The package itself is not among them, and
    neither is what is not installed; there are none where the package is not. They are read once:
    that takes most of a second.
    """
    found: dict[str, Dependency] = {}
    waiting: list[tuple[str, frozenset[str]]] = [(canonicalize_name(root), frozenset())]
    seen = set()
    while waiting:
        name, extras = one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        try:
            package = distribution(name)
        except PackageNotFoundError:
            continue
        needed = list(_needed(package, extras))
        waiting += needed
        before = found[name].needs if name in found else ()
        names = {other for other, _ in needed} - {name}
        needs = tuple(sorted({*before, *names}))
        found[name] = Dependency(name, package.version, license_of(package), needs)
    found.pop(canonicalize_name(root), None)
    return tuple(
        Dependency(d.name, d.version, d.license, tuple(n for n in d.needs if n in found))
        for _, d in sorted(found.items())
    )


def _needed(package: Distribution, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield the packages that one needs on this machine, with the extras that it asks for."""
    for text in package.requires or ():
        try:
            need = Requirement(text)
        except InvalidRequirement:
            continue
        chosen = [{"extra": extra} for extra in ("", *extras)]
        if need.marker is None or any(need.marker.evaluate(extra) for extra in chosen):
            yield canonicalize_name(need.name), frozenset(need.extras)


def license_of(package: Distribution) -> str:
    """Return the license of a package as it names it, in one line."""
    facts = package.metadata
    if "License-Expression" in facts:
        return str(facts["License-Expression"])
    classifiers = [c for c in facts.get_all("Classifier") or () if c.startswith(CLASSIFIER)]
    names = [c.rpartition(" :: ")[2] for c in classifiers]
    text = " ".join(str(facts["License"]).split()) if "License" in facts else ""
    if text and len(text) <= LONGEST and text.lower() != UNKNOWN:
        return text
    return ", ".join(sorted(set(names))) or UNKNOWN
